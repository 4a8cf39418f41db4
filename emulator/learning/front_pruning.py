"""Pruning the front of a split model by importance, round by round: which weights or filters take part, and how they travel.

Lightweight FedSL (arXiv 2412.06414): dynamic pruning of the client-side model, by how little its parameters contribute to the
loss. Ours: the formula, I_j = (F(w) - F(w | w_j = 0))^2 ~ (g_j w_j)^2 (first order), single weights over the whole front or
filters layer by layer (the sum of I_j over a filter), and the recovery: a device keeps all weights, pruned ones as they were,
and picks anew each round. g is the gradient of the last minibatch in which a weight took part. Where there was none it is 1:
I is w^2 at first, and a filter is tried before it is judged.

How many are pruned is static; which ones is data. Single weights save time on devices with ``sparse_kernels`` alone; filters
do on any, as the tensors are smaller: an inner layer's filters with all that reads them, the last one's alone (the
server then gets zeros in their channels, and as many bytes).
"""

from dataclasses import dataclass
from functools import cache
from math import floor
from typing import Literal

import torch
from torch import Tensor

from emulator.learning.binding import Weights, block_of
from emulator.learning.mask import coded, decoded
from emulator.learning.meter import label
from emulator.learning.split import Half, Split, trained
from emulator.learning.submodel import Kept, Layer, carve, layers, recover

Masks = dict[str, Tensor]  # by weight: bool of its shape, true where it is kept; by filter: ``Kept``; {}: all are kept


def pruned_of(rate: float, count: int) -> int:
    """floor(rate count): how many of ``count`` are pruned."""
    return floor(rate * count + 1e-9)  # 0.29 x 100 is 28.999... in floats


@dataclass(frozen=True)
class Pruning:
    """A share ``rate`` of a front's weights, or of each of its layers' filters, is pruned. Raises ValueError for 1 and more."""

    split: Split
    rate: float = 0.0
    by: Literal["weight", "filter"] = "weight"

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"pruning: got a rate of {self.rate:g}; expected 0 or more and below 1")

    @property
    def names(self) -> tuple[str, ...]:
        """The front's trained weights."""
        return trained(self.split, back=False)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The front's layers with filters to prune."""
        return front_layers(self.split)


@cache
def front_layers(split: Split) -> tuple[Layer, ...]:
    """The layers of the front whose neurons may be cut; what the server reads of them is cut by none."""
    return tuple(layer for layer in layers(split.problem.model) if block_of(layer.name) < split.cut)


def channels(split: Split) -> tuple[Layer, int] | None:
    """The layer that makes the smashed data, and how many entries along dimension 1 each of its neurons has there.

    None where the last layer's neurons cannot be cut, as after a residual sum.
    """
    last = front_layers(split)[-1:]
    if not last or all(block_of(entry.weight) < split.cut for entry in last[0].entries):
        return None
    return last[0], split.shape(1)[1] // last[0].count


# ---- choosing ------------------------------------------------------------------------------------------------------------


def unknown(half: Half, *, pruning: Pruning) -> Weights:
    """The gradients of a device that has none: ones."""
    return {name: torch.ones_like(half["weights"][name]) for name in pruning.names}


def choose(half: Half, gradients: Weights, *, pruning: Pruning) -> Masks:
    """What takes part in a round, from a front and the gradients known of it."""
    weights = half["weights"]
    label("weights", weights)
    importance = {name: (gradients[name] * weights[name]).abs_() for name in pruning.names}  # its square may underflow
    return _weights(importance, pruning) if pruning.by == "weight" else _filters(importance, pruning)


def _weights(importance: Weights, pruning: Pruning) -> Masks:
    """All but the floor(rate n) least important of all n weights; the first of equal ones go."""
    flat = torch.cat([part.reshape(-1) for part in importance.values()])
    out = flat.sort(stable=True).indices[: pruned_of(pruning.rate, len(flat))]
    mask = torch.ones(len(flat), dtype=torch.bool, device=flat.device).index_fill_(0, out, False)
    return _apart(mask, importance)


def _filters(importance: Weights, pruning: Pruning) -> Kept:
    """The positions of all but the floor(rate n) least important of each layer's n filters."""
    kept = {}
    for layer in pruning.layers:
        own = [importance[entry.weight] for entry in layer.entries if entry.dim == 0 and entry.weight in importance]
        sums = torch.stack([part.reshape(layer.count, -1).double().square().sum(1) for part in own]).sum(0)
        kept[layer.name] = sums.sort(stable=True).indices[pruned_of(pruning.rate, layer.count) :].sort().values
    return kept


def _apart(flat: Tensor, like: Weights) -> Weights:
    """One vector as tensors of the shapes of ``like``."""
    parts = flat.split([tensor.numel() for tensor in like.values()])
    return {name: part.reshape(tensor.shape) for part, (name, tensor) in zip(parts, like.items(), strict=True)}


# ---- filters: cut out for a round, and put back ----------------------------------------------------------------------------


def trim(half: Half, masks: Masks, *, pruning: Pruning) -> Half:
    """The half that trains: of the kept filters; by weight all of it, the velocity of what is pruned gone."""
    if pruning.by == "filter":
        return {key: carve(values, masks, model=pruning.split.problem.model) for key, values in half.items()}
    still = {key: {name: v * masks[name] for name, v in half[key].items()} for key in half if key == "velocity"}
    return half | still


def restore(whole: Weights, part: Weights, masks: Masks, *, pruning: Pruning) -> Weights:
    """A front, or gradients known of it, with what was trained in its places; pruned filters as in ``whole``."""
    return recover(whole, part, masks, model=pruning.split.problem.model)


# ---- on the wire: what is kept alone, and its mask -------------------------------------------------------------------------


def thin(weights: Weights, masks: Masks, *, pruning: Pruning) -> tuple[Weights, Masks]:
    """What a device uploads of its front: kept weights (by weight as one vector) and statistics; and the mask, packed.

    The mask is a bitmap or a list of positions, whichever is smaller: one for the front, or one for each layer's filters.
    """
    if pruning.by == "filter":
        told = {layer.name: coded(masks[layer.name], layer.count) for layer in pruning.layers}
        return carve(weights, masks, model=pruning.split.problem.model), told
    names = pruning.names
    flat, mask = (torch.cat([tree[name].reshape(-1) for name in names]) for tree in (weights, masks))
    chosen = mask.nonzero_static(size=len(flat) - pruned_of(pruning.rate, len(flat))).reshape(-1)
    rest = {name: tensor for name, tensor in weights.items() if name not in names}
    return {"kept": flat.index_select(0, chosen), **rest}, {"front": coded(chosen, len(flat))}


def thick(base: Weights, thinned: Weights, told: Masks, *, pruning: Pruning) -> Weights:
    """The device's front again, what it did not upload as in ``base``."""
    if pruning.by == "filter":
        counts = {layer.name: (layer.count, pruned_of(pruning.rate, layer.count)) for layer in pruning.layers}
        kept = {name: decoded(told[name], count, count - pruned) for name, (count, pruned) in counts.items()}
        return recover(base, thinned, kept, model=pruning.split.problem.model)
    names = pruning.names
    flat = torch.cat([base[name].reshape(-1) for name in names])
    chosen = decoded(told["front"], len(flat), len(thinned["kept"]))
    front = _apart(flat.index_copy(0, chosen, thinned["kept"]), {name: base[name] for name in names})
    return {name: front[name] if name in front else thinned[name] for name in base}
