"""Figures as inline SVG: lines, stacked bars and columns, ranges, points. Plain functions from numbers to markup.

Colours are classes of ``style.py`` (``c-compute``, ``c-uplink``, ...), so that light, dark and print each have their own.
Sizes are pixels of the drawing, which is scaled to its place.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emulator.insight.report.markup import Markup, tag, text
from emulator.insight.report.numbers import Scale, plain

WIDTH, HEIGHT = 460.0, 260.0
ROW = 24.0  # height of a horizontal bar with its gap
LETTER = 8.2  # width of a wide letter of 13 pixels: on a phone they are larger in the drawing


@dataclass(frozen=True)
class Frame:
    """A figure: its name for those who cannot see it, its axes, its size."""

    name: str
    x: str
    y: str = ""
    width: float = WIDTH
    height: float = HEIGHT
    left: float = 52.0
    right: float = 14.0
    top: float = 10.0
    bottom: float = 42.0
    log_x: bool = False


@dataclass(frozen=True)
class Series:
    """A line or a cloud of points."""

    name: str
    points: Sequence[tuple[float, float]]
    css: str = "c-compute"


def svg(frame: Frame, *inside: object, wide: bool = False) -> Markup:
    """The drawing; a wide one keeps its size and scrolls in its box on a narrow screen."""
    box = f"0 0 {frame.width:.0f} {frame.height:.0f}"
    drawn = tag("svg", *inside, viewBox=box, role="img", aria_label=frame.name)
    return tag("div", drawn, class_="figure wide" if wide else "figure", tabindex=0 if wide else None)


def label(x: float, y: float, words: object, anchor: str = "middle", css: str | None = None) -> Markup:
    """A text in a figure."""
    return tag("text", words, x=x, y=y, text_anchor=anchor, class_=css)


def rule(x1: float, y1: float, x2: float, y2: float) -> Markup:
    """A line of the grid."""
    return tag("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", class_="grid")


def x_axis(frame: Frame, scale: Scale, count: int = 6) -> list[Markup]:
    """Grid lines, ticks and the name of the x axis with its unit."""
    floor = frame.height - frame.bottom
    found: list[Markup] = []
    for value in scale.ticks(count):
        found += [rule(scale(value), frame.top, scale(value), floor), label(scale(value), floor + 16, plain(value))]
    return [*found, label((scale.start + scale.stop) / 2, frame.height - 6, frame.x, css="axis")]


def y_axis(frame: Frame, scale: Scale) -> list[Markup]:
    """The same of the y axis; its name stands upright at the left."""
    found: list[Markup] = []
    for value in scale.ticks(5):
        found += [
            rule(frame.left, scale(value), frame.width - frame.right, scale(value)),
            label(frame.left - 6, scale(value) + 4, plain(value), "end"),
        ]
    middle = (scale.start + scale.stop) / 2
    turned = tag(
        "text", frame.y, transform=f"translate(12 {middle:.0f}) rotate(-90)", text_anchor="middle", class_="axis"
    )
    return [*found, turned]


def scales(frame: Frame, x: tuple[float, float], y: tuple[float, float]) -> tuple[Scale, Scale]:
    """Both scales over the drawing's inner part."""
    across = Scale(*x, frame.left, frame.width - frame.right, frame.log_x)
    return across, Scale(*y, frame.height - frame.bottom, frame.top)


def legend(names: Mapping[str, str]) -> Markup:
    """Names beside patches of their colour: class by name."""
    items = [tag("span", tag("i", class_=css), name) for name, css in names.items()]
    return tag("p", *items, class_="legend")


