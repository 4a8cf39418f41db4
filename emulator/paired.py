"""Claims tested on paired seeds: the mean difference with its interval, and a verdict that may be "inconclusive".

Two systems that run with the same seed meet the same data, devices and air, so that what differs between them is told by the
differences, seed by seed. The interval is Student's, over the differences (W. S. Gosset, Biometrika 6, 1908).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from statistics import fmean, stdev
from typing import Literal

from scipy.stats import t as student

Verdict = Literal["holds", "does not hold", "inconclusive"]


@dataclass(frozen=True)
class Interval:
    """A mean of paired differences, in the unit of what was compared, and its two-sided confidence interval."""

    mean: float
    low: float
    high: float
    pairs: int

    def above(self, threshold: float) -> Verdict:
        """Whether the true difference is larger than ``threshold``."""
        return _verdict(self.low > threshold, self.high < threshold)

    def within(self, margin: float) -> Verdict:
        """Whether the true difference lies between minus and plus ``margin``: equivalence, not the lack of a difference."""
        return _verdict(-margin < self.low and self.high < margin, self.low > margin or self.high < -margin)

    def __str__(self) -> str:
        return f"{self.mean:+.4g} [{self.low:+.4g}, {self.high:+.4g}] of {self.pairs} pairs"


def differences(left: Sequence[float], right: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """The interval of ``left`` minus ``right``, paired in order.

    Raises ValueError for sequences of different length, fewer than two pairs, a value that is not finite, or a confidence
    outside (0, 1).
    """
    if len(left) != len(right) or len(left) < 2:
        raise ValueError(f"pairs: got {len(left)} and {len(right)} values; expected as many on both sides, two or more")
    if not all(map(isfinite, (*left, *right))):
        raise ValueError(f"pairs: got {[*left, *right]}; expected finite numbers")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence:g}; expected a share between 0 and 1")
    gaps = [mine - theirs for mine, theirs in zip(left, right, strict=True)]
    mean, half = fmean(gaps), float(student.ppf(0.5 + confidence / 2, len(gaps) - 1)) * stdev(gaps) / sqrt(len(gaps))
    return Interval(mean, mean - half, mean + half, len(gaps))


def first_reaching(series: Sequence[tuple[float, float]], target: float) -> float:
    """The first place (round, virtual second) at which a value reaches ``target``; infinite where none does."""
    return next((place for place, value in series if value >= target), inf)


def _verdict(holds: bool, fails: bool) -> Verdict:
    return "holds" if holds else "does not hold" if fails else "inconclusive"
