"""TinyFEL on the clock: bytes both ways, versions, FedAvg at ratio 1, the assigned latency beside the measured one."""

from dataclasses import replace
from math import inf, log10
from typing import Any

import pytest
import torch

from emulator.blueprint import Blueprint
from emulator.learning.models import ModelSpec
from emulator.learning.sgd import Problem
from emulator.learning.shards import Normalisation
from emulator.learning.suffix import payload_bytes, suffixes
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.tinyfel import TinyFELSettings, tinyfel
from emulator.wiring import Wiring
from network.attachment import Signal
from network.band import Band
from network.fading import BlockFading
from network.framing import Connection, Framing
from network.mobility import Fixed
from network.pathloss import LogDistance
from network.plan import Access, CellPlan, Fading, NetworkPlan, Radio
from network.radio import LinkBudget
from network.ratemaps import Cqi, Shannon
from tests.worlds import CNN, Played, final_weights, fleet, plan, play, time_only

SIZES = [one.payload_bytes for one in suffixes(CNN.model)]  # last block, last two, three, all four
FULL: dict[str, Any] = {"ratio": "full", "selection": "all"}


def settings(**changes: Any) -> TinyFELSettings:
    fields: dict[str, Any] = {"rounds": 3, "cohort": 4, "learning_rate": 0.1, "batch_size": 20}
    return TinyFELSettings(**(fields | changes))


def air(
    blueprint: Blueprint, fading: Fading | None = None, band: Band | None = None, downlink_dbm: float = 43.0
) -> Blueprint:
    """Its devices in one cell of 1 MHz, from 100 m on every 40 m; downlinks as good as free at 43 dBm."""
    band = band or Band(1e6, Shannon(), "assigned")
    down, up = (LinkBudget(power, 0, 0, 5, 1e6) for power in (downlink_dbm, 23.0))
    radio = Radio(band, LogDistance(), down, up, Shannon(), 0.0, fading)
    cell = CellPlan("a", "assigned" if band.split == "assigned" else "fdma", radio=radio, seed=3)
    accesses = tuple(
        Access(device.name, "a", inf, inf, 0, "a", 77 + index, place=Fixed(100.0 + 40 * index, 0.0))
        for index, device in enumerate(blueprint.devices)
    )
    return replace(blueprint, wiring=Wiring(NetworkPlan(cells=(cell,)), accesses))


def tiny(devices: int = 4, **changes: Any) -> Blueprint:
    return plan(tinyfel, settings(**changes), fleet(devices, flop_per_s=2e7), problem=CNN)


# ---- identity ----------------------------------------------------------------------------------------------------------


def test_ratio_one_is_fedavg_bit_for_bit() -> None:
    """Exact: weights and every row of the records, where bandwidth is the network's to share."""
    mine = plan(tinyfel, settings(**FULL, bandwidth="network"), fleet(6), problem=CNN, samples=(40, 33, 0, 1, 52, 20))
    theirs = plan(
        fedavg, FedAvgSettings(rounds=3, cohort=4, learning_rate=0.1, batch_size=20), fleet(6), problem=CNN,
        samples=(40, 33, 0, 1, 52, 20),
    )  # fmt: skip
    left, right = play(mine), play(theirs)
    assert left.events == right.events
    assert left.end.weights_sha256 == right.end.weights_sha256
    assert [row.accuracy for row in left.rounds] == [row.accuracy for row in right.rounds]


def test_ratio_one_learns_as_fedavg_whatever_the_bandwidths() -> None:
    """Exact: the same weights; another order in time."""
    mine = air(tiny(**FULL))
    theirs = plan(fedavg, FedAvgSettings(rounds=3, cohort=4, learning_rate=0.1, batch_size=20), fleet(4), problem=CNN)
    assert play(mine).end.weights_sha256 == play(theirs).end.weights_sha256


def test_the_clock_alone_tells_the_same() -> None:
    """Exact: every row, with ratios, devices and bandwidths assigned anew as the channel fades."""
    blueprint = air(tiny(rounds=6), Fading(BlockFading(round(20e9)), "transfer"))
    assert time_only(blueprint).events == play(blueprint).events


# ---- bytes -------------------------------------------------------------------------------------------------------------


def fixed(ratio: float, **changes: Any) -> Blueprint:
    given = {"ratio": "fixed", "update_ratio": ratio, "selection": "all", "bandwidth": "network", "required": 0.01}
    return plan(tinyfel, settings(**given | changes), fleet(4), problem=CNN)


@pytest.mark.parametrize(("ratio", "blocks"), [(0.02, 1), (0.7, 2), (0.9, 3), (1.0, 4)])
def test_only_updated_layers_go_up(ratio: float, blocks: int) -> None:
    """Exact: 4 B a weight of the last blocks, running statistics included, and nothing of the frozen ones."""
    played = time_only(fixed(ratio))
    assert [row.bytes for row in played.transfers("update")] == [SIZES[blocks - 1]] * 12


