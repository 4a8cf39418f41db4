"""Deadlines: what is known of each device's round time becomes the time at which a round ends.

An infinite time belongs to a device that never finished: it is slower than all that are known. A deadline that would be
infinite is none: that round waits.
"""

from collections.abc import Sequence
from math import ceil, inf, isfinite
from statistics import median_low

from emulator.protocols.policies.settings import (
    AdaptiveDeadline,
    Deadline,
    Ending,
    FixedDeadline,
    MadDeadline,
    QuantileDeadline,
)


def quantile(times: Sequence[float], share: float) -> float:
    """The smallest of ``times`` (seconds) by which at least ``share`` of them are over; infinity of none."""
    return sorted(times)[max(0, ceil(share * len(times) - 1e-9) - 1)] if times else inf


def mad_limit(times: Sequence[float], factor: float) -> float:
    """Median plus ``factor`` median absolute deviations (lower medians), seconds; infinity of none."""
    if not times or not isfinite(median := median_low(times)):
        return inf
    spread = median_low([abs(seconds - median) for seconds in times])
    return median + factor * spread if factor else median


class Timetable:
    """A run's deadline, round by round. ``play`` is told of each round that is over."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        self._length = ending.start_s or inf if isinstance(ending, AdaptiveDeadline) else inf

    @property
    def foresees(self) -> bool:
        """Whether ``length_s`` looks at the cohort's times."""
        return isinstance(self.ending, QuantileDeadline | MadDeadline)

    def length_s(self, times: Sequence[float]) -> float | None:
        """Seconds until the round ends, for a cohort that needs ``times``; None where it waits for all."""
        ending = self.ending
        if isinstance(ending, FixedDeadline):
            return ending.seconds
        if isinstance(ending, QuantileDeadline):
            length = quantile(times, ending.quantile)
        elif isinstance(ending, MadDeadline):
            length = mad_limit(times, ending.factor)
        else:
            length = self._length
        return length if isfinite(length) and isinstance(ending, Deadline) else None

    def observe(self, took: Sequence[float], asked: int) -> None:
        """A round is over: the seconds of those that finished, of so many asked."""
        ending = self.ending
        if not isinstance(ending, AdaptiveDeadline) or not asked:
            return
        if isfinite(self._length):
            self._length *= ending.step if len(took) < ending.wanted * asked - 1e-9 else 1 / ending.step
        else:
            self._length = quantile([*took, *([inf] * (asked - len(took)))], ending.wanted)
