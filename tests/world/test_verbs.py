"""The verbs on the clock: durations, queues, rows and rules, by hand."""

from typing import Any

import pytest

from actors.inline import Inline
from actors.program import StepFailed
from emulator.blueprint import build_world
from emulator.protocols.verbs import DeviceLost
from emulator.tasks import ProtocolError, Task
from tests.world.protocols import Quiet, double, fail, halves, multiply, ones, square, total, untraceable
from tests.worlds import fleet, plan, profile


def world_of(devices: int = 2, **changes: Any) -> tuple[Any, Any]:
    link = {key: changes.pop(key) for key in ("link_bps", "link_latency_s") if key in changes}
    return build_world(plan(double, Quiet(), fleet(devices, **changes), **link), Inline(None))


def run(engine: Any, coroutine: Any) -> Any:
    task = Task(engine.clock, coroutine)
    while not task.triggered:
        engine.clock.env.step()
    if task.failure is not None:
        raise task.failure
    return task.value


def test_compute_takes_flops_over_rate() -> None:
    # 100 x 100 times 100 x 100: 2 * 100^3 = 2 MFLOP, at 1 GFLOP/s 2 ms; making the squares costs no FLOP.
    engine, world = world_of()

    async def main() -> int:
        device = world.devices[0]
        a = await device.compute(square, side=100)
        await device.compute(multiply, a, a)
        return int(engine.clock.now_ns)

    assert run(engine, main()) == 2_000_000
    assert [row.flops for row in engine.rows] == [0, 2_000_000]


def test_a_node_computes_one_at_a_time_in_order_of_asking() -> None:
    engine, world = world_of()

    async def main() -> list[int]:
        device = world.devices[0]
        a = await device.compute(square, side=100)
        verbs = [device.compute(multiply, a, a) for _ in range(3)]
        ends = []
        for verb in verbs:
            await verb
            ends.append(int(engine.clock.now_ns))
        return ends

    assert run(engine, main()) == [2_000_000, 4_000_000, 6_000_000]
    assert [(row.queued_ns, row.start_ns) for row in engine.rows[1:]] == [(0, 0), (0, 2_000_000), (0, 4_000_000)]


def test_send_takes_bytes_over_rate_and_keeps_the_data() -> None:
    # 250,000 floats are 1 MB: down at 16 Mbit/s 0.5 s, up at 8 Mbit/s 1 s, 10 ms latency each way.
    engine, world = world_of(latency_s=0.01)

    async def main() -> Any:
        value = await world.server.compute(ones, numbers=250_000)
        there = await world.server.send(value, to=world.devices[0], kind="weights")
        assert engine.clock.now_ns == 510_000_000
        back = await world.devices[0].send(
            await world.devices[0].compute(double, there), to=world.server, kind="update"
        )
        return engine.tape.fetch(back), engine.clock.now_ns

    data, now = run(engine, main())
    assert now == 510_000_000 + 1_010_000_000
    assert data["w"].tolist()[:3] == [2, 2, 2]
    rows = [row for row in engine.rows if row.verb == "send"]
    assert [(row.direction, row.bytes, row.overhead_bytes) for row in rows] == [
        ("downlink", 1_000_000, 0),
        ("uplink", 1_000_000, 0),
    ]


def test_two_devices_share_the_server_link() -> None:
    # Two uploads of 1 MB over a server link of 8 Mbit/s, ports of 8 Mbit/s each: 4 Mbit/s each, 2 s.
    engine, world = world_of(link_bps=8e6)

    async def upload(device: Any) -> None:
        await device.send(await device.compute(ones, numbers=250_000), to=world.server, kind="update")

    async def main() -> int:
        await world.gather({device: upload(device) for device in world.devices})
        return int(engine.clock.now_ns)

    assert run(engine, main()) == 2_000_000_000


def test_a_verb_takes_verbs_as_inputs() -> None:
    engine, world = world_of()

    async def main() -> Any:
        device = world.devices[0]
        return engine.tape.fetch(
            await device.send(device.compute(double, device.compute(ones, numbers=4)), to=world.server, kind="update")
        )

    assert run(engine, main())["w"].tolist() == [2, 2, 2, 2]


def test_overhead_kinds_are_counted_apart() -> None:
    engine, world = world_of()

    async def main() -> None:
        value = await world.server.compute(ones, numbers=10)
        await world.server.send(value, to=world.devices[0], kind="control")

    run(engine, main())
    assert [(row.bytes, row.overhead_bytes) for row in engine.rows if row.verb == "send"] == [(0, 40)]


def test_a_tuple_gives_values_one_by_one() -> None:
    engine, world = world_of()

    async def main() -> list[float]:
        first, second = await world.server.compute(halves, await world.server.compute(ones, numbers=6))
        return [first.nbytes, second.nbytes, engine.tape.fetch(second)["w"].sum().item()]

    assert run(engine, main()) == [12, 12, 3.0]