def lines(frame: Frame, series: Sequence[Series], y: tuple[float, float] | None = None) -> Markup:
    """Lines with a mark at each of their points (where these are few)."""
    every = [point for one in series for point in one.points]
    xs, ys = [point[0] for point in every], [point[1] for point in every]
    across, up = scales(frame, (min(0.0, *xs), max(xs)), y or (min(0.0, *ys), (max(ys) or 1.0) * 1.05))
    drawn: list[Markup] = []
    for one in series:
        places = [(across(x), up(value)) for x, value in one.points]
        drawn.append(tag("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places), class_=f"line {one.css}"))
        if len(places) <= 60:
            drawn += [tag("circle", cx=x, cy=y, r=2.5, class_=one.css) for x, y in places]
    return svg(frame, *x_axis(frame, across), *y_axis(frame, up), *drawn)


def points(frame: Frame, series: Sequence[Series], diagonal: bool = False) -> Markup:
    """Clouds of points; the diagonal is where both are the same."""
    every = [point for one in series for point in one.points]
    most = max(max(point) for point in every) * 1.05 or 1.0
    across, up = scales(frame, (0.0, most), (0.0, most))
    drawn = [
        tag("circle", cx=across(x), cy=up(y), r=3.0, class_=f"dot {one.css}") for one in series for x, y in one.points
    ]
    line = tag("path", d=f"M{across(0):.0f} {up(0):.0f}L{across(most):.0f} {up(most):.0f}", class_="line dashed")
    return svg(frame, *x_axis(frame, across), *y_axis(frame, up), line if diagonal else None, *drawn)


@dataclass(frozen=True)
class Bar:
    """A bar of parts: class of colour and length each; ``end`` is what is written behind it."""

    name: str
    parts: Sequence[tuple[str, float]]
    end: str = ""


def bars(frame: Frame, rows: Sequence[Bar]) -> Markup:
    """Horizontal bars from zero, one below the other."""
    ends = max((len(row.end) for row in rows), default=0) * LETTER + 8
    frame = stretched(replace(frame, right=max(frame.right, ends)), [row.name for row in rows])
    most = max((sum(size for _, size in row.parts) for row in rows), default=0.0) or 1.0
    across = Scale(0.0, most, frame.left, frame.width - frame.right)
    drawn: list[Markup] = []
    for place, row in enumerate(rows):
        y, reached = frame.top + place * ROW, 0.0
        drawn.append(label(frame.left - 6, y + 15, row.name, "end"))
        for css, size in row.parts:
            width = across(reached + size) - across(reached)
            drawn.append(tag("rect", x=across(reached), y=y + 3, width=width, height=ROW - 7, class_=css))
            reached += size
        drawn.append(label(across(reached) + 5, y + 15, row.end, "start"))
    return svg(frame, *x_axis(frame, across, 4), *drawn)


def stretched(frame: Frame, names: Sequence[str]) -> Frame:
    """The frame with room for the names at the left, and as high as its rows need."""
    left = min(250.0, max((len(name) for name in names), default=0) * LETTER + 14)
    return replace(frame, left=left, height=frame.top + frame.bottom + max(1, len(names)) * ROW)


@dataclass(frozen=True)
class Spread:
    """Five numbers of a class: least, lower decile, median, upper decile, most."""

    name: str
    values: tuple[float, float, float, float, float]


def spreads(frame: Frame, rows: Sequence[Spread]) -> Markup:
    """A row a class: a thin line from the least to the most, a thick one between the deciles, a mark at the median."""
    frame = stretched(frame, [row.name for row in rows])
    low, high = min(row.values[0] for row in rows), max(row.values[4] for row in rows)
    if frame.log_x:
        low, high = low * 0.9, high * 1.1
    across = Scale(low if frame.log_x else 0.0, high, frame.left, frame.width - frame.right, frame.log_x)
    drawn: list[Markup] = []
    for place, row in enumerate(rows):
        y = frame.top + (place + 0.5) * ROW
        least, lower, middle, upper, most = map(across, row.values)
        drawn += [
            label(frame.left - 6, y + 4, row.name, "end"),
            tag("path", d=f"M{least:.1f} {y:.1f}H{most:.1f}", class_="whisker"),
            tag("path", d=f"M{lower:.1f} {y:.1f}H{upper:.1f}", class_="box"),
            tag("circle", cx=middle, cy=y, r=4.0, class_="c-mark"),
        ]
    return svg(frame, *x_axis(frame, across, 5), *drawn)


def columns(frame: Frame, xs: Sequence[tuple[float, float]], stacks: Sequence[Sequence[tuple[str, float]]]) -> Markup:
    """Columns from zero: ``xs`` are their edges, ``stacks`` the classes and heights of their parts."""
    most = max((sum(size for _, size in stack) for stack in stacks), default=0.0) or 1.0
    across, up = scales(frame, (xs[0][0], xs[-1][1]), (0.0, most * 1.05))
    drawn: list[Markup] = []
    for (begin, end), stack in zip(xs, stacks, strict=True):
        reached, left = 0.0, across(begin)
        width = max(0.5, (across(end) - left) * 0.88)
        for css, size in stack:
            if size > 0:
                top = up(reached + size)
                drawn.append(tag("rect", x=left, y=top, width=width, height=up(reached) - top, class_=css))
            reached += size
    return svg(frame, *x_axis(frame, across), *y_axis(frame, up), *drawn)


def histogram(values: Sequence[float], bins: int = 24) -> tuple[list[tuple[float, float]], list[int]]:
    """Edges and counts; bins of the same factor where the values span more than a factor of 20, else of the same width."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low * 0.9, (high * 1.1) or 1.0
    log = wide_span(values)
    step = math.log(high / low) / bins if log else (high - low) / bins
    edges = [low * math.exp(step * place) if log else low + step * place for place in range(bins + 1)]
    counts = [0] * bins
    for value in values:
        place = (math.log(value / low) if log else value - low) / step
        counts[min(bins - 1, max(0, int(place)))] += 1
    return list(itertools.pairwise(edges)), counts


def wide_span(values: Sequence[float]) -> bool:
    """Whether an axis of powers shows them better."""
    return min(values) > 0 and max(values) > 20 * min(values)


def hover(words: str) -> Markup:
    """What a pointer that rests there is told."""
    return Markup(f"<title>{text(words)}</title>")
