"""Trends by hand: seeds' own lines, their slope's interval, and the picture that is drawn of them."""

from math import exp, log
from pathlib import Path

import pytest

from benchmarks.trends import Trend, spread

# Two seeds: 1 + 2x and 2 + 4x. Slopes 2 and 4: mean 3, half-width t(1, 0.975) sd / sqrt(2) = 12.7062 x 1.41421 / 1.41421.
PLAIN = Trend((0.0, 1.0, 2.0), ((1.0, 3.0, 5.0), (2.0, 6.0, 10.0)), logarithm=False)


def test_slope_by_hand() -> None:
    assert PLAIN.lines == ((2.0, 1.0), (4.0, 2.0))
    assert (PLAIN.slope.mean, PLAIN.slope.high) == pytest.approx((3.0, 3 + 12.7062), abs=1e-3)
    assert PLAIN.verdict == "inconclusive"


def test_line_and_points_by_hand() -> None:
    """At 2: heights 5 and 10, mean 7.5, half-width 12.7062 x 3.53553 / 1.41421 = 31.77; the points lie on the lines."""
    assert PLAIN.fitted(2.0) == pytest.approx((7.5, 7.5 - 31.7656, 7.5 + 31.7656), abs=1e-3)
    assert PLAIN.seen(2) == pytest.approx(PLAIN.fitted(2.0))


def test_least_squares_of_points_off_the_line() -> None:
    """0, 0, 3 at 0, 1, 2: slope (-1 x -1 + 1 x 2) / 2 = 1.5 about (1, 1), height at 0: -0.5. The other seed: all 1."""
    off = Trend((0.0, 1.0, 2.0), ((0.0, 0.0, 3.0), (1.0, 1.0, 1.0)), logarithm=False)
    assert off.lines == ((1.5, -0.5), (0.0, 1.0))


def test_logarithm_fits_powers() -> None:
    """e^x and 2 e^x: slope 1 in both, so that it is sure; the geometric mean at 0 is sqrt(2)."""
    grown = Trend((0.0, 1.0), ((1.0, exp(1)), (2.0, 2 * exp(1))))
    assert (grown.slope.low, grown.slope.high) == pytest.approx((1.0, 1.0))
    assert grown.verdict == "holds"
    assert grown.fitted(0.0)[0] == pytest.approx(exp(log(2) / 2))


def test_a_fall_is_told_as_such() -> None:
    down = Trend((0.0, 1.0), ((2.0, 1.0), (3.0, 1.9)), logarithm=False, rising=False)
    assert down.slope.mean == pytest.approx(1.05)
    assert down.verdict == "holds"  # 1.05 -+ 12.7062 x 0.0707 / 1.41421 = 0.635


def test_spread_of_equal_values_is_nothing() -> None:
    assert spread([2.0, 2.0, 2.0]) == (2.0, 0.0)


@pytest.mark.parametrize(
    ("places", "values"),
    [((0.0, 0.0), ((1.0, 2.0), (1.0, 2.0))), ((0.0, 1.0), ((1.0, 2.0),)), ((0.0, 1.0), ((1.0, 2.0), (1.0,)))],
)
def test_too_little_is_refused(places: tuple[float, ...], values: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(ValueError, match="expected two places or more"):
        Trend(places, values)


def test_pictures_are_small_and_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: figures")
    from benchmarks.figures import Panel, draw

    panel = Panel("Heights rise with x", "x, m", "height, m", PLAIN)
    files = [tmp_path / "new" / name for name in ("a.svg", "b.svg")]
    for file in files:
        draw([panel] * 3, file, columns=2)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert 1000 < files[0].stat().st_size < 100_000
