"""Quantisers: fewer bits an entry, and what scale they are of."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from emulator.learning.codecs.base import FLOAT_BYTES, Encoded, Shape, Sizes, admitted, looking_at, matching, uniform
from emulator.learning.codecs.bits import code_dtype, pack, packed_bytes, unpack

LEVELS = 127  # of int8, on each side of zero


@dataclass(frozen=True)
class Int8:
    """Symmetric int8, one scale a tensor: q = round(h / scale), scale = max / 127; decoded q scale.

    For non-negative data, the quantiser of EcoFed (arXiv:2304.05495, as in its released code): codes
    0 to 127, and negative entries, which that code clips, are refused. With ``signed``, scale = max |x| / 127 and codes
    -127 to 127. The error is at most scale / 2 (and float32's rounding); 0 and the largest entry come back exactly. All
    zeros have scale 0 and come back as zeros; so do empty tensors, as empty.
    """

    signed: bool = False

    @property
    def carries_negative(self) -> bool:
        """Whether it is the signed one."""
        return self.signed

    def encode(self, tensor: Tensor, seed: int) -> Encoded:
        """Payload: int8 of the tensor's shape; overhead: its peak, max |x|, float32. 127 scale may miss it by a bit."""
        values = admitted(tensor, "int8-signed" if self.signed else "int8", negative=self.signed)
        low, high = _ends(values)
        peak = torch.maximum(-low, high) if self.signed else high
        share = (values / torch.where(peak > 0, peak, 1.0)).mul_(LEVELS)  # at most 1 x 127 in size: nothing to clamp
        return Encoded(share.round_().to(torch.int8), peak)

    def decode(self, encoded: Encoded, seed: int, shape: Shape) -> Tensor:
        """(q / 127) peak: 127 / 127 is 1, and so the peak exact."""
        matching(self, encoded, shape)
        return _shares(encoded.payload, LEVELS).mul_(encoded.overhead).reshape(shape)

    def bits(self, shape: Shape) -> Sizes:
        """One byte an entry and the scale's four."""
        return Sizes(torch.Size(shape).numel(), FLOAT_BYTES)


@dataclass(frozen=True)
class Stochastic:
    """Uniform quantiser of |x| with unbiased rounding, ``depth`` = b bits and a sign bit.

    2**b - 1 intervals of width Delta between the smallest and the largest |x|; rounded up with the probability that keeps
    the mean: E[Q(x)] = x and E||Q(x) - x||^2 <= n Delta^2 / 4 (a draw between two levels Delta apart varies by no more).
    Lightweight FedSL (arXiv:2412.06414) names quantised gradients of 8 bits; that they are rounded like this is our
    reading. As Delta <= ||x||_2 / s with s = 2**b - 1, QSGD's bound (Alistarh et al., arXiv:1610.02132)
    min(n / s^2, sqrt(n) / s) ||x||^2 holds as well. From b = 24 on, float32's own rounding is coarser than
    Delta. At b = 32 the entries travel unchanged as float32. Tensors of one magnitude, all zeros among them, come back exactly.
    """

    depth: int
    carries_negative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= 32:
            raise ValueError(f"codec stochastic: got {self.depth} bits; expected 1 to 32")

    def encode(self, tensor: Tensor, seed: int) -> Encoded:
        """Payload: codes of b + 1 bits, the lowest one the sign, packed; overhead: smallest and largest |x|."""
        values = admitted(tensor, "stochastic")
        if self.depth == 32:
            return Encoded(values)
        flat = values.reshape(-1)
        codes, low, high = self._sizes(flat, seed)
        codes.bitwise_left_shift_(1).bitwise_or_(flat < 0)
        return Encoded(pack(codes, self.depth + 1), torch.stack([low, high]))

    def round_trip(self, tensor: Tensor, seed: int) -> Tensor:
        """What ``decode`` makes of what ``encode`` gives, to the bit, without packing: for what is quantised and stays."""
        values = admitted(tensor, "stochastic")
        if self.depth == 32:
            return values
        flat = values.reshape(-1)
        codes, low, high = self._sizes(flat, seed)
        sizes = _shares(codes, 2**self.depth - 1).mul_(high - low).add_(low)
        return torch.where(flat < 0, -sizes, sizes).reshape(values.shape)

    def _sizes(self, flat: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """The codes of |x|, and what the lowest and the highest one stand for."""
        sizes = flat.abs()
        low, high = _ends(sizes)
        return self._rounded(sizes.sub_(low).div_(torch.where(high > low, high - low, 1.0)), seed), low, high

    def _rounded(self, shares: Tensor, seed: int) -> Tensor:
        """Codes 0 to 2**b - 1 of ``shares`` in 0 to 1, which are used up."""
        top = 2**self.depth - 1
        levels = shares.mul_(top)
        below = levels.floor()
        up = uniform(len(shares), seed, shares.device) < levels.sub_(below)
        codes = below.to(code_dtype(self.depth + 1))
        return codes.add_(up).clamp_(max=top)  # above 24 bits float32 rounds ``top`` itself up

    def decode(self, encoded: Encoded, seed: int, shape: Shape) -> Tensor:
        """Sign times low + Delta code."""
        matching(self, encoded, shape)
        if self.depth == 32:
            unchanged: Tensor = encoded.payload.reshape(shape)
            return unchanged
        codes = unpack(encoded.payload, torch.Size(shape).numel(), self.depth + 1)
        low, high = encoded.overhead.unbind()
        sizes = _shares(codes >> 1, 2**self.depth - 1).mul_(high - low).add_(low)
        return torch.where((codes & 1) > 0, -sizes, sizes).reshape(shape)

    def bits(self, shape: Shape) -> Sizes:
        """b + 1 bits an entry and two float32; 4 bytes an entry at b = 32."""
        count = torch.Size(shape).numel()
        if self.depth == 32:
            return Sizes(count * FLOAT_BYTES)
        return Sizes(packed_bytes(count, self.depth + 1), 2 * FLOAT_BYTES)


@dataclass(frozen=True)
class Sign:
    """One bit an entry and one scale: sign(x) mean |x|, where 0 counts as positive.

    Biased: ||C(x) - x||^2 = ||x||_2^2 - ||x||_1^2 / n (Karimireddy et al. 2019, arXiv:1901.09847), to be used with the
    error fed back. Raises ValueError where the mean overflows float32.
    """

    carries_negative: ClassVar[bool] = True

    def encode(self, tensor: Tensor, seed: int) -> Encoded:
        """Payload: sign bits, packed, 1 for negative; overhead: mean |x|, float32."""
        flat = admitted(tensor, "sign").reshape(-1)
        scale = flat.abs().mean() if len(flat) else flat.new_zeros(())
        with looking_at(scale) as visible:
            if visible and not bool(scale.isfinite()):
                raise ValueError(f"codec sign: got entries whose mean size is {float(scale)}; expected a finite one")
        return Encoded(pack((flat < 0).to(torch.uint8), 1), scale)

    def decode(self, encoded: Encoded, seed: int, shape: Shape) -> Tensor:
        """The scale with each entry's sign."""
        matching(self, encoded, shape)
        negative = unpack(encoded.payload, torch.Size(shape).numel(), 1) > 0
        return torch.where(negative, -encoded.overhead, encoded.overhead).reshape(shape)

    def bits(self, shape: Shape) -> Sizes:
        """One bit an entry and the scale's four bytes."""
        return Sizes(packed_bytes(torch.Size(shape).numel(), 1), FLOAT_BYTES)


def _ends(values: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest entry; zeros where there is none."""
    if not values.numel():
        return values.new_zeros(()), values.new_zeros(())
    low, high = values.aminmax()
    return low, high


def _shares(codes: Tensor, levels: int) -> Tensor:
    """codes / levels, float32. The divisor is a tensor: GPUs multiply by a number's reciprocal, and miss 1 at the top."""
    divisor = torch.full((), levels, dtype=torch.float32, device=codes.device)
    return codes.to(torch.float32).div_(divisor)
