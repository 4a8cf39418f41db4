"""Devices lost at awkward moments: by hand, and properties over random fleets.

Powers: 1 W idle, 5 W computing in all, 2 W sending, 0.5 W receiving on top.
"""

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from actors.inline import Inline
from emulator.blueprint import Blueprint, build_world
from emulator.devices.condition import Condition
from emulator.devices.intervals import Intervals
from emulator.devices.presence import Both, Markov
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.hierfavg import HierFavgSettings, hierfavg
from emulator.protocols.round_settings import RoundSettings
from emulator.protocols.verbs import DeviceLost
from emulator.rows import Round
from emulator.simulation import Simulation
from emulator.tasks import ProtocolError
from tests.world.protocols import Quiet, asynchronous, double, idle, multiply, ones, square
from tests.world.test_edges import COMMON, edged
from tests.world.test_verbs import run
from tests.worlds import fleet, holdings, plan, play, time_only

POWERS: dict[str, Any] = {"idle_w": 1.0, "load_w": 5.0, "send_w": 2.0, "receive_w": 0.5}
CLOSE: dict[str, Any] = {"rel": 1e-9, "abs": 1e-12}
MS = 1_000_000
HERE = Condition()


def there(*spans: tuple[float, float], period_s: float | None = None) -> Condition:
    return Condition(Intervals(period_s, spans))


def world_of(groups: Any, **changes: Any) -> tuple[Any, Any]:
    return build_world(plan(double, Quiet(), groups, **changes), Inline(None))


def lost_at(engine: Any, verbs: list[Any]) -> list[int]:
    """Awaits verbs in turn; the instants at which each told of a loss."""
    found: list[int] = []

    async def main() -> None:
        for verb in verbs:
            try:
                await verb
            except DeviceLost:
                found.append(engine.clock.now_ns)

    run(engine, main())
    return found


def test_a_battery_dies_in_mid_compute() -> None:
    # 2 MFLOP take 2 ms; 5 W draw 5 mJ in 1 ms: half of the work is done, for 4 mJ beside 1 mJ of idling.
    engine, world = world_of(fleet(1, **POWERS, battery_j=0.005))
    device = world.devices[0]
    assert lost_at(engine, [device.compute(multiply, side := device.compute(square, side=100), side)]) == [MS]
    row = engine.rows[-1]
    assert (row.cause, row.flops, row.end_ns, row.energy_j) == ("lost", MS, MS, pytest.approx(0.004, **CLOSE))
    assert engine.ledger.joules() == {"idle": 0.001, "compute": 0.004, "send": 0.0, "receive": 0.0}
    assert engine.tape.played == 0


def test_a_battery_dies_in_mid_download() -> None:
    # 1 MB at 16 Mbit/s takes 0.5 s; 1.5 W draw 0.375 J in a quarter of a second: half has arrived, for 0.125 J.
    engine, world = world_of(fleet(1, **POWERS, battery_j=0.375))
    value = world.server.compute(ones, numbers=250_000)
    assert lost_at(engine, [world.server.send(value, to=world.devices[0], kind="weights")]) == [250 * MS]
    row = engine.rows[-1]
    assert (row.cause, row.bytes, row.energy_j) == ("lost", 500_000, pytest.approx(0.125, **CLOSE))
    assert world.server.under_way == {}


def test_two_batteries_die_in_the_same_nanosecond() -> None:
    # Three uploads of 1 MB at 4 Mbit/s each; two devices draw 3 W from 3 J: at 1 s both are gone, with 0.5 MB sent each.
    # The third has its own 8 Mbit/s from then on: 0.5 MB in 0.5 s.
    engine, world = world_of([*fleet(2, **POWERS, battery_j=3.0), *fleet(1, **POWERS)], link_bps=12e6)
    values = [device.compute(ones, numbers=250_000) for device in world.devices]
    sends = [
        device.send(value, to=world.server, kind="update") for device, value in zip(world.devices, values, strict=True)
    ]
    assert lost_at(engine, sends) == [1000 * MS] * 2
    assert [(row.cause, row.bytes, row.end_ns) for row in engine.rows if row.verb == "send"] == [
        ("lost", 500_000, 1000 * MS), ("lost", 500_000, 1000 * MS), ("done", 1_000_000, 1500 * MS),
    ]  # fmt: skip


