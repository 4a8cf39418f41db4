"""Edge servers and assigned bands, as protocols see them: by hand, and HierFAVG beside FedAvg."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest
import torch

from actors.inline import Inline
from emulator.blueprint import Blueprint, build_world
from emulator.devices.condition import Condition
from emulator.devices.intervals import Intervals
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.hierfavg import HierFavgSettings, hierfavg
from emulator.tasks import ProtocolError, Task
from emulator.wiring import Wiring, plain
from network.band import Band
from network.mobility import Fixed
from network.pathloss import LogDistance
from network.plan import Access, CellPlan, NetworkPlan, Radio, SitePlan
from network.radio import LinkBudget
from network.ratemaps import Shannon
from tests.world.protocols import Quiet, double, square
from tests.worlds import final_weights, fleet, plan, play, profile, time_only

COMMON: dict[str, Any] = {"rounds": 2, "cohort": 4, "learning_rate": 0.1, "batch_size": 16, "local_epochs": 1}
GONE = Condition(Intervals(None, ((98, 99),)))
SITES = (SitePlan("north", 4e6, 4e6, 20_000_000), SitePlan("south", 4e6, 4e6, 20_000_000))


def edged(protocol: Any, settings: Any, count: int = 4, **changes: Any) -> Blueprint:
    """Devices alternately in cells a (site north) and b (site south), each site with an edge server; no server link."""
    blueprint = plan(protocol, settings, fleet(count, **changes), samples=(40, 20, 30, 10)[:count])
    cells = (CellPlan("a", site="north"), CellPlan("b", site="south"))
    accesses = tuple(
        Access(device.name, "ab"[device.index % 2], device.uplink_bps, device.downlink_bps, 0)
        for device in blueprint.devices
    )
    wiring = Wiring(NetworkPlan(SitePlan("core"), SITES, cells), accesses, (("north", profile()), ("south", profile())))
    return Blueprint(**{**vars(blueprint), "wiring": wiring})


def test_one_edge_round_is_fedavg() -> None:
    """An average of averages, weighted by samples, is the average: the same weights but for the order of the sums."""
    ours = final_weights(edged(hierfavg, HierFavgSettings(**COMMON)))
    plain_ones = final_weights(plan(fedavg, FedAvgSettings(**COMMON), fleet(4), samples=(40, 20, 30, 10)))
    assert all(torch.allclose(ours[name], plain_ones[name], atol=1e-6) for name in plain_ones)
    other = final_weights(edged(hierfavg, HierFavgSettings(**COMMON, edge_rounds=2)))
    assert not all(torch.allclose(other[name], plain_ones[name], atol=1e-4) for name in plain_ones)


def test_what_goes_where_and_when() -> None:
    """Bytes of an MLP w; two edge rounds: every device w down and up twice over its cell; each edge w once each way."""
    played = time_only(edged(hierfavg, HierFavgSettings(**{**COMMON, "rounds": 1}, edge_rounds=2)))
    size = 4 * (64 * 128 + 128 + 128 * 10 + 10)
    sends = [event for event in played.events if event.verb == "send"]
    to_edges = [event for event in sends if event.node.startswith("device-")]
    assert [(event.peer, event.bytes) for event in to_edges if event.node == "device-0001"] == [
        ("edge-south", size)
    ] * 2
    over_sites = [event for event in sends if event.link in ("north", "south")]
    assert sorted((event.node, event.peer) for event in over_sites) == [
        ("edge-north", "server"), ("edge-south", "server"), ("server", "edge-north"), ("server", "edge-south")
    ]  # fmt: skip
    # Down to an edge: w at 4 Mbit/s and 20 ms; then to each of its two devices at 16 Mbit/s, without latency.
    first = min(event.start_ns for event in sends if event.node == "edge-north")
    assert first == pytest.approx(size * 8 / 4e6 * 1e9 + 20e6, abs=1)
    down = next(event for event in sends if event.node == "edge-north")
    assert down.end_ns - down.start_ns == pytest.approx(size * 8 / 16e6 * 1e9, abs=1)
    assert sorted(played.rounds[0].cohort) == [f"device-000{n}" for n in range(4)]  # devices alone, not their edges
    assert played.rounds[0].uplink_bytes == size * (4 * 2 + 2)
    assert played.rounds[0].downlink_bytes == size * (4 * 2 + 2)


def test_the_same_everywhere() -> None:
    blueprint = edged(hierfavg, HierFavgSettings(**COMMON, edge_rounds=2))
    assert play(blueprint).events == time_only(blueprint).events


CODED: dict[str, Any] = {"update_codec": {"codec": "int8-signed"}, "error_feedback": True}


def test_an_edge_that_nothing_came_to_sends_nothing() -> None:
    """Exact: the south's devices go at 0.1 s, in the first round, and stay away until 2 s. Rounds of about half a second: its
    edge is asked in the first one, whose new weights are the north's alone, and not in the second, to which nobody is there.
    """
    away = Condition(Intervals(None, ((0, 0.1), (2, 99))))
    blueprint = replace(edged(hierfavg, HierFavgSettings(**COMMON)), conditions=(Condition(), away, Condition(), away))
    played = play(blueprint)
    sent = [(row.round, row.node) for row in played.transfers("update") if row.peer == "server"]
    assert sent == [(1, "edge-north"), (2, "edge-north")]
    assert play(blueprint).events == time_only(blueprint).events
    north = plan(fedavg, FedAvgSettings(**{**COMMON, "cohort": 2}), fleet(4), samples=(40, 20, 30, 10))
    alone = final_weights(replace(north, conditions=(Condition(), GONE, Condition(), GONE)))
    found = final_weights(blueprint)
    assert all(torch.allclose(found[name], alone[name], atol=1e-6) for name in alone)


def test_an_edge_that_sends_nothing_keeps_what_its_coding_left_out() -> None:
    """Exact: an edge encodes as often as it has something to send, and each time but the first with what was left out before:
    three rounds, of which the south's devices miss the second (they go in its middle, and come back in time for the third).
    """
    rounds = time_only(edged(hierfavg, HierFavgSettings(**{**COMMON, "rounds": 3}, **CODED))).rounds
    middle, end = ((rounds[1].start_ns + rounds[1].end_ns) / 2e9, rounds[1].end_ns / 1e9)
    away = Condition(Intervals(None, ((0, middle), (end - 1e-3, 99))))
    blueprint = replace(
        edged(hierfavg, HierFavgSettings(**{**COMMON, "rounds": 3}, **CODED)),
        conditions=(Condition(), away, Condition(), away),
    )
    played = play(blueprint)
    coded = [row for row in played.events if row.node == "edge-south" and row.kind == "encode_with_feedback"]
    assert [row.round for row in coded] == [1, 3]
    assert coded[0].op in coded[1].inputs  # the residual, as the first round left it
    assert played.events == time_only(blueprint).events


def test_seconds_of_a_device_are_those_of_all_turns() -> None:
    """Exact: twice w down at 16 and up at 8 Mbit/s, and the two trainings between."""
    played = time_only(edged(hierfavg, HierFavgSettings(**{**COMMON, "rounds": 1}, edge_rounds=2)))
    size = 4 * (64 * 128 + 128 + 128 * 10 + 10)
    for name, seconds in zip(played.rounds[0].finished, played.rounds[0].device_seconds, strict=True):
        trained = [row.end_ns - row.start_ns for row in played.events if row.node == name and row.verb == "compute"]
        assert len(trained) == 2
        assert seconds == pytest.approx(2 * size * 8 * (1 / 16e6 + 1 / 8e6) + sum(trained) / 1e9, abs=1e-8)


def run(blueprint: Blueprint, main: Any) -> Any:
    engine, world = build_world(blueprint, Inline(None))
    task = Task(engine.clock, main(world))
    while not task.triggered:
        engine.clock.env.step()
    if task.failure is not None:
        raise task.failure
    return task.value


def test_only_the_edge_of_ones_own_site() -> None:
    async def main(world: Any) -> None:
        one, other = world.devices[:2]
        assert one.edge is world.edges[0]
        assert (other.edge.name, world.server.edge) == ("edge-south", None)
        value = await one.compute(square, side=10)
        await one.send(value, to=one.edge, kind="update")
        await one.send(value, to=other.edge, kind="update")

    with pytest.raises(
        ProtocolError, match="device-0000 cannot send to edge-south: the network joins devices to the server"
    ):
        run(edged(double, Quiet(), 2), main)


def band(split: str, device_power_dbm: float = 20.0) -> Blueprint:
    """Two devices at 100 m in a cell with 1 MHz; uplink ratio about 33 dB."""
    blueprint = plan(double, Quiet(), fleet(2))
    budget = LinkBudget(device_power_dbm, 0, 0, 5, 1e6)
    radio = Radio(Band(1e6, Shannon(), split), LogDistance(), budget, budget, Shannon(), 0.0)  # type: ignore[arg-type]
    cell = CellPlan("a", split if split == "assigned" else "fdma", radio=radio)  # type: ignore[arg-type]
    accesses = tuple(Access(name, "a", inf, inf, 0, place=Fixed(100.0, 0.0)) for name in ("device-0000", "device-0001"))
    return Blueprint(**{**vars(blueprint), "wiring": Wiring(NetworkPlan(cells=(cell,)), accesses)})


def test_a_protocol_assigns_bandwidth() -> None:
    """The send takes as long as the channel said that part of the band would take; too much is an error with its line."""

    async def main(world: Any) -> list[float]:
        one, other = world.devices
        values = [await device.compute(square, side=100) for device in (one, other)]
        rate = one.channel().uplink_on(250e3)
        begun = world.now
        kept = one.send(values[0], to=world.server, kind="update", bandwidth_hz=250e3)
        await other.send(values[1], to=world.server, kind="update", bandwidth_hz=750e3)
        await kept
        took = [world.now - begun, 40_000 * 8 / rate]
        first = one.send(values[0], to=world.server, kind="update", bandwidth_hz=600e3)
        try:
            await other.send(values[1], to=world.server, kind="update", bandwidth_hz=600e3)
        except ProtocolError as error:
            assert "device-0001 sends to server: bandwidth_hz: got 600000; expected at most the 400000 Hz left" in str(
                error
            )
            assert "test_edges.py:" in str(error)
        else:
            pytest.fail("the band was given away twice")
        await first
        return took

    took, expected = run(band("assigned"), main)
    assert took == pytest.approx(expected, rel=1e-6)


def test_wires_have_no_band_to_assign() -> None:
    async def main(world: Any) -> None:
        with pytest.raises(ProtocolError, match="in cells with a radio only"):
            world.devices[0].channel().uplink_on(1e6)

    run(plan(double, Quiet(), fleet(1)), main)
    assert plain(plan(double, Quiet(), fleet(1)).devices)[0].link == "test link"
