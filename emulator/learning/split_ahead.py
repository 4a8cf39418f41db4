"""Split training with several minibatches under way: what is kept between a forward pass and its update is told apart.

On a device that does not wait, minibatch i + 1 passes forward before the update of minibatch i. Its gradient then belongs to
weights that are some steps old, and is applied to the newest: delayed SGD (Langford, Smola & Zinkevich, "Slow learners are
fast", NIPS 2009, algorithm 1). BatchNorm's running statistics change in the forward pass and so go from one forward pass to
the next. With one minibatch under way all of this is plain SGD.
"""

from collections.abc import Generator

import torch
from torch import Tensor

from emulator.learning.binding import Weights, bound, clone
from emulator.learning.codecs import Encoded
from emulator.learning.meter import label, unmetered
from emulator.learning.sgd import descend
from emulator.learning.shards import Shard
from emulator.learning.split import Half, Split, begin, blocks, code_seed, minibatch, trained


def begin_ahead(weights: Weights, *, split: Split) -> tuple[Half, Weights]:
    """A front that starts to learn, its optimiser fresh: what updates change, and what forward passes change."""
    names = trained(split, back=False)
    half = {**begin(weights, split=split, back=False), "weights": {name: weights[name] for name in names}}
    return half, {name: tensor for name, tensor in weights.items() if name not in names}


def forward(
    half: Half, statistics: Weights, shard: Shard, seed: int, number: int, *, split: Split, size: int
) -> Generator[tuple[Encoded, Tensor, Weights], Encoded, list[Tensor]]:
    """Minibatch ``number`` on the device: yields encoded smashed data, labels and running statistics, is sent the encoded
    cut gradient, and gives the gradients of the front's weights. ``size`` is the minibatch's, as its cost depends on it.
    """
    label("data", shard)
    names, batch = trained(split, back=False), minibatch(shard, seed, number, split=split, size=size)
    weights = [half["weights"][name].detach().requires_grad_() for name in names]
    with unmetered():
        seen = clone(statistics)  # in the place of the old ones
    own = dict(zip(names, weights, strict=True)) | seen
    with bound(split.problem.model, own, training=True, blocks=blocks(split, back=False)) as model:
        smashed = model(split.problem.normalise(batch.images))
    answer = yield split.smashed.encode(smashed, code_seed(seed, number)), batch.labels, seen
    gradient = split.gradient.decode(answer, code_seed(seed, number), tuple(smashed.shape))
    return list(torch.autograd.grad(smashed, weights, gradient)) if names else []


def update(half: Half, gradients: list[Tensor], *, split: Split) -> Half:
    """The front after one step of SGD with gradients of its own or of older weights."""
    names = trained(split, back=False)
    label("gradients", gradients)
    with unmetered():  # the new ones take the old ones' place
        own, used = {key: clone(values) for key, values in half.items()}, [gradient.clone() for gradient in gradients]
    velocity = [own["velocity"][name] for name in names] if split.momentum else []
    if names:
        descend([own["weights"][name] for name in names], used, velocity, split)
    return own


def end_ahead(half: Half, statistics: Weights) -> Weights:
    """The front's weights."""
    return half["weights"] | statistics
