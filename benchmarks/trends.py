"""Trends: a measure against a knob, a least-squares line seed by seed, and what all seeds say of the slope.

A seed's points hang together (the same data, devices and air), so that a line is fitted to each seed's own points and the
interval is Student's over seeds: of the slope, and of the line's height at any place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, log, sqrt
from statistics import fmean, stdev

from scipy.stats import t as student

from emulator.paired import Interval, Verdict, differences


@dataclass(frozen=True)
class Trend:
    """What was measured at ``places`` by each seed (``values[seed][place]``); in ``logarithm``, the line is that of ln.

    ``rising``: what is claimed of the slope. Raises ValueError for fewer than two places or seeds, or lengths that differ.
    """

    places: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    logarithm: bool = True
    rising: bool = True

    def __post_init__(self) -> None:
        lengths = {len(some) for some in self.values}
        if len(self.values) < 2 or len(set(self.places)) < 2 or lengths != {len(self.places)}:
            raise ValueError(
                f"trend: got {len(self.places)} places and seeds of {sorted(lengths)} values; expected two places or more "
                "and two seeds or more, each with a value at every place"
            )

    @cached_property
    def heights(self) -> tuple[tuple[float, ...], ...]:
        """The values as they are fitted."""
        return tuple(tuple(log(value) if self.logarithm else value for value in some) for some in self.values)

    @cached_property
    def lines(self) -> tuple[tuple[float, float], ...]:
        """Each seed's line: its slope, and its height at 0."""
        return tuple(_line(self.places, some) for some in self.heights)

    @cached_property
    def slope(self) -> Interval:
        """Of the fitted line, in units of the knob; told as a fall where a fall is claimed."""
        slopes = [slope for slope, _ in self.lines]
        zeros = [0.0] * len(slopes)
        return differences(slopes, zeros) if self.rising else differences(zeros, slopes)

    @property
    def verdict(self) -> Verdict:
        """Whether the slope goes the way that is claimed."""
        return self.slope.above(0)

    def fitted(self, place: float) -> tuple[float, float, float]:
        """The line there: mean, low and high, in the measure's own unit."""
        return self._told([slope * place + base for slope, base in self.lines])

    def seen(self, number: int) -> tuple[float, float, float]:
        """The point at place ``number``: mean over seeds (geometric, in ``logarithm``), low and high."""
        return self._told([some[number] for some in self.heights])

    def _told(self, heights: Sequence[float]) -> tuple[float, float, float]:
        mean, half = spread(heights)
        found = (mean, mean - half, mean + half)
        return (exp(found[0]), exp(found[1]), exp(found[2])) if self.logarithm else found


def spread(values: Sequence[float]) -> tuple[float, float]:
    """The mean and half its 95 % interval (Student's)."""
    return fmean(values), float(student.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))


def _line(places: Sequence[float], heights: Sequence[float]) -> tuple[float, float]:
    middle, mean = fmean(places), fmean(heights)
    up = sum((x - middle) * (y - mean) for x, y in zip(places, heights, strict=True))
    slope = up / sum((x - middle) ** 2 for x in places)
    return slope, mean - slope * middle
