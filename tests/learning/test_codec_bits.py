"""Packing of bits against a second implementation, in NumPy, by the documented layout."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.learning.codecs.bits import code_dtype, pack, packed_bytes, unpack


def packed_by_numpy(codes: list[int], width: int) -> bytes:
    """Planes of the lowest whole bytes first; then the highest bits of all codes in one little-endian stream."""
    whole, rest = divmod(width, 8)
    planes = bytes((code >> 8 * plane) & 255 for plane in range(whole) for code in codes)
    stream = [(code >> (8 * whole + place)) & 1 for code in codes for place in range(rest)]
    return planes + np.packbits(np.array(stream, np.uint8), bitorder="little").tobytes()


@st.composite
def codes_of_a_width(draw: st.DrawFn) -> tuple[int, list[int]]:
    width = draw(st.integers(1, 33))
    return width, draw(st.lists(st.integers(0, 2**width - 1), max_size=40))


@settings(max_examples=80, deadline=None)
@given(codes_of_a_width())
def test_packing_is_exact_and_gives_the_documented_bytes(drawn: tuple[int, list[int]]) -> None:
    width, codes = drawn
    tensor = torch.tensor(codes, dtype=torch.int64).to(code_dtype(width))
    packed = pack(tensor, width)
    assert packed.dtype == torch.uint8 and len(packed) == packed_bytes(len(codes), width)
    assert bytes(packed.tolist()) == packed_by_numpy(codes, width)
    again = unpack(packed, len(codes), width)
    assert again.dtype == code_dtype(width) and again.tolist() == codes


@pytest.mark.parametrize("width", range(1, 34))
def test_extremes_of_every_width(width: int) -> None:
    """All ones, all zeros, and every power of two, in counts that leave a part of a byte."""
    codes = [2**width - 1, 0, *(2**place for place in range(width)), 2**width - 1]
    packed = pack(torch.tensor(codes).to(code_dtype(width)), width)
    assert unpack(packed, len(codes), width).tolist() == codes


def test_by_hand() -> None:
    """Three codes of 3 bits, 1, 6 and 5: the stream 100 011 101 read low bit first is 0b01110001 and 0b1.

    Two of 9 bits, 0x101 and 0x0ff: the low bytes 01 and ff, then the ninth bits 1 and 0 as 0b01.
    """
    assert pack(torch.tensor([1, 6, 5], dtype=torch.uint8), 3).tolist() == [0b01110001, 0b00000001]
    assert pack(torch.tensor([0x101, 0x0FF], dtype=torch.int32), 9).tolist() == [0x01, 0xFF, 0b01]


@pytest.mark.parametrize("width", range(1, 34))
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64])
def test_meta_has_the_same_shapes(width: int, count: int) -> None:
    codes = torch.zeros(count, dtype=code_dtype(width), device="meta")
    packed = pack(codes, width)
    assert packed.is_meta and packed.shape == (packed_bytes(count, width),) and packed.dtype == torch.uint8
    again = unpack(packed, count, width)
    assert again.is_meta and again.shape == (count,) and again.dtype == codes.dtype
