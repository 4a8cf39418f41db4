"""Which neurons a device trains in a cycle, drawn as values: nothing waits for a tensor, as their number is static.

ELFISH (arXiv 1912.01684) tells that other neurons are masked in every cycle. That those of the largest parameter change are
kept, the others drawn, and those skipped too often forced is of its successor Helios (same number, later versions), recalled.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from torch import Tensor

from emulator.learning.binding import Weights
from emulator.learning.codecs.base import uniform
from emulator.learning.models import ModelSpec
from emulator.learning.random import seed_of
from emulator.learning.sgd import trained
from emulator.learning.submodel import Kept, Layer, Submodel, layers

Skips = dict[str, Tensor]  # layer -> int64 [n]: cycles since a device last trained each neuron
Gains = dict[str, Tensor]  # layer -> float32 [n]: how much each neuron's parameters changed, U


@dataclass(frozen=True)
class Picking:
    """How k of a layer's n neurons are picked.

    ``ordered``: the first k. ``round_robin``: those skipped longest, the first of equal ones. ``random``: drawn, but those
    skipped more than ``skip_limit`` (C_max) cycles come first; without ``forces`` nothing comes first. ``helios``: as random,
    after the round(``top_share`` k) neurons of the largest gain (k - 1 at most, so that no neuron starves).
    ``skip_limit`` None: ceil(n / k), ELFISH's 1 / p (ours). ``shared``: all devices of a round draw the same.
    """

    how: Literal["ordered", "round_robin", "random", "helios"]
    top_share: float = 0.0
    skip_limit: int | None = None
    forces: bool = True
    shared: bool = False

    def top(self, count: int) -> int:
        """Neurons of ``count`` that are kept for their gain."""
        return min(round(self.top_share * count), count - 1) if self.how == "helios" else 0

    def limit(self, neurons: int, count: int) -> float:
        """C_max: cycles that a neuron may be skipped before it is forced."""
        if not self.forces:
            return inf
        return -(-neurons // count) if self.skip_limit is None else self.skip_limit


def untouched(weights: Weights, *, model: ModelSpec) -> tuple[Skips, Gains]:
    """Nothing skipped, nothing gained."""
    anchors = {layer.name: (weights[layer.entries[0].weight], layer.count) for layer in layers(model)}
    skips = {name: tensor.new_zeros(count, dtype=torch.int64) for name, (tensor, count) in anchors.items()}
    return skips, {name: tensor.new_zeros(count) for name, (tensor, count) in anchors.items()}


def pick(skips: Skips, gains: Gains, seed: int, *, sub: Submodel, picking: Picking) -> tuple[Kept, Skips]:
    """The neurons to train, and what is skipped after that."""
    kept: Kept = {}
    after: Skips = {}
    for layer, count in zip(layers(sub.model), sub.counts, strict=True):
        skipped = skips[layer.name]
        score = _score(skipped, (gains[layer.name], count), seed_of(seed, layer.name), picking)
        order = score.sort(descending=True, stable=True).indices
        kept[layer.name] = order[:count].sort().values
        after[layer.name] = (skipped + 1).index_fill(0, kept[layer.name], 0)
    return kept, after


def _score(skipped: Tensor, given: tuple[Tensor, int], seed: int, picking: Picking) -> Tensor:
    """float64 [n]: the k of the highest score are picked, the first of equal ones."""
    gain, count = given
    if picking.how == "ordered":
        return torch.zeros_like(skipped, dtype=torch.float64)
    if picking.how == "round_robin":
        return skipped.to(torch.float64)
    forced = skipped > picking.limit(len(skipped), count)
    score = uniform(len(skipped), seed, skipped.device).to(torch.float64) + torch.where(forced, skipped, 0)
    if top := picking.top(count):
        score = score.index_fill(0, gain.sort(descending=True, stable=True).indices[:top], inf)
    return score


def changed(before: Weights, after: Weights, *, model: ModelSpec) -> Gains:
    """U of each neuron: sum of |after - before| over its own trained weights (filter or row, bias, BatchNorm).

    Helios' contribution, recalled; that the global weights are compared is ours.
    """
    names = set(trained(model))
    return {layer.name: _changed(before, after, layer, names) for layer in layers(model)}


def _changed(before: Weights, after: Weights, layer: Layer, names: set[str]) -> Tensor:
    own = [entry.weight for entry in layer.entries if entry.dim == 0 and entry.weight in names]
    parts = [(after[name] - before[name]).abs().reshape(layer.count, -1).sum(1) for name in own]
    return torch.stack(parts).sum(0)
