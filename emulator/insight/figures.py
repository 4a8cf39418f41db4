"""Figures as PDF: accuracy against virtual time, bytes and joules, and time to the target by system. Needs matplotlib."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from emulator.insight.compare import Comparison
from emulator.reading import ScenarioError

SIZE = (6.0, 3.6)  # inches: a column and a half of a paper
AXES = {
    "virtual_time": ("end_s", "virtual time, s"),
    "bytes": ("moved_bytes", "bytes moved"),
    "joules": ("joules", "device energy, J"),
}
# Okabe and Ito's colours, which the colour-blind can tell apart ("Color Universal Design", 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")
FIXED = {"CreationDate": None, "Creator": "emulator", "Producer": None}  # the same runs give the same file


def need_matplotlib() -> Callable[..., Any]:
    """matplotlib's Figure. Raises ScenarioError where it is not installed."""
    try:
        from matplotlib.figure import Figure  # slow to load, and only figures need it
    except ImportError:
        raise ScenarioError(
            "compare --figures: got no matplotlib; expected it: pip install 'edge-emulator[figures]'"
        ) from None
    made: Callable[..., Any] = Figure
    return made


def write_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """The figures that the runs' records allow; gives their files."""
    figure = need_matplotlib()
    found = []
    for name, (column, words) in AXES.items():
        drawn = figure(figsize=SIZE, layout="constrained")
        if _course(drawn.add_subplot(), comparison, column, words):
            found.append(_saved(drawn, folder / f"accuracy_over_{name}.pdf"))
    if comparison.target is not None:
        drawn = figure(figsize=SIZE, layout="constrained")
        _to_target(drawn.add_subplot(), comparison)
        found.append(_saved(drawn, folder / "time_to_target.pdf"))
    return found


def _saved(drawn: Any, path: Path) -> Path:
    drawn.savefig(path, metadata=FIXED)
    return path


def _course(axes: Any, comparison: Comparison, column: str, words: str) -> bool:
    """A line a run, a colour a system; False where no run tells it."""
    any_line = False
    for number, system in enumerate(comparison.systems):
        label: str | None = _plain(system.label)
        for outcome in system.runs:
            seen = outcome.course[outcome.course["accuracy"].notna() & outcome.course[column].notna()]
            if seen.empty:
                continue
            style = STYLES[number // len(COLOURS) % len(STYLES)]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(seen[column], seen["accuracy"], style, color=colour, label=label, linewidth=1.2, alpha=0.8)
            label, any_line = None, True
    if comparison.target is not None:
        axes.axhline(comparison.target, color="0.5", linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_xlabel(words)
    axes.set_ylabel("test accuracy")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    if any_line:
        axes.legend(fontsize="small")
    return any_line


def _to_target(axes: Any, comparison: Comparison) -> None:
    """A point a run; those that did not reach the target are told beside their system's name."""
    labels = []
    for number, system in enumerate(comparison.systems):
        times = [outcome.figure("time_to_s") for outcome in system.runs]
        there = [time for time in times if time is not None and isfinite(time)]
        axes.plot(there, [number] * len(there), "o", color=COLOURS[number % len(COLOURS)], alpha=0.7)
        labels.append(f"{_plain(system.label)}\n{len(there)} of {len(times)} reached")
    axes.set_yticks(range(len(labels)), labels, fontsize="small")
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"virtual time to accuracy {comparison.target:g}, s")
    axes.grid(axis="x", alpha=0.3)


def _plain(label: str) -> str:
    """matplotlib reads dollar signs as formulas and leaves out labels that begin with an underscore."""
    return " " + label.replace("$", r"\$") if label.startswith("_") else label.replace("$", r"\$")
