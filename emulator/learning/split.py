"""Split training: a model's first blocks (its front) on a device, the others (its back) at the server, batch by batch.

The device's step is a generator: it yields the smashed data and is sent the cut gradient, so forward and backward pass are
one graph, one cost, and exactly SGD (Gupta & Raskar, JNCA 2018; Thapa et al., AAAI 2022). A half is its weights and, with
momentum, the velocity; each step trains a copy that takes the old one's place: the copy costs nothing.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from actors.program import resume as resume
from emulator.learning.binding import Weights, block_of, bound, clone, parameter_names, part
from emulator.learning.codecs import Codec, Encoded, Float
from emulator.learning.meter import in_place, label, unmetered
from emulator.learning.models import summary
from emulator.learning.sgd import Problem, descend
from emulator.learning.shards import Plan, Shard

Half = dict[str, Weights]  # "weights", and "velocity" where there is momentum

FP32 = Float(torch.float32)


@dataclass(frozen=True)
class Split:
    """How a model is split and trained. ``smashed`` and ``gradient`` are the codecs each way."""

    problem: Problem
    plan: Plan
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    smashed: Codec = FP32
    gradient: Codec = FP32

    @property
    def cut(self) -> int:
        """Blocks on the device."""
        assert self.problem.cut is not None
        return self.problem.cut

    def shape(self, size: int) -> tuple[int, ...]:
        """Shape of the smashed data of a minibatch."""
        return (size, *summary(self.problem.model)[self.cut - 1].shape)

    def lighter(self) -> Iterator[tuple[str, "Split"]]:
        """Smaller and smaller batches."""
        for words, plan in self.plan.lighter():
            yield words, replace(self, plan=plan)


@cache
def blocks(split: Split, *, back: bool) -> tuple[int, int]:
    """The blocks of one half."""
    count = len(summary(split.problem.model))
    return (split.cut, count) if back else (0, split.cut)


# ---- set-up ------------------------------------------------------------------------------------------------------------


def halves(weights: Weights, *, split: Split) -> tuple[Weights, Weights]:
    """Front and back of a model's weights."""
    return part(weights, *blocks(split, back=False)), part(weights, *blocks(split, back=True))


def begin(weights: Weights, *, split: Split, back: bool) -> Half:
    """A half that starts to learn: its optimiser is fresh."""
    return fresh(weights, trained(split, back=back), split)


def fresh(weights: Weights, names: tuple[str, ...], split: Split) -> Half:
    """Weights of which those in ``names`` are to learn; the velocity of momentum starts at zero."""
    if not split.momentum:
        return {"weights": weights}
    return {"weights": weights, "velocity": {name: torch.zeros_like(weights[name]) for name in names}}


def end(half: Half) -> Weights:
    """A half's weights."""
    return half["weights"]


@cache
def trained(split: Split, *, back: bool) -> tuple[str, ...]:
    """Names of a half's trained weights, sorted."""
    start, stop = blocks(split, back=back)
    names = parameter_names(split.problem.model)
    return tuple(sorted(name for name in names if start <= block_of(name) < stop))


# ---- one minibatch ---------------------------------------------------------------------------------------------------------


def front(
    half: Half, shard: Shard, seed: int, number: int, *, split: Split, size: int
) -> Generator[tuple[Encoded, Tensor], Encoded, Half]:
    """Minibatch ``number`` on the device: yields the encoded smashed data and the labels, is sent the encoded cut
    gradient, and gives the half after the update. ``size`` is the minibatch's, as its cost depends on it.
    """
    names = trained(split, back=False)
    own, batch = owned(half, names), minibatch(shard, seed, number, split=split, size=size)
    label("data", [shard, batch])
    with bound(split.problem.model, own["weights"], training=True, blocks=blocks(split, back=False)) as model:
        smashed = model(split.problem.normalise(batch.images))
    question = [(split.smashed.encode(smashed, code_seed(seed, number)), batch.labels)]
    del batch  # what is sent, or of no more use, does not wait for the answer
    answer = yield question.pop()
    gradient = split.gradient.decode(answer, code_seed(seed, number), tuple(smashed.shape))
    if names:
        gradients = list(torch.autograd.grad(smashed, [own["weights"][name] for name in names], gradient))
        step(own, names, gradients, split)
    return detached(own)


def back(half: Half, smashed: Encoded, labels: Tensor, seed: int, number: int, *, split: Split) -> tuple[Half, Encoded]:
    """The same minibatch at the server: the half after its update, and the encoded gradient of the smashed data."""
    names = trained(split, back=True)
    own = owned(half, names)
    values = split.smashed.decode(smashed, code_seed(seed, number), split.shape(len(labels))).requires_grad_()
    with bound(split.problem.model, own["weights"], training=True, blocks=blocks(split, back=True)) as model:
        loss = functional.cross_entropy(model(values), labels)
    wanted = [values, *(own["weights"][name] for name in names)]
    cut_gradient, *gradients = torch.autograd.grad(loss, wanted)
    step(own, names, gradients, split)
    return detached(own), split.gradient.encode(cut_gradient, code_seed(seed, number))


def sizes(plan: Plan, samples: int) -> list[int]:
    """The sizes of a round's minibatches, in order."""
    a_pass = [min(plan.batch_size, samples - start) for start in range(0, samples, plan.batch_size)]
    return [a_pass[number % len(a_pass)] for number in range(plan.batches(samples))]


def minibatch(shard: Shard, seed: int, number: int, *, split: Split, size: int) -> Shard:
    """Minibatch ``number`` of the same order that local training takes its own from (``Batches``)."""
    samples, batch = len(shard.labels), split.plan.batch_size
    if shard.labels.is_meta:
        chosen = torch.zeros(min(size, batch), dtype=torch.int64)  # of a lighter split, which is measured only
    else:
        turn, place = divmod(number, -(-samples // batch))
        chosen = torch.from_numpy(_order(seed, samples, turn)[place * batch : place * batch + size])
    return Shard(shard.images[chosen], shard.labels[chosen])


@lru_cache(maxsize=16)
def _order(seed: int, samples: int, turn: int) -> NDArray[np.int64]:
    """The order of one pass; kept, as each of its minibatches asks for it. Not to be written to."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return [generator.permutation(samples) for _ in range(turn + 1)][turn]


def code_seed(seed: int, number: int) -> int:
    """The seed that both ends of a minibatch's codecs know."""
    return (seed + number) % 2**63


def owned(half: Half, names: tuple[str, ...]) -> Half:
    """The half to train: in the place of the one that was given, so the copy costs neither time nor memory."""
    with unmetered():
        own = {key: clone(values) for key, values in half.items()}
    in_place(own)
    label("weights", half["weights"])
    label("optimiser", half.get("velocity"))
    for name in names:
        own["weights"][name].requires_grad_()
    return own


def step(own: Half, names: tuple[str, ...], gradients: list[Tensor], split: Split) -> None:
    """One step of SGD on a half that is one's own, in place."""
    label("gradients", gradients)
    velocity = [own["velocity"][name] for name in names] if split.momentum else []
    with torch.no_grad():
        descend([own["weights"][name] for name in names], gradients, velocity, split)


def learn_from(loss: Tensor, own: Half, names: tuple[str, ...], split: Split) -> None:
    """A backward pass from a loss and one step of SGD, in place."""
    step(own, names, list(torch.autograd.grad(loss, [own["weights"][name] for name in names])), split)


def detached(own: Half) -> Half:
    """A half without the graphs of its training."""
    return {key: {name: tensor.detach() for name, tensor in values.items()} for key, values in own.items()}
