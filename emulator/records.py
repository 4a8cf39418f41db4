"""The run folder: everything a run leaves, written while it runs."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from emulator.board import Board, straggler_index
from emulator.events import EventWriter
from emulator.reading import ScenarioError
from emulator.rows import Decision, Event, Round
from emulator.simulation import Message, Outcome
from emulator.trace import TraceWriter

SCHEMA_VERSION = 1
COLUMNS = (
    "round", "start_s", "end_s", "duration_s", "cohort", "finished", "slowest_device", "straggler_index",
    "uplink_bytes", "downlink_bytes", "overhead_bytes", "device_flops", "server_flops",
    "accuracy", "loss", "validation_accuracy",
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What is known of a run before it starts."""

    name: str
    protocol: str
    seed: int
    executor: str
    devices: int
    scenario_yaml: str
    scenario_sha256: str
    target_accuracy: float | None
    stop_ignored: bool
    cells: dict[str, str]
    resolved: dict[str, Any]
    provenance: dict[str, str | None]


def new_folder(root: Path, name: str, scenario_sha256: str) -> Path:
    """``root/name/time-hash``, made; a second run of the same second gets a suffix."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{scenario_sha256[:8]}"
    for number in range(1, 1000):
        folder = root / name / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{root / name / stem}: a thousand runs in one second")


class RunFolder:
    """Takes a run's messages and writes them. ``close`` may come at any time and leaves whole files."""

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder = folder
        self.header = header
        write_whole(folder / "scenario.yaml", header.scenario_yaml)
        self._events = EventWriter(folder / "events.parquet")
        self._trace = TraceWriter(folder / "trace.json")
        self._trace.cells(header.cells)
        self._board = Board(folder / "tensorboard")
        self._rounds_file = (folder / "rounds.csv").open("w", newline="", encoding="utf-8")
        self._rounds = csv.writer(self._rounds_file)
        self._decisions: TextIO = (folder / "decisions.jsonl").open("w", encoding="utf-8")
        self._metrics: tuple[str, ...] | None = None
        self._best: list[float] = []
        self._reached_s: float | None = None
        self._last: Round | None = None
        self.outcome: Outcome | None = None
        self.events_sha256: str | None = None

    def take(self, messages: Sequence[Message]) -> None:
        """Write messages in their order."""
        events = [message for message in messages if isinstance(message, Event)]
        self._events.add(events)
        self._trace.add(events)
        for message in messages:
            if isinstance(message, Round):
                self._round(message)
            elif isinstance(message, Decision):
                self._decisions.write(json.dumps(message._asdict()) + "\n")
                self._decisions.flush()
            elif isinstance(message, Outcome):
                self.outcome = message

    def _round(self, row: Round) -> None:
        if self._metrics is None:
            self._metrics = tuple(row.metrics)
            self._rounds.writerow([*COLUMNS, *self._metrics])
        if tuple(row.metrics) != self._metrics:
            raise ValueError(f"round {row.round} reports {tuple(row.metrics)}; round 1 reported {self._metrics}")
        slowest = max(zip(row.device_seconds, row.finished, strict=True), default=(None, None))[1]
        values = [
            row.round, row.start_ns / 1e9, row.end_ns / 1e9, (row.end_ns - row.start_ns) / 1e9, len(row.cohort),
            len(row.finished), slowest, straggler_index(row.device_seconds), row.uplink_bytes, row.downlink_bytes,
            row.overhead_bytes, row.device_flops, row.server_flops, row.accuracy, row.loss, row.validation_accuracy,
        ]  # fmt: skip
        self._rounds.writerow(["" if value is None else value for value in (*values, *row.metrics.values())])
        self._rounds_file.flush()
        self._board.round(row)
        self._trace.round(row)
        self._note(row)

    def _note(self, row: Round) -> None:
        self._last = row
        if row.accuracy is not None:
            self._best.append(row.accuracy)
            target = self.header.target_accuracy
            if target is not None and self._reached_s is None and row.accuracy >= target:
                self._reached_s = row.end_ns / 1e9

    def close(self, wall_s: float, status: str | None = None) -> dict[str, Any]:
        """Finish every file; gives the summary, which is also written. ``status`` names an end that was not the run's own."""
        self.events_sha256 = self._events.close()
        self._trace.close()
        self._rounds_file.close()
        self._decisions.close()
        found = self._summary(wall_s, status)
        self._board.settings(
            self.header.resolved, {key: found[key] for key in ("accuracy", "virtual_s", "uplink_bytes")}
        )
        self._board.close()
        write_whole(self.folder / "summary.json", json.dumps(found, indent=2) + "\n")
        return found

    def _summary(self, wall_s: float, status: str | None) -> dict[str, Any]:
        header, totals, outcome, last = self.header, self._events.totals, self.outcome, self._last
        facts = header.provenance
        return {
            "name": header.name,
            "protocol": header.protocol,
            "seed": header.seed,
            "executor": header.executor,
            "devices": header.devices,
            "rounds": last.round if last else 0,
            "virtual_s": outcome.virtual_ns / 1e9 if outcome else last.end_ns / 1e9 if last else 0.0,
            "wall_s": round(wall_s, 3),
            "accuracy": last.accuracy if last else None,
            "best_accuracy": max(self._best, default=None),
            "loss": last.loss if last else None,
            "weights_sha256": outcome.weights_sha256 if outcome else None,
            "events_sha256": self.events_sha256,
            "scenario_sha256": header.scenario_sha256,
            "uplink_bytes": totals.uplink_bytes,
            "downlink_bytes": totals.downlink_bytes,
            "bytes_by_kind": dict(sorted(totals.bytes_by_kind.items())),
            "device_flops": totals.device_flops,
            "server_flops": totals.server_flops,
            "device_peak_memory_bytes": totals.device_peak_memory_bytes,
            "device_energy_j": None,
            "time_to_accuracy_s": self._reached_s,
            "validation_accuracy": last.validation_accuracy if last else None,
            "devices_lost": outcome.devices_lost if outcome else None,
            "ops": totals.ops,
            "ops_skipped": outcome.skipped if outcome else None,
            "ray_calls": outcome.calls if outcome else None,
            "schema_version": SCHEMA_VERSION,
            **{key: facts[key] for key in ("version", "commit", "python", "torch", "ray", "cpu")},
            "overhead_bytes": totals.overhead_bytes,
            "numpy": facts["numpy"],
            "instruction_set": facts["instruction_set"],
            "status": status or (outcome.status if outcome else "failed"),
            "stop_accuracy_ignored": header.stop_ignored,
        }


def read_decisions(folder: Path) -> list[Decision]:
    """The decisions of a run. Raises ScenarioError when the folder has none."""
    path = folder / "decisions.jsonl"
    if not path.is_file():
        raise ScenarioError(f"--decisions {folder}: expected a run folder with decisions.jsonl")
    with path.open(encoding="utf-8") as lines:
        return [Decision(**json.loads(line)) for line in lines]


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
