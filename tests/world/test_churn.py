"""Random fleets that come, go, run empty, get hot and do other work: what holds of every run, whatever happens in it."""

from collections import defaultdict
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from emulator.blueprint import Blueprint, Observation
from emulator.devices.condition import Completeness, Condition
from emulator.devices.intervals import Intervals
from emulator.devices.pace import Load
from emulator.devices.presence import Both, Diurnal, Markov, Presence
from emulator.devices.profile import Throttling
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.rows import Event, is_device
from tests.world.protocols import Deadline, deadline
from tests.worlds import Played, fleet, plan, play, time_only

POWERS: dict[str, Any] = {"idle_w": 0.312345671, "load_w": 5.123456789, "send_w": 2.718281829, "receive_w": 0.577215665}
SPANS = ((0.0, 0.2), (0.5, 1.1), (1.3, 1.9))


def presence(random: Random, key: int) -> Presence | None:
    chain = Markov(key, random.choice([0.05, 0.3, 2.0]), random.choice([0.01, 0.1, 1.0]))
    kinds: list[Presence | None] = [
        None, chain, Diurnal(key, random.choice([1.0, 3.0]), (random.random(), 0.6), 0.1), Intervals(2.0, SPANS),
        Intervals(None, SPANS), Both(Intervals(None, ((0.0, 3.0),)), chain),
    ]  # fmt: skip
    return random.choice(kinds)


def condition(random: Random, key: int) -> Condition:
    load = Load(Markov(key + 7, 0.1, 0.1), 0.3) if random.random() < 0.3 else None
    part = Completeness(key, 0.3, 0.9) if random.random() < 0.3 else Completeness()
    return Condition(presence(random, key), load, random.choice([1.0, 0.5]), part)


def figures(random: Random) -> dict[str, Any]:
    battery_j = random.choice([None, None, 0.05, 0.5, 1.0, 3.0, 20.0])
    heat = Throttling(0.1, 0.5, 0.3) if random.random() < 0.3 else None
    speed, latency_s = random.choice([1e8, 3e8, 1e9]), random.choice([0.0, 0.01])
    return {**POWERS, "battery_j": battery_j, "throttling": heat, "flop_per_s": speed, "latency_s": latency_s}


def world(seed: int) -> Blueprint:
    """Two to seven devices, FedAvg or one with a deadline, with an accuracy or a virtual time to stop at, or none."""
    random = Random(seed)
    count = random.randint(2, 7)
    groups = [group for _ in range(count) for group in fleet(1, **figures(random))]
    conditions = tuple(condition(random, seed * 100 + number) for number in range(count))
    accuracy, limit_s = random.choice([None, 0.5, 0.99]), random.choice([None, 1.5, 2.0])
    observation = Observation(random.choice([1, 3]), 50, 50, False, accuracy, limit_s)
    both = {"conditions": conditions, "link_bps": 2e7, "observation": observation}
    if random.random() < 0.5:
        cohort = random.randint(1, count)
        return plan(fedavg, FedAvgSettings(rounds=12, cohort=cohort, learning_rate=0.1), groups, **both)
    first, within_s = random.choice([None, 1, 2]), random.choice([None, 0.3])
    return plan(deadline, Deadline(rounds=12, cohort=count, first=first, within_s=within_s), groups, **both)


def energies(events: list[Event]) -> dict[str, float]:
    """Joules of the rows, by kind."""
    found = {"compute": 0.0, "send": 0.0, "receive": 0.0}
    for row in events:
        kind = row.verb if row.verb == "compute" else "send" if row.direction == "uplink" else "receive"
        found[kind] += row.energy_j or 0.0
    return found


def device_of(row: Event) -> str:
    return row.node if is_device(row.node) or row.peer is None else row.peer


def nobody_works_while_away(blueprint: Blueprint, events: list[Event]) -> None:
    """A row may begin in the very instant of leaving (it is then empty), and never reaches into an absence."""
    presences = {device.name: one.presence for device, one in zip(blueprint.devices, blueprint.conditions, strict=True)}
    for row in events:
        one = presences.get(device_of(row))
        if one is None:
            continue
        there, then = one.at(row.start_ns)
        assert there or row.start_ns == row.end_ns, row
        while there and then is not None and then < row.end_ns:  # two spans may touch
            there, then = one.at(then)
        assert there or row.start_ns == row.end_ns, row


def no_battery_gives_more_than_it_has(blueprint: Blueprint, events: list[Event]) -> None:
    drawn: dict[str, float] = defaultdict(float)
    for row in events:
        drawn[device_of(row)] += row.energy_j or 0.0
    for device, one in zip(blueprint.devices, blueprint.conditions, strict=True):
        if device.profile.battery_j is not None:
            assert drawn[device.name] <= device.profile.battery_j * one.charge + 1e-8


def told(played: Played) -> Any:
    """What must be the same without tensors: everything but scores."""
    end = played.end._replace(weights_sha256=None, skipped=0)
    keys = ("round", "start_ns", "end_ns", "cohort", "finished", "device_seconds", "uplink_bytes", "joules")
    return end, [tuple(getattr(row, key) for key in keys) for row in played.rounds]


@pytest.mark.parametrize("seed", range(24))
def test_what_holds_of_every_run(seed: int) -> None:
    blueprint = world(seed)
    played = play(world(seed))
    unfinished = {row.op for row in played.events if row.cause != "done"}
    assert not unfinished & {op for row in played.events for op in row.inputs}  # what is lost never contributes
    nobody_works_while_away(blueprint, played.events)
    no_battery_gives_more_than_it_has(blueprint, played.events)
    joules = played.end.joules
    assert joules is not None
    assert energies(played.events) == {
        kind: pytest.approx(joules[kind], rel=1e-9, abs=1e-9) for kind in ("compute", "send", "receive")
    }


@pytest.mark.parametrize("seed", range(24))
def test_the_same_whatever_plays_it_and_however_far_the_clock_is_ahead(seed: int) -> None:
    played = play(world(seed))
    for ahead in (0, 5):
        other = play(replace(world(seed), observation=replace(world(seed).observation, ahead=ahead)))
        assert (other.events, other.rounds, other.decisions) == (played.events, played.rounds, played.decisions)
        assert other.end == played.end._replace(skipped=other.end.skipped)
    timed = time_only(world(seed), played.decisions)
    assert timed.events == played.events
    assert told(timed) == told(played)


def test_the_fleets_above_are_worth_it() -> None:
    """They lose devices, run batteries empty, and end in more than one way."""
    runs = [time_only(world(seed)) for seed in range(24)]
    assert sum(row.cause == "lost" for run in runs for row in run.events) > 50
    assert sum(run.end.devices_lost for run in runs) > 24
    assert len({run.end.status for run in runs}) > 1
