"""What every message carries beside its payload: bytes, seconds, who shares a message; by hand."""

from dataclasses import replace
from typing import Any

import pytest

from emulator.protocols.catalogue import PROTOCOLS
from emulator.reading import ScenarioError, read_scenario
from emulator.scenario import build
from network.framing import Framing
from network.plan import CellPlan
from tests.scenario import worlds
from tests.worlds import CNN, MLP, Played, fleet, plan, time_only

ONE: dict[str, Any] = {"rounds": 1, "cohort": 1, "learning_rate": 0.1, "batch_size": 16}
WEIGHTS = 4 * (64 * 128 + 128 + 128 * 10 + 10)  # of the MLP


def framed(name: str, size: int, packets: Framing | None = None, **changes: Any) -> Played:
    """One device with 16 samples, 8 Mbit/s up and 16 Mbit/s down, in a cell or not; ``size`` bytes a message."""
    entry = PROTOCOLS[name]
    usual = plan(entry.run, entry.settings(**ONE), fleet(1), samples=(16,), **changes)
    network = replace(usual.wiring.plan, message_bytes=size)
    accesses = usual.wiring.accesses
    if packets is not None:
        network = replace(network, cells=(CellPlan("air", framing=packets),))
        accesses = tuple(replace(access, cell="air") for access in accesses)
    return time_only(replace(usual, wiring=replace(usual.wiring, plan=network, accesses=accesses)))


def test_bytes_and_seconds() -> None:
    # Down at 2 bytes a microsecond, up at 1: (38,440 + 818) / 2 = 19,629 us and 39,258 us.
    down, up = framed("fedavg", 818).transfers("weights") + framed("fedavg", 818).transfers("update")
    assert [(row.bytes, row.overhead_bytes) for row in (down, up)] == [(WEIGHTS, 818)] * 2
    assert WEIGHTS == 38_440
    assert [row.end_ns - row.start_ns for row in (down, up)] == [19_629_000, 39_258_000]


def test_a_message_goes_into_packets() -> None:
    # 38,440 + 818 = 39,258 bytes are 28 packets of 1,448: 28 x 40 bytes of headers more.
    row = framed("fedavg", 818, Framing(1448, 40)).transfers("update")[0]
    assert (row.bytes, row.overhead_bytes) == (WEIGHTS, 818 + 28 * 40)


def test_labels_ride_with_the_smashed_data() -> None:
    played = framed("splitfed_v1", 100, problem=replace(CNN, cut=2))
    found = {row.kind: row.overhead_bytes for row in played.events if row.verb == "send"}
    assert found == {"weights": 100, "smashed": 100, "labels": 0, "cut_gradient": 100, "update": 100}


def test_nothing_by_default() -> None:
    assert framed("fedavg", 0).events == time_only(plan(PROTOCOLS["fedavg"].run, PROTOCOLS["fedavg"].settings(**ONE),
                                                        fleet(1), samples=(16,), problem=MLP)).events  # fmt: skip
    assert build(worlds.data()).resolved()["network"]["framing"] == "0 B"


def test_a_scenario_says_it(tmp_path: Any) -> None:
    (tmp_path / "a.yaml").write_text(worlds.BASE)
    scenario = read_scenario(str(tmp_path / "a.yaml"), ["network.framing=818 B"])
    assert scenario.network.plan(lambda _: 0).message_bytes == 818
    assert scenario.resolved()["network"]["framing"] == "818 B"
    for words, says in (("818", "expected a size with a unit"), ("1.5 B", "expected a whole number of bytes")):
        with pytest.raises(ScenarioError, match=f"network.framing: got .*{says}"):
            read_scenario(str(tmp_path / "a.yaml"), [f"network.framing={words}"])
