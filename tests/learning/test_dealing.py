"""Parts dealt by speed: the extremes by hand, and Spearman's correlation against theory."""

from functools import partial
from itertools import pairwise
from math import asin, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.learning.dealing import deal, normal_scores
from emulator.learning.random import stream


def parts(*sizes: int) -> list[np.ndarray]:
    """Disjoint parts of these sizes."""
    bounds = np.cumsum((0, *sizes))
    return [np.arange(first, last) for first, last in pairwise(bounds)]


def sizes(dealt: list[np.ndarray]) -> list[int]:
    return [len(part) for part in dealt]


# Exact by hand: speeds 3, 1, 4, 2 have ranks 3, 1, 4, 2; sizes 10, 40, 20, 30.
def test_the_extremes_are_sorted_and_reversed() -> None:
    given_out = parts(10, 40, 20, 30)
    assert sizes(deal(given_out, [3.0, 1.0, 4.0, 2.0], 1.0, partial(stream, 5))) == [30, 10, 40, 20]
    assert sizes(deal(given_out, [3.0, 1.0, 4.0, 2.0], -1.0, partial(stream, 5))) == [20, 40, 10, 30]


def test_of_equals_the_later_counts_as_the_larger() -> None:
    first, second, third = parts(10, 10, 20)
    dealt = deal([first, second, third], [1.0, 1.0, 1.0], 1.0, partial(stream, 5))
    assert [part is own for part, own in zip(dealt, (first, second, third), strict=True)] == [True] * 3


# Exact by hand: quantiles of the standard normal at 1/4, 2/4 and 3/4.
def test_normal_scores() -> None:
    assert normal_scores([7.0, 2.0, 5.0]) == pytest.approx([0.67448975, -0.67448975, 0.0])
    assert normal_scores([3.0]) == pytest.approx([0.0])


# Theory: Spearman's rank correlation of a bivariate normal is 6/pi asin(rho/2). Its standard error is at most about
# 1.06 (1 - r^2) / sqrt(n), for n = 1000 and r = 0: 0.034 (Fieller, Hartley and Pearson 1957: variance 1.06 / (n - 3) of
# its Fisher transform). Four of them.
@pytest.mark.parametrize("rho", [-0.9, -0.5, 0.0, 0.3, 0.7, 0.95])
def test_spearman_is_as_theory_has_it(rho: float) -> None:
    count = 1000
    speeds = stream(1, "speeds").permutation(count).astype(float)
    held = sizes(deal(parts(*range(1, count + 1)), speeds.tolist(), rho, partial(stream, 2)))
    # No ties in either: the correlation of the ranks themselves.
    found = float(np.corrcoef(speeds, held)[0, 1])
    expected = 6 / pi * asin(rho / 2)
    assert abs(found - expected) < 4 * 1.06 * (1 - expected**2) / sqrt(count)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.floats(-1, 1), st.integers(0, 99))
def test_the_parts_stay_the_same_set(held: list[int], rho: float, seed: int) -> None:
    given_out = parts(*held)
    dealt = deal(given_out, [float(index % 3) for index in range(len(held))], rho, partial(stream, seed))
    assert sorted(map(id, dealt)) == sorted(map(id, given_out))


# Property: noise is keyed by device.
def test_noise_is_keyed_by_device() -> None:
    asked: list[tuple[object, ...]] = []

    def noting(*names: str | int) -> np.random.Generator:
        asked.append(names)
        return stream(3, *names)

    deal(parts(1, 2, 3), [1.0, 2.0, 3.0], 0.5, noting)
    assert asked == [("speed_correlation", 0), ("speed_correlation", 1), ("speed_correlation", 2)]


def test_beyond_one() -> None:
    with pytest.raises(ValueError, match=r"speed_correlation: got 1\.5; expected a number from -1 to 1"):
        deal(parts(1), [1.0], 1.5, partial(stream, 0))
