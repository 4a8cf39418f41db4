"""Who waits, by hand: an MLP's 38,440 bytes take 19.22 ms down and 38.44 ms up; one pass takes what the speeds say."""

from typing import Any

import pytest

from emulator.insight.critical_path import Window
from emulator.insight.waiting import jain, participation, parts, server_share, straggler_index
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from tests.insight.protocols import at_the_server, two_at_once
from tests.insight.tiny import windows_of, world_of
from tests.world.protocols import Quiet, asynchronous
from tests.world.test_policies import PASS, fedavg_world
from tests.worlds import fleet, plan, time_only

CLOSE: dict[str, Any] = {"rel": 1e-9, "abs": 1e-9}


def three() -> Any:
    groups = [fleet(1, flop_per_s=PASS / seconds)[0] for seconds in (0.1, 0.3, 0.2)]
    return time_only(plan(fedavg, FedAvgSettings(rounds=1, cohort=3, learning_rate=0.1), groups))


def test_the_fast_ones_wait_for_the_slow_one() -> None:
    # Round times 157.66, 357.66, 257.66 ms.
    played = three()
    found = parts(played.events, windows_of(played.rounds))
    assert [part.device for part in found] == ["device-0000", "device-0001", "device-0002"]
    assert [part.time_s for part in found] == pytest.approx([0.15766, 0.35766, 0.25766], **CLOSE)
    assert [part.waiting_s for part in found] == pytest.approx([0.2, 0.0, 0.1], **CLOSE)
    assert [part.compute_s for part in found] == pytest.approx([0.1, 0.3, 0.2], **CLOSE)
    assert [(part.downlink_s, part.uplink_s) for part in found] == [(0.01922, 0.03844)] * 3
    assert {part.outcome for part in found} == {"done"}
    assert straggler_index(found) == pytest.approx(0.35766 / 0.25766)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_work_and_waiting_fill_every_round(name: str) -> None:
    played = time_only(world_of(name))
    windows = windows_of(played.rounds)
    lengths = {window.round: (window.end_ns - window.start_ns) / 1e9 for window in windows}
    found = parts(played.events, windows)
    assert found  # though not in every round: EcoFed's later ones may need no device
    for part in found:
        assert part.busy_s + part.waiting_s == pytest.approx(lengths[part.round], **CLOSE)
        assert part.waiting_s >= 0
        alone = max(part.compute_s, part.uplink_s, part.downlink_s)
        assert alone <= part.busy_s <= part.compute_s + part.uplink_s + part.downlink_s + 1e-12


def test_round_times_are_those_of_the_records() -> None:
    played = time_only(world_of("fedavg"))
    for row in played.rounds:
        mine = {part.device: part.time_s for part in parts(played.events, windows_of([row]))}
        assert mine == pytest.approx(dict(zip(row.finished, row.device_seconds, strict=True)), **CLOSE)


def test_who_is_cut_off_has_not_done_its_part() -> None:
    played = time_only(fedavg_world(1, ending={"name": "fixed", "seconds": 0.36}))
    found = parts(played.events, windows_of(played.rounds))
    assert [part.outcome for part in found] == ["done"] * 3 + ["cut off"] * 2
    assert [part.waiting_s for part in found] == pytest.approx([0.20234, 0.10234, 0.00234, 0.0, 0.0], abs=1e-6)
    assert straggler_index(found) == pytest.approx(0.35766 / 0.25766)  # of those that were done
    assert straggler_index([]) is None


def test_a_device_s_own_queue() -> None:
    # Two products of 2 ms at once: the second one waits 2 ms, and the device works all the time.
    played = time_only(plan(two_at_once, Quiet(), fleet(1)))
    (part,) = parts(played.events, windows_of(played.rounds))
    assert (part.queue_s, part.compute_s, part.waiting_s) == pytest.approx((0.002, 0.004, 0.0), **CLOSE)


def test_work_across_aggregations_counts_in_each() -> None:
    # One slow device works all the time, over many aggregations of the other's updates: it never waits, and is under way.
    groups = [*fleet(1, flop_per_s=PASS / 0.1), *fleet(1, flop_per_s=PASS / 10)]
    played = time_only(plan(asynchronous, FedAvgSettings(rounds=5, cohort=2, learning_rate=0.1), groups))
    slow = [part for part in parts(played.events, windows_of(played.rounds)) if part.device == "device-0001"]
    assert [part.round for part in slow] == [1, 2, 3, 4, 5]
    assert [part.waiting_s for part in slow] == pytest.approx([0.0] * 5, abs=1e-9)
    assert {part.outcome for part in slow[:-1]} == {"under way"}


def test_the_server_s_share() -> None:
    # 40 ms on the air, then three products of 2 ms.
    played = time_only(plan(at_the_server, Quiet(), fleet(3)))
    assert server_share(played.events, Window(0, 0, 46_000_000)) == pytest.approx(6 / 46)
    assert server_share(played.events, Window(0, 0, 0)) == 0


def test_participation() -> None:
    # Deadline: three of five in both rounds. Of six such rounds a third each; 40 samples of 200 each.
    played = time_only(fedavg_world(2, ending={"name": "fixed", "seconds": 0.36}))
    found = parts(played.events, windows_of(played.rounds))
    names = [f"device-{d:04d}" for d in range(5)]
    fleet_ = participation(found, dict.fromkeys([*names, "device-0005"], 40), 0.72)
    assert [(each.asked, each.done) for each in fleet_] == [(2, 2)] * 3 + [(2, 0)] * 2 + [(0, 0)]
    assert [each.share for each in fleet_] == pytest.approx([1 / 3] * 3 + [0.0] * 3)
    assert fleet_[0].data_share == pytest.approx(1 / 6)
    assert (fleet_[0].busy, fleet_[0].computing) == pytest.approx((2 * 0.15766 / 0.72, 0.2 / 0.72), abs=1e-6)
    assert participation(found, dict.fromkeys(names), 0.72)[0].data_share is None
    assert jain([each.done for each in fleet_]) == pytest.approx(6**2 / (6 * 12))


def test_fairness() -> None:
    assert [jain([3, 3, 3]), jain([9, 0, 0])] == pytest.approx([1.0, 1 / 3])  # theory: from 1/n to 1
    assert (jain([0, 0]), jain([])) == (None, None)
