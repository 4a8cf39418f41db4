"""``emulator retime``: a run's training under another network or fleet, on the clock alone.

The clock needs no tensors, so it runs again, once as it was recorded and once as asked. Where every report's weights come
from the same operations (see ``lineage``), accuracy, loss and weights carry over to the new virtual times; else it refuses.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from actors.inline import TimingOnly
from actors.tape import Handle
from actors.values import Tree
from emulator.blueprint import Blueprint
from emulator.events import RowsHash
from emulator.insight.carried import Carried, carried_of, refuse_other_data
from emulator.insight.difference import Side, first_difference
from emulator.insight.lineage import Identity, Lineage
from emulator.insight.load import Run, RunError
from emulator.observer import Accuracy
from emulator.preparation import prepare
from emulator.progress import Progress
from emulator.reading import ScenarioError, read_scenario
from emulator.records import RunFolder, new_folder, write_whole
from emulator.rows import Decision, Event
from emulator.run import Finished, Refused, RunOptions, header, record
from emulator.simulation import Message, Outcome, Reported, Simulation
from emulator.world import Report


class Told(NamedTuple):
    """A report's values: identities to compare, references to look behind. ``parts``: how many are weights."""

    identities: tuple[Any, ...]
    references: tuple[Any, ...]


@dataclass
class Recorded:
    """The recorded run, played again: what its reports and reads were made of."""

    lineage: Lineage
    reports: dict[int, Told] = field(default_factory=dict)
    reads: dict[Identity, Tree] = field(default_factory=dict)
    order: list[Any] = field(default_factory=list)  # references of the values that were read
    early: list[Event] = field(default_factory=list)


class _Again(Simulation):
    """The recorded scenario on the clock alone, with its decisions."""

    def __init__(self, plan: Blueprint, decisions: list[Decision]) -> None:
        super().__init__(plan, TimingOnly(), decisions)
        self.found = Recorded(Lineage(self.engine.tape))
        self._sight = self.world.sight
        self.world.sight = self._note

    def _note(self, value: Handle, round: int, names: tuple[str, ...]) -> Tree:
        seen, reference = self._sight(value, round, names), value.reference()
        self.found.reads[self.found.lineage.of(reference)] = seen
        self.found.order.append(reference)
        return seen

    def _settle(self, told: Reported, score: Accuracy) -> list[Message]:
        self.found.reports[told.report.round] = _told(self.found.lineage, told.report)
        return super()._settle(told, score)


class Retimed(Simulation):
    """The new scenario on the clock alone; rounds get the recorded accuracy. Raises ScenarioError at the first difference."""

    def __init__(self, plan: Blueprint, recorded: Recorded, carried: Carried) -> None:
        watched = plan.observation
        super().__init__(plan, TimingOnly(), carried.stops(watched.accuracy, watched.every))
        self.recorded, self.carried = recorded, carried
        self.lineage = Lineage(self.engine.tape)
        self.early: list[Event] = []
        self._reads = 0
        self.world.sight = self._recall

    def _recall(self, value: Handle, round: int, _names: tuple[str, ...]) -> Tree:
        reference = value.reference()
        identity = self.lineage.of(reference)
        if identity not in self.recorded.reads:
            old = self.recorded.order[self._reads : self._reads + 1]
            raise self._refusal(f"what is read in round {round}", tuple(old), (reference,))
        self._reads += 1
        return self.recorded.reads[identity]

    def _settle(self, told: Reported, score: Accuracy) -> list[Message]:
        report = told.report
        before = self.recorded.reports.get(report.round)
        if before is None:
            raise Refused(
                f"retime: got a round {report.round}; expected at most the {len(self.recorded.reports)} recorded rounds"
            )
        now = _told(self.lineage, report)
        if now.identities != before.identities:
            raise self._refusal(f"the weights of round {report.round}", before.references, now.references)
        score = self.carried.score(report) if told.evaluated else Accuracy()
        return super()._settle(told, score)

    def _refusal(self, what: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> Refused:
        rows = (*self.early, *self._held, *self.engine.rows, *self.engine.unsorted())
        early = [row for row in rows if row.cause != "done"]
        words = first_difference(Side(self.recorded.lineage, old, self.recorded.early), Side(self.lineage, new, early))
        return Refused(f"retime: {what} would be others. {words}. Train it: emulator run")


def _told(lineage: Lineage, report: Report) -> Told:
    weights = tuple(part.reference() for part in report.weights)
    watched = {name: value.reference() for name, value in report.watched.items()}
    identities = (tuple(map(lineage.of, weights)), {name: lineage.of(value) for name, value in watched.items()})
    return Told(identities, (*weights, *watched.values()))


def play_again(plan: Blueprint, run: Run) -> Recorded:
    """Play a recorded run's clock again. Raises RunError where other events come out than were recorded."""
    again = _Again(plan, run.decisions)
    digest = RowsHash()
    for messages in again.messages():
        rows = [message for message in messages if isinstance(message, Event)]
        digest.add(rows)
        again.found.early.extend(row for row in rows if row.cause != "done")
    if digest.hexdigest() != run.summary["events_sha256"]:
        made = ", ".join(f"{key} {run.summary[key]}" for key in ("version", "commit", "torch"))
        raise RunError(
            f"{run.folder}: got other events from its scenario than it recorded; expected the code that made it ({made}), "
            "and the files that it names unchanged"
        )
    return again.found


def retime(run: Run, overrides: list[str], out: Path = Path("results")) -> Finished:
    """A run folder of the same training in the new virtual times. Raises ScenarioError where the training would differ."""
    if not run.ended or run.summary["weights_sha256"] is None:
        got = run.summary["executor"] if run.ended else run.summary["status"]
        raise RunError(
            f"{run.folder}: got a run with nothing to carry over ({got}); expected one that trained to its end"
        )
    scenario = read_scenario(str(run.folder / "scenario.yaml"), overrides)
    before, after = run.prepared, prepare(scenario)
    refuse_other_data(before, after)
    idle = [name for name in after.idle_cells if name not in before.idle_cells]
    if idle:
        raise ScenarioError(
            f"retime: network.cells.{idle[0]}: got a cell that no device is in; expected one of the run's"
        )
    carried = carried_of(run)
    simulation = Retimed(after.plan, play_again(before.plan, run), carried)
    made = replace(header(scenario, RunOptions(out), after, None), executor="retime", stop_ignored=False)
    records = RunFolder(new_folder(out, scenario.name, scenario.sha256()), made)
    finished = record(records, _with_weights(simulation, carried), Progress(scenario, quiet=True))
    write_whole(finished.folder / "retime.json", json.dumps(_origin(run, overrides), indent=2) + "\n")
    return finished


def _with_weights(simulation: Retimed, carried: Carried) -> Iterator[list[Message]]:
    for messages in simulation.messages():
        simulation.early.extend(row for row in messages if isinstance(row, Event) and row.cause != "done")
        yield [carried.outcome(message) if isinstance(message, Outcome) else message for message in messages]


def _origin(run: Run, overrides: list[str]) -> dict[str, Any]:
    kept = ("scenario_sha256", "events_sha256", "weights_sha256", "executor")
    return {"run": run.folder.resolve().name, "changes": overrides, **{key: run.summary[key] for key in kept}}
