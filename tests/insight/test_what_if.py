"""What if: the clock's answers are those of real runs in which the device or the speed is so."""

import re
from dataclasses import replace
from typing import Any

import pytest

from actors.inline import TimingOnly
from emulator.blueprint import Blueprint
from emulator.deciding import ANY_OP
from emulator.devices.condition import Condition
from emulator.devices.intervals import Intervals
from emulator.insight.waiting import parts
from emulator.insight.what_if import Change, Recorded, Result, median_device, play, usual, whole
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.hierfavg import HierFavgSettings, hierfavg
from emulator.rows import Decision, Round
from emulator.simulation import Simulation
from emulator.wiring import Wiring, plain
from network.plan import CellPlan, NetworkPlan, SitePlan
from network.sharing import UNLIMITED_BPS
from tests.insight.tiny import ASYNCHRONOUS, RULES, windows_of, world_of
from tests.world.protocols import asynchronous, reading
from tests.world.test_edges import SITES, edged
from tests.world.test_policies import PASS, fedavg_world
from tests.worlds import Played, fleet, plan, profile, time_only
from tests.worlds import play as play_inline

SECOND = "device-0001"
INSTANT: dict[str, Any] = {"flop_per_s": 1e30}
SPEEDS: dict[str, dict[str, Any]] = {
    "processor": INSTANT, "uplink": {"uplink_bps": UNLIMITED_BPS}, "downlink": {"downlink_bps": UNLIMITED_BPS},
}  # fmt: skip
FREE: dict[str, Any] = {"rel": 1e-9, "abs": 2e-9}


def lengths(played: Played) -> list[float]:
    return [(row.end_ns - row.start_ns) / 1e9 for row in played.rounds]


def recorded(played: Played) -> Recorded:
    reads = [decision._replace(op=ANY_OP) for decision in played.decisions if decision.kind == "read"]
    stop = Decision(len(reads), "stop", ANY_OP, len(played.rounds), 0, None)
    return Recorded(played.events, lengths(played), [*reads, stop])


def asked(blueprint: Blueprint, change: Change) -> Result:
    return play(blueprint, change, recorded(time_only(blueprint)))


# ---- every protocol: equal to real runs ----------------------------------------------------------------------------------


# Asynchronous rules are the same for every training: of each the one with whole models.
PLAYED = [name for name in PROTOCOLS if name not in ASYNCHRONOUS or name in RULES]

# With edge servers all devices change, and their ways lead on over sites: see the edge tier below. TinyFEL's rates come from a
# radio, which no profile changes.
CASES = [
    (name, speed) for name in PLAYED for speed in SPEEDS if speed == "processor" or name not in ("hierfavg", "tinyfel")
]


@pytest.mark.parametrize(("name", "speed"), CASES)
def test_a_device_s_speed_as_in_a_real_run(name: str, speed: Any) -> None:
    whose = None if name == "hierfavg" else SECOND
    result = asked(world_of(name), Change(fast=speed, device=whose))
    real = time_only(world_of(name, second=SPEEDS[speed]))
    assert result.refused is None
    assert result.rounds_s == pytest.approx(lengths(real), **FREE)


@pytest.mark.parametrize("name", [name for name in PLAYED if name != "hierfavg"])
def test_the_server_s_speed_as_in_a_real_run(name: str) -> None:
    result = asked(world_of(name), Change(fast="server"))
    assert result.rounds_s == pytest.approx(lengths(time_only(world_of(name, server=profile(**INSTANT)))), **FREE)


@pytest.mark.parametrize("lost", ["device-0000", SECOND])
@pytest.mark.parametrize("name", PLAYED)
def test_without_a_device_as_in_a_real_run(name: str, lost: str) -> None:
    """The real device is there when the round's devices are drawn, at 0 s, and goes away for good a nanosecond later."""
    blueprint = world_of(name, told={"rounds": 1})
    gone = tuple(
        Condition(Intervals(None, ((0.0, 1e-9),)) if each.name == lost else None) for each in blueprint.devices
    )
    real = time_only(replace(blueprint, conditions=gone))
    assert real.end.devices_lost == 1
    result = asked(blueprint, Change(without=lost))
    assert result.refused is None
    assert result.rounds_s == pytest.approx(lengths(real), **FREE)


# A device of parallel_split's that is lost leaves its share of the joint minibatch empty; one that was not asked has none.
# EcoFed records as its cohort those that it asked for anything, which are not all that were drawn.
DRAWN = [
    name
    for name, entry in PROTOCOLS.items()
    if getattr(entry.settings, "own_sampling", None) is None and name not in ("parallel_split", "ecofed", *ASYNCHRONOUS)
]


