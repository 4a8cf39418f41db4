"""The critical path: it tiles every round of every protocol, and says what was worked out by hand.

In the worlds by hand an MLP's 38,440 bytes take 19.22 ms down (16 Mbit/s) and 38.44 ms up (8 Mbit/s); one pass over 40 samples
is 1,617,920 FLOPs. At the server, averaging is free of FLOPs, so that it takes no time.
"""

from dataclasses import replace
from typing import Any

import pytest

from emulator.blueprint import Blueprint
from emulator.devices.condition import Condition
from emulator.devices.intervals import Intervals
from emulator.devices.presence import Markov
from emulator.insight.critical_path import KINDS, Path, Window, paths
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.hierfavg import HierFavgSettings, hierfavg
from emulator.protocols.policies.settings import Backup
from emulator.wiring import Wiring, plain
from network.plan import CellPlan, NetworkPlan
from tests.insight.protocols import at_the_server, two_at_once, two_rounds_of_ones
from tests.insight.tiny import paths_of, settings_of, windows_of, world_of
from tests.world.protocols import Quiet, asynchronous
from tests.world.protocols import losing as losing_one
from tests.world.test_edges import edged
from tests.world.test_policies import PASS, fedavg_world
from tests.worlds import fleet, plan, time_only

MS = 1_000_000
DOWN, UP = 19_220_000, 38_440_000  # ns
WAITS = {"deadline", "away", "idle"}


def tiles(path: Path) -> bool:
    """Whether the segments follow each other without gap or overlap from the round's start to its end, none empty."""
    segments, window = path.segments, path.window
    bounds = [window.start_ns, *(segment.end_ns for segment in segments)]
    joined = all(segment.start_ns == bound for segment, bound in zip(segments, bounds, strict=False))
    return joined and bounds[-1] == window.end_ns and all(segment.ns > 0 for segment in segments)


def told(path: Path) -> list[tuple[str, str, float]]:
    """(kind, who, ms) of each segment."""
    return [(segment.kind, segment.who, segment.ns / MS) for segment in path.segments]


# ---- every protocol of the catalogue -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROTOCOLS)
def test_segments_tile_every_round(name: str) -> None:
    found = paths_of(time_only(world_of(name)))
    assert len(found) == settings_of(name)["rounds"]
    for path in found:
        assert tiles(path)
        assert sum(segment.ns / 1e9 for segment in path.segments) == pytest.approx(path.seconds, abs=1e-9)
        if not name.endswith("semi_async"):  # whose window is a timer
            assert not WAITS & set(path.by_kind())  # all is explained by work: these rounds wait for those who come


@pytest.mark.parametrize("ending", ["fixed", "quantile", "adaptive", "first", "backup"])
@pytest.mark.parametrize("name", ["fedavg", "splitfed_v1", "fedgkt"])
def test_segments_tile_rounds_with_a_policy(name: str, ending: str) -> None:
    more: dict[str, dict[str, Any]] = {"fixed": {"seconds": 0.05}, "backup": {"spares": 1}}
    policy = {"name": ending, **more.get(ending, {})}
    cohort = 2 if ending in ("first", "backup") else 3
    played = time_only(world_of(name, told={"ending": policy, "cohort": cohort, "rounds": 3}))
    assert all(map(tiles, paths_of(played)))


@pytest.mark.parametrize("discipline", ["fifo", "shared", "share_per_client"])
def test_segments_tile_however_the_server_is_shared(discipline: str) -> None:
    played = time_only(world_of("splitfed_v2", discipline=discipline))
    assert all(map(tiles, paths_of(played)))


def test_segments_tile_every_aggregation_without_rounds() -> None:
    # Three devices at their own pace: an aggregation's path begins where the one before it ended, in the middle of work.
    groups = [*fleet(1), *fleet(1, flop_per_s=3e7), *fleet(1, uplink_bps=3e6)]
    played = time_only(plan(asynchronous, FedAvgSettings(rounds=9, cohort=3, learning_rate=0.1), groups))
    found = paths_of(played)
    assert len(found) == 9
    assert all(map(tiles, found))
    assert not WAITS & {kind for path in found for kind in path.by_kind()}


# ---- by hand -------------------------------------------------------------------------------------------------------------


def of(groups: Any, **changes: Any) -> Blueprint:
    return plan(fedavg, FedAvgSettings(rounds=1, cohort=3, learning_rate=0.1), groups, **changes)


def only(blueprint: Blueprint) -> Path:
    (found,) = paths_of(time_only(blueprint))
    assert tiles(found)
    return found


def test_the_slow_processor_sets_the_round() -> None:
    # Down 19.22 ms, training 100, 300, 200 ms, up 38.44 ms: the second device's 357.66 ms are the round.
    path = only(
        of([*fleet(1, flop_per_s=PASS / 0.1), *fleet(1, flop_per_s=PASS / 0.3), *fleet(1, flop_per_s=PASS / 0.2)])
    )
    name = "device-0001"
    assert told(path) == [("downlink", name, 19.22), ("device compute", name, 300.0), ("uplink", name, 38.44)]
    assert (path.set_by, path.bottleneck, path.share) == (name, "device compute", 1.0)
    assert path.by_kind() == {"device compute": 300 * MS, "uplink": UP, "downlink": DOWN}
    assert [segment.what for segment in path.segments] == ["weights", "train", "update"]


