"""Retransmissions: sums by hand, the geometric law, simulation within its error, properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.harq import erasure_attempts, goodput_factor, mean_attempts, residual_loss

PROBABILITIES = st.floats(0, 0.999)


def test_by_hand() -> None:
    # p = 1/10, up to 4: 1 + .1 + .01 + .001 attempts, 10^-4 lost, 0.9999 / 1.111 = 0.9.
    assert mean_attempts(0.1, 4) == pytest.approx(1.111)
    assert residual_loss(0.1, 4) == pytest.approx(1e-4)
    assert goodput_factor(0.1, 4) == pytest.approx(0.9)
    # Soft combining, 1/2 then 1/10: 1 + 1/2 attempts, 1/20 lost, 0.95 / 1.5.
    assert (mean_attempts([0.5, 0.1], 2), residual_loss([0.5, 0.1], 2)) == (1.5, 0.05)
    assert goodput_factor([0.5, 0.1], 2) == pytest.approx(0.95 / 1.5)


def test_the_ends() -> None:
    assert (mean_attempts(0, 5), residual_loss(0, 5), goodput_factor(0, 5)) == (1, 0, 1)
    assert (mean_attempts(1, 5), residual_loss(1, 5), goodput_factor(1, 5)) == (5, 1, 0)


@given(PROBABILITIES, st.integers(1, 60))
def test_one_probability_for_all(p: float, maximum: int) -> None:
    # The geometric sum (1 - p^m) / (1 - p), and the goodput 1 - p.
    assert mean_attempts(p, maximum) == pytest.approx((1 - p**maximum) / (1 - p), rel=1e-9)
    assert goodput_factor(p, maximum) == pytest.approx(1 - p, rel=1e-9)
    assert mean_attempts([p] * maximum, maximum) == mean_attempts(p, maximum)


@given(st.lists(PROBABILITIES, min_size=2, max_size=8))
def test_one_more_attempt(each: list[float]) -> None:
    fewer = each[:-1]
    assert mean_attempts(each, len(each)) >= mean_attempts(fewer, len(fewer))
    assert residual_loss(each, len(each)) <= residual_loss(fewer, len(fewer))


def test_against_simulation() -> None:
    # 100,000 blocks, failing with 0.5, 0.3, 0.2: within 4.5 standard errors.
    each = [0.5, 0.3, 0.2]
    failed = np.cumprod(np.random.default_rng(3).random((100_000, 3)) < each, axis=1)
    attempts = 1 + failed[:, 0] + failed[:, 1]
    assert abs(attempts.mean() - mean_attempts(each, 3)) < 4.5 * attempts.std() / math.sqrt(100_000)
    lost = residual_loss(each, 3)
    assert abs(failed[:, 2].mean() - lost) < 4.5 * math.sqrt(lost * (1 - lost) / 100_000)


# Inverse CDF by hand: 1 - p^k is 0.5, 0.75, 0.875 at p = 1/2.
@pytest.mark.parametrize(
    ("uniform", "attempts"),
    [(0.0, 1), (0.4999, 1), (0.5, 2), (0.7499, 2), (0.75, 3), (0.8749, 3), (0.875, 4), (1 - 2**-53, 54)],
)
def test_attempts_of_a_transfer(uniform: float, attempts: int) -> None:
    assert erasure_attempts(0.5, uniform) == attempts
    assert erasure_attempts(0.0, uniform) == 1


def test_attempts_are_geometric() -> None:
    # Equally spaced uniforms instead of random ones: 1 - p^k of them take at most k, to one part in their number.
    uniforms = (np.arange(20_000) + 0.5) / 20_000
    attempts = np.array([erasure_attempts(0.3, float(u)) for u in uniforms])
    for k in range(1, 7):
        assert (attempts <= k).mean() == pytest.approx(1 - 0.3**k, abs=1e-4)
    assert attempts.mean() == pytest.approx(1 / 0.7, abs=1e-3)


@given(PROBABILITIES, PROBABILITIES, st.floats(0, 1, exclude_max=True))
def test_more_loss_never_takes_fewer(first: float, second: float, uniform: float) -> None:
    low, high = sorted((first, second))
    assert 1 <= erasure_attempts(low, uniform) <= erasure_attempts(high, uniform)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"loss_probability: got 1; expected 0 to below 1"):
        erasure_attempts(1, 0.5)
    with pytest.raises(ValueError, match=r"uniform: got 1\.0; expected 0 to below 1"):
        erasure_attempts(0.5, 1.0)
    with pytest.raises(ValueError, match=r"bler_per_attempt: got 1\.2; expected 0 to 1"):
        mean_attempts(1.2, 3)
    with pytest.raises(ValueError, match=r"bler_per_attempt: got nan; expected 0 to 1"):
        residual_loss([0.1, math.nan], 2)
    with pytest.raises(ValueError, match="bler_per_attempt: got '2 of them'; expected one number, or 3"):
        mean_attempts([0.1, 0.2], 3)
    with pytest.raises(ValueError, match="maximum: got 0; expected at least 1"):
        goodput_factor(0.1, 0)
