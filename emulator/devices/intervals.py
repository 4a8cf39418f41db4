"""When a device is there: spans of virtual time, once or repeating, and their table on disk.

The table is comma-separated text, one span a line, under ``device,start_s,end_s`` or ``device,start_s,end_s,period_s``:
seconds; a device's spans ascend; its period is the same in all its lines, blank (or no such column) where nothing
repeats. A line with neither start nor end names a device that is never there.
"""

import csv
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path

from network.columns import ColumnError
from network.units import seconds_to_ns

Span = tuple[float, float]

HEADER = ("device", "start_s", "end_s", "period_s")


@dataclass(frozen=True)
class Intervals:
    """Spans [start, end) in which a device is there, in seconds, ascending; they may touch.

    ``period_s``: after so many seconds all begins again; None: once, and after the last span never again. Raises
    ValueError for a period under a nanosecond and for spans that are empty, out of order or end after the period.
    """

    period_s: float | None
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        reason = _period_refusal(self.period_s)
        before_s = 0.0
        for span in self.spans:
            reason = reason or _span_refusal(span, before_s, self.period_s)
            before_s = span[1]
        if reason is not None:
            raise ValueError(f"intervals: {reason}")

    def at(self, time_ns: int) -> tuple[bool, int | None]:
        """(there at that instant?, the later instant in ns at which that changes, or None for never again)."""
        start = 0 if self._period_ns is None else time_ns // self._period_ns * self._period_ns
        passed = bisect_right(self._changes_ns, time_ns - start)
        there = (passed + self._there_before) % 2 == 1
        if passed < len(self._changes_ns):
            return there, start + self._changes_ns[passed]
        if self._period_ns is None or not self._changes_ns:
            return there, None
        return there, start + self._period_ns + self._changes_ns[0]

    @cached_property
    def _period_ns(self) -> int | None:
        return None if self.period_s is None else seconds_to_ns(self.period_s)

    @cached_property
    def _there_before(self) -> bool:
        """Whether it is there just before each time zero: a span that ends with the period goes on into the next one."""
        return self._period_ns is not None and bool(self.spans) and seconds_to_ns(self.spans[-1][1]) == self._period_ns

    @cached_property
    def _changes_ns(self) -> tuple[int, ...]:
        """Instants of coming and going within a period. Where two meet, as spans do that touch, nothing changes."""
        found: set[int] = set()
        for second in (edge for span in self.spans for edge in span):
            instant = seconds_to_ns(second)
            found ^= {instant if self._period_ns is None else instant % self._period_ns}
        return tuple(sorted(found))


def read_intervals(path: Path) -> dict[str, Intervals]:
    """Devices by name, in the order of their first lines; see above for the table.

    Raises ColumnError with file, line, what was got and what is accepted.
    """
    found: dict[str, tuple[float | None, list[Span]]] = {}
    for where, row in rows(path, (HEADER, HEADER[:-1])):
        name, start, end, period = (*row, "")[:4]
        period_s = None if period == "" else number(period, "period_s", where)
        known_s, spans = found.setdefault(name, (period_s, []))
        reason = _period_refusal(period_s)
        if known_s != period_s:
            reason = f"got a period of {_shown(period_s)} s after {_shown(known_s)} s; expected one period for {name}"
        if (start, end) != ("", ""):
            spans.append((number(start, "start_s", where), number(end, "end_s", where)))
            reason = reason or _span_refusal(spans[-1], spans[-2][1] if len(spans) > 1 else 0.0, period_s)
        if reason is not None:
            raise ColumnError(f"{where}: {reason}")
    return {name: Intervals(period_s, tuple(spans)) for name, (period_s, spans) in found.items()}


def write_intervals(path: Path, devices: Mapping[str, Intervals]) -> None:
    """The table that ``read_intervals`` reads back to the very same intervals."""
    write_rows(path, HEADER, (row for name, intervals in devices.items() for row in _lines(name, intervals)))


def rows(path: Path, headers: tuple[tuple[str, ...], ...]) -> Iterator[tuple[str, list[str]]]:
    """(file and line, cells) of a table under one of the headers, its first cell a device's name; blank lines skipped.

    Raises ColumnError for another header, another number of cells, no name, and no rows.
    """
    try:
        lines = csv.reader(path.read_text(encoding="utf-8").split("\n"))
        header = tuple(next(lines, []))
        if header not in headers:
            accepted = " or ".join(map(",".join, headers))
            raise ColumnError(f"{path}: line 1: got {','.join(header)[:80]!r}; expected the header {accepted}")
        empty = True
        for row in lines:
            if not row:
                continue
            empty = False
            where = f"{path}: line {lines.line_num}"
            if len(row) != len(header) or not row[0]:
                raise ColumnError(
                    f"{where}: got {','.join(row)[:80]!r}; expected a name and numbers: {','.join(header)}"
                )
            yield where, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ColumnError(f"{path}: cannot be read: {error}") from None
    if empty:
        raise ColumnError(f"{path}: got no rows; expected lines of {','.join(header)}")


def write_rows(path: Path, header: tuple[str, ...], lines: Iterator[tuple[str, ...]]) -> None:
    """A table as ``rows`` reads it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)


def number(text: str, name: str, where: str) -> float:
    """A finite number. Raises ColumnError with the place."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise ColumnError(f"{where}: {name}: got {text[:40]!r}; expected a number")
    return value


def text_of(value: float) -> str:
    """The shortest text that reads back to exactly ``value``."""
    return repr(float(value)).removesuffix(".0")


def _lines(name: str, intervals: Intervals) -> Iterator[tuple[str, ...]]:
    period = "" if intervals.period_s is None else text_of(intervals.period_s)
    for start, end in intervals.spans:
        yield name, text_of(start), text_of(end), period
    if not intervals.spans:
        yield name, "", "", period


def _period_refusal(period_s: float | None) -> str | None:
    if period_s is None or (isfinite(period_s) and period_s > 0 and seconds_to_ns(period_s) > 0):
        return None
    return f"got a period of {period_s:g} s; expected a nanosecond or more"


def _span_refusal(span: Span, before_s: float, period_s: float | None) -> str | None:
    start, end = span
    if not (isfinite(start) and isfinite(end) and start < end):
        return f"got a span from {start:g} s to {end:g} s; expected an end after its start"
    if start < before_s:
        return f"got a span from {start:g} s after {before_s:g} s; expected ascending spans from zero on"
    if period_s is not None and end > period_s:
        return f"got a span up to {end:g} s; expected an end within the period of {period_s:g} s"
    return None


def _shown(period_s: float | None) -> str:
    return "no" if period_s is None else f"{period_s:g}"