@pytest.mark.parametrize("name", DRAWN)
def test_without_a_device_the_others_are_drawn_as_before(name: str) -> None:
    """The real run is told whom to ask: the cohorts of the run as it was, less that device."""
    some = {"cohort": 2, "rounds": 4}
    before = time_only(world_of(name, told=some))
    result = play(world_of(name, told=some), Change(without=SECOND), recorded(before))
    cohorts = [[int(device[-1]) for device in row.cohort if device != SECOND] for row in before.rounds]
    assert {len(cohort) for cohort in cohorts} == {1, 2}
    real = time_only(world_of(name, told={**some, "sampling": {"name": "given", "cohorts": cohorts}}))
    assert result.rounds_s == pytest.approx(lengths(real), **FREE)


@pytest.mark.parametrize(
    "sampling",
    [
        {"name": "oort"},
        {"name": "tifl", "tiers": 3, "selection": "adaptive", "interval": 1},
        {"name": "power_of_choice", "d": 4},
        {"name": "power_of_choice", "d": 4, "variant": "rpow-d"},
    ],
    ids=lambda sampling: " ".join(map(str, sampling.values())),
)
def test_figures_of_other_devices_are_not_taken_for_theirs(sampling: dict[str, Any]) -> None:
    """Without a device that told its figure others would be chosen: nobody knows who. Other speeds change no figure."""
    settings = FedAvgSettings(rounds=6, cohort=2, learning_rate=0.1, sampling=sampling)  # type: ignore[arg-type]
    blueprint = plan(fedavg, settings, fleet(6))
    before = recorded(play_inline(blueprint))
    (who, *_), *_ = [decision.devices for decision in before.decisions if decision.devices]
    refused = play(blueprint, Change(without=who), before).refused
    assert refused is not None and re.fullmatch(
        r"the protocol decides in round \d on figures of .*; recorded are those of .*", refused
    )
    same = play(blueprint, Change(), before)
    assert same.refused is None
    assert same.rounds_s == pytest.approx(before.rounds_s, **FREE)


def test_a_device_that_comes_later_is_drawn_when_it_is_there() -> None:
    # Round times 157.66, 357.66, 257.66 ms; the second device is there from 0.4 s on: in the third round, from 0.51532 s on.
    late = (Condition(), Condition(Intervals(None, ((0.4, 9.0),))), Condition())
    blueprint = replace(three(), settings=FedAvgSettings(rounds=3, cohort=3, learning_rate=0.1), conditions=late)
    before = time_only(blueprint)
    assert lengths(before) == pytest.approx([0.25766, 0.25766, 0.35766])
    result = play(blueprint, Change(without=SECOND), recorded(before))
    assert result.rounds_s == pytest.approx([0.25766] * 3)
    simulation = Simulation(blueprint, TimingOnly())
    simulation.world.leave_out(simulation.world.devices[1])
    rounds = [row for messages in simulation.messages() for row in messages if isinstance(row, Round)]
    assert [row.cohort for row in rounds] == [row.cohort for row in before.rounds]  # it is drawn, and does nothing
    assert [len(row.cohort) for row in rounds] == [2, 2, 3]
    assert [len(row.finished) for row in rounds] == [2, 2, 2]


@pytest.mark.parametrize("name", [name for name in PLAYED if name not in ("hierfavg", "tinyfel")])
def test_the_median_device_everywhere_as_in_a_real_run(name: str) -> None:
    """The third device's figures, given to the first two."""
    like = {"flop_per_s": 5e8, "latency_s": 0.003}
    result = asked(world_of(name), Change(like="device-0002"))
    real = time_only(world_of(name, first=like, second={**like, "uplink_bps": 8e6}))
    assert result.rounds_s == pytest.approx(lengths(real), **FREE)


# ---- by hand -------------------------------------------------------------------------------------------------------------


def three(**changes: Any) -> Blueprint:
    """Rounds of 157.66, 357.66 and 257.66 ms: 19.22 down, 38.44 up."""
    groups = [fleet(1, flop_per_s=PASS / seconds)[0] for seconds in (0.1, 0.3, 0.2)]
    return plan(fedavg, FedAvgSettings(rounds=2, cohort=3, learning_rate=0.1), groups, **changes)


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        (Change(without=SECOND), 0.25766),
        (Change(without="device-0000"), 0.35766),
        (Change(fast="processor", device=SECOND), 0.25766),
        (Change(fast="processor"), 0.05766),
        (Change(fast="uplink"), 0.31922),
        (Change(fast="downlink"), 0.33844),
        (Change(fast="server"), 0.35766),
        (Change(like="device-0002"), 0.25766),
    ],
)
def test_by_hand(change: Change, seconds: float) -> None:
    result = asked(three(), change)
    assert result.rounds_s == pytest.approx((seconds, seconds))
    assert result.same_work
    assert result.before_s == pytest.approx(2 * 0.35766)
    assert result.saved == pytest.approx(1 - seconds / 0.35766)