def test_a_battery_dies_while_nothing_is_asked_of_it() -> None:
    # Rounds of FedAvg with one of two devices; whoever it is, both idle their 0.5 J away in half a second or less.
    settings = FedAvgSettings(rounds=500, cohort=1, learning_rate=0.1)
    played = play(plan(fedavg, settings, fleet(2, **POWERS, battery_j=0.5)))
    assert (played.end.status, played.end.devices_lost) == ("stopped: no devices left", 2)
    assert played.end.virtual_ns <= 500 * MS
    assert played.end.joules is not None
    assert sum(played.end.joules.values()) == pytest.approx(1.0, abs=1e-6)  # both batteries, to the nanosecond


def test_a_battery_without_a_joule_is_lost_at_the_start() -> None:
    played = play(
        plan(
            fedavg, FedAvgSettings(rounds=3, cohort=2, learning_rate=0.1),
            [*fleet(1, **POWERS, battery_j=1e-9), *fleet(1, **POWERS)],
            conditions=(Condition(charge=1e-12), HERE),
        )
    )  # fmt: skip
    assert (played.end.status, played.end.devices_lost) == ("done", 1)
    assert [row.finished for row in played.rounds] == [("device-0001",)] * 3


def test_a_compute_in_the_queue_of_a_lost_device_never_starts() -> None:
    # The first of two computes of 2 ms is half done when the device leaves at 1 ms; the second leaves no row.
    engine, world = world_of(fleet(1), conditions=(there((0, 0.001), (1, 2)),))
    device = world.devices[0]
    side = device.compute(square, side=100)
    assert lost_at(engine, [device.compute(multiply, side, side) for _ in range(2)]) == [MS] * 2
    assert [(row.cause, row.flops) for row in engine.rows] == [("done", 0), ("lost", MS)]
    assert device.under_way == {}


def test_a_handled_loss_is_over() -> None:
    """Who catches ``DeviceLost`` goes on, also where the verb was an argument of another."""
    engine, world = world_of(fleet(1), conditions=(there((1, 2)),))

    async def client(device: Any) -> str:
        try:
            await device.send(device.compute(ones, numbers=1), to=world.server, kind="update")
        except DeviceLost:
            return "went on"
        return "never lost"

    async def main() -> Any:
        return await world.gather({device.name: client(device) for device in world.devices})

    assert run(engine, main()) == {"device-0000": "went on"}


def test_what_waited_for_a_lost_device_lets_go() -> None:
    """A compute at the server whose input never comes is not under way any more, and holds nothing."""
    engine, world = world_of(fleet(1), conditions=(there((0, 0.5), (2, 9)),))

    async def client(device: Any) -> None:
        value = await device.compute(ones, numbers=250_000)
        own = world.server.compute(ones, numbers=4)
        try:
            await world.server.compute(multiply, own, device.send(value, to=world.server, kind="update"))
        except DeviceLost:
            return
        raise AssertionError("never lost")

    async def main() -> None:
        before = engine.tape.living
        await world.gather({device: client(device) for device in world.devices})
        await world.server.compute(ones, numbers=1)  # until here SimPy held the last verb, and so its value
        assert world.server.under_way == world.devices[0].under_way == {}
        assert engine.tape.living == before + 1

    run(engine, main())


def test_a_cell_that_is_out_at_the_start() -> None:
    # The first two devices' cell is out until 1 s; they have spans of their own from 0 on.
    cell = Intervals(None, ((1.0, 1e6),))
    inside = Condition(Both(Intervals(None, ((0.0, 1e6),)), cell))
    settings = FedAvgSettings(rounds=30, cohort=3, learning_rate=0.1)
    played = play(plan(fedavg, settings, fleet(3), conditions=(inside, inside, HERE)))
    for row in played.rounds:
        assert len(row.cohort) == (3 if row.start_ns >= 10**9 else 1)
    assert len(played.rounds[-1].cohort) == 3
    assert played.end.devices_lost == 0