@pytest.mark.parametrize(("ratio", "blocks"), [(0.02, 1), (0.7, 2), (0.9, 3), (1.0, 4)])
def test_only_changed_layers_go_down(ratio: float, blocks: int) -> None:
    """Exact: the whole model to each of the four once, then what the round before has changed."""
    played = time_only(fixed(ratio))
    assert [row.bytes for row in played.transfers("weights")] == [SIZES[3]] * 4 + [SIZES[blocks - 1]] * 8


def test_frozen_layers_stay_as_they_were() -> None:
    first, last = (final_weights(fixed(0.7, rounds=rounds)) for rounds in (1, 3))
    same = {name: torch.equal(first[name], last[name]) for name in first}
    assert {name.split(".")[0] for name, equal in same.items() if equal} == {"0", "1"}


def test_who_sat_out_gets_all_that_changed_meanwhile() -> None:
    """Exact: cohorts of two out of four; a device that comes back is sent the last two blocks, others the whole model once."""
    played = time_only(fixed(0.7, rounds=6, cohort=2))
    seen: set[str | None] = set()
    for row in played.transfers("weights"):
        assert row.bytes == (SIZES[1] if row.peer in seen else SIZES[3])
        seen.add(row.peer)


def test_bytes_of_blocks_add_up() -> None:
    assert sum(payload_bytes(CNN.model, (block,)) for block in range(4)) == SIZES[3]


# ---- time ----------------------------------------------------------------------------------------------------------------


def latencies(played: Played) -> list[tuple[float, float]]:
    """(assigned, measured) seconds of each round."""
    return [(row.metrics["assigned_s"], (row.end_ns - row.start_ns) / 1e9) for row in played.rounds]


@pytest.mark.parametrize("bandwidth", ["optimised", "equal"])
@pytest.mark.parametrize("ratio", ["optimised", "uniform", "largest", "full"])
def test_the_clock_measures_what_was_assigned(ratio: str, bandwidth: str) -> None:
    """Theory: no fading, downlink counted: the round takes T, to the clock's nanosecond and single precision of rates."""
    played = time_only(air(tiny(ratio=ratio, bandwidth=bandwidth, count_downlink=True), downlink_dbm=23.0))
    for assigned, measured in latencies(played):
        assert measured == pytest.approx(assigned, rel=1e-5)


@pytest.mark.parametrize("latency_ms", [0, 30])
def test_the_downlink_counts_only_when_asked(latency_ms: int) -> None:
    """Theory: without it the round takes T and the download, here under a third of it, as all downloads end together."""
    blueprint = air(tiny())
    wiring = blueprint.wiring
    accesses = tuple(replace(one, latency_ns=latency_ms * 10**6) for one in wiring.accesses)
    played = time_only(replace(blueprint, wiring=replace(wiring, accesses=accesses)))
    for row, (assigned, measured) in zip(played.rounds, latencies(played), strict=True):
        assert 0 < row.metrics["downlink_s"] < 0.3 * assigned
        assert measured == pytest.approx(assigned + row.metrics["downlink_s"], rel=1e-5)


def laden(blueprint: Blueprint, **cell: Any) -> Blueprint:
    """In the air above: 800 bytes a message, packets of 1,000 bytes behind 90, 20 to 50 ms one way."""
    wiring, network = blueprint.wiring, blueprint.wiring.plan
    packets = {"framing": Framing(1000, 90), **cell}
    accesses = tuple(replace(one, latency_ns=20_000_000 + 10_000_000 * n) for n, one in enumerate(wiring.accesses))
    plan = replace(network, cells=(replace(network.cells[0], **packets),), message_bytes=800)
    return replace(blueprint, wiring=replace(wiring, plan=plan, accesses=accesses))


@pytest.mark.parametrize("bandwidth", ["optimised", "equal"])
def test_the_clock_measures_what_was_assigned_with_everything_on(bandwidth: str) -> None:
    """Theory: headers, framing of messages, handshakes (two round trips, before each transfer or each first one), latencies and
    a band of which 70 % carries data are all in T; and they are worth counting (packets alone are 9 %).
    """
    blueprint = air(
        tiny(bandwidth=bandwidth, count_downlink=True), band=Band(1e6, Shannon(), "assigned", 0.7), downlink_dbm=23.0
    )
    bare = latencies(time_only(blueprint))
    found = {once: latencies(time_only(laden(blueprint, connection=Connection(2.0, once)))) for once in (True, False)}
    for assigned, measured in (*found[True], *found[False]):
        assert measured == pytest.approx(assigned, rel=1e-5)
    assert all(one[0] > 1.08 * other[0] for one, other in zip(found[True], bare, strict=True))
    assert found[False][0] == found[True][0]
    assert all(one[0] > 1.02 * other[0] for one, other in zip(found[False][1:], found[True][1:], strict=True))


