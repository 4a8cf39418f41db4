"""Devices that go, come back and run empty in asynchronous training: by hand, and what holds of random fleets."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from emulator.blueprint import Blueprint, Observation
from emulator.devices.condition import Condition
from emulator.rows import Event, is_device
from tests.world.test_asynchronous import ALL, ENTRIES, RULES, SPLIT, devices, told
from tests.world.test_churn import condition, figures, nobody_works_while_away
from tests.world.test_losses import there
from tests.worlds import MLP, Played, fleet, plan, play, profile, time_only

ALWAYS = Condition()
S = 1_000_000_000


def world(name: str, periods_s: tuple[float, ...], spans: tuple[Condition, ...], **settings: Any) -> Blueprint:
    entry = ENTRIES[name]
    given = entry.settings(**{"learning_rate": 0.1, "rounds": 1, "concurrency": len(periods_s), **settings})
    return plan(entry.run, given, devices(periods_s), conditions=spans, server=profile(flop_per_s=1e18))


def trainings(played: Played) -> list[tuple[str, float, float, str]]:
    """Who trained from when to when, in seconds, and how it ended."""
    return [
        (row.node[-1], round(row.start_ns / S, 3), round(row.end_ns / S, 3), row.cause)
        for row in played.events
        if row.kind == "train"
    ]


# ---- by hand ----------------------------------------------------------------------------------------------------------------


def test_a_lost_device_makes_room_for_another() -> None:
    """One at a time, two seconds each. A leaves at 1, when B comes: B trains from 1 to 3."""
    played = play(world("fedasync", (2.0, 2.0), (there((0, 1)), there((1, 1e6))), concurrency=1))
    assert trainings(played) == [("0", 0, 1, "lost"), ("1", 1, 3, "done")]
    (row,) = played.rounds
    assert (row.cohort, row.finished) == (("device-0000", "device-0001"), ("device-0001",))
    assert row.device_seconds == pytest.approx((2.0,), abs=1e-4)
    assert (played.end.status, played.end.devices_lost) == ("done", 1)


def test_a_device_that_comes_back_is_asked_again() -> None:
    """Nobody else is there: A leaves at 1, is back at 3 and trains until 5, with the minibatches of its second asking."""
    played = play(world("fedasync", (2.0,), (there((0, 1), (3, 1e6)),), rounds=2))
    assert trainings(played) == [("0", 0, 1, "lost"), ("0", 3, 5, "done"), ("0", 5, 7, "done")]
    assert told(played, "merged") == [1, 1]


def test_it_is_asked_as_soon_as_it_is_back_though_a_straggler_works_on() -> None:
    """A takes 100 s. B (1.5 s) leaves at 1, is back at 3 and is merged at 4.5."""
    played = play(world("fedasync", (100.0, 1.5), (ALWAYS, there((0, 1), (3, 1e6)))))
    assert trainings(played)[-1] == ("1", 3, 4.5, "done")
    assert [row.end_ns / S for row in played.rounds] == pytest.approx([4.5], abs=1e-4)
    assert told(played, "in_flight") == [1]
    assert trainings(played)[0] == ("0", 0, 4.5, "cut off")  # the run is over


def test_a_loss_is_not_counted_in_a_buffer() -> None:
    """A leaves at 1 for good. B comes at 3 and 6: these two are the buffer."""
    played = play(world("fedbuff", (2.0, 3.0), (there((0, 1)), ALWAYS), buffer=2))
    assert [row.end_ns / S for row in played.rounds] == pytest.approx([6], abs=1e-4)
    assert (told(played, "merged"), played.rounds[0].finished) == ([2], ("device-0001",))


def test_a_window_goes_on_without_those_it_lost() -> None:
    """A (2 s) waits from 2 until the window's end at 4; B leaves at 3; from 4 on A is alone: 6, merged at 8."""
    played = play(world("semi_async", (2.0, 3.5), (ALWAYS, there((0, 3))), window_s=4.0, rounds=2))
    assert [row.finished for row in played.rounds] == [("device-0000",)] * 2
    assert [row.end_ns / S for row in played.rounds] == pytest.approx([4, 8], abs=1e-4)


def test_everybody_lost_in_mid_run_and_back() -> None:
    """All are away from 1 to 3. Both are asked again at 3 and come at 5 and 6."""
    spans = (there((0, 1), (3, 1e6)),) * 2
    played = play(world("fedasync", (2.0, 3.0), spans, rounds=2))
    assert [row.end_ns / S for row in played.rounds] == pytest.approx([5, 6], abs=1e-4)


@pytest.mark.parametrize("name", RULES)
def test_all_gone_ends_the_run(name: str) -> None:
    """Two seconds each, both leave for good at 3: one update of each at most."""
    own = {"fedbuff": {"buffer": 2}}.get(name, RULES[name])
    played = play(world(name, (2.0, 2.5), (there((0, 3)),) * 2, rounds=9, **own))
    assert played.end.status == "stopped: no devices left"
    assert sum(told(played, "merged")) <= 2
    assert played.end.virtual_ns <= 4 * S