async def _wrong_place(world: Any) -> None:
    await world.devices[0].compute(double, await world.server.compute(ones, numbers=3))


async def _wrong_sender(world: Any) -> None:
    await world.devices[0].send(await world.server.compute(ones, numbers=3), to=world.server, kind="update")


async def _unknown_kind(world: Any) -> None:
    await world.server.send(await world.server.compute(ones, numbers=3), to=world.devices[0], kind="stuff")


async def _between_devices(world: Any) -> None:
    first, second = world.devices
    await first.send(await first.compute(ones, numbers=3), to=second, kind="weights")


async def _no_value(world: Any) -> None:
    await world.server.send(3, to=world.devices[0], kind="weights")


async def _read_elsewhere(world: Any) -> None:
    await world.read(await world.devices[0].compute(ones, numbers=3))


async def _server_data(world: Any) -> None:
    await world.server.compute(double, world.server.data)


@pytest.mark.parametrize(
    ("protocol", "says"),
    [
        (_wrong_place, r"test_verbs\.py:\d+: device-0000 computes on a value that is at server; send it first"),
        (_wrong_sender, "device-0000 sends a value that is at server"),
        (_unknown_kind, "kind='stuff'.: expected one of .*weights"),
        (_between_devices, "device-0000 cannot send to device-0001"),
        (_no_value, "only values can be sent; got int"),
        (_read_elsewhere, "read takes values at the server; this one is at device-0000"),
        (_server_data, "server has no data of its own"),
    ],
)
def test_misuse_names_the_rule(protocol: Any, says: str) -> None:
    engine, world = world_of()
    with pytest.raises(ProtocolError, match=says):
        run(engine, protocol(world))


def test_a_step_that_shapes_cannot_tell_is_refused_at_its_line() -> None:
    engine, world = world_of()

    async def main() -> None:
        await world.server.compute(untraceable, await world.server.compute(ones, numbers=3))

    with pytest.raises(StepFailed, match=r"untraceable failed on server in round 1 .*test_verbs\.py"):
        run(engine, main())


def test_a_failing_step_names_device_round_time_and_line() -> None:
    engine, world = world_of()

    async def main() -> None:
        device = world.devices[1]
        value = await device.compute(fail, await device.compute(ones, numbers=3))
        value = await device.send(value, to=world.server, kind="update")
        await world.read(await world.server.compute(total, value))

    place = r"fail failed on device-0001 in round 1 at virtual time .*test_verbs\.py:\d+\): RuntimeError"
    with pytest.raises(StepFailed, match=place):
        run(engine, main())


def test_a_lost_device_raises_at_the_await_and_frees_the_air() -> None:
    # Two uploads of 1 MB share 8 Mbit/s. After 1 s each has 0.5 MB; the second device is lost;
    # the first has the link alone: its last 0.5 MB take 0.5 s.
    engine, world = world_of(link_bps=8e6)
    seen: list[str] = []

    async def upload(device: Any) -> None:
        try:
            await device.send(await device.compute(ones, numbers=250_000), to=world.server, kind="update")
        except DeviceLost as error:
            seen.append(f"{error} at {engine.clock.now_ns}")
            raise

    async def main() -> tuple[list[str], int]:
        timer = engine.clock.at(1_000_000_000)
        timer.callbacks.append(lambda _: world.lose(world.devices[1]))
        kept = await world.gather({device: upload(device) for device in world.devices})
        return [device.name for device in kept], int(engine.clock.now_ns)

    assert run(engine, main()) == (["device-0000"], 1_500_000_000)
    assert seen == ["device device-0001 is lost at 1000000000"]
    lost = next(row for row in engine.rows if row.cause == "lost")
    assert (lost.node, lost.bytes, lost.end_ns) == ("device-0001", 500_000, 1_000_000_000)


def test_a_lost_device_can_do_nothing_more() -> None:
    engine, world = world_of()
    world.lose(world.devices[0])

    async def main() -> None:
        await world.devices[0].compute(ones, numbers=3)

    with pytest.raises(DeviceLost, match="device-0000"):
        run(engine, main())


def test_predict_and_channel() -> None:
    engine, world = world_of(latency_s=0.01, link_latency_s=0.005)

    async def main() -> None:
        device = world.devices[0]
        a = await device.compute(square, side=100)
        predicted = device.predict(multiply, a, a)
        assert (predicted.seconds, predicted.flops) == (0.002, 2_000_000)
        assert predicted.bytes == 3 * 40_000
        before = engine.clock.now_ns
        await device.compute(multiply, a, a)
        assert engine.clock.now_ns - before == 2_000_000
        assert tuple(device.channel())[:5] == (8e6, 16e6, 0.015, None, "test link")

    run(engine, main())
    assert world.devices[0].profile == profile(latency_s=0.01)
