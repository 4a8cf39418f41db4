"""A round as a Gantt chart: a row a device, sorted by when it was done, and what it did when.

A row has one path per kind of work, cut to pixels: each pixel shows the kind that took most of it, so a round of a million
batches is drawn in as many characters as one of ten.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.insight.critical_path import Path as Chain
from emulator.insight.history import devices_of
from emulator.insight.report.charts import Frame, hover, label, svg, x_axis
from emulator.insight.report.markup import Markup, tag
from emulator.insight.report.numbers import Scale, axis_of_time, seconds
from emulator.rows import SERVER, Event

WIDTH, ROW, PIXELS = 940.0, 17.0, 620
MOST = 30  # rows of a chart
KINDS = ("compute", "uplink", "downlink")


@dataclass
class Line:
    """What one node did in a round; ``asked`` to ``done`` in ns."""

    node: str
    rows: list[Event]

    @property
    def asked_ns(self) -> int:
        """When it was first asked for something."""
        return min(row.queued_ns for row in self.rows)

    @property
    def done_ns(self) -> int:
        """When the last of it was over."""
        return max(row.end_ns for row in self.rows)


def lines_of(rows: Sequence[Event], number: int) -> list[Line]:
    """The devices of a round, the last one to be done first; then the server."""
    mine: dict[str, list[Event]] = defaultdict(list)
    for row in rows:
        if row.round == number:
            for node in devices_of(row) or ({SERVER} if row.node == SERVER and row.peer is None else set()):
                mine[node].append(row)
    server = mine.pop(SERVER, None)
    found = sorted((Line(node, each) for node, each in mine.items()), key=lambda line: (-line.done_ns, line.node))
    return found + ([Line(SERVER, server)] if server else [])


def shown(found: list[Line], most: int = MOST) -> tuple[list[Line], int]:
    """The rows that fit: the slowest, evenly chosen others, and the server; and how many are left out."""
    devices = [line for line in found if line.node != SERVER]
    if len(devices) <= most:
        return found, 0
    half = most // 2
    rest = devices[half:]
    chosen = [rest[place * (len(rest) - 1) // (most - half - 1)] for place in range(most - half)]
    return devices[:half] + chosen + [line for line in found if line.node == SERVER], len(devices) - most


def gantt(lines: Sequence[Line], chain: Chain, names: dict[str, str]) -> Markup:
    """The chart; ``names`` says what a device is. The critical path is underlined."""
    window = chain.window
    size, unit = axis_of_time((window.end_ns - window.start_ns) / 1e9)
    left = min(320.0, max(len(_name(line, names)) for line in lines) * 6.5 + 12)
    frame = Frame(f"Gantt chart of round {window.round}", f"time in the round ({unit})", width=WIDTH, left=left,
                  height=len(lines) * ROW + 56, top=6.0)  # fmt: skip
    across = Scale(0.0, (window.end_ns - window.start_ns) / 1e9 / size, left, WIDTH - frame.right)
    drawn: list[Markup] = []
    for place, line in enumerate(lines):
        y = frame.top + (place + 0.5) * ROW
        done = seconds((line.done_ns - window.start_ns) / 1e9)
        told = f"{line.node} ({names.get(line.node, 'a server')}): done {done} after the round began"
        drawn.append(label(left - 6, y + 4, _name(line, names), "end", "small"))
        drawn.append(tag("g", hover(told), *_row(line, chain, across, y)))
    return svg(frame, *x_axis(frame, across, 8), *drawn, wide=True)


def _name(line: Line, names: dict[str, str]) -> str:
    return f"{line.node} {names.get(line.node, '').partition(', ')[0]}".rstrip()


def _row(line: Line, chain: Chain, across: Scale, y: float) -> list[Markup]:
    start, end = chain.window.start_ns, chain.window.end_ns
    width = (across.stop - across.start) / PIXELS
    spans = np.zeros((len(KINDS), PIXELS))
    for row in line.rows:
        cover(spans[KINDS.index(row.direction or "compute")], row.start_ns, row.end_ns, (start, end))
    best = np.where(spans.max(axis=0) > 0, spans.argmax(axis=0), -1)
    waits = np.zeros(PIXELS)
    cover(waits, line.asked_ns, line.done_ns, (start, end))
    found = [_stroke(waits > 0, (across.start, width, y), "waits")]
    found += [_stroke(best == kind, (across.start, width, y), f"work c-{name}") for kind, name in enumerate(KINDS)]
    critical = np.zeros(PIXELS)
    for segment in chain.segments:
        if segment.who == line.node:
            cover(critical, segment.start_ns, segment.end_ns, (start, end))
    found.append(_stroke(critical > 0, (across.start, width, y + ROW / 2 - 1.5), "critical"))
    return [one for one in found if one]


def cover(pixels: NDArray[np.float64], begin: int, end: int, window: tuple[int, int]) -> None:
    """Add to each pixel of a window (ns) the part of it that a span fills."""
    size = max(1, window[1] - window[0])
    low, high = ((min(max(edge, window[0]), window[1]) - window[0]) / size * len(pixels) for edge in (begin, end))
    if high <= low:
        return
    first, last = int(low), min(int(high), len(pixels) - 1)
    if first == last:
        pixels[first] += high - low
        return
    pixels[first] += first + 1 - low
    pixels[first + 1 : last] += 1
    pixels[last] += high - last


def _stroke(there: NDArray[np.bool_], place: tuple[float, float, float], css: str) -> Markup:
    """A path over the pixels that are true; nothing where none is."""
    left, width, y = place
    edges = np.flatnonzero(np.diff(np.concatenate(([False], there, [False])).astype(int)))
    runs = "".join(
        f"M{left + begin * width:.1f} {y:.1f}h{(end - begin) * width:.1f}"
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
    )
    return tag("path", d=runs, class_=css) if runs else Markup("")