def test_the_slow_uplink_sets_the_round() -> None:
    # 38,440 bytes at 1 Mbit/s: 307.52 ms.
    path = only(of([*fleet(2, flop_per_s=PASS / 0.1), *fleet(1, flop_per_s=PASS / 0.1, uplink_bps=1e6)]))
    assert told(path)[-1] == ("uplink", "device-0002", 307.52)
    assert (path.set_by, path.bottleneck) == ("device-0002", "uplink")


def test_ties_go_to_the_later_operation() -> None:
    path = only(of(fleet(3, flop_per_s=PASS / 0.1)))
    assert {segment.who for segment in path.segments} == {"device-0002"}


def test_the_server_s_queue() -> None:
    # 40,000 bytes at 8 Mbit/s are there after 40 ms; three products of 2 ms follow one another: the last one waits for 4.
    path = only(plan(at_the_server, Quiet(), fleet(3)))
    last = "device-0002"
    assert told(path) == [("uplink", last, 40.0), ("server queue", "server", 4.0), ("server compute", "server", 2.0)]
    assert path.by_owner() == {last: 40 * MS, "server": 6 * MS}
    slow = only(plan(at_the_server, Quiet(), fleet(3, uplink_bps=1e9)))  # 0.32 ms up
    assert (slow.set_by, slow.bottleneck) == ("server", "server queue")


def test_a_device_s_queue() -> None:
    # The second product waits 2 ms for the first one, takes 2 ms and 40 ms on the air.
    path = only(plan(two_at_once, Quiet(), fleet(1)))
    name = "device-0000"
    assert told(path) == [("device queue", name, 2.0), ("device compute", name, 2.0), ("uplink", name, 40.0)]
    assert path.segments[0].what == "multiply"  # what the device was busy with


def test_two_hops_over_an_edge() -> None:
    # Sites at 4 Mbit/s and 20 ms: 76.88 + 20 ms each way; the devices' 40, 20, 30 samples take 1.61792 ms at most, alone.
    settings = HierFavgSettings(rounds=1, cohort=3, learning_rate=0.1, batch_size=16)
    path = only(edged(hierfavg, settings, 3))
    device, edge = "device-0000", "edge-north"
    assert told(path) == [
        ("downlink", edge, 96.88), ("downlink", device, 19.22), ("device compute", device, 1.61792),
        ("uplink", device, 38.44), ("uplink", edge, 96.88),
    ]  # fmt: skip
    assert (path.set_by, path.bottleneck) == (edge, "uplink")


@pytest.mark.parametrize("kind", ["shared", "fifo"])
def test_a_cell_that_is_shared(kind: Any) -> None:
    # 3 x 38,440 bytes over 16 Mbit/s down and 8 Mbit/s up. Shared: all are down after 57.66 ms, train for 100 and are up after
    # 115.32 more. Fifo: trainings end at 119.22, 138.44 and 157.66 ms; the third upload waits for the two before it, until
    # 119.22 + 76.88 = 196.10, and is through at 234.54 ms: 76.88 ms on its way.
    blueprint = of(fleet(3, flop_per_s=PASS / 0.1))
    cell = CellPlan("a", kind, downlink_bps=16e6, uplink_bps=8e6)
    accesses = tuple(replace(access, cell="a", uplink_bps=8e6) for access in plain(blueprint.devices))
    path = only(replace(blueprint, wiring=Wiring(NetworkPlan(cells=(cell,)), accesses)))
    ends = {"shared": [57.66, 100.0, 115.32], "fifo": [57.66, 100.0, 76.88]}[kind]
    assert [kind for kind, _, _ in told(path)] == ["downlink", "device compute", "uplink"]
    assert [ms for _, _, ms in told(path)] == pytest.approx(ends, abs=1e-5)


# ---- clocks, losses, absences --------------------------------------------------------------------------------------------


def test_a_deadline_ends_a_round() -> None:
    # Rounds of 0.36 s, three of five in time, the last of them at 0.35766 s. Had anybody been faster, it would last as long.
    found = paths_of(time_only(fedavg_world(2, ending={"name": "fixed", "seconds": 0.36})))
    assert [told(path) for path in found] == [[("deadline", "-", 360.0)]] * 2
    assert (found[0].set_by, found[0].bottleneck, found[0].share) == ("deadline", "deadline", 1.0)


def test_a_deadline_that_nobody_misses_ends_nothing() -> None:
    (path,) = paths_of(time_only(fedavg_world(1, ending={"name": "fixed", "seconds": 2.0})))
    assert (path.set_by, path.bottleneck) == ("device-0004", "device compute")


