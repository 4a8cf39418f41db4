"""Masks: which neurons of a sub-network are kept as it travels, and single weights that are kept (unstructured masks).

A mask travels as a bitmap (one bit a neuron) or as a list of positions (as many bits each as the largest takes), whichever is
smaller; both sides know how many are kept, so which of the two it is need not be told, and nothing is sent where all are.
An unstructured mask saves bytes, and time on devices with ``sparse_kernels`` alone: elsewhere its zeros are computed with.
"""

import torch
from torch import Tensor

from emulator.learning.binding import Weights
from emulator.learning.codecs.bits import pack, packed_bytes, unpack
from emulator.learning.submodel import Kept, Submodel, layers

Mask = dict[str, Tensor]  # what travels: uint8


def mask_bytes(count: int, kept: int) -> int:
    """Bytes of a mask that keeps so many of ``count``."""
    return 0 if kept == count else min(packed_bytes(count, 1), packed_bytes(kept, _width(count)))


def coded(chosen: Tensor, count: int) -> Tensor:
    """uint8 [mask_bytes(count, k)] from the sorted positions int64 [k] of what is kept of ``count``."""
    kept = len(chosen)
    if kept == count:
        return torch.empty(0, dtype=torch.uint8, device=chosen.device)
    if _as_bitmap(count, kept):
        bits = torch.zeros(count, dtype=torch.uint8, device=chosen.device)
        return pack(bits.index_fill_(0, chosen, 1), 1)
    return pack(chosen, _width(count))


def decoded(mask: Tensor, count: int, kept: int) -> Tensor:
    """The positions again, int64 [kept]. Raises ValueError for a mask of another length."""
    if len(mask) != mask_bytes(count, kept):
        raise ValueError(f"mask: got {len(mask)} bytes for {kept} of {count}; expected {mask_bytes(count, kept)} bytes")
    if kept == count:
        return torch.arange(count, device=mask.device)
    if _as_bitmap(count, kept):
        return unpack(mask, count, 1).nonzero_static(size=kept).reshape(-1)
    return unpack(mask, kept, _width(count)).to(torch.int64)


def _as_bitmap(count: int, kept: int) -> bool:
    return packed_bytes(count, 1) <= packed_bytes(kept, _width(count))


def _width(count: int) -> int:
    """Bits of the largest position."""
    return max(1, (count - 1).bit_length())


# ---- of neurons ----------------------------------------------------------------------------------------------------------


def tell(kept: Kept, *, sub: Submodel) -> Mask:
    """What a device is sent to know its sub-network: a mask for each layer."""
    return {layer.name: coded(kept[layer.name], layer.count) for layer in layers(sub.model)}


def told(mask: Mask, *, sub: Submodel) -> Kept:
    """The kept neurons again."""
    pairs = zip(layers(sub.model), sub.counts, strict=True)
    return {layer.name: decoded(mask[layer.name], layer.count, count) for layer, count in pairs}


def told_bytes(sub: Submodel) -> int:
    """Bytes of a sub-network's mask."""
    return sum(mask_bytes(layer.count, count) for layer, count in zip(layers(sub.model), sub.counts, strict=True))


# ---- of single weights ---------------------------------------------------------------------------------------------------


def largest(weights: Weights, *, share: float) -> Kept:
    """Positions (row-major, sorted) of the max(1, round(share n)) weights of largest size in each tensor.

    Of equal ones the first are kept. Raises ValueError for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"mask: got a share of {share:g}; expected above 0 and at most 1")
    return {name: _largest(tensor, max(1, round(share * tensor.numel()))) for name, tensor in weights.items()}


def _largest(tensor: Tensor, count: int) -> Tensor:
    order = tensor.detach().abs().reshape(-1).sort(descending=True, stable=True).indices
    return order[:count].sort().values


def flags(weights: Weights, kept: Kept) -> dict[str, Tensor]:
    """bool of each weight's shape, true where it is kept; of weights with positions in ``kept`` alone."""
    found = {}
    for name, chosen in kept.items():
        none = torch.zeros(weights[name].numel(), dtype=torch.bool, device=chosen.device)
        found[name] = none.index_fill_(0, chosen, True).reshape(weights[name].shape)
    return found


def thin(weights: Weights, kept: Kept) -> dict[str, Weights]:
    """What travels of weights under a mask of single weights: the kept values, and the mask."""
    values = {name: tensor.reshape(-1).index_select(0, kept[name]) for name, tensor in weights.items()}
    return {"values": values, "mask": {name: coded(kept[name], tensor.numel()) for name, tensor in weights.items()}}


def thick(base: Weights, thinned: dict[str, Weights]) -> Weights:
    """``base`` with the values that travelled in their places."""
    found = {}
    for name, tensor in base.items():
        values = thinned["values"][name]
        places = decoded(thinned["mask"][name], tensor.numel(), len(values))
        found[name] = tensor.reshape(-1).index_copy(0, places, values).reshape(tensor.shape)
    return found
