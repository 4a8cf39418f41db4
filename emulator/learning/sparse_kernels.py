"""What products and convolutions cost where kernels skip single weights that are pruned (``sparse_kernels`` of a profile).

A step says which of its weights are sparse and how large a share of them is kept (``meter.sparse_weights``). The host computes
densely, with zeros, so results are exact. Hardware with sparse kernels is charged the kept share of the FLOPs of every
product and convolution with such a weight: forward, back to the inputs, and of the weights' own gradients, if those of kept
weights are all that is asked for. Of bytes it is spared those of pruned weights and of their gradients; a sparse format's
positions are not counted, nor is a start-up cost, so this is what ideal kernels would save. Rounded to the nearest whole.

Where a layer's kept weights are fewer or more than the share told, the charge is an approximation for that layer.
"""

import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

TURNED = ("TBackward0", "TransposeBackward0")  # autograd's names of the views under which a product reads a weight
PASSES_BACK = ("convolution_backward", "gated_conv_backward")  # one operator for the gradients of inputs and weights


class Share(NamedTuple):
    """``kept`` of ``of`` weights take part. ``gradients``: whether those of kept weights are all that is asked for."""

    kept: int
    of: int
    gradients: bool = True

    def part(self, number: int) -> int:
        """The kept share of a number, rounded to the nearest whole."""
        return (2 * number * self.kept + self.of) // (2 * self.of)

    def spared(self, tensor: Tensor) -> int:
        """Bytes of a weight, or of its gradient, that are not touched."""
        return (tensor.numel() - self.part(tensor.numel())) * tensor.element_size()


class Thin(NamedTuple):
    """What one operator costs on sparse kernels: FLOPs and bytes; and with dynamic channels as well."""

    flops: int
    bytes: int
    kept_flops: int
    kept_bytes: int


class Marks:
    """The sparse weights that a meter knows, as long as their storages live."""

    def __init__(self) -> None:
        self._shares: dict[int, Share] = {}

    def put(self, weights: Iterable[Tensor], share: Share) -> None:
        """From now on these are sparse. Raises ValueError for a share that is none."""
        if not 0 <= share.kept <= share.of or share.of == 0:
            raise ValueError(f"sparse weights: got {share.kept} of {share.of} kept; expected 0 to all of 1 or more")
        for tensor in weights:
            storage = tensor.untyped_storage()
            self._shares[storage._cdata] = share
            weakref.finalize(storage, self._shares.pop, storage._cdata, None)

    def thin(self, func: Any, args: Any, outputs: list[Tensor], op: tuple[Any, ...]) -> Thin | None:
        """What an operator costs on sparse kernels; None: as much as elsewhere. ``op``: its entry in the meter."""
        if not self._shares or op[0] not in ("conv", "matmul"):
            return None
        weight = next((item for item in args if isinstance(item, Tensor) and item.dim() > 1 and self._of(item)), None)
        if weight is None:
            share = self._learned()
            return _thin(op, 0, share, share.spared(outputs[0])) if share and share.gradients else None
        share = self._shares[weight.untyped_storage()._cdata]
        if func._overloadpacket.__name__ in PASSES_BACK:
            return _both(op, args[-1], share, weight)
        return _thin(op, 0, share, share.spared(weight))

    def _of(self, tensor: Tensor) -> Share | None:
        return self._shares.get(tensor.untyped_storage()._cdata)

    def _learned(self) -> Share | None:
        """Of the weight whose gradient is being made by a product that does not read it: autograd knows whose it is."""
        node = torch._C._current_autograd_node()
        for follower, _ in () if node is None else node.next_functions:
            if follower is not None and follower.name() in TURNED:
                follower = follower.next_functions[0][0]
            leaf = getattr(follower, "variable", None)
            if leaf is not None and leaf.dim() > 1 and self._of(leaf):
                return self._of(leaf)
        return None


def _both(op: tuple[Any, ...], wanted: list[bool], share: Share, weight: Tensor) -> Thin:
    """A convolution's pass back: the gradients of inputs and weights, those that are wanted, cost the same each."""
    spared = share.spared(weight) * (1 + (wanted[1] and share.gradients))
    dense = 0.0 if share.gradients or not wanted[1] else 1 / (wanted[0] + wanted[1])
    return _thin(op, dense, share, spared)


def _thin(op: tuple[Any, ...], dense: float, share: Share, spared: int) -> Thin:
    """``dense``: the part of the FLOPs that no pruned weight spares, 0, a half or all.

    With dynamic channels the bytes are those of kept channels: which of their weights are pruned is not known.
    """

    def left(flops: int) -> int:
        whole = int(flops * dense)
        return whole + share.part(flops - whole)

    kept_flops, kept_bytes = op[3:5] or (op[1], op[2] - spared)
    return Thin(left(op[1]), op[2] - spared, left(kept_flops), kept_bytes)


# ---- a meter's entries, with and without ----------------------------------------------------------------------------------


def without(ops: Counter[Any]) -> Counter[Any]:
    """The entries as if no weight were sparse."""
    plain: Counter[Any] = Counter()
    for op, count in ops.items():
        plain[op[:-1] if isinstance(op[-1], Thin) else op] += count
    return plain


def on_sparse(ops: Counter[Any], dynamic_channels: bool) -> tuple[tuple[str, int, int, int], ...]:
    """(class, FLOPs, bytes, count) on sparse kernels, sorted."""
    found = []
    for op, count in ops.items():
        if isinstance(op[-1], Thin):
            flops, size = op[-1][2:] if dynamic_channels else op[-1][:2]
        else:
            flops, size = op[-2:] if dynamic_channels else op[1:3]
        found.append((op[0], flops, size, count))
    return tuple(sorted(found))
