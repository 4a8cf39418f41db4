"""Quantisers: a second implementation in NumPy, exact bounds of the error, unbiasedness and variance against theory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from emulator.learning.codecs import Int8, Sign, Stochastic

EPS = 2.0**-23  # of float32, relative to the largest size
TINY = 2.0**-149  # the smallest float32: what rounding costs among subnormal numbers
Floats = NDArray[np.float32]


def tensor_of(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def normal(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


FLOATS = st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=30)


# ---- int8 --------------------------------------------------------------------------------------------------------------


def test_int8_by_hand() -> None:
    """max 12.7, scale 0.1: 0.04 is nearest to 0, 0.06 to 1, 3.14 to 31; decoded 0, 0.1, 3.1."""
    encoded = Int8().encode(tensor_of([0.0, 0.04, 0.06, 3.14, 12.7]), 0)
    assert encoded.payload.dtype == torch.int8 and encoded.payload.tolist() == [0, 0, 1, 31, 127]
    decoded = Int8().decode(encoded, 0, (5,))
    assert torch.allclose(decoded, tensor_of([0.0, 0.0, 0.1, 3.1, 12.7]), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(FLOATS, st.booleans())
def test_int8_against_numpy(values: list[float], signed: bool) -> None:
    """The same codes by NumPy's float32; in float64, the textbook's round(h / scale) where it is no near tie."""
    x = np.array(values, np.float32)
    x = x if signed else np.abs(x)
    peak = np.abs(x).max()
    with np.errstate(over="ignore", under="ignore"):
        share = x / (peak if peak > 0 else np.float32(1))
    encoded = Int8(signed).encode(torch.from_numpy(x.copy()), 0)
    codes = encoded.payload.numpy()
    assert np.array_equal(codes, np.rint(share * np.float32(127)).astype(np.int8))
    assert float(encoded.overhead) == peak
    if peak > 0:
        textbook = x.astype(np.float64) / (float(peak) / 127)
        clear = np.abs(textbook % 1 - 0.5) > 1e-4
        assert np.array_equal(codes[clear], np.rint(textbook[clear]))


@settings(max_examples=60, deadline=None)
@given(FLOATS, st.booleans())
def test_int8_errs_by_half_a_scale_at_most(values: list[float], signed: bool) -> None:
    """In float64: |decoded - h| <= scale / 2 and float32's rounding; 0 and the largest sizes come back exactly."""
    x = tensor_of(values) if signed else tensor_of(values).abs()
    codec = Int8(signed)
    decoded = codec.decode(codec.encode(x, 0), 0, (len(x),)).double()
    peak = float(x.abs().max())
    assert bool(((decoded - x.double()).abs() <= peak / 254 + EPS * peak + TINY).all())
    exact = (x == 0) | (x.abs() == peak)
    assert torch.equal(decoded[exact], x.double()[exact])


def test_the_peak_is_exact_for_any_mantissa() -> None:
    """max / 127 x 127 misses max by a bit for 0.8% of all numbers; what travels is the max itself."""
    peaks = torch.rand(2000, generator=torch.Generator().manual_seed(3)) + 1
    assert not torch.equal(peaks / 127 * 127, peaks)
    assert all(torch.equal(Int8().decode(Int8().encode(p, 0), 0, ()), p) for p in peaks.unbind())


def test_the_unsigned_one_uses_half_the_codes() -> None:
    codes = Int8().encode(normal(1000).relu(), 0).payload
    assert int(codes.min()) == 0 and int(codes.max()) == 127
    both = Int8(signed=True).encode(normal(1000), 0).payload
    assert int(both.min()) < 0 and int(both.abs().max()) == 127


def test_negative_zero_is_not_negative() -> None:
    assert Int8().encode(tensor_of([-0.0, 1.0]), 0).payload.tolist() == [0, 127]


# ---- stochastic --------------------------------------------------------------------------------------------------------


def range_of(x: Floats, depth: int) -> tuple[float, float, float]:
    """Smallest and largest size, and Delta, in float64."""
    low, high = float(np.abs(x).min()), float(np.abs(x).max())
    return low, high, (high - low) / (2**depth - 1)


def by_numpy(x: Floats, depth: int, seed: int) -> Floats:
    """The same rule in float64, with the same draws: up where the draw is below what is left of the level."""
    low, _, delta = range_of(x, depth)
    draws = torch.rand(len(x), generator=torch.Generator().manual_seed(seed)).numpy().astype(np.float64)
    level = (np.abs(x).astype(np.float64) - low) / delta if delta else np.zeros(len(x))
    code = np.floor(level) + (draws < level - np.floor(level))
    return np.asarray(np.where(x < 0, -1.0, 1.0) * (low + delta * code), np.float32)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7, 8, 12])
def test_stochastic_against_numpy(depth: int) -> None:
    """Up to float32's rounding they agree wherever the draw is not within 1e-2 of deciding otherwise (here: nearly all)."""
    x = normal(5000).numpy()
    codec = Stochastic(depth)
    decoded = codec.decode(codec.encode(torch.from_numpy(x), 9), 9, (5000,)).numpy()
    same = np.abs(decoded - by_numpy(x, depth, 9)) <= 4 * EPS * np.abs(x).max()
    assert same.mean() > 0.998


@settings(max_examples=50, deadline=None)
@given(FLOATS, st.integers(1, 32), st.integers(0, 2**40))
def test_stochastic_errs_by_less_than_a_step_and_keeps_signs(values: list[float], depth: int, seed: int) -> None:
    x = tensor_of(values)
    codec = Stochastic(depth)
    decoded = codec.decode(codec.encode(x, seed), seed, (len(x),)).numpy().astype(np.float64)
    _, high, delta = range_of(x.numpy(), depth)
    assert (np.abs(decoded - x.numpy().astype(np.float64)) <= delta + 4 * EPS * high + TINY).all()
    assert (decoded * np.sign(x.numpy()) >= 0).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16, 24, 31])
