"""Spreads: how a figure differs from device to device, as a factor on the figure of the profile."""

import csv
from dataclasses import dataclass
from math import exp, isfinite
from pathlib import Path
from typing import Literal, get_args

import numpy as np

Distribution = Literal["lognormal", "uniform", "constant", "zipf", "empirical"]


@dataclass(frozen=True)
class Spread:
    """A factor, drawn once per device.

    ``lognormal``: exp(sigma z), z standard normal, median 1. ``uniform``: in [low, high). ``constant``: ``factor`` for
    all. ``zipf``: a Zipf law over ranks: rank^-exponent, where a device's rank is uniform over 1 to ``ranks``; the fastest
    have 1, the second-ranked 2^-exponent of it. (Not the Zipf distribution, in which the rank itself is drawn in
    proportion to rank^-exponent.) ``empirical``: one of ``values``, drawn uniformly with replacement.
    Raises ValueError for an unknown distribution, a factor that is not finite and above zero, and bounds out of order.
    """

    distribution: Distribution
    sigma: float = 0.0
    low: float = 1.0
    high: float = 1.0
    factor: float = 1.0
    exponent: float = 1.0
    ranks: int = 1
    values: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        names = get_args(Distribution)
        if self.distribution not in names:
            raise ValueError(
                f"distribution: got {self.distribution!r}; expected {', '.join(names[:-1])} or {names[-1]}"
            )
        if not (isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(f"sigma: got {self.sigma!r}; expected a finite number, zero or more")
        if not (isfinite(self.high) and 0 < self.low <= self.high):
            raise ValueError(f"low: got low {self.low!r}, high {self.high!r}; expected 0 < low <= high, finite")
        for key in ("factor", "exponent"):
            if not _positive(getattr(self, key)):
                raise ValueError(f"{key}: got {getattr(self, key)!r}; expected a finite number above zero")
        if self.ranks < 1:
            raise ValueError(f"ranks: got {self.ranks!r}; expected one rank or more")
        if not self.values or not all(map(_positive, self.values)):
            got = next((value for value in self.values if not _positive(value)), "none")
            raise ValueError(f"values: got {got!r}; expected finite numbers above zero, one or more")

    def draw(self, generator: np.random.Generator) -> float:
        """One factor on a figure."""
        if self.distribution == "lognormal":
            return exp(self.sigma * float(generator.standard_normal()))
        if self.distribution == "uniform":
            return float(generator.uniform(self.low, self.high))
        if self.distribution == "zipf":
            return float((1 + int(generator.integers(self.ranks))) ** -self.exponent)
        if self.distribution == "empirical":
            return self.values[int(generator.integers(len(self.values)))]
        return self.factor

    def draw_slowdown(self, generator: np.random.Generator) -> float:
        """One factor on a time. A Zipf law is one of speeds, so it is turned over: here, too, the fastest have 1."""
        found = self.draw(generator)
        return 1 / found if self.distribution == "zipf" else found


def read_values(path: Path, column: str) -> tuple[float, ...]:
    """The numbers in a column of a CSV file whose first line names its columns.

    Raises ValueError naming file and line: a file that cannot be read or has no rows, a column that is not there, a cell
    that is no finite number above zero.
    """
    try:
        header, *rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines())) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read: {error}; expected a CSV file with a line of column names") from None
    if column not in header:
        raise ValueError(f'{path}: got no column "{column}"; expected one of: {", ".join(header) or "none is there"}')
    place = header.index(column)
    found = [(number, row[place] if place < len(row) else "") for number, row in enumerate(rows, 2) if row]
    if not found:
        raise ValueError(f"{path}: got no rows; expected numbers in column {column}")
    for number, text in found:
        if not _is_positive_number(text):
            raise ValueError(f"{path}: line {number}: got {text!r} in column {column}; expected a number above zero")
    return tuple(float(text) for _, text in found)


def _positive(value: float) -> bool:
    return isfinite(value) and value > 0


def _is_positive_number(text: str) -> bool:
    try:
        return _positive(float(text))
    except ValueError:
        return False