def test_a_cell_s_uplink_for_all_and_for_one() -> None:
    # One cell of 8 Mbit/s for the three uploads of 38.44 ms, none of which meet. Without the second's, the third is last.
    blueprint = three()
    cell = CellPlan("a", "shared", downlink_bps=1e12, uplink_bps=8e6, latency_ns=1_000_000)
    accesses = tuple(
        replace(each, cell="a", downlink_bps=1e12, latency_ns=1_000_000) for each in plain(blueprint.devices)
    )
    blueprint = replace(blueprint, wiring=Wiring(NetworkPlan(cells=(cell,)), accesses))
    assert asked(blueprint, Change(fast="uplink")).rounds_s[0] == pytest.approx(0.302, abs=1e-6)  # the latency stays
    assert asked(blueprint, Change(fast="uplink", device=SECOND)).rounds_s[0] == pytest.approx(0.302, abs=1e-6)
    assert asked(blueprint, Change(without=SECOND)).rounds_s[0] == pytest.approx(0.24044, abs=1e-6)


def test_every_way_up_over_an_edge() -> None:
    settings = HierFavgSettings(rounds=2, cohort=3, learning_rate=0.1, batch_size=16)
    result = asked(edged(hierfavg, settings, 3), Change(fast="uplink"))
    real = edged(hierfavg, settings, 3, uplink_bps=UNLIMITED_BPS)
    sites = tuple(SitePlan(site.name, site.downlink_bps, UNLIMITED_BPS, site.latency_ns) for site in SITES)
    network = replace(real.wiring.plan, sites=sites)
    assert result.rounds_s == pytest.approx(
        lengths(time_only(replace(real, wiring=replace(real.wiring, plan=network))))
    )


def test_nothing_changes_without_a_change() -> None:
    blueprint = three()
    assert asked(blueprint, Change()).rounds_s == tuple(lengths(time_only(blueprint)))


# ---- where other work may be done ----------------------------------------------------------------------------------------


def test_a_deadline_keeps_its_time_and_others_count() -> None:
    result = asked(fedavg_world(2, ending={"name": "fixed", "seconds": 0.36}), Change(fast="processor"))
    assert result.after_s == pytest.approx(2 * 0.05766)  # all five are there at once
    assert not result.same_work
    slow = asked(fedavg_world(2, ending={"name": "fixed", "seconds": 0.36}), Change(without="device-0000"))
    assert (slow.same_work, slow.after_s) == (True, 0.72)  # the others do what they did, until the same deadlines


def test_aggregations_in_another_order_are_other_work() -> None:
    groups = [fleet(1, flop_per_s=PASS / seconds)[0] for seconds in (0.1, 0.25)]
    blueprint = plan(asynchronous, FedAvgSettings(rounds=6, cohort=2, learning_rate=0.1), groups)
    result = asked(blueprint, Change(fast="processor", device=SECOND))
    assert (result.same_work, len(result.rounds_s)) == (False, 6)
    assert result.saved > 0


def test_decisions_are_taken_again_in_their_order() -> None:
    # It decides on sums of weights; with an instant server the operations' numbers are others, the decisions the same.
    groups = [fleet(1, flop_per_s=PASS / seconds)[0] for seconds in (0.1, 0.3, 0.2)]
    blueprint = plan(
        reading, FedAvgSettings(rounds=4, cohort=3, learning_rate=0.1), groups, server=profile(flop_per_s=1e6)
    )
    played = play_inline(blueprint)
    result = play(blueprint, Change(fast="server"), recorded(played))
    assert (result.refused, result.same_work, len(result.rounds_s)) == (None, True, 4)
    none = play(blueprint, Change(fast="server"), Recorded(played.events, lengths(played), []))
    assert none.refused is not None
    assert "decisions" in none.refused


def test_a_run_that_ended_at_a_time_is_played_for_as_many_rounds() -> None:
    limited = replace(three(), observation=replace(three().observation, virtual_time_s=0.5))
    played = time_only(limited)
    assert (len(played.rounds), played.end.status) == (1, "stopped: virtual_time")
    slower = play(whole(limited), Change(like=SECOND), recorded(played))
    faster = play(whole(limited), Change(fast="processor"), recorded(played))
    assert [len(result.rounds_s) for result in (slower, faster)] == [1, 1]


def test_a_device_that_does_not_fit_is_told() -> None:
    groups = [*fleet(2), *fleet(1, memory_bytes=1000)]
    blueprint = plan(fedavg, FedAvgSettings(rounds=1, cohort=2, learning_rate=0.1), groups)
    result = play(blueprint, Change(like="device-0002"), Recorded([], [1.0], []))
    assert result.refused is not None
    assert "out of memory" in result.refused


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="got device 'device-0007'; expected one of device-0000 to device-0002"):
        asked(three(), Change(without="device-0007"))


def test_the_usual_changes() -> None:
    played = time_only(three())
    assert median_device(parts(played.events, windows_of(played.rounds))) == "device-0002"
    assert median_device([]) is None
    assert [str(change) for change in usual(SECOND, "device-0002")] == [
        "without device-0001",
        "device-0001's uplink infinitely fast",
        "device-0001's downlink infinitely fast",
        "device-0001's processor infinitely fast",
        "every uplink infinitely fast",
        "every downlink infinitely fast",
        "every processor infinitely fast",
        "the server infinitely fast",
        "all devices like device-0002",
    ]
    assert len(list(usual(None, None))) == 4
