"""Pictures of trends: points with seed intervals, and the fitted line with its interval.

Drawn with matplotlib (the extra ``figures``), as SVG without a background, in colours that can be read on white and on black.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.trends import Trend
from emulator.paired import Verdict

INK, POINTS, LINE = "#757c86", "#2f86e0", "#d9762b"  # each has a contrast of 3 or more on white and on #0d1117
STEPS = 24
WORDS: Mapping[Verdict, str] = {"holds": "holds", "does not hold": "does not hold", "inconclusive": "not settled"}
LOOK = {
    "font.size": 9, "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "svg.fonttype": "none", "svg.hashsalt": "edge-emulator",  # text stays text: files are small, and the same each time
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 9, "axes.titleweight": "bold", "axes.titlelocation": "left",
}  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One trend: what is claimed of it, what is across and up (with units), and ticks where numbers would not do."""

    claim: str
    across: str
    up: str
    trend: Trend
    ticks: Mapping[float, str] = field(default_factory=dict)


def draw(panels: Sequence[Panel], path: Path, *, columns: int, size: tuple[float, float] = (3.9, 2.8)) -> None:
    """Panels in rows of ``columns``, each of ``size`` inches; the file's ending tells its format."""
    rows = -(-len(panels) // columns)
    with mpl.rc_context(LOOK):  # type: ignore[arg-type,unused-ignore]
        figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, place in zip(panels, axes, strict=False):
            _panel(place, panel)
        for place in axes[len(panels) :]:
            place.set_axis_off()
        _legend(figure, len(panels[0].trend.values), None if len(axes) == len(panels) else axes[-1])
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix.removeprefix(".")
        figure.savefig(path, transparent=True, metadata={"Date": None} if kind == "svg" else None)


def _panel(axes: Axes, panel: Panel) -> None:
    trend = panel.trend
    low, high = min(trend.places), max(trend.places)
    along = [low + (high - low) * step / STEPS for step in range(STEPS + 1)]
    mean, under, over = zip(*(trend.fitted(place) for place in along), strict=True)
    axes.fill_between(along, under, over, color=LINE, alpha=0.22, linewidth=0)
    axes.plot(along, mean, color=LINE, linewidth=1.6)
    seen = [trend.seen(number) for number in range(len(trend.places))]
    bars = [[point - start for point, start, _ in seen], [end - point for point, _, end in seen]]
    axes.errorbar(
        trend.places,
        [point for point, _, _ in seen],
        bars,
        fmt="o",
        color=POINTS,
        markersize=4.5,
        capsize=2.5,
        linewidth=1.2,
    )
    if trend.logarithm:
        _logarithmic(axes, [*under, *over, *(value for one in seen for value in one)])
    axes.set(xlabel=panel.across, ylabel=panel.up)
    axes.set_title(f"{panel.claim}: {WORDS[trend.verdict]}\n")
    axes.text(0, 1.03, _figures(trend), transform=axes.transAxes, fontsize=8)
    if panel.ticks:
        axes.set_xticks(list(panel.ticks), list(panel.ticks.values()))
    axes.grid(alpha=0.25, color=INK, linewidth=0.5)


def _figures(trend: Trend) -> str:
    """The slope in words: of ln where the axis is logarithmic."""
    found, sign = trend.slope, 1 if trend.rising else -1
    ends = sorted((sign * found.low, sign * found.high))
    return f"slope{' of ln' if trend.logarithm else ''} {sign * found.mean:+.3g}, 95 % [{ends[0]:+.3g}, {ends[1]:+.3g}]"


def _logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with three to seven plain numbers on it: the finest of these steps that gives no more."""
    axes.set_yscale("log")
    low, high, kept = min(values) / 1.15, max(values) * 1.15, list[float]()
    for bases in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8)):
        marks = [base * 10.0**power for power in range(-6, 6) for base in bases]
        found = [mark for mark in marks if low <= mark <= high]
        kept = found if len(found) <= 7 else kept
    axes.set_yticks(kept, [f"{mark:g}" for mark in kept])
    axes.set_yticks([], minor=True)
    axes.set_ylim(low, high)


def _legend(figure: Figure, seeds: int, place: Axes | None) -> None:
    """What points, bars, line and band are: in a place that is free, or above all."""
    handles = [
        Line2D(
            [],
            [],
            color=POINTS,
            marker="o",
            markersize=4.5,
            linewidth=1.2,
            label=f"mean of {seeds} seeds, 95 % interval",
        ),
        Line2D([], [], color=LINE, linewidth=1.6, label="fitted line (mean of the seeds' own)"),
        Patch(color=LINE, alpha=0.22, linewidth=0, label="its 95 % interval"),
    ]
    if place is None:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    else:
        place.legend(handles=handles, loc="center", frameon=False, fontsize=9)
