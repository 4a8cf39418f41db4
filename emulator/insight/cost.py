"""``emulator check --cost``: what a run will take of this host, and what it will come to in virtual time and bytes.

The clock alone, played in advance and its records written, tells virtual time, bytes and FLOPs exactly; a few rounds with real
tensors tell this host's seconds for a FLOP and for an evaluation. Seconds are of processor time: a run's own seconds where one
core is free for it. Other work on the machine adds to them.
"""

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from actors.inline import Done, Inline, TimingOnly
from actors.program import Program
from emulator.blueprint import Blueprint
from emulator.deciding import DecisionMissing
from emulator.listing import table
from emulator.preparation import Prepared, prepare
from emulator.progress import scaled
from emulator.records import RunFolder
from emulator.rows import Round
from emulator.run import RunOptions, header
from emulator.scenario import Scenario
from emulator.simulation import Message, Simulation

T = TypeVar("T", int, float)

SAMPLED_ROUNDS, SAMPLE_S = 3, 15.0  # real rounds: this many, or fewer once they took so long
CLOCK_S = 60.0  # the clock is played so long at most; then the rest is taken to be alike


class _Timed(Inline):
    """Inline, and how many processor seconds went into tensors: of training, and of evaluation."""

    def __init__(self, resources: Any) -> None:
        super().__init__(resources)
        self.training_s = self.evaluation_s = 0.0

    def play(self, programs: list[Program]) -> None:
        """Run and time."""
        before = _seconds()
        super().play(programs)
        self.training_s += _seconds() - before

    def observe(self, programs: list[Program]) -> Done:
        """Run and time."""
        before = _seconds()
        found = super().observe(programs)
        self.evaluation_s += _seconds() - before
        return found


@dataclass
class Sample:
    """Rounds that were played with real tensors: each one's row and processor seconds."""

    rows: list[Round] = field(default_factory=list)
    training_s: list[float] = field(default_factory=list)
    evaluation_s: list[float] = field(default_factory=list)
    other_s: float = 0.0  # the clock, and finding what steps cost

    @property
    def flops(self) -> list[int]:
        """FLOPs of each round."""
        return [row.device_flops + row.server_flops for row in self.rows]

    def training(self, flops: int) -> float:
        """Seconds for so many FLOPs of a run; its first round is the sampled one."""
        flops_s: float = sum(_later(self.training_s)) / max(1, sum(_later(self.flops)))
        return self.training_s[0] + max(0, flops - self.flops[0]) * flops_s

    def evaluation(self, times: int) -> float:
        """Seconds for so many evaluations."""
        later: list[float] = _later(self.evaluation_s)
        return self.evaluation_s[0] + (times - 1) * sum(later) / len(later)


def _later(values: list[T]) -> list[T]:
    """What follows the first, in which libraries warm up; the first where there is no other."""
    return values[1:] or values


@dataclass(frozen=True)
class Cost:
    """Predicted for an inline run. ``exact``: virtual time, bytes and FLOPs are the run's own, no extrapolation."""

    rounds: int
    start_s: float
    clock_s: float
    training_s: float
    evaluation_s: float
    memory_bytes: int
    virtual_s: float
    uplink_bytes: int
    downlink_bytes: int
    overhead_bytes: int
    flops: int
    exact: bool

    @property
    def host_s(self) -> float:
        """Seconds of one core, from the command to the end."""
        return self.start_s + self.clock_s + self.training_s + self.evaluation_s


def predict(scenario: Scenario) -> Cost:
    """What a run of the scenario will take. Raises ScenarioError where scenario and data do not fit."""
    prepared = prepare(scenario)
    start_s = _seconds()  # since this process began: loading libraries and data is the run's, too
    sample = sampled(prepared)
    rounds = int(getattr(prepared.plan.settings, "rounds", 0)) or len(sample.rows)
    told, clock_s, ended = _clock(scenario, prepared)
    known = told if told else sample.rows  # a protocol that decides on data shows its traffic as it runs
    share = rounds / len(known)
    exact = len(told) == rounds or ended
    if exact:
        share, rounds = 1.0, len(told)
    flops = round(share * sum(row.device_flops + row.server_flops for row in known))
    evaluations = sum(number % scenario.evaluate.every == 0 for number in range(1, rounds)) + 1
    unplayed = max(0.0, rounds - len(sample.rows))
    per_round = clock_s / len(told) if told else sample.other_s / len(sample.rows)
    return Cost(
        rounds=rounds,
        start_s=start_s,
        clock_s=sample.other_s + unplayed * per_round,
        training_s=sample.training(flops),
        evaluation_s=sample.evaluation(evaluations),
        memory_bytes=_peak_bytes(),
        virtual_s=share * known[-1].end_ns / 1e9,
        uplink_bytes=round(share * sum(row.uplink_bytes for row in known)),
        downlink_bytes=round(share * sum(row.downlink_bytes for row in known)),
        overhead_bytes=round(share * sum(row.overhead_bytes for row in known)),
        flops=flops,
        exact=exact,
    )


