"""Local losses: an auxiliary head on the device, so that the front learns without a cut gradient.

The head is one fully connected layer from the flattened smashed data to the classes, as in EcoFed's baseline LGL (8192 to
classes for its VGG-11; the authors' code) and FedGKT's fully connected classifier. Its weights are ``auxiliary.weight`` and
``auxiliary.bias``; they travel and are averaged beside the front's.
"""

from collections.abc import Generator
from math import prod, sqrt

import torch
from torch import Tensor
from torch.nn import functional

from emulator.learning.binding import Weights, bound
from emulator.learning.codecs import Encoded
from emulator.learning.meter import label, unmetered
from emulator.learning.shards import Shard
from emulator.learning.split import (
    Half,
    Split,
    blocks,
    code_seed,
    detached,
    fresh,
    learn_from,
    minibatch,
    owned,
    trained,
)

HEAD = ("auxiliary.bias", "auxiliary.weight")


def with_head(front: Weights, seed: int, *, split: Split) -> Weights:
    """A front and a fresh head, drawn as PyTorch draws a linear layer: uniform in +-1 / sqrt(fan_in). Set-up: it is free."""
    fan_in, classes = prod(split.shape(1)), split.problem.model.classes
    generator, reach = torch.Generator().manual_seed(seed), 1 / sqrt(fan_in)
    with unmetered():
        weight = torch.empty(classes, fan_in).uniform_(-reach, reach, generator=generator)
        bias = torch.empty(classes).uniform_(-reach, reach, generator=generator)
    return front | {"auxiliary.weight": weight, "auxiliary.bias": bias}


def without_head(weights: Weights) -> Weights:
    """The front alone."""
    return {name: tensor for name, tensor in weights.items() if name not in HEAD}


def learners(split: Split) -> tuple[str, ...]:
    """Names of what the device trains: the front's weights and the head's, sorted."""
    return tuple(sorted((*trained(split, back=False), *HEAD)))


def begin_local(weights: Weights, *, split: Split) -> Half:
    """A front with its head that starts to learn: its optimiser is fresh."""
    return fresh(weights, learners(split), split)


def guess(weights: Weights, smashed: Tensor) -> Tensor:
    """The head's logits."""
    return functional.linear(smashed.flatten(1), weights["auxiliary.weight"], weights["auxiliary.bias"])


def front_local(
    half: Half, shard: Shard, seed: int, number: int, *, split: Split, size: int
) -> Generator[tuple[Encoded, Tensor], Tensor, Half]:
    """Minibatch ``number`` on the device: yields encoded smashed data and labels, is given the labels back at once (so the
    smashed data leave before the backward pass), and gives the half after a step on the head's own loss.
    """
    label("data", shard)
    names = learners(split)
    own, batch = owned(half, names), minibatch(shard, seed, number, split=split, size=size)
    with bound(
        split.problem.model, without_head(own["weights"]), training=True, blocks=blocks(split, back=False)
    ) as model:
        smashed = model(split.problem.normalise(batch.images))
    labels = yield split.smashed.encode(smashed, code_seed(seed, number)), batch.labels
    loss = functional.cross_entropy(guess(own["weights"], smashed), labels)
    learn_from(loss, own, names, split)
    return detached(own)
