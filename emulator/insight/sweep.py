"""``emulator sweep``: one scenario over a grid or a list of settings and over seeds; ``sweep.csv`` has a row a run."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from actors.address import NoCluster, require_answer
from emulator.insight.runs import Answer, Asked, answers
from emulator.nearest import unknown
from emulator.reading import ScenarioError, find, read_scenario
from emulator.records import write_whole
from emulator.yaml_text import YamlError, mapping_in

KEYS = ("scenario", "out", "seeds", "grid", "list", "timing_only")
TOLD = (
    "rounds", "virtual_s", "accuracy", "best_accuracy", "loss", "validation_accuracy", "time_to_accuracy_s",
    "uplink_bytes", "downlink_bytes", "overhead_bytes", "device_energy_j", "devices_lost", "device_flops", "server_flops",
    "wall_s", "scenario_sha256", "weights_sha256", "events_sha256",
)  # fmt: skip
Point = dict[str, Any]  # settings of a run, by key path


@dataclass(frozen=True)
class Sweep:
    """What a file asks for: the scenario, and every run's settings, seed included."""

    scenario: str
    out: Path
    points: tuple[Point, ...]
    timing_only: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Everything that is set in any run, in the order of first appearance."""
        return tuple(dict.fromkeys(key for point in self.points for key in point))

    def asked(self, address: str | None = None) -> list[Asked]:
        """The runs. Raises ScenarioError for settings that make no scenario, before anything runs."""
        found = []
        for point in self.points:
            overrides = tuple(f"{key}={json.dumps(value)}" for key, value in point.items())
            try:
                read_scenario(self.scenario, list(overrides))
            except ScenarioError as error:
                raise ScenarioError(f"{error} (in the sweep's run {words(point)})") from None
            found.append(Asked(self.scenario, overrides, self.out, self.timing_only, address))
        return found


def words(point: Point) -> str:
    """A run's settings as overrides are written."""
    return " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in point.items())


def read_sweep(path: Path) -> Sweep:
    """The sweep in a file. Raises ScenarioError for anything that is not one."""
    data = _mapping(path)
    for key in data:
        if key not in KEYS:
            raise ScenarioError(f"{path}: {unknown(str(key), KEYS, 'a key of a sweep')}")
    if not isinstance(data.get("scenario"), str):
        raise _wrong(path, "scenario", data.get("scenario"), "a shipped scenario's name or a file")
    if not isinstance(data.get("timing_only", False), bool):
        raise _wrong(path, "timing_only", data["timing_only"], "true or false")
    beside = path.parent / data["scenario"]
    scenario = str(beside) if beside.is_file() else str(find(data["scenario"]))
    out = data.get("out", f"results/sweeps/{path.stem}")
    if not isinstance(out, str):
        raise _wrong(path, "out", out, "a folder's name")
    return Sweep(scenario, Path(out), tuple(_points(path, data)), data.get("timing_only", False))


def _mapping(path: Path) -> dict[str, Any]:
    try:
        return mapping_in(path, f"a sweep: a mapping with {', '.join(KEYS)}")
    except YamlError as error:
        raise ScenarioError(f"{path}: {error}") from None


def _points(path: Path, data: dict[str, Any]) -> list[Point]:
    """Every entry of the list with every combination of the grid and every seed."""
    grid, entries, seeds = data.get("grid") or {}, data.get("list") or [{}], data.get("seeds")
    if not isinstance(grid, dict) or not all(isinstance(values, list) and values for values in grid.values()):
        raise _wrong(path, "grid", grid, "a mapping of keys to lists of values, e.g. {protocol.cohort: [5, 10]}")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _wrong(path, "list", entries, "a list of mappings, e.g. [{protocol.cohort: 5}]")
    if seeds is not None and not (isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)):
        raise _wrong(path, "seeds", seeds, "a list of whole numbers, e.g. [1, 2, 3]")
    if seeds and len(set(seeds)) < len(seeds):
        raise _wrong(path, "seeds", seeds, "each seed once")
    seeded: list[Point] = [{"seed": seed} for seed in seeds] if seeds else [{}]
    combined = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    twice = sorted({key for entry in entries for key in entry} & set(grid))
    if twice:
        raise _wrong(path, "list", ", ".join(twice), "keys that the grid does not have")
    return [{**entry, **point, **seed} for entry in entries for point in combined for seed in seeded]


def _wrong(path: Path, key: str, got: object, accepted: str) -> ScenarioError:
    return ScenarioError(f"{path}: {key}: got {got}; expected {accepted}")


def sweep(plan: Sweep, say: Callable[[str], None], jobs: int | None = None, address: str | None = None) -> int:
    """Run what is not there yet; gives how many runs failed. ``sweep.csv`` is whole after every run.

    Raises ScenarioError before anything runs: for settings, and where no cluster answers at ``address``.
    """
    asked = plan.asked(address)
    if address is not None:
        try:
            require_answer(address)
        except NoCluster as error:
            raise ScenarioError(f"--address: {error}") from error
    plan.out.mkdir(parents=True, exist_ok=True)
    told: dict[int, Answer] = {}
    try:
        for place, found in answers(asked, jobs):
            told[place] = found
            say(f"{len(told)}/{len(asked)} {words(plan.points[place]) or 'as it is'}: {_ending(found)}")
            _write(plan, told)
    finally:
        _write(plan, told)
    return sum(found.folder is None for found in told.values())


def _ending(found: Answer) -> str:
    if found.folder is None:
        return f"failed: {found.error}"
    summary = _summary(found.folder)
    score = "" if summary["accuracy"] is None else f"accuracy {summary['accuracy']:.4f}, "
    return f"{score}{summary['virtual_s']:.3f} s virtual" + (", was there" if found.kept else "")


def _summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return found


def _write(plan: Sweep, told: dict[int, Answer]) -> None:
    keys = plan.keys
    rows: list[Sequence[Any]] = [("folder", "status", *keys, *TOLD, "error")]
    for place, point in enumerate(plan.points):
        settings = [_cell(point.get(key)) for key in keys]
        rows.append(_row(plan, settings, told.get(place)))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(plan.out / "sweep.csv", text.getvalue())


def _row(plan: Sweep, settings: list[Any], found: Answer | None) -> Sequence[Any]:
    if found is None or found.folder is None:
        status, error = ("not run", "") if found is None else ("failed", found.error)
        return ("", status, *settings, *("" for _ in TOLD), error)
    summary = _summary(found.folder)
    figures = ["" if summary[key] is None else summary[key] for key in TOLD]
    return (found.folder.relative_to(plan.out), summary["status"], *settings, *figures, "")


def _cell(value: Any) -> Any:
    """A setting as CSV: text and numbers as they are, others as JSON, nothing where a run does not set it."""
    if value is None:
        return ""
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else json.dumps(value)
