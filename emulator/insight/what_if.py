"""What if: the clock runs again without tensors, with one thing changed, from the run folder's own scenario and decisions.

Nothing is estimated: a what-if is the timing of a real run in which that is so. All draws stay as they are; the data stay where
they are. Weights and accuracy are not computed, as other work may be done: see ``Result.same_work``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any, Literal

from actors.inline import TimingOnly
from emulator.blueprint import Blueprint
from emulator.deciding import ANY_OP, DecisionMissing
from emulator.devices.profile import Profile
from emulator.insight.history import devices_of
from emulator.insight.load import Run, RunError
from emulator.insight.waiting import Part
from emulator.protocols.round_settings import RoundSettings
from emulator.rows import Decision, Event, Round
from emulator.simulation import Simulation
from emulator.tasks import OutOfMemory, ProtocolError

Fast = Literal["uplink", "downlink", "processor", "server"]
FAST: tuple[Fast, ...] = ("uplink", "downlink", "processor", "server")
BOUNDLESS = 1e30  # FLOP/s: any work takes zero nanoseconds


@dataclass(frozen=True)
class Change:
    """What is otherwise. ``without``: a device that is drawn as before and lost at once. ``fast``: infinitely fast, of one
    ``device`` or (None) of all; transfers still take their latency. ``like``: all devices have this one's profile, slowdown,
    own rates, latency and rate traces; cells, places, data and availability stay their own.
    """

    without: str | None = None
    fast: Fast | None = None
    device: str | None = None
    like: str | None = None

    def __str__(self) -> str:
        if self.without is not None:
            return f"without {self.without}"
        if self.like is not None:
            return f"all devices like {self.like}"
        whose = "every" if self.device is None else f"{self.device}'s"
        return f"{'the' if self.fast == 'server' else whose} {self.fast} infinitely fast"


@dataclass(frozen=True)
class Result:
    """What came of it, over the rounds that both runs have. ``rounds_s``: their durations in the changed run.

    ``same_work``: the same operations between the same nodes were done in each round (without a device: by the others); where
    not, other devices counted or other values were sent. ``refused``: why there is no result (None: there is one).
    """

    change: Change
    rounds_s: tuple[float, ...] = ()
    before_s: float = 0.0
    same_work: bool = True
    refused: str | None = None

    @property
    def after_s(self) -> float:
        """Seconds of these rounds in the changed run."""
        return sum(self.rounds_s)

    @property
    def saved(self) -> float:
        """Share of the time that is saved; below zero where it takes longer."""
        return 1 - self.after_s / self.before_s if self.before_s else 0.0


def what_if(run: Run, changes: Sequence[Change]) -> list[Result]:
    """One result a change. Raises ScenarioError where the run's scenario or data are not at hand, RunError where they now give
    other times than the run's, ValueError for a device that the run does not have.
    """
    plan = whole(run.prepared.plan)
    recorded = Recorded(run.rows, [float(seconds) for seconds in run.rounds["duration_s"]], _decisions(run))
    again = play(plan, Change(), recorded)
    if again.refused is not None or any(map(_differ, again.rounds_s, recorded.rounds_s)):
        made = f"version {run.summary.get('version')}, commit {run.summary.get('commit')}"
        raise RunError(
            f"{run.folder}: got other times when its scenario is played again ({again.refused or 'rounds differ'}); expected "
            f"the version that made the run ({made})"
        )
    return [play(plan, change, recorded) for change in changes]


def _differ(one_s: float, other_s: float) -> bool:
    return abs(one_s - other_s) > 1.5e-9  # durations in the records are rounded from nanoseconds


@dataclass(frozen=True)
class Recorded:
    """The run as it was: its rows, its rounds' seconds, and the decisions to take again."""

    rows: Sequence[Event]
    rounds_s: Sequence[float]
    decisions: list[Decision]


def whole(plan: Blueprint) -> Blueprint:
    """The plan without a limit of virtual time: the recorded number of rounds is played, however long they take."""
    return replace(plan, observation=replace(plan.observation, virtual_time_s=None))


def play(plan: Blueprint, change: Change, recorded: Recorded) -> Result:
    """Play a changed plan on the clock alone."""
    known = [device.name for device in plan.devices]
    for name in (change.without, change.device, change.like):
        if name is not None and name not in known:
            raise ValueError(f"what-if: got device {name!r}; expected one of {known[0]} to {known[-1]}")
    try:
        rows, rounds = _played(changed(plan, change), change, recorded.decisions)
    except (DecisionMissing, OutOfMemory, ProtocolError) as error:
        return Result(change, refused=str(error))
    seconds = [(row.end_ns - row.start_ns) / 1e9 for row in rounds][: len(recorded.rounds_s)]
    last, left_out = len(seconds), change.without
    same = last == len(recorded.rounds_s) and _work(rows, last, left_out) == _work(recorded.rows, last, left_out)
    return Result(change, tuple(seconds), sum(recorded.rounds_s[:last]), same)


