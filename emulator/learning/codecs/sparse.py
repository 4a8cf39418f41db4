"""Fewer entries: the largest ones, random ones, or what a dropout keeps."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from emulator.learning.codecs.base import (
    FLOAT_BYTES,
    SEED_BYTES,
    Encoded,
    Shape,
    Sizes,
    admitted,
    agree,
    drawn,
    looking_at,
    matching,
    seed_tensor,
)
from emulator.learning.codecs.bits import pack, packed_bytes, unpack

INDEX_BYTES = 4


def kept(count: int, share: float) -> int:
    """round(share count) entries, halves to even, at least one where there is any."""
    return min(count, max(1, round(share * count)))


def _ratio(ratio: float, name: str) -> None:
    if not 0 < ratio <= 1:
        raise ValueError(f"codec {name}: got a ratio of {ratio}; expected above 0 and at most 1")


@dataclass(frozen=True)
class TopK:
    """The k = ``kept(n, ratio)`` entries of largest size, with their positions; the others come back as 0.

    Biased: ||C(x) - x||^2 <= (1 - k / n) ||x||^2 (Stich et al. 2018, arXiv:1809.07599). Which of equal entries are kept at
    the edge is the library's choice, the same on one build.
    """

    ratio: float
    carries_negative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _ratio(self.ratio, "top-k")

    def encode(self, tensor: Tensor, seed: int) -> Encoded:
        """Payload: values [k] and int32 positions [k] in row-major order."""
        flat = admitted(tensor, "top-k").reshape(-1)
        if len(flat) >= 2**31:
            raise ValueError(f"codec top-k: got {len(flat)} entries; expected fewer than 2**31, as positions are int32")
        _, positions = flat.abs().topk(kept(len(flat), self.ratio), sorted=False)
        return Encoded({"values": flat.index_select(0, positions), "positions": positions.to(torch.int32)})

    def decode(self, encoded: Encoded, seed: int, shape: Shape) -> Tensor:
        """The kept entries in their places."""
        matching(self, encoded, shape)
        values = encoded.payload["values"]
        return _spread(values, encoded.payload["positions"].to(torch.int64), (torch.Size(shape).numel(),), 0).reshape(
            shape
        )

    def bits(self, shape: Shape) -> Sizes:
        """A float32 and an int32 for each kept entry."""
        return Sizes(kept(torch.Size(shape).numel(), self.ratio) * (FLOAT_BYTES + INDEX_BYTES))


@dataclass(frozen=True)
class RandomK:
    """k = ``kept(n, ratio)`` entries drawn without replacement, their positions coded by the seed.

    ``unbiased`` scales them by n / k: E[C(x)] = x and E||C(x) - x||^2 = (n / k - 1) ||x||^2. Without it the error is
    (1 - k / n) ||x||^2 on average, and the mean k / n of x (both follow from P(kept) = k / n).
    """

    ratio: float
    unbiased: bool = True
    carries_negative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _ratio(self.ratio, "random-k")

    def encode(self, tensor: Tensor, seed: int) -> Encoded:
        """Payload: values [k], already scaled; overhead: the seed."""
        flat = admitted(tensor, "random-k").reshape(-1)
        k = kept(len(flat), self.ratio)
        values = flat.index_select(0, drawn(len(flat), k, seed, flat.device))
        if self.unbiased:
            _scale_up(values, len(flat), k)
        return Encoded({"values": values}, seed_tensor(seed, flat.device))

    def decode(self, encoded: Encoded, seed: int, shape: Shape) -> Tensor:
        """The kept entries in the places that the seed gives."""
        matching(self, encoded, shape)
        agree(encoded.overhead, seed)
        values, count = encoded.payload["values"], torch.Size(shape).numel()
        return _spread(values, drawn(count, len(values), seed, values.device), (count,), 0).reshape(shape)

    def bits(self, shape: Shape) -> Sizes:
        """A float32 for each kept entry, and the seed."""
        return Sizes(kept(torch.Size(shape).numel(), self.ratio) * FLOAT_BYTES, SEED_BYTES)


@dataclass(frozen=True)
class Dropout:
    """Random dropout at the cut: exactly k = ``kept(n, 1 - p)`` of n entries stay, scaled by n / k (unbiased).

    By ``channel``, whole channels (dim 1) of all samples stay or go, and n and k count channels. The mask travels as the
    seed, or as a bitmap. It is linear and depends on the seed only: the cut gradient that goes back through the same codec
    with the same seed comes out as the gradient with respect to the smashed data, exactly 0 where entries were dropped.
    Lightweight FedSL (arXiv:2412.06414) names the random dropout; a fixed k makes its bytes known beforehand.
    """

    p: float
    mask: Literal["seed", "bitmap"] = "seed"
    by: Literal["element", "channel"] = "element"
    carries_negative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ValueError(f"codec dropout: got p = {self.p}; expected 0 or more and below 1")

    def encode(self, tensor: Tensor, seed: int) -> Encoded:
        """Payload: values [k] or [N, k, ...], already scaled, and the bitmap; overhead: the seed, without bitmap."""
        view, dim = self._view(tuple(tensor.shape))
        values = admitted(tensor, "dropout").reshape(view)
        count, k = view[dim], kept(view[dim], 1 - self.p)
        positions = drawn(count, k, seed, values.device)
        if self.mask == "bitmap":
            positions = positions.sort().values  # as the bitmap tells no other order
        sent = values.index_select(dim, positions)
        _scale_up(sent, count, k)
        if self.mask == "seed":
            return Encoded({"values": sent}, seed_tensor(seed, values.device))
        bitmap = torch.zeros(count, dtype=torch.uint8, device=values.device).index_fill_(0, positions, 1)
        return Encoded({"values": sent, "mask": pack(bitmap, 1)})

    def decode(self, encoded: Encoded, seed: int, shape: Shape) -> Tensor:
        """The kept entries in the places that the mask gives."""
        matching(self, encoded, shape)
        view, dim = self._view(shape)
        values = encoded.payload["values"]
        count, k = view[dim], values.shape[dim]
        if self.mask == "seed":
            agree(encoded.overhead, seed)
            positions = drawn(count, k, seed, values.device)
        else:
            positions = unpack(encoded.payload["mask"], count, 1).nonzero_static(size=k).reshape(-1)
        return _spread(values, positions, view, dim).reshape(shape)

    def bits(self, shape: Shape) -> Sizes:
        """A float32 for each kept entry; and the seed, or one bit for each entry or channel."""
        view, dim = self._view(shape)
        count = view[dim]
        rest = torch.Size(view[:dim] + view[dim + 1 :]).numel()
        values = kept(count, 1 - self.p) * rest * FLOAT_BYTES
        return Sizes(values, SEED_BYTES) if self.mask == "seed" else Sizes(values + packed_bytes(count, 1))

    def _view(self, shape: Shape) -> tuple[Shape, int]:
        """The shape and the dimension along which positions are dropped."""
        if self.by == "element":
            return (torch.Size(shape).numel(),), 0
        if len(shape) < 2:
            raise ValueError(f"codec dropout by channel: got shape {shape}; expected at least two dimensions")
        return shape, 1


def _scale_up(values: Tensor, count: int, k: int) -> None:
    """Multiply, in place, what stays of a draw of ``k`` of ``count``. Raises ValueError where float32 overflows."""
    if not 0 < k < count:
        return
    values.mul_(count / k)
    with looking_at(values) as visible:
        if visible and not bool(values.isfinite().all()):
            raise ValueError(f"codec: got an entry that overflows float32 when scaled by {count}/{k}; expected none")


def _spread(values: Tensor, positions: Tensor, shape: Shape, dim: int) -> Tensor:
    """Zeros of ``shape`` with ``values`` at ``positions`` along ``dim``."""
    return values.new_zeros(shape).index_copy(dim, positions, values)