def test_a_server_that_waits_for_nobody_who_holds_data_ends_the_run() -> None:
    """B holds no data: when A is gone, nobody is left to ask."""
    blueprint = replace(world("fedasync", (2.0, 2.0), (there((0, 1)), ALWAYS)), samples=(40, 0))
    played = time_only(blueprint)
    assert (played.end.status, played.end.rounds) == ("stopped: no devices left", 0)


def test_a_battery_dies_in_mid_training() -> None:
    """5 W computing: A's 15 J last for 3 s, so its second training (2 to 4 s) ends at 3. It is asked no more; B goes on."""
    powers = {"idle_w": 1.0, "load_w": 5.0, "send_w": 2.0, "receive_w": 0.5}
    entry = ENTRIES["fedasync"]
    settings = entry.settings(rounds=5, concurrency=2, learning_rate=0.1)
    groups = [*devices((2.0,), **powers, battery_j=15.0), *devices((3.5,), **powers)]
    played = play(plan(entry.run, settings, groups, server=profile(flop_per_s=1e18)))
    mine = [row for row in trainings(played) if row[0] == "0"]
    assert [row[3] for row in mine] == ["done", "lost"]
    assert mine[1][2] == pytest.approx(3.0, abs=1e-3)
    assert [row.finished[0][-1] for row in played.rounds] == ["0", "1", "1", "1", "1"]
    assert told(played, "in_flight") == [1, 0, 0, 0, 0]
    assert played.end.devices_lost == 1


# ---- properties of random fleets ------------------------------------------------------------------------------------------


def random_world(seed: int) -> Blueprint:
    """Two to seven devices that come, go, run empty and get hot, under any rule and training."""
    random = Random(seed)
    name, count = ALL[seed % len(ALL)], random.randint(2, 7)
    entry, rule = ENTRIES[name], name.removeprefix("split_").removeprefix("frozen_")
    groups = [group for _ in range(count) for group in fleet(1, **figures(random))]
    conditions = tuple(
        replace(condition(random, seed * 100 + number), completeness=ALWAYS.completeness) for number in range(count)
    )
    rules: dict[str, dict[str, Any]] = {
        "fedasync": {}, "fedbuff": {"buffer": random.randint(1, count)},
        "semi_async": {"window_s": random.choice([0.05, 0.3]), "empty": random.choice(["wait", "skip"])},
    }  # fmt: skip
    settings = entry.settings(
        rounds=15, concurrency=random.randint(1, count), learning_rate=0.1, batch_size=20, **rules[rule]
    )
    limit_s = random.choice([None, 2.0]) if rule != "semi_async" else 3.0
    observation = Observation(random.choice([1, 3]), 50, 50, False, random.choice([None, 0.9]), limit_s)
    problem = MLP if name in RULES else SPLIT
    return plan(
        entry.run, settings, groups, problem=problem, conditions=conditions, observation=observation, link_bps=2e7
    )


def spans_of(device: str, events: list[Event]) -> list[tuple[int, int]]:
    """When a device computed, one span a row."""
    return sorted((row.start_ns, row.end_ns) for row in events if row.node == device and row.verb == "compute")


SEEDS = range(2 * len(ALL))  # two fleets for each of the nine


@pytest.mark.parametrize("seed", SEEDS)
def test_what_holds_of_every_run(seed: int) -> None:
    """And it is the same whatever plays it and however far the clock is ahead."""
    played = play(random_world(seed))
    holds(seed, played)
    observation = random_world(seed).observation
    other = play(replace(random_world(seed), observation=replace(observation, ahead=5)))
    assert (other.events, other.rounds, other.decisions) == (played.events, played.rounds, played.decisions)
    assert time_only(random_world(seed), played.decisions).events == played.events


def holds(seed: int, played: Played) -> None:
    """Nothing is merged twice or that did not arrive; nobody is asked while at work; records tell who was asked."""
    blueprint = random_world(seed)
    unfinished = {row.op for row in played.events if row.cause != "done"}
    assert not unfinished & {op for row in played.events for op in row.inputs}
    nobody_works_while_away(blueprint, played.events)
    asked = Counter(name for row in played.rounds for name in row.cohort)
    for row in played.rounds:
        assert len(row.finished) <= row.metrics["merged"]
        assert 0 <= row.metrics["in_flight"] <= blueprint.settings.concurrency  # type: ignore[attr-defined]
        assert row.metrics["staleness_max"] < row.round
    assert all(asked[name] for row in played.rounds for name in row.finished)
    if "frozen" not in ALL[seed % len(ALL)]:
        arrived = sum(row.kind == "update" and row.cause == "done" for row in played.events)
        assert sum(told(played, "merged")) <= arrived
    for device in blueprint.devices:
        spans = spans_of(device.name, played.events)
        assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert all(is_device(name) for name in asked)


def test_the_fleets_above_are_worth_it() -> None:
    runs = [time_only(random_world(seed)) for seed in SEEDS]
    assert sum(row.cause == "lost" for run in runs for row in run.events) > 20
    assert sum(sum(told(run, "merged")) for run in runs) > 100
    assert len({run.end.status for run in runs}) > 1