def _played(plan: Blueprint, change: Change, decisions: list[Decision]) -> tuple[list[Event], list[Round]]:
    simulation = Simulation(plan, TimingOnly(), decisions)
    for device in simulation.world.devices:
        if device.name == change.without:
            simulation.world.leave_out(device)
    told = [message for messages in simulation.messages() for message in messages]
    return [row for row in told if isinstance(row, Event)], [row for row in told if isinstance(row, Round)]


def _decisions(run: Run) -> list[Decision]:
    """What the run decided on data, whatever the numbers of operations now are; and that it ends after as many rounds."""
    found = [decision._replace(op=ANY_OP) for decision in run.decisions if decision.kind == "read"]
    rounds = len(run.rounds)
    return [*found, Decision(len(found), "stop", ANY_OP, rounds, 0, None)] if rounds else found


def _work(rows: Sequence[Event], rounds: int, left_out: str | None) -> Counter[tuple[object, ...]]:
    """What was done in the first rounds; but for a device, what all others did."""
    return Counter(
        (row.round, row.node, row.peer, row.verb, row.kind, row.bytes, row.flops)
        for row in rows
        if row.cause == "done" and row.round <= rounds and (left_out is None or devices_of(row) - {left_out})
    )


# ---- changed plans -------------------------------------------------------------------------------------------------------


def changed(plan: Blueprint, change: Change) -> Blueprint:
    """The plan with other speeds; a device that is left out is the world's affair."""
    if change.like is not None:
        return _alike(plan, change.like)
    if change.fast == "server":
        wiring = replace(plan.wiring, edges=tuple((site, instant(profile)) for site, profile in plan.wiring.edges))
        return replace(plan, server=instant(plan.server), wiring=wiring)
    if change.fast == "processor":
        devices = tuple(
            replace(device, profile=instant(device.profile)) if change.device in (None, device.name) else device
            for device in plan.devices
        )
        return replace(plan, devices=devices)
    return plan if change.fast is None else _unlimited(plan, change)


def instant(profile: Profile) -> Profile:
    """The profile of a machine that needs no time for anything."""
    return replace(profile, compute="flops", flop_per_s=BOUNDLESS)


def _unlimited(plan: Blueprint, change: Change) -> Blueprint:
    free = (change.fast == "downlink", change.fast == "uplink")
    accesses = tuple(
        replace(access, unlimited=free) if change.device in (None, access.name) else access
        for access in plan.wiring.accesses
    )
    network = replace(plan.wiring.plan, unlimited=free) if change.device is None else plan.wiring.plan
    return replace(plan, wiring=replace(plan.wiring, accesses=accesses, plan=network))


OWN = ("uplink_bps", "downlink_bps", "latency_s", "slowdown")
LINK = ("uplink_bps", "downlink_bps", "latency_ns", "weight", "uplink_trace", "downlink_trace")


def _alike(plan: Blueprint, name: str) -> Blueprint:
    model = next(device for device in plan.devices if device.name == name)
    access = next(access for access in plan.wiring.accesses if access.name == name)
    figures: dict[str, Any] = {key: getattr(model, key) for key in OWN}
    links: dict[str, Any] = {key: getattr(access, key) for key in LINK}
    devices = tuple(replace(device, profile=model.profile, **figures) for device in plan.devices)
    accesses = tuple(replace(each, **links) for each in plan.wiring.accesses)
    return replace(plan, devices=devices, wiring=replace(plan.wiring, accesses=accesses))


# ---- which changes, and what to say of them ------------------------------------------------------------------------------


def median_device(found: Sequence[Part]) -> str | None:
    """The device whose mean round time is the (lower) median of all that ever finished; None where none did."""
    times: dict[str, list[float]] = {}
    for part in found:
        if part.outcome == "done":
            times.setdefault(part.device, []).append(part.time_s)
    means = {name: sum(seconds) / len(seconds) for name, seconds in times.items()}
    middle = median_low(means.values()) if means else None
    return min((name for name, mean in means.items() if mean == middle), default=None)


def usual(straggler: str | None, middle: str | None) -> Iterator[Change]:
    """The table's changes: about the straggler, then about everybody."""
    if straggler is not None:
        yield Change(without=straggler)
        for fast in FAST[:3]:
            yield Change(fast=fast, device=straggler)
    for fast in FAST:
        yield Change(fast=fast)
    if middle is not None:
        yield Change(like=middle)


def cautions(run: Run) -> list[str]:
    """Why another timing may lead this run to other work, so that a what-if is of what would then be done."""
    from emulator.conditions import conditions
    from emulator.preparation import draw_fleet

    found, protocol = [], run.scenario.protocol
    if isinstance(protocol, RoundSettings) and protocol.ending.name != "all":
        found.append(f"rounds end by {protocol.ending.name}: other devices may count")
    if any(device.presence is not None for device in conditions(run.scenario, draw_fleet(run.scenario))):
        found.append("devices come and go: at other times others are there to be drawn")
    if any(decision.kind == "read" for decision in run.decisions):
        found.append("the run decides on data: its decisions are taken again in their order")
    if run.scenario.stop.accuracy is not None:
        found.append("the run stops at an accuracy: it is taken to stop after as many rounds")
    return found