def sampled(prepared: Prepared) -> Sample:
    """The first rounds with real tensors, each evaluated."""
    watched = replace(prepared.plan.observation, every=1, accuracy=None, virtual_time_s=None)
    executor = _Timed(prepared.holdings())
    found, began = Sample(), _seconds()
    for row in _rounds(Simulation(replace(prepared.plan, observation=watched), executor)):
        found.rows.append(row)
        found.training_s.append(executor.training_s - sum(found.training_s))
        found.evaluation_s.append(executor.evaluation_s - sum(found.evaluation_s))
        spent = _seconds() - began
        if len(found.rows) == SAMPLED_ROUNDS or spent > SAMPLE_S:
            break
    found.other_s = _seconds() - began - executor.training_s - executor.evaluation_s
    return found


def _rounds(simulation: Simulation) -> Iterator[Round]:
    for messages in simulation.messages():
        yield from (message for message in messages if isinstance(message, Round))


def _clock(scenario: Scenario, prepared: Prepared) -> tuple[list[Round], float, bool]:
    """The rounds on the clock alone, their records written and thrown away; seconds; whether that was all of the run.

    No rounds where data decide, as only tensors tell then.
    """
    plan = _endless(prepared.plan)
    told: list[Round] = []
    ended, began = False, _seconds()
    with TemporaryDirectory() as folder:
        records = RunFolder(Path(folder), header(scenario, RunOptions(timing_only=True), prepared, None))
        try:
            for messages in Simulation(plan, TimingOnly()).messages():
                records.take(messages)
                told += _rows(messages)
                if _seconds() - began > CLOCK_S:
                    break
            else:
                ended = bool(told)
        except DecisionMissing:
            told = []
        finally:
            records.close(0.0, "interrupted")
    return told, _seconds() - began, ended


def _endless(plan: Blueprint) -> Blueprint:
    """Without the accuracy stop, which only tensors can tell."""
    return replace(plan, observation=replace(plan.observation, accuracy=None))


def _rows(messages: list[Message]) -> list[Round]:
    return [message for message in messages if isinstance(message, Round)]


def _seconds() -> float:
    """Processor seconds of this process so far, its own and the system's for it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_bytes() -> int:
    """The largest memory of this process so far; Linux tells KiB, macOS bytes (getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def show_cost(scenario: Scenario) -> None:
    """Print what a run will take."""
    cost = predict(scenario)
    about = "" if cost.exact else "about "
    rows = [
        ("host time", f"{cost.host_s:.1f} s of one core, inline"),
        ("  start, data", f"{cost.start_s:.1f} s"),
        ("  clock, records", f"{cost.clock_s:.1f} s"),
        ("  training", f"{cost.training_s:.1f} s"),
        ("  evaluation", f"{cost.evaluation_s:.1f} s"),
        ("host memory", scaled(cost.memory_bytes, "B")),
        ("virtual time", f"{about}{cost.virtual_s:.3f} s"),
        ("uplink, downlink, overhead", about + ", ".join(
            scaled(getattr(cost, f"{name}_bytes"), "B") for name in ("uplink", "downlink", "overhead"))),
        ("compute", about + scaled(cost.flops, "FLOP")),
    ]  # fmt: skip
    table(f"{scenario.name}: predicted cost of {cost.rounds} rounds", ("what", "predicted"), rows)
    if scenario.stop.accuracy is not None:
        print(f"at most: the run stops when validation accuracy is {scenario.stop.accuracy:g}, and training tells when")
