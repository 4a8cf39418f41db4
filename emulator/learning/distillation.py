"""Group knowledge transfer: devices and server teach each other by logits (He, Annavaram & Avestimehr, NeurIPS 2020).

A device trains its front and head; the server trains its back on the features that came. Each one's loss is cross-entropy
and, from the other's logits, T^2 KL(softmax(theirs / T) || softmax(mine / T)), a mean over samples; weights as in the authors'
code (FedML, fedgkt): CE + alpha KL on the device, KL + alpha CE at the server. Minibatches come in the order of the data,
never shuffled, since logits are told by position.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from emulator.learning.auxiliary import begin_local, guess, learners, without_head
from emulator.learning.binding import Weights, bound
from emulator.learning.codecs import Encoded
from emulator.learning.meter import label
from emulator.learning.shards import Plan, Shard
from emulator.learning.split import Half, Split, blocks, detached, learn_from, owned, trained
from emulator.learning.tracing import repeat


@dataclass(frozen=True)
class Transfer:
    """Settings of knowledge transfer: ``alpha`` weighs the second part of each loss; ``temperature`` is T."""

    split: Split
    alpha: float
    temperature: float

    def lighter(self) -> Iterator[tuple[str, "Transfer"]]:
        """Smaller and smaller batches."""
        for words, split in self.split.lighter():
            yield words, replace(self, split=split)


class InOrder:
    """Minibatches of tensors of one length, in their order, for ``repeat``; what is written into one is written through."""

    def __init__(self, plan: Plan, *tensors: Tensor) -> None:
        self._plan = plan
        self._tensors = tensors

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        samples, size = len(self._tensors[0]), self._plan.batch_size
        places = range(0, samples, size)
        for number in range(self._plan.batches(samples)):
            yield self._take(places[number % len(places)], size)

    def distinct(self) -> Iterator[tuple[Callable[[], tuple[Tensor, ...]], int]]:
        """One minibatch of each size, and how often it comes."""
        for size, count in self._plan.sizes(len(self._tensors[0])).items():
            yield partial(self._take, 0, size), count

    def _take(self, start: int, size: int) -> tuple[Tensor, ...]:
        return tuple(tensor[start : start + size] for tensor in self._tensors)


class Pupil:
    """A half in training; ``key`` fixes, with a minibatch's shapes, what one step does."""

    def __init__(self, own: Half, transfer: Transfer, names: tuple[str, ...]) -> None:
        self.own = own
        self.transfer = transfer
        self.names = names
        self.key = (transfer, names)

    def learn(self, loss: Tensor) -> None:
        """A step of SGD, in place."""
        learn_from(loss, self.own, self.names, self.transfer.split)


def divergence(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || logits) of softened probabilities, a mean over samples."""
    mine, theirs = (functional.log_softmax(values / temperature, 1) for values in (logits, teacher))
    return temperature**2 * functional.kl_div(mine, theirs, reduction="batchmean", log_target=True)


# ---- on the device ---------------------------------------------------------------------------------------------------------


def study(weights: Weights, shard: Shard, *teacher: Tensor, transfer: Transfer) -> Weights:
    """Front and head after the device's epochs on its data; ``teacher``: the server's logits for them, if there are any."""
    label("data", shard)
    split = transfer.split
    pupil = Pupil(owned(begin_local(weights, split=split), learners(split)), transfer, learners(split))
    repeat(_study, pupil, InOrder(split.plan, *shard, *teacher))
    return detached(pupil.own)["weights"]


def _study(pupil: Pupil, batch: tuple[Tensor, ...]) -> None:
    images, labels, *teacher = batch
    transfer, weights = pupil.transfer, pupil.own["weights"]
    logits = guess(weights, _features(weights, images, transfer.split, training=True))
    loss = functional.cross_entropy(logits, labels)
    if teacher:
        loss = loss + transfer.alpha * divergence(logits, teacher[0], transfer.temperature)
    pupil.learn(loss)


def extract(weights: Weights, shard: Shard, seed: int, *, transfer: Transfer) -> tuple[Encoded, Tensor, Tensor]:
    """Encoded smashed data, labels and the head's logits of all samples, in order; BatchNorm in evaluation."""
    split, samples = transfer.split, len(shard.labels)
    smashed, logits = (
        torch.empty(shape, device=shard.labels.device)
        for shape in (split.shape(samples), (samples, split.problem.model.classes))
    )
    reader = Pupil({"weights": weights}, transfer, ())
    with torch.no_grad():
        repeat(_extract, reader, InOrder(Plan(split.plan.batch_size), shard.images, smashed, logits))
    return split.smashed.encode(smashed, seed), shard.labels.clone(), logits


def _extract(reader: Pupil, batch: tuple[Tensor, ...]) -> None:
    images, smashed, logits = batch
    found = _features(reader.own["weights"], images, reader.transfer.split, training=False)
    smashed.copy_(found)
    logits.copy_(guess(reader.own["weights"], found))


def _features(weights: Weights, images: Tensor, split: Split, *, training: bool) -> Tensor:
    model, place = split.problem.model, blocks(split, back=False)
    with bound(model, without_head(weights), training=training, blocks=place) as front:
        smashed: Tensor = front(split.problem.normalise(images))
    return smashed


# ---- at the server ---------------------------------------------------------------------------------------------------------


def teach(
    half: Half, smashed: Encoded, labels: Tensor, teacher: Tensor, seed: int, *, transfer: Transfer
) -> tuple[Half, Tensor]:
    """The back after one pass over a device's features; and its own logits for them, each from before its update."""
    split = transfer.split
    names, values = trained(split, back=True), split.smashed.decode(smashed, seed, split.shape(len(labels)))
    pupil, logits = Pupil(owned(half, names), transfer, names), torch.empty_like(teacher)
    repeat(_teach, pupil, InOrder(Plan(split.plan.batch_size), values, labels, teacher, logits))
    return detached(pupil.own), logits


def _teach(pupil: Pupil, batch: tuple[Tensor, ...]) -> None:
    values, labels, teacher, told = batch
    transfer = pupil.transfer
    model, place = transfer.split.problem.model, blocks(transfer.split, back=True)
    with bound(model, pupil.own["weights"], training=True, blocks=place) as back:
        logits = back(values)
    told.copy_(logits.detach())
    loss = divergence(logits, teacher, transfer.temperature)
    pupil.learn(loss + transfer.alpha * functional.cross_entropy(logits, labels))
