"""Paired differences against Student's tables and by hand."""

from math import inf, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.paired import Interval, differences, first_reaching


def test_the_interval_by_hand() -> None:
    """Exact. Differences 1, 2, 3: mean 2, deviation 1; t(0.975, 2) = 4.302653 (Student's table), so 2 +- 4.302653 / sqrt(3)."""
    found = differences([2, 4, 6], [1, 2, 3])
    assert found.mean == 2 and found.pairs == 3
    assert found.high - 2 == pytest.approx(4.302653 / sqrt(3), rel=1e-6)
    assert 2 - found.low == pytest.approx(4.302653 / sqrt(3), rel=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.2, "holds"), (-0.1, 0.2, "inconclusive"), (-0.2, -0.1, "does not hold"), (0, 0.2, "inconclusive")],
)
def test_above(low: float, high: float, verdict: str) -> None:
    assert Interval((low + high) / 2, low, high, 5).above(0) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-1, 1, "holds"), (-3, 1, "inconclusive"), (2.5, 3, "does not hold"), (-3, -2.5, "does not hold")],
)
def test_equivalence_needs_a_narrow_interval(low: float, high: float, verdict: str) -> None:
    assert Interval((low + high) / 2, low, high, 5).within(2) == verdict


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=8), st.floats(-1e3, 1e3))
def test_a_shift_of_one_side_shifts_the_interval(pairs: list[tuple[float, float]], shift: float) -> None:
    """Property: the interval's width does not change, its place does; swapping sides mirrors it."""
    left, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    plain, moved, swapped = (
        differences(left, right),
        differences([x + shift for x in left], right),
        differences(right, left),
    )
    assert moved.low == pytest.approx(plain.low + shift, abs=1e-6)
    assert moved.high == pytest.approx(plain.high + shift, abs=1e-6)
    assert (swapped.low, swapped.high) == pytest.approx((-plain.high, -plain.low), abs=1e-9)


def test_the_first_place_that_reaches_a_target() -> None:
    assert first_reaching([(1, 0.2), (2, 0.5), (3, 0.4)], 0.4) == 2
    assert first_reaching([(1, 0.2)], 0.4) == inf


@pytest.mark.parametrize(
    ("left", "right", "confidence", "words"),
    [
        ([1.0], [1.0], 0.95, "two or more"),
        ([1.0, 2.0], [1.0], 0.95, "as many on both sides"),
        ([1.0, inf], [1.0, 2.0], 0.95, "finite"),
        ([1.0, 2.0], [1.0, 2.0], 1.0, "between 0 and 1"),
    ],
)
def test_wrong_pairs_are_refused(left: list[float], right: list[float], confidence: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        differences(left, right, confidence=confidence)
