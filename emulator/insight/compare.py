"""``emulator compare``: systems side by side over paired seeds. Runs that miss the target are counted, never averaged away.

A mean with its interval (Student's, see ``emulator.paired``) is told where every run reached the target; else the median, which
needs no value of those that did not, as long as more than half did.
"""

from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from statistics import median

from emulator.insight.layouts import Table, figure_text
from emulator.insight.outcomes import FIGURES, TO_TARGET, Outcome, common_target
from emulator.insight.systems import System, runs_in, systems
from emulator.paired import differences
from emulator.reading import ScenarioError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """Systems, the first of which is the baseline, and the accuracy that they are measured to."""

    systems: tuple[System, ...]
    target: float | None

    @property
    def figures(self) -> list[str]:
        """The figures that some run tells."""
        outcomes = [outcome for system in self.systems for outcome in system.runs]
        return [key for key in FIGURES if any(outcome.figure(key) is not None for outcome in outcomes)]

    def tables(self) -> list[Table]:
        """Systems, differences from the baseline, device classes (where told), and runs."""
        found = [self._systems(), self._pairs(), self._classes(), self._runs()]
        return [table for table in found if table.rows]

    def _systems(self) -> Table:
        keys = self.figures
        header = ("system", "runs", "reached", *(_title(key) for key in keys))
        rows = [
            (system.label, str(len(system.runs)), _reached(system.runs), *(_summed(system.runs, key) for key in keys))
            for system in self.systems
        ]
        goal = "no target" if self.target is None else f"target: accuracy {self.target:g}"
        return Table("systems", f"Systems ({goal}); mean [95% interval], or median (smallest to largest)", header, rows)

    def _pairs(self) -> Table:
        """Every system less the first, seed by seed."""
        base, *others = self.systems
        rows = [
            (other.label, _title(key), *_paired(other, base, key))
            for other in others
            for key in self.figures
            if set(other.by_seeds) & set(base.by_seeds)
        ]
        header = (
            "system",
            "figure",
            "pairs",
            "difference, 95% interval",
            "lower",
            "higher",
            "equal",
            "neither reached",
        )
        return Table("pairs", f"Differences from {base.label}, paired by seeds", header, rows)

    def _classes(self) -> Table:
        rows = []
        for system in self.systems:
            names = dict.fromkeys(name for outcome in system.runs for name in outcome.device_classes)
            for name in names:
                each = [outcome.device_classes[name] for outcome in system.runs if name in outcome.device_classes]
                means = [sum(values) / len(values) for values in each]
                devices = str(sum(map(len, each)) / len(each)).removesuffix(".0")
                rows.append((system.label, name, devices, _mean(means, ""), figure_text(min(map(min, each)), "")))
        header = ("system", "device class", "devices", "accuracy on own data", "worst device of any run")
        return Table("classes", "Outcomes by device class, in the last round that told them", header, rows)

    def _runs(self) -> Table:
        keys = self.figures
        rows = [
            (system.label, str(outcome.run.resolved["seed"]), *(_told(outcome.figure(key), key) for key in keys),
             str(outcome.run.summary["status"]), outcome.run.folder.name)
            for system in self.systems
            for outcome in system.runs
        ]  # fmt: skip
        return Table("runs", "Runs", ("system", "seed", *map(_title, keys), "status", "folder"), rows)


def compare(folders: list[Path], target: float | None = None) -> Comparison:
    """The runs in folders, put together. Raises ScenarioError for a target that is no accuracy, or for folders without runs."""
    if target is not None and not 0 < target <= 1:
        raise ScenarioError(f"compare: got a target of {target:g}; expected an accuracy above 0, up to 1")
    runs = runs_in(folders)
    aim = common_target(runs) if target is None else target
    return Comparison(tuple(systems(runs, aim)), aim)


def _title(key: str) -> str:
    words, unit = FIGURES[key]
    return f"{words}, {unit}" if unit else words


def _reached(runs: tuple[Outcome, ...]) -> str:
    told = [outcome.reached for outcome in runs]
    return "-" if None in told else f"{sum(map(bool, told))} of {len(told)}"


def _told(value: float | None, key: str) -> str:
    return "-" if value is None else "not reached" if value == inf else figure_text(value, FIGURES[key][1])


def _summed(runs: tuple[Outcome, ...], key: str) -> str:
    found = [outcome.figure(key) for outcome in runs]
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        return "-"
    if all(map(isfinite, values)):
        return _mean(values, FIGURES[key][1])
    return f"{_told(median(values), key)} ({_told(min(values), key)} to {_told(max(values), key)})"


def _mean(values: list[float], unit: str) -> str:
    """A mean, with its interval where there are several."""
    if len(values) == 1:
        return figure_text(values[0], unit)
    found = differences(values, [0.0] * len(values), confidence=CONFIDENCE)
    return f"{figure_text(found.mean, unit)} [{figure_text(found.low, unit)}, {figure_text(found.high, unit)}]"


def _paired(other: System, base: System, key: str) -> tuple[str, ...]:
    """Pairs, difference and who is lower; no mean difference where one of a pair did not reach the target."""
    unit = FIGURES[key][1]
    both = [(mine, base.by_seeds[seeds]) for seeds, mine in other.by_seeds.items() if seeds in base.by_seeds]
    values = [(mine.figure(key), theirs.figure(key)) for mine, theirs in both]
    pairs = [(mine, theirs) for mine, theirs in values if mine is not None and theirs is not None]
    neither = sum(mine == theirs == inf for mine, theirs in pairs)
    lower, higher = (sum(a < b for a, b in side) for side in (pairs, [(b, a) for a, b in pairs]))
    equal = len(pairs) - lower - higher - neither
    counts = (str(lower), str(higher), str(equal), str(neither) if key in TO_TARGET else "-")
    if not pairs:
        return "0", "-", *counts
    if not all(isfinite(value) for pair in pairs for value in pair):
        return str(len(pairs)), "not every run reached it", *counts
    mine, theirs = zip(*pairs, strict=True)
    if len(pairs) == 1:
        return "1", f"{figure_text(mine[0] - theirs[0], unit, sign=True)} (one pair)", *counts
    found = differences(mine, theirs, confidence=CONFIDENCE)
    parts = [figure_text(value, unit, sign=True) for value in (found.mean, found.low, found.high)]
    return str(len(pairs)), f"{parts[0]} [{parts[1]}, {parts[2]}]", *counts
