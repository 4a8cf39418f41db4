"""A frozen front: the device only runs it, nothing comes back; the server learns from what it sent, now and again later.

EcoFed (Wu et al., IEEE TPDS 35(3), 2024): no gradient crosses the network, and the server keeps the encoded smashed data of a
client in a replay buffer, one byte an element, from which it trains in rounds in which devices rest.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from actors.values import Tree
from emulator.learning.binding import Weights, bound
from emulator.learning.codecs import Encoded
from emulator.learning.shards import Shard
from emulator.learning.split import Half, Split, blocks, code_seed, detached, learn_from, minibatch, owned, trained
from emulator.learning.tracing import repeat


class Buffer(NamedTuple):
    """What a client sent in one round, in order: encoded smashed data, labels, and the seeds of the codec."""

    smashed: Tree
    labels: Tree
    seed: int


def smash(front: Weights, shard: Shard, seed: int, number: int, *, split: Split, size: int) -> tuple[Encoded, Tensor]:
    """Minibatch ``number`` through a frozen front, without autograd, BatchNorm in evaluation; encoded, and its labels."""
    batch = minibatch(shard, seed, number, split=split, size=size)
    model = split.problem.model
    with torch.no_grad(), bound(model, front, training=False, blocks=blocks(split, back=False)) as layers:
        smashed = layers(split.problem.normalise(batch.images))
    return split.smashed.encode(smashed, code_seed(seed, number)), batch.labels


def learn(half: Half, smashed: Encoded, labels: Tensor, seed: int, number: int, *, split: Split) -> Half:
    """One SGD step of the back on a minibatch of smashed data; no gradient of it is made."""
    own = owned(half, trained(split, back=True))
    _learn(own, (smashed, labels, code_seed(seed, number)), split)
    return detached(own)


def keep(seed: int, *sent: Tree) -> Buffer:
    """A client's entry in the replay buffer: smashed data and labels by turns, as they came."""
    return Buffer(list(sent[0::2]), list(sent[1::2]), seed)


def replay(half: Half, buffer: Buffer, *, split: Split) -> Half:
    """The same steps on what is stored, minibatch by minibatch, in the order in which they came."""
    own = owned(half, trained(split, back=True))
    repeat(_replayed, Learning(own, split), Stored(buffer))
    return detached(own)


class Learning:
    """A back in training; ``key`` fixes, with a minibatch's shapes, what one step does."""

    def __init__(self, own: Half, split: Split) -> None:
        self.own = own
        self.split = split
        self.key = split


class Stored:
    """The minibatches of a buffer, as a loop takes them."""

    def __init__(self, buffer: Buffer) -> None:
        self._batches = [
            (smashed, labels, code_seed(buffer.seed, number))
            for number, (smashed, labels) in enumerate(zip(buffer.smashed, buffer.labels, strict=True))
        ]

    def __iter__(self) -> Iterator[Tree]:
        yield from self._batches

    def distinct(self) -> Iterator[tuple[Callable[[], Tree], int]]:
        """One minibatch of each size, and how often it comes."""
        by_size: dict[int, list[Tree]] = {}
        for batch in self._batches:
            by_size.setdefault(len(batch[1]), []).append(batch)
        for same in by_size.values():
            yield partial(_first, same), len(same)


def _first(batches: list[Tree]) -> Tree:
    return batches[0]


def _replayed(learning: Learning, batch: Tree) -> None:
    _learn(learning.own, batch, learning.split)


def _learn(own: Half, batch: tuple[Encoded, Tensor, int], split: Split) -> None:
    smashed, labels, seed = batch
    names = trained(split, back=True)
    values = split.smashed.decode(smashed, seed, split.shape(len(labels)))
    with bound(split.problem.model, own["weights"], training=True, blocks=blocks(split, back=True)) as layers:
        loss = functional.cross_entropy(layers(values), labels)
    learn_from(loss, own, names, split)