def test_alone_on_ones_own_link_it_is_counted_too() -> None:
    """Theory: ``bandwidth: network`` on links of the devices' own, downlink counted: the round takes T."""
    played = time_only(fixed(0.7, count_downlink=True))
    framed = fixed(0.7, count_downlink=True)
    network = replace(framed.wiring.plan, message_bytes=50_000)
    framed = replace(framed, wiring=replace(framed.wiring, plan=network))
    for one in (played, time_only(framed)):
        for assigned, measured in latencies(one):
            assert measured == pytest.approx(assigned, rel=1e-6)
    # 50,000 bytes more down at 16 and up at 8 Mbit/s: 75 ms.
    assert latencies(time_only(framed))[0][0] - latencies(played)[0][0] == pytest.approx(0.075, abs=1e-9)


def test_what_a_device_puts_together_is_counted() -> None:
    """Theory: on devices with little memory bandwidth putting blocks together takes time; T has it."""
    groups = fleet(4, flop_per_s=2e7, memory_bandwidth_bytes_per_s=1e6, compute="additive")
    given = {"ratio": "fixed", "update_ratio": 0.7, "selection": "all", "required": 0.01, "count_downlink": True}
    played = time_only(air(plan(tinyfel, settings(**given), groups, problem=CNN), downlink_dbm=23.0))
    assert max(row.end_ns - row.start_ns for row in played.events if row.kind == "joined") > 50_000_000
    for assigned, measured in latencies(played):
        assert measured == pytest.approx(assigned, rel=1e-5)


