"""Plays a blueprint: runs the protocol on the clock, observes its reports, decides the stops, and tells it all as rows."""

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import simpy
from simpy.core import EmptySchedule

from actors.inline import Done
from actors.program import Executor, Pending, Result, resolve
from actors.values import Tree
from emulator.blueprint import Blueprint, build_world
from emulator.deciding import Recorded
from emulator.observer import Accuracy, evaluation, scores
from emulator.rows import Decision, Event, Round
from emulator.tasks import NobodyLeft, ProtocolError, Task
from emulator.world import Report


class Outcome(NamedTuple):
    """How a run ended. ``status``: ``done``, or ``stopped:`` with ``accuracy``, ``virtual_time`` or ``no devices left``."""

    status: str
    virtual_ns: int
    rounds: int
    weights_sha256: str | None
    devices_lost: int
    operations: int
    skipped: int
    calls: int
    joules: dict[str, float] | None = None  # drawn by all devices, by kind


Message = Event | Round | Decision | Outcome


@dataclass
class Reported:
    """A report on its way to a round row; ``pending`` is its evaluation, or where none is due the weights' completion.

    None: nobody has asked yet.
    """

    report: Report
    start_ns: int
    evaluated: bool
    pending: Pending | None = None


class Simulation:
    """One run. Iterating ``messages`` plays it; rows come as soon as no stop can undo them."""

    def __init__(self, plan: Blueprint, executor: Executor, decisions: list[Decision] | None = None) -> None:
        self.plan = plan
        self.executor = executor
        self.timing_only = executor.name == "timing-only"
        self.engine, self.world = build_world(plan, executor)
        if self.timing_only:
            self.world.sight = Recorded(decisions or [])
        self._tells_powers = all(device.supply is not None for device in self.world.devices)
        self.world.may_stop = plan.observation.accuracy is not None or self._stop_round(decisions) is not None
        self._stop_at = self._stop_round(decisions)
        self._reported: deque[Reported] = deque()
        self._held: deque[Event] = deque()
        self._decided = 0  # decisions told so far
        self._last: Report | None = None
        self._previous_ns = 0
        self._timed_out = False
        self._deserted = False

    def _stop_round(self, decisions: list[Decision] | None) -> int | None:
        stops = [decision.round for decision in decisions or [] if decision.kind == "stop"]
        return stops[0] if stops and self.timing_only else None

    def messages(self) -> Iterator[list[Message]]:
        """Play the run: lists of rows in order, and an ``Outcome`` at the very end."""
        main = self._start()
        while not main.triggered and not self._timed_out:
            if not self._step():
                break
            if self.world.reports:
                self._take_reports()
                stop = yield from self._tell(self.plan.observation.ahead * self.plan.settings.steps)
                if stop is not None:
                    yield self._stopped(stop)
                    return
        if main.failure is not None and not isinstance(main.failure, NobodyLeft):
            raise main.failure
        self._deserted = main.failure is not None or not (main.triggered or self._timed_out)
        stop = yield from self._tell(0, last=True)
        yield self._stopped(stop) if stop is not None else self._ended()

    def _step(self) -> bool:
        """Whether anything happened: False where nothing ever will, as all devices are gone."""
        try:
            self.engine.clock.env.step()
        except EmptySchedule:
            if len(self.world.gone) < len(self.world.devices):
                raise ProtocolError("the protocol waits for what never comes: nothing is under way any more") from None
            return False
        if self.engine.clock.failure is not None:
            raise self.engine.clock.failure
        return True

    def weights(self) -> Tree:
        """The weights that were reported last, all parts together: once they are there."""
        assert self._last is not None
        parts = [self.engine.tape.fetch(part) for part in self._last.weights]
        return {name: tensor for part in parts for name, tensor in part.items()}

    def _start(self) -> Task:
        limit_s = self.plan.observation.virtual_time_s
        if limit_s is not None:
            timer = self.engine.clock.at(round(limit_s * 1e9))
            assert timer.callbacks is not None
            timer.callbacks.append(self._time_out)
        protocol = resolve(self.plan.protocol)
        return Task(self.engine.clock, protocol(self.world, self.plan.problem, self.plan.settings))

    def _time_out(self, _: simpy.Event) -> None:
        self._timed_out = True

    def _take_reports(self) -> None:
        for report in self.world.reports:
            due = report.round % self.plan.observation.every == 0
            self._reported.append(Reported(report, self._previous_ns, due, self._evaluate(report) if due else None))
            self._previous_ns = report.time_ns
            self._last = report
        self.world.reports.clear()

    def _evaluate(self, report: Report) -> Pending:
        programs = evaluation(self.plan, report)
        if not programs:
            return Done([])
        self.engine.tape.need((*report.weights, *report.watched.values()))
        return self.executor.observe(programs)

    def _completion(self, report: Report) -> Pending:
        self.engine.tape.need(report.weights)
        reference = report.weights[-1].reference()
        return self.executor.completion(reference) if isinstance(reference, Result) else Done([])

    def _tell(self, ahead: int, *, last: bool = False) -> Generator[list[Message], None, Report | None]:
        """Tell what is settled; wait where the clock is more than ``ahead`` rounds before the tensors."""
        while self._reported:
            first = self._reported[0]
            if not first.evaluated and len(self._reported) == 1:
                if not last:
                    break  # it may be the final round, and that one is always evaluated
                first.pending, first.evaluated = self._evaluate(first.report), True
            too_far = len(self._reported) > ahead
            if first.pending is None and (too_far or first.report.weights[-1].shipped):
                first.pending = self._completion(first.report)
            if first.pending is None or not (too_far or first.pending.ready()):
                break
            score = scores(self.plan, first.report, first.pending.results())
            self._reported.popleft()
            yield self._settle(first, score)
            if self._stops(first.report, score):
                return first.report
        if not self.world.may_stop:
            yield self._flush()
        return None

    def _stops(self, report: Report, score: Accuracy) -> bool:
        if self.timing_only:
            return self._stop_at == report.round
        target = self.plan.observation.accuracy
        return target is not None and score.validation is not None and score.validation >= target

    def _settle(self, told: Reported, score: Accuracy) -> list[Message]:
        """A round that stands: the rows before its end that nothing can change any more, its decisions, and itself."""
        report = told.report
        self._held.extend(self.engine.rows)
        self.engine.rows.clear()
        rows: list[Message] = []
        while self._held and self._held[0].op < report.operations and self._held[0].op not in report.in_flight:
            rows.append(self._held.popleft())
        decisions = self.world.decisions[self._decided : report.decisions]
        self._decided = report.decisions
        return [*rows, *decisions, _round(told, score, report.joules if self._tells_powers else None)]

    def _flush(self) -> list[Message]:
        rows: list[Message] = [*self._held, *self.engine.rows]
        self._held.clear()
        self.engine.rows.clear()
        return rows

    def _stopped(self, report: Report) -> list[Message]:
        """End at a report that the clock may have left behind: what began later does not exist."""
        known = {row.op: row for row in (*self._held, *self.engine.rows, *self.engine.unsorted())}
        first = min([*known, *report.in_flight], default=report.operations)
        rows: list[Message] = [report.in_flight.get(op) or known[op] for op in range(first, report.operations)]
        stop = Decision(
            report.decisions, "stop", report.operations, report.round, report.time_ns, self.plan.observation.accuracy
        )
        return [*rows, stop, self._outcome("stopped: accuracy", report.time_ns, report)]

    def _ended(self) -> list[Message]:
        rows = self._flush()
        engine = self.engine
        rest = {row.op: row for row in (*engine.in_flight(), *engine.unsorted())}
        rows.extend(rest[op] for op in sorted(rest))
        status = (
            "stopped: virtual_time" if self._timed_out else "stopped: no devices left" if self._deserted else "done"
        )
        decisions = self.world.decisions[self._decided :]
        return [*rows, *decisions, self._outcome(status, engine.clock.now_ns, self._last)]

    def _outcome(self, status: str, time_ns: int, report: Report | None) -> Outcome:
        engine, tape = self.engine, self.engine.tape
        digest = None
        if report is not None and not self.timing_only:
            parts = [tape.fetch(part) for part in report.weights]
            digest = weights_sha256({name: tensor for part in parts for name, tensor in part.items()})
        operations = report.operations if report is not None and status == "stopped: accuracy" else engine.numbers
        rounds = report.round if report is not None else 0
        early = report if status == "stopped: accuracy" else None  # the clock may have gone on since
        lost = early.lost if early is not None else len(self.world.lost)
        joules = early.joules if early is not None else engine.ledger.joules()
        return Outcome(
            status, time_ns, rounds, digest, lost, operations, tape.skipped, self.executor.calls,
            joules if self._tells_powers else None,
        )  # fmt: skip


def _round(told: Reported, score: Accuracy, joules: dict[str, float] | None) -> Round:
    report, totals = told.report, told.report.totals
    return Round(
        report.round, told.start_ns, report.time_ns, report.asked, tuple(report.seconds), tuple(report.seconds.values()),
        totals.uplink_bytes, totals.downlink_bytes, totals.overhead_bytes, totals.device_flops, totals.server_flops,
        score.test, score.loss, score.validation, score.per_device, report.metrics | (score.watched or {}), joules,
        score.per_label,
    )  # fmt: skip


def weights_sha256(weights: Tree) -> str:
    """Hash of weights: names in order, dtypes, shapes and the tensors' bytes."""
    digest = sha256()
    for name in sorted(weights):
        array: Any = weights[name].numpy() if hasattr(weights[name], "numpy") else weights[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
