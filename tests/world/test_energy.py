"""Joules and batteries on the clock, by hand. Powers: 1 W idle, 5 W computing in all, 2 W sending, 0.5 W receiving on top."""

from typing import Any

import pytest

from actors.inline import Inline
from emulator.blueprint import build_world
from emulator.devices.condition import Condition
from emulator.protocols.verbs import DeviceLost
from tests.world.protocols import Quiet, double, multiply, ones, square
from tests.world.test_verbs import run
from tests.worlds import fleet, plan

POWERS: dict[str, Any] = {"idle_w": 1.0, "load_w": 5.0, "send_w": 2.0, "receive_w": 0.5}
CLOSE: dict[str, Any] = {"rel": 1e-9, "abs": 1e-12}


def world_of(groups: Any, **changes: Any) -> tuple[Any, Any]:
    return build_world(plan(double, Quiet(), groups, **changes), Inline(None))


def test_a_battery_dies_in_mid_transfer_and_the_others_speed_up() -> None:
    # Three uploads of 1 MB share 8 Mbit/s: 8/3 Mbit/s each. The third device draws 1 + 2 W from 4.5 J: empty at 1.5 s,
    # when each has sent 1.5 s x 8/3 Mbit/s = 0.5 MB. The other two have 4 Mbit/s from then on: 0.5 MB in 1 s, done at 2.5 s.
    groups = [*fleet(2, **POWERS), *fleet(1, **POWERS, battery_j=4.5)]
    engine, world = world_of(groups, link_bps=8e6)
    died: list[int] = []

    async def upload(device: Any) -> int:
        value = await device.compute(ones, numbers=250_000)
        try:
            await device.send(value, to=world.server, kind="update")
        except DeviceLost:
            died.append(engine.clock.now_ns)
            raise
        return int(engine.clock.now_ns)

    async def main() -> dict[str, int]:
        ends = await world.gather({device: upload(device) for device in world.devices})
        return {device.name: end for device, end in ends.items()}

    assert run(engine, main()) == {"device-0000": 2_500_000_000, "device-0001": 2_500_000_000}
    assert died == [1_500_000_000]
    rows = {row.node: row for row in engine.rows if row.verb == "send"}
    assert (rows["device-0002"].cause, rows["device-0002"].bytes) == ("lost", 500_000)
    assert [rows[name].energy_j for name in sorted(rows)] == [pytest.approx(joules, **CLOSE) for joules in (5, 5, 3)]
    # Idle: 2.5 + 2.5 + 1.5 s at 1 W; sending: the same times at 2 W. The dead device draws nothing more.
    assert engine.ledger.joules() == {
        "idle": pytest.approx(6.5, **CLOSE), "compute": 0.0, "send": pytest.approx(13.0, **CLOSE), "receive": 0.0,
    }  # fmt: skip
    assert world.devices[2].supply.battery.left_j() == pytest.approx(0.0, abs=1e-9)
    assert (world.lost, world.gone) == ({"device-0002"}, {"device-0002"})


def test_computing_and_receiving() -> None:
    # 100 x 100 squared: 2 MFLOP at 1 GFLOP/s, 2 ms at 4 W more = 8 mJ. Down: 1 MB at 16 Mbit/s, 0.5 s at 0.5 W = 0.25 J.
    engine, world = world_of(fleet(1, **POWERS))

    async def main() -> None:
        device = world.devices[0]
        a = await device.compute(square, side=100)
        await device.compute(multiply, a, a)
        await world.server.send(await world.server.compute(ones, numbers=250_000), to=device, kind="weights")

    run(engine, main())
    found = {row.kind: row.energy_j for row in engine.rows if row.node != "server" or row.verb == "send"}
    assert found == {"square": 0.0, "multiply": pytest.approx(0.008, **CLOSE), "weights": pytest.approx(0.25, **CLOSE)}
    assert engine.ledger.joules()["idle"] == pytest.approx(0.502, **CLOSE)


def test_a_radio_draws_once_and_tells_its_transfers_equal_shares() -> None:
    # Two uploads of 1 MB at once over the device's own 8 Mbit/s, 2 s together: 2 W x 2 s = 4 J, 2 J each.
    engine, world = world_of(fleet(1, **POWERS))

    async def main() -> None:
        device = world.devices[0]
        value = await device.compute(ones, numbers=250_000)
        verbs = [device.send(value, to=world.server, kind="update") for _ in range(2)]
        for verb in verbs:
            await verb

    run(engine, main())
    assert [row.energy_j for row in engine.rows[1:]] == [pytest.approx(2.0, **CLOSE)] * 2
    assert engine.ledger.joules()["send"] == pytest.approx(4.0, **CLOSE)


def test_latency_costs_no_radio() -> None:
    engine, world = world_of(fleet(1, **POWERS, latency_s=3.0))

    async def main() -> None:
        device = world.devices[0]
        await device.send(await device.compute(ones, numbers=250_000), to=world.server, kind="update")

    run(engine, main())
    assert engine.rows[1].end_ns == 4_000_000_000  # 1 s on the air, 3 s under way
    assert engine.rows[1].energy_j == pytest.approx(2.0, **CLOSE)


def test_an_idle_battery_runs_down_too() -> None:
    # Half of 8 J at 1 W: 4 s.
    engine, world = world_of(fleet(1, **POWERS, battery_j=8.0), conditions=(Condition(charge=0.5),))
    engine.clock.env.run(until=3_999_999_999)
    assert not world.devices[0].lost
    engine.clock.env.run(until=4_000_000_001)
    assert world.devices[0].lost


def test_a_device_without_powers_tells_no_energy() -> None:
    engine, world = world_of(fleet(1))

    async def main() -> None:
        device = world.devices[0]
        await device.send(await device.compute(ones, numbers=250), to=world.server, kind="update")

    run(engine, main())
    assert [row.energy_j for row in engine.rows] == [None, None]
