"""Devices that come and go: what is lost, who is asked, and when a run ends."""

from typing import Any

import pytest

from actors.inline import Inline
from emulator.blueprint import build_world
from emulator.devices.condition import Completeness, Condition
from emulator.devices.intervals import Intervals
from emulator.devices.presence import Markov
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.verbs import DeviceLost
from tests.world.protocols import Quiet, double, ones
from tests.world.test_verbs import run
from tests.worlds import fleet, plan, play, time_only

HERE = Condition()


def there(*spans: tuple[float, float], period_s: float | None = None) -> Condition:
    return Condition(Intervals(period_s, spans))


def test_a_device_is_lost_at_the_await_and_comes_back() -> None:
    # 1 MB at 8 Mbit/s takes 1 s; the device is there until 0.5 s and again from 2 s on.
    engine, world = build_world(plan(double, Quiet(), fleet(1), conditions=(there((0, 0.5), (2, 9)),)), Inline(None))
    seen: list[int] = []

    async def main() -> int:
        device = world.devices[0]
        while True:
            try:
                await device.send(await device.compute(ones, numbers=250_000), to=world.server, kind="update")
            except DeviceLost:
                seen.append(engine.clock.now_ns)
                assert [one.name for one in await world.sample(1)] == ["device-0000"]  # waits until it is back
                continue
            return int(engine.clock.now_ns)

    assert run(engine, main()) == 3_000_000_000
    assert seen == [500_000_000]
    assert [(row.kind, row.cause, row.bytes) for row in engine.rows if row.verb == "send"] == [
        ("update", "lost", 500_000), ("update", "done", 1_000_000),
    ]  # fmt: skip


def test_an_absent_device_is_not_asked() -> None:
    conditions = (HERE, there((1e6, 2e6)), HERE)
    played = play(plan(fedavg, FedAvgSettings(rounds=3, cohort=3, learning_rate=0.1), fleet(3), conditions=conditions))
    assert [row.cohort for row in played.rounds] == [("device-0000", "device-0002")] * 3
    assert played.end.devices_lost == 0  # nothing of it was lost


def test_a_lost_device_never_contributes() -> None:
    """Weights with a device that leaves in its first training equal those of a fleet in which it was never there."""
    settings = FedAvgSettings(rounds=2, cohort=3, learning_rate=0.1)
    slow = [*fleet(2), *fleet(1, flop_per_s=1e6)]
    leaving = play(plan(fedavg, settings, slow, conditions=(HERE, HERE, there((0, 0.2)))))
    never = play(plan(fedavg, settings, slow, conditions=(HERE, HERE, there())))
    assert leaving.end.weights_sha256 == never.end.weights_sha256
    assert (leaving.end.devices_lost, leaving.rounds[0].cohort) == (
        1,
        tuple(f"device-000{index}" for index in range(3)),
    )
    assert {row.cause for row in leaving.events if row.node == "device-0002"} == {"lost"}


def test_a_run_that_everybody_left_ends() -> None:
    conditions = (there((0, 0.3)),) * 2
    played = play(
        plan(fedavg, FedAvgSettings(rounds=500, cohort=2, learning_rate=0.1), fleet(2), conditions=conditions)
    )
    assert played.end.status == "stopped: no devices left"
    assert 0 < played.end.rounds < 500
    assert played.end.virtual_ns == 300_000_000
    assert played.end.weights_sha256 is not None


def test_rounds_wait_for_devices_that_come_back() -> None:
    # Nobody is there from 0.1 s to 10 s.
    conditions = (there((0, 0.1), period_s=10.0),) * 2
    played = play(plan(fedavg, FedAvgSettings(rounds=40, cohort=2, learning_rate=0.1), fleet(2), conditions=conditions))
    assert (played.end.status, played.end.rounds) == ("done", 40)
    gaps = [row for row in played.rounds if row.end_ns - row.start_ns > 9e9]
    assert gaps
    assert all(row.start_ns % 10**10 <= 10**8 for row in played.events)


@pytest.mark.parametrize("mean_off_s", [0.05, 1.0])
def test_the_run_ends_under_churn_and_the_clock_alone_tells_the_same(mean_off_s: float) -> None:
    def blueprint() -> Any:
        conditions = tuple(Condition(Markov(key, 0.2, mean_off_s)) for key in range(6))
        settings = FedAvgSettings(rounds=8, cohort=4, learning_rate=0.1)
        return plan(fedavg, settings, fleet(6, flop_per_s=1e8), conditions=conditions)

    played, timed = play(blueprint()), time_only(blueprint())
    assert played.end.rounds == 8
    assert played.end.devices_lost > 0
    assert played.events == timed.events
    for row in played.events:
        if row.cause == "lost":
            assert row.op not in {op for other in played.events for op in other.inputs if other.kind == "average"}


def test_completeness_is_a_share_of_the_local_steps() -> None:
    # 40 samples, batches of 8, two epochs: 10 steps. Half of them: half of the FLOPs.
    settings = FedAvgSettings(rounds=1, cohort=2, learning_rate=0.1, batch_size=8, local_epochs=2)
    conditions = (HERE, Condition(completeness=Completeness(0, 0.5, 0.5)))
    played = play(plan(fedavg, settings, fleet(2), conditions=conditions))
    flops = {row.node: row.flops for row in played.events if row.kind == "train"}
    assert flops["device-0001"] * 2 == flops["device-0000"]


def test_completeness_is_drawn_for_each_round_by_its_key() -> None:
    shares = [Completeness(7, 0.2, 0.6).of(number) for number in range(1, 2001)]
    assert all(0.2 <= share < 0.6 for share in shares)
    assert sum(shares) / len(shares) == pytest.approx(0.4, abs=4 * 0.4 / (12 * 2000) ** 0.5)  # 4 standard errors
    assert shares[:3] == [Completeness(7, 0.2, 0.6).of(number) for number in (1, 2, 3)]
