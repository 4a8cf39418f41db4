"""Rates over time from a file: two columns, virtual seconds and bit/s, as comma-separated text."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Literal

from network.columns import ColumnError, read_columns
from network.units import NS_PER_S

After = Literal["loop", "hold", "fail"]


class TraceError(ColumnError):
    """A trace is broken, or ended while it was needed; the message names it."""


@dataclass(frozen=True)
class RateTrace:
    """A rate that changes in steps: ``rates_bps[i]`` holds from ``times_ns[i]``; the first time is 0.

    The last row closes the trace. ``hold``: its rate holds for ever. ``loop``: at its time the trace starts again, and
    its own rate is not used. ``fail``: asking for a later time raises TraceError.
    """

    name: str
    times_ns: tuple[int, ...]
    rates_bps: tuple[float, ...]
    after: After = "fail"

    def __post_init__(self) -> None:
        if len(self.times_ns) != len(self.rates_bps) or not self.times_ns:
            raise TraceError(f"{self.name}: got {len(self.times_ns)} times and {len(self.rates_bps)} rates")
        if self.times_ns[0] != 0:
            raise TraceError(f"{self.name}: got a first time of {self.times_ns[0]} ns; expected 0")
        if any(later <= earlier for earlier, later in pairwise(self.times_ns)):
            raise TraceError(f"{self.name}: got times that do not ascend; expected each above the one before")
        if any(not (isfinite(rate) and rate >= 0) for rate in self.rates_bps):
            raise TraceError(f"{self.name}: got a rate below zero; expected bit/s, zero or more")
        if self.after == "loop" and len(self.times_ns) < 2:
            raise TraceError(f"{self.name}: got one row; expected two or more for a loop: the last one closes it")
        used = self.rates_bps[:-1] if self.after == "loop" else self.rates_bps[-1:]
        if self.after != "fail" and not any(used):
            raise TraceError(
                f"{self.name}: got no rate above zero once the trace {self.after}s; nothing would ever arrive"
            )

    def at(self, time_ns: int) -> tuple[float, int | None]:
        """(bit/s now, when it changes next in ns or None for never). Raises TraceError after the end."""
        end = self.times_ns[-1]
        start = 0
        if time_ns >= end:
            if self.after == "hold":
                return self.rates_bps[-1], None
            if self.after == "fail":
                raise TraceError(
                    f"{self.name}: ends at {end / NS_PER_S:g} s, but virtual time is {time_ns / NS_PER_S:g} s; "
                    "expected after: loop or hold"
                )
            start = time_ns // end * end
        index = bisect_right(self.times_ns, time_ns - start) - 1
        return self.rates_bps[index], start + self.times_ns[index + 1]


def read_trace(path: Path, after: After = "fail", scale: float = 1.0) -> RateTrace:
    """A trace from a file of ``seconds,bit_per_s`` lines; a first line of words is skipped; ``scale`` multiplies rates.

    Raises ColumnError with file, line, what was got and what is accepted.
    """
    rows = read_columns(path, ("seconds", "bit/s"))
    broken = next((rate for _, rate in rows if rate < 0), None)
    if broken is not None:
        raise TraceError(f"{path}: got a rate of {broken:g}; expected zero or more")
    times = tuple(round(time_s * NS_PER_S) for time_s, _ in rows)
    return RateTrace(str(path), times, tuple(rate * scale for _, rate in rows), after)