def test_bandwidths_follow_the_channel_as_it_fades() -> None:
    """Theory: gains of blocks of 20 s, that of a transfer's start holding for all of it; wherever no block ends within a
    round, it takes T within 1 %. The bandwidths of such rounds differ.
    """
    block_s = 20.0
    fading = Fading(BlockFading(round(block_s * 1e9)), "transfer")
    played = time_only(air(tiny(rounds=40, count_downlink=True), fading))
    within = [row for row in played.rounds if row.start_ns // (block_s * 1e9) == row.end_ns // (block_s * 1e9)]
    assert len(within) >= 10
    for row in within:
        assert (row.end_ns - row.start_ns) / 1e9 == pytest.approx(row.metrics["assigned_s"], rel=0.01)
    assert len({round(row.metrics["assigned_s"], 6) for row in within}) >= 4


@pytest.mark.parametrize("mode", ["block", "transfer"])
def test_the_present_channel_decides_where_the_network_shares_the_band_too(mode: Any) -> None:
    """Exact: T is of the rates in the block in which a round starts, so it changes with it; by the mean channel it stays."""
    fading = Fading(BlockFading(round(2e9)), mode)
    assigned = {}
    for knowledge in ("now", "mean"):
        played = time_only(
            air(tiny(rounds=8, bandwidth="network", knowledge=knowledge), fading, Band(1e6, Shannon(), "equal"))
        )
        starts = [row.start_ns // 2_000_000_000 for row in played.rounds]
        told = [(row.metrics["assigned_s"], row.metrics["mean_ratio"], row.finished) for row in played.rounds]
        assigned[knowledge] = dict(zip(starts, told, strict=True))
    assert len(set(assigned["now"].values())) > 1
    assert len({finished for _, _, finished in assigned["now"].values()}) > 1
    assert len({latency for latency, _, _ in assigned["mean"].values()}) == 1


def test_rates_of_the_present_by_hand() -> None:
    """Exact: 1 MHz log2(1 + 15 / 5) = 2 Mbit/s down, log2(1 + 15) = 4 up; in a fade that carries nothing a bit an hour."""
    signal = Signal(Band(1e6, Shannon(), "equal"), 15.0, 15.0, 0.2, 1.0)
    assert signal.rates_now() == pytest.approx((2e6, 4e6))
    assert signal._replace(downlink_gain=0.0).rates_now()[0] == 1 / 3600


def test_knowing_the_mean_alone_costs_time() -> None:
    """Directional, one world: over 12 rounds of fading, bandwidths by the mean channel take longer than by the present one."""
    fading = Fading(BlockFading(round(20e9)), "transfer")
    ends = {
        knowledge: time_only(air(tiny(rounds=12, knowledge=knowledge), fading)).rounds[-1].end_ns
        for knowledge in ("mean", "now")
    }
    assert ends["now"] < ends["mean"]


def test_early_termination_saves_time_on_the_clock() -> None:
    """Exact: seconds are FLOPs over the rate, in ``compute: flops``."""
    for ratio in (0.02, 0.7, 0.9):
        rows = [row for row in time_only(fixed(ratio)).events if row.kind == "train_suffix"]
        assert len(rows) == 12
        for row in rows:
            assert (row.end_ns - row.start_ns) / 1e9 == pytest.approx(row.flops / 1e9, abs=1e-9)


def test_strengths_by_hand() -> None:
    """Exact: ratios of 10 and 20 over 1 MHz, a gap of 2, uplink faded to half: s = 5 MHz, and 10 or 5 MHz."""
    signal = Signal(Band(1e6, Shannon(10 * log10(2)), "assigned"), 10.0, 20.0, 1.0, 0.5)
    assert signal.strengths_hz(now=False) == pytest.approx((5e6, 10e6))
    assert signal.strengths_hz(now=True) == pytest.approx((5e6, 5e6))


# ---- decisions -----------------------------------------------------------------------------------------------------------


def test_a_memory_cap_lowers_ratios_and_peaks() -> None:
    """Property: with half of full training's peak nobody computes with more."""
    full = time_only(air(tiny(**FULL)))
    capped = time_only(air(tiny(ratio="largest", memory_share=0.6)))
    most = max(row.peak_memory_bytes for row in full.events if row.kind == "train")
    assert not [row for row in capped.events if row.kind == "train"]
    assert max(row.peak_memory_bytes for row in capped.events if row.kind == "train_suffix") <= 0.6 * most


def test_two_fifths_less_memory_on_resnet18() -> None:
    """The headline (40 % or more): under a cap of 60 % of full training's live peak, the requirement is met."""
    model = ModelSpec("resnet18", 10, (3, 32, 32))
    problem = Problem(model, Normalisation(255.0, (0.5,) * 3, (0.5,) * 3))
    work = {"rounds": 1, "cohort": 2, "local_steps": 1, "batch_size": 32}
    full, capped = (
        time_only(air(plan(tinyfel, settings(**work, **more), fleet(2), problem=problem, samples=(32, 32))))
        for more in (FULL, {"memory_share": 0.6, "selection": "all"})
    )
    peaks = [max(row.peak_memory_bytes for row in run.events if "train" in row.kind) for run in (full, capped)]
    assert peaks[1] <= 0.6 * peaks[0]
    ratios = [
        payload / suffixes(model)[-1].payload_bytes for payload in (row.bytes for row in capped.transfers("update"))
    ]
    assert len(ratios) == 2
    assert sum(ratios) / 2 >= 0.45  # what the requirement asks of both together


def test_an_energy_cap_holds_on_the_clock() -> None:
    """Joules of computing and sending stay below the cap; 5 W at work (idling included), 2 W for the radio."""
    powers = {"idle_w": 0.0, "load_w": 5.0, "send_w": 2.0, "receive_w": 0.0}

    def joules(cap: float | None) -> float:
        blueprint = plan(
            tinyfel, settings(energy_cap_j=cap, ratio="largest"), fleet(4, flop_per_s=2e7, **powers), problem=CNN
        )
        used: dict[tuple[int, str], float] = {}
        for row in time_only(air(blueprint)).events:
            if row.node.startswith("device"):
                used[row.round, row.node] = used.get((row.round, row.node), 0.0) + (row.energy_j or 0.0)
        return max(used.values())

    free = joules(None)
    assert joules(0.9 * free) <= 0.9 * free * (1 + 1e-6)


def test_random_selection_takes_no_more_than_it_needs() -> None:
    """Exact: four alike, Q = 0.45: two at ratio 1; another two in another round."""
    played = time_only(air(tiny(rounds=8, ratio="largest", selection="random")))
    assert [row.metrics["selected"] for row in played.rounds] == [2.0] * 8
    assert len({row.finished for row in played.rounds}) > 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"update_ratio": 0.5}, "update_ratio: got 0.5 with ratio: optimised; expected one with fixed only"),
        ({"ratio": "fixed"}, "update_ratio: got None with ratio: fixed"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings(**changes)


def test_bandwidth_needs_a_band_to_assign() -> None:
    with pytest.raises(ValueError, match="bandwidth: device-0000 has no radio; expected a cell with sharing: assigned"):
        time_only(tiny())
    with pytest.raises(ValueError, match="expected an assigned band with Shannon's rates"):
        time_only(air(tiny(), band=Band(1e6, Cqi(), "assigned")))


def test_energy_needs_powers() -> None:
    with pytest.raises(ValueError, match=r"energy_cap_j: device-0000 has a profile \(test\) without powers"):
        time_only(air(tiny(energy_cap_j=1.0)))


def test_a_lost_device_is_left_out_and_has_all_to_fetch() -> None:
    """A deadline never comes here; a device whose memory is too small for the suffix is not chosen at all."""
    small = plan(tinyfel, settings(), [*fleet(3), *fleet(1, memory_bytes=2**15)], problem=CNN)
    assert all("device-0003" not in row.finished for row in time_only(air(small)).rounds)
