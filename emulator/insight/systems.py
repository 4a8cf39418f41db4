"""Runs put together: those that differ in seeds alone are one system; systems are told apart by the settings that differ."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.insight.load import Run, RunError
from emulator.insight.outcomes import Outcome

LONGEST = 100  # characters of a label


@dataclass(frozen=True)
class System:
    """Runs of one scenario over seeds, in the order of the seeds."""

    label: str
    runs: tuple[Outcome, ...]

    @property
    def by_seeds(self) -> dict[Any, Outcome]:
        """What is paired with other systems."""
        return {outcome.seeds: outcome for outcome in self.runs}


def runs_in(folders: Iterable[Path]) -> list[Run]:
    """The runs that folders are, or hold at any depth. Raises RunError for a folder without one."""
    found: list[Run] = []
    for folder in folders:
        inside = sorted(folder.rglob("summary.json")) if folder.is_dir() else []
        nested = [path.parent for path in inside if path.parent != folder]
        found.extend(map(Run, nested)) if nested and not (folder / "summary.json").exists() else found.append(
            Run(folder)
        )
    for run in found:
        if not run.ended:
            raise RunError(f"{run.folder}: got a run that {run.summary['status']}; expected one that ended by itself")
    return found


def systems(runs: list[Run], target: float | None) -> list[System]:
    """Systems in the order of their first run. The same run twice counts once."""
    groups: dict[str, dict[Any, Outcome]] = {}
    for run in runs:
        outcome = Outcome(run, target)
        groups.setdefault(json.dumps(_kept(run.resolved), sort_keys=True), {}).setdefault(outcome.seeds, outcome)
    names = _labels([next(iter(group.values())).run for group in groups.values()])
    return [
        System(name, tuple(group[key] for key in sorted(group)))
        for name, group in zip(names, groups.values(), strict=True)
    ]


def _kept(resolved: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in resolved.items() if key not in ("seed", "seeds", "actors")}


def _labels(runs: list[Run]) -> list[str]:
    """Names where they tell runs apart, else the settings that differ."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    flat = [dict(_flat(_kept(run.resolved), "")) for run in runs]
    keys = [
        key for key in dict.fromkeys(key for each in flat for key in each) if len({each.get(key) for each in flat}) > 1
    ]
    labels = [
        ", ".join(f"{key}={each[key]}" for key in keys if key in each) or name
        for each, name in zip(flat, names, strict=True)
    ]
    short = [label if len(label) <= LONGEST else label[: LONGEST - 1] + "…" for label in labels]
    return [f"{label} #{number}" if short.count(label) > 1 else label for number, label in enumerate(short, 1)]


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from _flat(item, f"{path}[{place}]")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)