def test_a_device_whose_own_time_is_over_is_gone_however_its_cell_comes_and_goes() -> None:
    conditions = (Condition(Both(Intervals(None, ((0, 0.1),)), Markov(1, 5.0, 5.0))),) * 2
    settings = FedAvgSettings(rounds=300, cohort=2, learning_rate=0.1)
    played = time_only(plan(fedavg, settings, fleet(2), conditions=conditions))
    assert played.end.status == "stopped: no devices left"


def test_everybody_lost_at_once_in_mid_round() -> None:
    # At 1 MFLOP/s a training takes seconds; all are away from 0.5 s to 1 s. The weights stay as they were.
    conditions = (there((0, 0.5), (1, 1e6)),) * 3
    groups = fleet(3, flop_per_s=1e6)
    settings = FedAvgSettings(rounds=2, cohort=3, learning_rate=0.1)
    played = play(plan(fedavg, settings, groups, conditions=conditions))
    assert (played.rounds[0].end_ns, played.rounds[0].finished) == (500 * MS, ())
    assert played.rounds[1].finished == ("device-0000", "device-0001", "device-0002")
    assert min(row.start_ns for row in played.events if row.round == 2) == 1000 * MS
    assert played.end.devices_lost == 3


def test_an_edge_that_loses_all_its_devices_weighs_nothing() -> None:
    # Devices 1 and 3 are those of site south; they leave in their first training and never come back.
    settings = HierFavgSettings(**COMMON, edge_rounds=2)
    away = Blueprint(**{**vars(edged(hierfavg, settings, flop_per_s=1e6)), "conditions": (HERE, there((0, 0.2))) * 2})
    never = Blueprint(**{**vars(away), "conditions": (HERE, there()) * 2})
    lost, absent = play(away), play(never)
    assert lost.end.weights_sha256 == absent.end.weights_sha256
    assert {row.cause for row in lost.events if row.node in ("device-0001", "device-0003")} <= {"lost"}
    assert [row.finished for row in lost.rounds] == [("device-0000", "device-0002")] * 2


ODD: dict[str, Any] = {"idle_w": 0.312345671, "load_w": 5.123456789, "send_w": 2.718281829, "receive_w": 0.577215665}


def test_a_stop_that_is_never_reached_changes_no_joule() -> None:
    """Rounds end while devices are at work: what a stop would say of them is asked for, and must not be felt."""
    settings = RoundSettings(rounds=8, cohort=4)
    blueprint = plan(asynchronous, settings, fleet(2, **ODD, flop_per_s=1e8) + fleet(2, **ODD, flop_per_s=3e8))
    stop = replace(blueprint, observation=replace(blueprint.observation, accuracy=0.999))
    assert time_only(stop).events == time_only(blueprint).events


def test_a_server_that_waits_for_devices_that_are_all_gone_ends_the_run() -> None:
    played = time_only(plan(asynchronous, RoundSettings(rounds=900, cohort=2), fleet(2, **POWERS, battery_j=1.0)))
    assert (played.end.status, played.end.devices_lost) == ("stopped: no devices left", 2)


def test_a_protocol_that_waits_for_nothing_is_told() -> None:
    with pytest.raises(ProtocolError, match="waits for what never comes"):
        time_only(plan(idle, Quiet(), fleet(1)))


def living(blueprint: Blueprint) -> Iterator[int]:
    """Living values at every round that is told, when the next round's downloads have begun."""
    simulation = Simulation(blueprint, Inline(holdings(blueprint)))
    for messages in simulation.messages():
        if any(isinstance(message, Round) for message in messages):
            world = simulation.world
            begun = sum(bool(device.under_way) for device in world.devices)
            assert len(world.server.under_way) == begun == sum(len(device.under_way) for device in world.devices)
            yield simulation.engine.tape.living


@pytest.mark.parametrize("collector", [True, False])
def test_values_do_not_pile_up_under_churn(collector: bool) -> None:
    conditions = tuple(Condition(Markov(key, 0.2, 0.1)) for key in range(6))
    settings = FedAvgSettings(rounds=25, cohort=4, learning_rate=0.1)
    blueprint = plan(fedavg, settings, fleet(6, flop_per_s=1e8), conditions=conditions)
    (gc.enable if collector else gc.disable)()
    try:
        found = list(living(blueprint))
    finally:
        gc.enable()
    assert set(found[2:]) == {found[2]}