def test_who_trains_less_is_in_time() -> None:
    # The two that would be late train until their uploads of 38.44 ms arrive at 360 ms: that is when the round ends, by work.
    ending = {"name": "fixed", "seconds": 0.36, "late": "partial"}
    (path,) = paths_of(time_only(fedavg_world(1, ending=ending)))
    assert tiles(path)
    assert (path.seconds, path.by_kind().get("deadline")) == (0.36, None)
    assert told(path)[1:] == [("device compute", path.set_by, 302.34), ("uplink", path.set_by, 38.44)]


def test_a_deadline_without_a_told_length() -> None:
    # As above, for a protocol that reports none: the clock is taken to run from the round's first request on.
    played = time_only(fedavg_world(1, ending={"name": "fixed", "seconds": 0.36}))
    windows = [window._replace(wait_ns=None) for window in windows_of(played.rounds)]
    assert [told(path) for path in paths(played.events, windows)] == [[("deadline", "-", 360.0)]]


def test_a_spare_waits_for_its_start() -> None:
    # Three devices of 157.66 ms, a fourth of 5057.66 ms. A spare starts when half of the cohort should be there, at 157.66 ms.
    settings = FedAvgSettings(
        rounds=6, cohort=3, learning_rate=0.1, ending=Backup(name="backup", spares=1, quantile=0.5)
    )
    groups = [*fleet(3, flop_per_s=PASS / 0.1), *fleet(1, flop_per_s=PASS / 5)]
    found = paths_of(time_only(plan(fedavg, settings, groups)))
    assert all(map(tiles, found))
    late = [path for path in found if path.seconds == pytest.approx(0.31532)]
    assert late
    for path in late:  # somebody's end at that very instant, or the clock: then the spare's own 157.66 ms
        assert sum(segment.ns for segment in path.segments[-3:]) == pytest.approx(157.66 * MS)
        assert len({segment.who for segment in path.segments[-3:]}) == 1


def test_a_loss_in_mid_round_ends_it() -> None:
    # The second device's 1 Mbit/s upload would last 307.52 ms from 119.22 ms on; it leaves at 200 ms: the round is over.
    blueprint = of([*fleet(1, flop_per_s=PASS / 0.1), *fleet(1, flop_per_s=PASS / 0.1, uplink_bps=1e6)])
    blueprint = replace(blueprint, settings=blueprint.settings.model_copy(update={"cohort": 2}))
    blueprint = replace(blueprint, conditions=(Condition(), Condition(Intervals(None, ((0.0, 0.2),)))))
    path = only(blueprint)
    assert told(path)[-1] == ("uplink", "device-0001", 80.78)  # 200 - 119.22
    assert (path.seconds, path.segments[-1].cause) == (0.2, "lost")


def test_a_loss_that_nobody_waits_for() -> None:
    played = time_only(plan(losing_one, FedAvgSettings(rounds=2, cohort=3, learning_rate=0.1), fleet(3)))
    assert any(event.cause == "lost" for event in played.events)
    assert all(map(tiles, paths_of(played)))


def test_waiting_for_a_device_to_come_back() -> None:
    # 4000 bytes at 8 Mbit/s: 4 ms. Both devices are there for just as long, and again from 1 s on.
    there = Condition(Intervals(None, ((0.0, 0.004), (1.0, 9.0))))
    played = time_only(plan(two_rounds_of_ones, Quiet(), fleet(2), conditions=(there, there)))
    found = paths(played.events, windows_of(played.rounds), lambda ns: ns in (4 * MS, 1000 * MS))
    assert [told(path) for path in found] == [
        [("uplink", "device-0001", 4.0)],
        [("away", "-", 996.0), ("uplink", "device-0001", 4.0)],
    ]
    assert found[1].set_by == "away"


@pytest.mark.parametrize("name", ["fedavg", "splitfed_v1", "fedgkt", "split_learning", "hierfavg"])
@pytest.mark.parametrize("key", range(4))
def test_comings_and_goings_explain_all_other_waiting(name: str, key: int) -> None:
    """Property: devices that are there and away for 30 ms on average; no round waits for anything that nobody did."""
    presences = [Markov(10 * key + index, 0.03, 0.03) for index in range(3)]
    conditions = tuple(Condition(presence) for presence in presences)
    played = time_only(replace(world_of(name, told={"rounds": 6}), conditions=conditions))

    def changed(ns: int) -> bool:
        return ns > 0 and any(one.at(ns)[0] != one.at(ns - 1)[0] for one in presences)

    found = paths(played.events, windows_of(played.rounds), changed)
    assert len(found) == 6
    assert all(map(tiles, found))
    assert not {"deadline", "idle"} & {kind for path in found for kind in path.by_kind()}


def test_a_round_without_length() -> None:
    path = Path(Window(1, 5, 5), ())
    assert (path.set_by, path.bottleneck, path.share, path.by_kind()) == ("idle", "idle", 0.0, {})
    assert KINDS[-1] == "idle"
