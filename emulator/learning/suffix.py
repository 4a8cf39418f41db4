"""Updating only the last blocks of a model: backpropagation that stops early, and what is left to send and to average.

TinyFEL (Chen et al., IEEE IoT-J 12(7), 2025, DOI 10.1109/JIOT.2024.3499375). What the abstract says: local training ends
backpropagation early, and only updated layers are transmitted for aggregation. What is inferred (ours): the updated layers
are a suffix of the model's blocks, BatchNorm of frozen blocks is in evaluation, a layer's mean goes over the devices that
updated it, weighted by samples, and a layer that nobody updated stays as it is.
"""

from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from actors.values import Spec
from emulator.learning.aggregation import average
from emulator.learning.binding import Weights, block_of, bound, clone, part
from emulator.learning.meter import label, unmetered
from emulator.learning.models import ModelSpec, summary, weight_specs
from emulator.learning.sgd import Learner, LocalSGD, sgd_step
from emulator.learning.shards import Batches, Shard
from emulator.learning.tracing import repeat

By = Literal["parameters", "layers"]


class Suffix(NamedTuple):
    """The blocks from ``first`` on; the update ratio that they are; and their bytes, running statistics included."""

    first: int
    ratio: float
    payload_bytes: int


@cache
def suffixes(spec: ModelSpec, by: By = "parameters") -> tuple[Suffix, ...]:
    """All suffixes of a model, the shortest first. Only blocks with parameters count.

    ``by``: the ratio is that of trained parameters (u = sum of s_l from the cut on / S), or of blocks.
    """
    sizes = [(row.index, row.parameters) for row in summary(spec) if row.parameters]
    worth = [(index, count if by == "parameters" else 1) for index, count in sizes]
    whole = sum(count for _, count in worth)
    firsts = [index if number else 0 for number, (index, _) in enumerate(worth)]
    ratios = [sum(count for _, count in worth[number:]) / whole for number in range(len(worth))]
    return tuple(
        Suffix(first, ratio, payload_bytes(spec, tuple(range(first, len(summary(spec))))))
        for first, ratio in list(zip(firsts, ratios, strict=True))[::-1]
    )


@cache
def payload_bytes(spec: ModelSpec, blocks: tuple[int, ...]) -> int:
    """Bytes of the weights of some blocks, running statistics included."""
    specs = [one for name, one in weight_specs(spec).items() if block_of(name) in blocks]
    return sum(torch.Size(one.shape).numel() * one.dtype.itemsize for one in specs)


@cache
def shape_of(spec: ModelSpec, blocks: tuple[int, ...]) -> Spec:
    """The shapes of the weights of some blocks."""
    own = {name: one for name, one in weight_specs(spec).items() if block_of(name) in blocks}
    with unmetered():
        return Spec.of({name: torch.empty(one.shape, dtype=one.dtype, device="meta") for name, one in own.items()})


def suffix_of(spec: ModelSpec, ratio: float, by: By = "parameters") -> Suffix:
    """The shortest suffix that reaches an update ratio. Raises ValueError for a ratio outside (0, 1]."""
    if not 0 < ratio <= 1:
        raise ValueError(f"update ratio: got {ratio!r}; expected above 0, at most 1")
    return next(one for one in suffixes(spec, by) if one.ratio >= ratio * (1 - 1e-12))


class SuffixLearner(Learner):
    """A model whose first blocks are frozen: no graph, no gradient, BatchNorm in evaluation."""

    def __init__(self, sgd: LocalSGD, received: Weights, own: Weights, model: nn.Sequential, first: int) -> None:
        super().__init__(sgd, received, own, model)
        self.first = first
        self.key = (sgd, first)

    def loss(self, batch: Shard) -> Tensor:
        """The forward pass; the backward pass ends where the frozen blocks do."""
        blocks = list(self.model)
        values = self.sgd.problem.normalise(batch.images)
        with torch.no_grad():
            for block in blocks[: self.first]:
                values = block.eval()(values)
        for block in blocks[self.first :]:
            values = block(values)
        return functional.cross_entropy(values, batch.labels)


def train_suffix(weights: Weights, shard: Shard, seed: int, *, sgd: LocalSGD, first: int) -> tuple[Weights, Weights]:
    """Local training of the blocks from ``first`` on, as ``train`` does it for all: the updated blocks, and the frozen ones."""
    frozen = part(weights, 0, first)
    own = clone({name: tensor for name, tensor in weights.items() if name not in frozen})
    label("weights", [weights, own])
    label("data", shard)
    with bound(sgd.problem.model, frozen | own, training=True) as model:
        repeat(sgd_step, SuffixLearner(sgd, weights, own, model, first), Batches(shard, seed, sgd.plan))
    return {name: tensor.detach() for name, tensor in own.items()}, frozen


def layers(weights: Weights, *, blocks: tuple[int, ...]) -> Weights:
    """The weights of some blocks."""
    return {name: tensor for name, tensor in weights.items() if block_of(name) in blocks}


def joined(*parts: Weights, spec: ModelSpec) -> Weights:
    """A whole model out of parts, in its own order; later parts replace earlier ones."""
    found = {name: tensor for one in parts for name, tensor in one.items()}
    return {name: found[name] for name in weight_specs(spec)}


def average_layers(samples: tuple[int, ...], weights: Weights, *updates: Weights) -> Weights:
    """New weights: each block's mean over the updates that hold it, weighted by samples; without any, the old one."""
    new = dict(weights)
    for block in dict.fromkeys(block_of(name) for name in weights):
        mine = [(n, layers(update, blocks=(block,))) for n, update in zip(samples, updates, strict=True)]
        held = [(n, update) for n, update in mine if update]
        if sum(n for n, _ in held):
            new |= average(tuple(n for n, _ in held), *(update for _, update in held))
    return new
