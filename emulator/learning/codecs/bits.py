"""Codes of any width packed into bytes, without a gap between them: exact, vectorised, on meta as on real tensors.

Layout of n codes of w = 8 q + r bits: q planes of n bytes, the codes' lowest bytes first; then the r highest bits of all
codes, one after the other, least significant bit first. Together ceil(n w / 8) bytes.
"""

import torch
from torch import Tensor


def packed_bytes(count: int, width: int) -> int:
    """Bytes of ``count`` codes of ``width`` bits."""
    return -(-count * width // 8)


def code_dtype(width: int) -> torch.dtype:
    """The narrowest dtype that is used here for codes of ``width`` bits (1 to 63)."""
    if width <= 8:
        return torch.uint8
    return torch.int32 if width < 32 else torch.int64


def pack(codes: Tensor, width: int) -> Tensor:
    """uint8 [ceil(n width / 8)] from integer codes [n], each at least 0 and below 2**width."""
    rest = width % 8  # a cast to uint8 keeps the lowest byte
    planes = [(codes >> shift).to(torch.uint8) for shift in range(0, width - rest, 8)]
    if rest:
        planes.append(_regroup((codes >> (width - rest)).to(torch.uint8), rest, 8))
    return torch.cat(planes)


def unpack(packed: Tensor, count: int, width: int) -> Tensor:
    """The ``count`` codes again, as ``code_dtype(width)`` [count]."""
    rest = width % 8
    whole = width // 8
    codes = torch.zeros(count, dtype=code_dtype(width), device=packed.device)
    for plane in range(whole):
        codes |= packed[plane * count : (plane + 1) * count].to(codes.dtype) << 8 * plane
    if rest:
        top = _regroup(packed[whole * count :], 8, rest)[:count]
        codes |= top.to(codes.dtype) << 8 * whole
    return codes


def _regroup(values: Tensor, width: int, other: int) -> Tensor:
    """The bits of ``values`` (uint8, ``width`` bits each) in groups of ``other`` bits; zeros fill up the last one."""
    bits = (values.unsqueeze(1) >> _places(width, values)).bitwise_and_(1)  # in place: all this is memory on a device
    stream = bits.reshape(-1)
    if short := -len(stream) % other:
        stream = torch.nn.functional.pad(stream, (0, short))
    return stream.reshape(-1, other).bitwise_left_shift_(_places(other, values)).sum(1, dtype=torch.uint8)


def _places(width: int, values: Tensor) -> Tensor:
    return torch.arange(width, dtype=torch.uint8, device=values.device)