def test_both_ends_of_the_range_come_back(depth: int) -> None:
    """The smallest and the largest size lie on levels: no draw moves them."""
    x = tensor_of([0.25, -1.75, 0.7, -1.1, 1.75, -0.25])
    codec = Stochastic(depth)
    for seed in range(20):
        decoded = codec.decode(codec.encode(x, seed), seed, (6,))
        assert decoded[[0, 1, 4, 5]].tolist() == [0.25, -1.75, 1.75, -0.25]


def test_one_magnitude_is_exact() -> None:
    x = tensor_of([0.3, -0.3, 0.3])
    for depth in (1, 8, 31):
        assert torch.equal(Stochastic(depth).decode(Stochastic(depth).encode(x, 1), 1, (3,)), x)


def test_32_bits_are_the_tensor_itself() -> None:
    x = normal(100)
    assert torch.equal(Stochastic(32).decode(Stochastic(32).encode(x, 1), 1, (100,)), x)


@pytest.mark.parametrize("depth", [24, 30, 31])
def test_many_bits_err_by_float32_rounding_only(depth: int) -> None:
    x = normal(1000)
    decoded = Stochastic(depth).decode(Stochastic(depth).encode(x, 1), 1, (1000,))
    assert float((decoded - x).abs().max()) <= 4 * EPS * float(x.abs().max())


TRIALS = 1000


def many(depth: int, x: Tensor) -> NDArray[np.float64]:
    """[TRIALS, n] decoded values, a seed each."""
    codec = Stochastic(depth)
    shape = tuple(x.shape)
    rows = [codec.decode(codec.encode(x, seed), seed, shape) for seed in range(TRIALS)]
    return torch.stack(rows).numpy().astype(np.float64)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_stochastic_is_unbiased_and_its_variance_is_the_theory_s(depth: int) -> None:
    """Entry i at share f between two levels: mean x_i, variance Delta^2 f (1 - f).

    Tolerances: the mean of 1,000 draws within 4.5 standard errors for all 60 entries (false alarm 4e-4); the summed
    square error within 5% of the sum of the variances (its own standard error is below 1%), so below n Delta^2 / 4;
    and below QSGD's min(n / s^2, sqrt(n) / s) ||x||^2.
    """
    x = normal(60, seed=5)
    array = x.numpy().astype(np.float64)
    low, _, delta = range_of(x.numpy(), depth)
    share = (np.abs(array) - low) / delta % 1.0
    variance = delta**2 * share * (1 - share)
    decoded = many(depth, x)
    errors = np.abs(decoded.mean(axis=0) - array)
    assert (errors <= 4.5 * np.sqrt(variance / TRIALS) + 1e-6).all()
    square = float(((decoded - array) ** 2).sum(axis=1).mean())
    assert square == pytest.approx(variance.sum(), rel=0.05)
    levels, norm = 2**depth - 1, float((array**2).sum())
    assert variance.sum() <= 60 * delta**2 / 4
    assert square <= min(60 / levels**2, np.sqrt(60) / levels) * norm


def test_a_quarter_rounds_up_a_quarter_of_the_time() -> None:
    """Sizes 0, 1/4 and 1 at one bit: 1/4 becomes 1 with probability 1/4; over 1,000 draws 0.25 +- 4 x 0.0137."""
    up = many(1, tensor_of([0.0, -0.25, 1.0]))[:, 1]
    assert set(np.unique(up)) == {-1.0, 0.0}
    assert -up.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.1875 / TRIALS))


# ---- sign --------------------------------------------------------------------------------------------------------------


def test_sign_by_hand() -> None:
    """Mean size (1 + 2 + 0 + 5) / 4 = 2; zero counts as positive; bits 0, 1, 0, 1 from the lowest: 0b1010."""
    encoded = Sign().encode(tensor_of([1.0, -2.0, 0.0, -5.0]), 0)
    assert encoded.payload.tolist() == [0b1010] and float(encoded.overhead) == 2.0
    assert Sign().decode(encoded, 0, (2, 2)).tolist() == [[2.0, -2.0], [2.0, -2.0]]


@settings(max_examples=50, deadline=None)
@given(FLOATS)
def test_sign_errs_by_the_closed_form(values: list[float]) -> None:
    """||C(x) - x||^2 = ||x||_2^2 - ||x||_1^2 / n, relative to ||x||_2^2 within 1e-5 (the scale is float32)."""
    x = np.array(values, np.float32).astype(np.float64)
    x = x / max(np.abs(x).max(), 1e-300)  # in a range where no square underflows
    x = x.astype(np.float32).astype(np.float64)
    decoded = Sign().decode(Sign().encode(torch.from_numpy(x.astype(np.float32)), 0), 0, (len(x),)).numpy()
    error = ((decoded.astype(np.float64) - x) ** 2).sum()
    assert error == pytest.approx((x**2).sum() - np.abs(x).sum() ** 2 / len(x), abs=1e-5 * (x**2).sum() + 1e-30)


def test_a_mean_that_overflows_is_refused() -> None:
    with pytest.raises(ValueError, match="codec sign: got entries whose mean size is inf; expected a finite one"):
        Sign().encode(torch.full((4,), 3e38), 0)


@pytest.mark.parametrize("depth", [0, 33, -1])
def test_bits_out_of_range(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"codec stochastic: got {depth} bits; expected 1 to 32"):
        Stochastic(depth)
