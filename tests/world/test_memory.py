"""Steps that do not fit their device: what is said, what happens then, and what counts."""

import pickle
from typing import Any

import pytest

from actors.inline import Inline
from emulator.blueprint import build_world
from emulator.learning.evaluation import initial_weights
from emulator.learning.sgd import train
from emulator.learning.tracing import measure
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.local_training import local_sgd
from emulator.tasks import OutOfMemory
from tests.world.protocols import Quiet, double, ones
from tests.world.test_verbs import run
from tests.worlds import MLP, fleet, plan, play

MB = 10**6
DATA = 40 * (64 + 8)  # a device's own samples: 40 images of 8 x 8 bytes, labels of 8


def test_what_lies_there_counts_beside_the_step() -> None:
    # A value of 4 MB stays; doubling another of 4 MB needs its input and its result: 8 MB, 12 MB in all, and its data.
    engine, world = build_world(plan(double, Quiet(), fleet(1, memory_bytes=12 * MB + DATA)), Inline(None))

    async def main() -> None:
        device: Any = world.devices[0]
        kept = await device.compute(ones, numbers=MB)
        other = await device.compute(ones, numbers=MB)
        twice = await device.compute(double, other)
        assert device.shelf.bytes == 12 * MB + DATA
        del other
        assert device.shelf.bytes == 8 * MB + DATA
        del kept, twice
        one = await device.compute(ones, numbers=1)  # until here SimPy held the last verb, and so its value
        assert device.shelf.bytes == device.data.nbytes + one.nbytes == DATA + 4

    run(engine, main())
    assert [row.peak_memory_bytes for row in engine.rows][:3] == [4 * MB + DATA, 8 * MB + DATA, 12 * MB + DATA]


def test_a_step_that_does_not_fit_says_what_was_needed_and_what_is_there() -> None:
    engine, world = build_world(plan(double, Quiet(), fleet(1, memory_bytes=12 * MB + DATA - 1)), Inline(None))

    async def main() -> None:
        device = world.devices[0]
        kept = await device.compute(ones, numbers=MB)
        other = await device.compute(ones, numbers=MB)
        await device.compute(double, other)
        del kept

    with pytest.raises(OutOfMemory) as caught:
        run(engine, main())
    assert str(caught.value) == (
        "device-0000: out of memory: double needs 11.4 MiB (3.82 MiB of it for what else is there); 11.4 MiB are free; "
        "nothing smaller is known"
    )
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (OutOfMemory, str(caught.value))


def needed(batch_size: int) -> int:
    """Peak of local training on 40 digits at a batch size, as measured."""
    settings = FedAvgSettings(rounds=1, cohort=1, learning_rate=0.1, batch_size=batch_size)
    _, world = build_world(plan(fedavg, settings, fleet(1)), Inline(None))
    weights = measure(initial_weights, (1,), {"model": MLP.model})[0]
    sgd = local_sgd(MLP, settings)
    return measure(train, (weights, world.devices[0].data.spec, 1), {"sgd": sgd})[1].peak_bytes


def test_a_batch_size_that_would_fit_is_named_and_fits() -> None:
    groups = fleet(1, memory_bytes=needed(8))
    tight: dict[str, Any] = {"rounds": 1, "cohort": 1, "learning_rate": 0.1}
    with pytest.raises(OutOfMemory, match=r"device-0000: out of memory: train needs .* batch_size 8 would fit"):
        play(plan(fedavg, FedAvgSettings(**tight, batch_size=32), groups))
    assert play(plan(fedavg, FedAvgSettings(**tight, batch_size=8), groups)).end.devices_lost == 0


def test_a_device_that_does_not_fit_can_be_left_out() -> None:
    groups = [*fleet(2), *fleet(1, memory_bytes=1000)]
    settings = FedAvgSettings(rounds=3, cohort=3, learning_rate=0.1)
    played = play(plan(fedavg, settings, groups, on_out_of_memory="exclude"))
    assert (played.end.devices_lost, played.end.status) == (1, "done")
    assert [row.finished for row in played.rounds] == [("device-0000", "device-0001")] * 3
    assert "device-0002" not in {row.node for row in played.events}
    # It was sent the weights once, and not asked again.
    assert [row.round for row in played.transfers("weights") if row.peer == "device-0002"] == [1]


def test_reserved_memory_is_not_free() -> None:
    groups = fleet(1, memory_bytes=2**30, reserved_memory_bytes=2**30 - 1000)
    with pytest.raises(OutOfMemory, match="; 1 kB are free"):
        play(plan(fedavg, FedAvgSettings(rounds=1, cohort=1, learning_rate=0.1), groups))
