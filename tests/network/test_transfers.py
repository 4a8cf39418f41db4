"""Transfers through the network, worked out by hand: latency, headers, connections, losses, traces, edges, hand-over."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import simpy

from network.attachment import Attachment
from network.band import Band
from network.fading import BlockFading
from network.flow import RadioStation
from network.framing import Connection, Framing
from network.mobility import Area, Fixed, RandomWaypoint, Track
from network.pathloss import LogDistance
from network.plan import Access, CellPlan, Fading, Handover, NetworkPlan, Radio, SitePlan
from network.radio import LinkBudget
from network.ratemaps import Ergodic, Shannon, Steps
from network.sharing import EqualAirtime
from network.topology import Network
from network.traces import RateTrace, TraceError
from network.transfer import Transfer, Way

MB = 1_000_000
MS = 1_000_000  # ns


def network(*cells: CellPlan, **plan: Any) -> Network:
    return Network(simpy.Environment(0), NetworkPlan(cells=cells, **plan))


def device(net: Network, cell: str | None = "a", **changes: Any) -> Attachment:
    """8 Mbit/s up, 16 Mbit/s down, no latency."""
    fields: dict[str, Any] = {"uplink_bps": 8e6, "downlink_bps": 16e6, "latency_ns": 0, "key": 5}
    return net.attach(Access("device", cell, **(fields | changes)))


def arrivals(net: Network, *sends: tuple[Way, int]) -> list[int]:
    """Arrival times in ns of transfers that start now."""
    found = [-1] * len(sends)

    def at_arrival(number: int) -> Callable[[], None]:
        def arrived() -> None:
            found[number] = int(net.env.now)

        return arrived

    for number, (way, size) in enumerate(sends):
        net.send(way, size, at_arrival(number))
    net.env.run()
    return found


def test_the_slower_link_and_all_latencies_count() -> None:
    # Up: 1 MB at min(2, 8) Mbit/s = 4 s, and 5 + 3 ms. Down at min(16, 8) = 1 s.
    net = network(CellPlan("a"), core=SitePlan("core", 8e6, 8e6, 3 * MS))
    one = device(net, uplink_bps=2e6, latency_ns=5 * MS)
    assert arrivals(net, (one.to_server, MB)) == [4008 * MS]
    net = network(CellPlan("a"), core=SitePlan("core", 8e6, 8e6, 3 * MS))
    one = device(net, latency_ns=5 * MS)
    assert arrivals(net, (one.from_server, MB)) == [1008 * MS]


def test_directions_are_apart_unless_the_cell_is_half_duplex() -> None:
    net = network(CellPlan("a", "shared", downlink_bps=8e6, uplink_bps=8e6))
    one = device(net)
    assert arrivals(net, (one.to_server, MB), (one.from_server, MB)) == [1000 * MS, 1000 * MS]
    net = network(CellPlan("a", "shared", "half", uplink_bps=8e6))
    one = device(net)
    assert arrivals(net, (one.to_server, MB), (one.from_server, MB)) == [2000 * MS, 2000 * MS]


def test_an_aborted_transfer_never_arrives() -> None:
    net = network(CellPlan("a", "shared", downlink_bps=8e6, uplink_bps=8e6), core=SitePlan("core", latency_ns=500 * MS))
    one, seen = device(net, uplink_bps=1e9), []
    cut = net.send(one.to_server, MB, lambda: seen.append("cut"))
    net.send(one.to_server, MB, lambda: seen.append("kept"))
    net.env.run(until=1000 * MS)
    assert cut.moved() == (MB // 2, 0)
    cut.abort()
    cut.abort()
    net.env.run()
    assert (seen, net.env.now) == (["kept"], 2000 * MS)  # 0.5 s for what was left of it alone, and the latency
    late = net.send(one.to_server, MB, lambda: seen.append("late"))
    net.env.run(until=net.env.now + 1200 * MS)  # it has left, and is on its way
    assert late.moved() == (MB, 0)
    late.abort()
    net.env.run()
    assert seen == ["kept"]


def test_headers_are_overhead() -> None:
    # 1,000 bytes a packet behind 100: 2,500 bytes go in 3 packets, 2,800 on the wire: 2.8 ms at 8 Mbit/s.
    net = network(CellPlan("a", framing=Framing(1000, 100)))
    one = device(net)
    sent = net.send(one.to_server, 2500, lambda: None)
    net.env.run(until=1_400_000)  # half of it
    assert sent.moved() == (1250, 150)
    net.env.run()
    assert (sent.moved(), net.env.now) == ((2500, 300), 2_800_000)


def test_connections_open_once_or_each_time() -> None:
    # One way 10 ms, so a round trip is 20 ms; two of them open a connection. 1 MB takes 1 s.
    for once, second in ((True, 1010), (False, 1050)):
        net = network(CellPlan("a", connection=Connection(2, once)))
        one = device(net, latency_ns=10 * MS)
        assert arrivals(net, (one.to_server, MB)) == [1050 * MS]
        assert arrivals(net, (one.to_server, MB)) == [1050 * MS + second * MS]


def test_slow_start() -> None:
    # Round trip 100 ms, first window 10 kB: 0.8, 1.6, 3.2, 6.4 Mbit/s for 100 ms each bring 10 + 20 + 40 + 80 = 150 kB;
    # then 8 Mbit/s, the device's own rate: 850 kB in 0.85 s. And 50 ms of latency.
    net = network(CellPlan("a", connection=Connection(initial_window_bytes=10_000)))
    one = device(net, latency_ns=50 * MS)
    assert arrivals(net, (one.to_server, MB)) == [400 * MS + 850 * MS + 50 * MS]
    begun = int(net.env.now)  # after the last stale timer
    assert arrivals(net, (one.to_server, 10_000)) == [begun + 150 * MS]


def test_lost_attempts_are_sent_again_and_counted() -> None:
    """At a loss of 0.5 a transfer takes as many whole attempts as its draws say: 20 of them, all told by bytes and time."""
    net = network(CellPlan("a", loss=0.5))
    one, attempts = device(net), []
    for _ in range(20):
        begun = int(net.env.now)
        sent = net.send(one.to_server, MB // 10, lambda: None)
        net.env.run()
        payload, overhead = sent.moved()
        assert payload == MB // 10
        attempts.append(1 + overhead // (MB // 10))
        assert int(net.env.now) - begun == attempts[-1] * 100 * MS
    assert min(attempts) == 1
    assert max(attempts) >= 3


def test_jitter_is_keyed_by_device_and_time() -> None:
    plan = CellPlan("a", jitter_ns=10 * MS)
    delays = [arrivals(net := network(plan), (device(net, key=key).to_server, 0))[0] for key in range(2000)]
    again = [arrivals(net := network(plan), (device(net, key=key).to_server, 0))[0] for key in range(20)]
    assert again == delays[:20]
    assert sum(delays) / len(delays) == pytest.approx(10 * MS, rel=0.1)  # mean of 2,000 exponentials: 2.2 % deviation


def test_the_edge_tier() -> None:
    # To the edge over the cell alone: 1 s. On over the site's 4 Mbit/s: 2 s, with 20 + 5 ms. Straight to the server both at
    # once, at 4 Mbit/s, with the device's 2 ms.
    site = SitePlan("north", 4e6, 4e6, 20 * MS)
    net = network(CellPlan("a", site="north"), sites=(site,), core=SitePlan("core", latency_ns=5 * MS))
    one, edge = device(net, latency_ns=2 * MS), net.edge("north")
    assert arrivals(net, (one.to_edge, MB)) == [1002 * MS]
    assert arrivals(net, (edge.to_server, MB)) == [1002 * MS + 2025 * MS]
    begun = int(net.env.now)
    assert arrivals(net, (one.to_server, MB)) == [begun + 2027 * MS]
    assert arrivals(net, (edge.from_server, MB), (one.from_edge, MB))[0] - int(net.env.now) <= 0
    with pytest.raises(ValueError, match="site: got 'south'; expected one of north"):
        net.edge("south")


def test_a_device_in_no_cell_that_is_there() -> None:
    net = network(CellPlan("a"), CellPlan("b"))
    with pytest.raises(ValueError, match="device: got cell 'c'; expected one of a, b"):
        device(net, "c")


def test_capacity_over_time() -> None:
    # 8 Mbit/s for 1 s, then 2 Mbit/s, looped after 2 s: 2 MB are 16 Mbit: 8 + 2 in the first two seconds, 6 of 8 in the third.
    trace = RateTrace("t", (0, 1000 * MS, 2000 * MS), (8e6, 2e6, 0.0), "loop")
    net = network(CellPlan("a", "shared", uplink_trace=trace))
    assert arrivals(net, (device(net, uplink_bps=1e9).to_server, 2 * MB)) == [2750 * MS]


def test_a_devices_rate_over_time_and_a_pause() -> None:
    # 4 Mbit/s for 1 s, nothing for 3 s, then 8 Mbit/s for good: 1 MB is 8 Mbit: 4 in the first second, 4 more by 4.5 s.
    trace = RateTrace("t", (0, 1000 * MS, 4000 * MS), (4e6, 0.0, 8e6), "hold")
    net = network(CellPlan("a"))
    assert arrivals(net, (device(net, uplink_trace=trace).to_server, MB)) == [4500 * MS]
    assert arrivals(net, (device(net, uplink_trace=trace).to_server, MB)) == [5500 * MS]  # looked at first at 4.5 s


def test_a_trace_that_ends() -> None:
    trace = RateTrace("rates.csv", (0, 500 * MS), (4e6, 4e6))
    net = network(CellPlan("a"))
    with pytest.raises(
        TraceError, match=r"rates.csv: ends at 0.5 s, but virtual time is 0.5 s; expected after: loop or hold"
    ):
        arrivals(net, (device(net, uplink_trace=trace).to_server, MB))


@pytest.mark.parametrize(
    ("times", "rates", "after", "says"),
    [
        ((0, 5, 5), (1.0, 1.0, 1.0), "hold", "times that do not ascend"),
        ((3,), (1.0,), "hold", "first time of 3 ns; expected 0"),
        ((0,), (-1.0,), "hold", "a rate below zero"),
        ((0, 5), (1.0, 0.0), "hold", "nothing would ever arrive"),
        ((0, 5), (0.0, 1.0), "loop", "nothing would ever arrive"),
        ((0,), (1.0,), "loop", "expected two or more for a loop"),
        ((0, 1), (1.0,), "hold", "got 2 times and 1 rates"),
    ],
)
def test_broken_traces(times: Any, rates: Any, after: Any, says: str) -> None:
    with pytest.raises(TraceError, match=says):
        RateTrace("t", times, rates, after)


# ---- moving --------------------------------------------------------------------------------------------------------------


def street(name: str, x: float) -> CellPlan:
    """A cell whose signal falls with distance: 30 dB at 100 m on 1 MHz, 37.6 dB a decade, no shadowing."""
    loss = LogDistance()
    noise = -174 + 60.0
    budget = LinkBudget(30 + float(loss.los_db(100.0)) + noise, 0, 0, 0, 1e6)
    return CellPlan(name, "airtime", radio=Radio(Band(1e6, Shannon()), loss, budget, budget, Shannon(), 0.0),
                    position=(x, 0.0), law=EqualAirtime())  # fmt: skip


def test_a_transfer_goes_on_in_the_next_cell() -> None:
    """From a at x = 0 to b at x = 1000 m at 100 m/s from x = 300, looked at every second, margin 3 dB, gap 100 ms.

    b is 3 dB better once 37.6 lg(d_a / d_b) > 3: d_a / d_b > 1.2017, x > 545.8 m: at the look at 3 s (x = 600).
    """
    net = network(street("a", 0.0), street("b", 1000.0), handover=Handover(3.0, 100 * MS, 1000 * MS))
    walk = Track((0.0, 10.0), ((300.0, 0.0), (1300.0, 0.0)))
    one = device(net, place=walk, roams=("a", "b"), uplink_bps=1.0)
    cells = {name: net.cells[name] for name in "ab"}

    def rate(cell: str, x: float) -> float:
        return cells[cell].rate(cells[cell].reach(5, (x, 0.0)).uplink)

    before = sum(rate("a", x) for x in (300.0, 400.0, 500.0))  # bits in the first three seconds
    after = rate("b", 600.0) * 0.9
    bits = before + after + rate("b", 700.0) * 0.25  # and a quarter of the fifth second's
    size = int(bits / 8)
    seen: list[tuple[str, int]] = []
    net.send(one.to_server, size, lambda: seen.append((one.link, int(net.env.now))))
    net.env.run(until=20_000 * MS)
    assert seen[0][0] == "b"
    assert seen[0][1] == pytest.approx(4250 * MS, abs=20_000)  # 8 bits of rounding the size
    assert rate("a", 600.0) * 2 < rate("b", 600.0) * 3  # the cells do differ


def test_a_gain_for_a_whole_transfer() -> None:
    """The block in which a transfer starts holds for all of it, and while that block carries nothing it waits for the next."""
    budget, rate_map = LinkBudget(5, 0, 0, 0, 1e6), Steps((10.0, 16.0), (1.0, 3.0))  # 15 dB in the mean
    fading = Fading(BlockFading(20 * MS), "transfer")
    radio = Radio(Band(1e6, rate_map), LogDistance(), budget, budget, Ergodic(rate_map), 0.0, fading)
    net = network(CellPlan("a", "airtime", radio=radio, seed=9))
    one = device(net, place=Fixed(230.0, 0.0))
    signal, station = one.signal(), one.up
    assert signal is not None
    assert isinstance(station, RadioStation)
    rates, waited = set(), 0
    for _ in range(60):
        begun = int(net.env.now)
        block = begun // (20 * MS)
        while not (rate := float(rate_map(signal.uplink_snr * fading.law.gain(station.key, block)))):
            block += 1
            begun, waited = block * 20 * MS, waited + 1
        rates.add(rate)
        (arrived,) = arrivals(net, (one.to_server, 1000))
        assert arrived == pytest.approx(begun + 8000 / (rate * 1e6) * 1e9, abs=2)
        net.env.run(until=int(net.env.now) + 33 * MS)
    assert waited > 5
    assert rates == {1.0, 3.0}


def test_who_looks_does_not_decide_the_cell() -> None:
    """A device that sends all the time and one that sends once at the end are in the same cell then."""
    cells = []
    for chatty in (True, False):
        net = network(street("a", 0.0), street("b", 400.0), handover=Handover(3.0, 0, 100 * MS))
        place = RandomWaypoint(7, Area(200.0, 0.0, 400.0), 20.0, 60.0)
        one = device(net, place=place, roams=("a", "b"))
        for second in range(60) if chatty else ():
            net.env.run(until=second * 1000 * MS + 1)
            net.send(one.to_server, 10, lambda: None)
        net.env.run(until=60_000 * MS)
        net.send(one.to_server, 10, lambda: None)
        cells.append((one.link, one.rates()))
    assert cells[0] == cells[1]


def test_walks() -> None:
    """Within the area; never faster than the fastest; the same at the same time whatever was asked before."""
    area = Area(10.0, -5.0, 50.0)
    walk, other = (RandomWaypoint(3, area, 1.0, 2.0, pause_s=5.0) for _ in range(2))
    places = [walk.at(t / 10) for t in range(20_000)]
    assert all((x - 10) ** 2 + (y + 5) ** 2 <= 50.0**2 + 1e-6 for x, y in places)
    steps = [((x - a) ** 2 + (y - b) ** 2) ** 0.5 for (x, y), (a, b) in zip(places[1:], places[:-1], strict=True)]
    assert max(steps) <= 0.2 + 1e-9
    assert steps.count(0.0) > 100  # pauses
    assert [other.at(t) for t in (1999.9, 3.0, 777.7)] == [places[19_999], places[30], places[7777]]


def test_places_are_uniform_by_area() -> None:
    # Half of the area of a ring from 10 to 50 m lies within sqrt((10^2 + 50^2) / 2) = 36.06 m.
    area = Area(0.0, 0.0, 50.0, 10.0)
    distances = [(x * x + y * y) ** 0.5 for x, y in (area.place(key, 0) for key in range(4000))]
    assert 10 <= min(distances) < max(distances) <= 50
    inside = sum(distance < 36.0555 for distance in distances) / 4000
    assert inside == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: RandomWaypoint(1, Area(0, 0, 1), 0.0, 1.0), "speed: got 0.0 to 1.0"),
        (lambda: RandomWaypoint(1, Area(0, 0, 1), 1.0, 1.0, -1.0), "pause_s: got -1.0"),
        (lambda: Area(0, 0, 5, 6), "nearest: got 6 m of a radius of 5 m"),
        (lambda: Track((1.0, 1.0), ((0, 0), (0, 0))), "do not ascend"),
        (lambda: Track((-1.0,), ((0, 0),)), "from zero or later"),
        (lambda: Framing(0), "payload_bytes: got 0"),
        (lambda: Framing(1, -1), "header_bytes: got -1"),
        (lambda: Connection(-1), "round_trips: got -1"),
        (lambda: Connection(0, True, -1), "initial_window_bytes: got -1"),
    ],
)
def test_impossible_figures(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_out_of_reach() -> None:
    net = network(street("a", 0.0))
    with pytest.raises(ValueError, match="device: downlink: out of reach of cell a: a signal-to-noise ratio of"):
        device(net, place=Fixed(90_000.0, 0.0))


def test_nothing_is_left_behind() -> None:
    """After any number of transfers no flow, transfer or active count remains."""
    net = network(CellPlan("a", "shared", uplink_bps=8e6, downlink_bps=8e6, loss=0.1))
    devices = [device(net, key=key) for key in range(5)]
    numbers = count()
    for one in devices:
        for _ in range(10):
            sent: Transfer = net.send(one.to_server, 1000 + next(numbers), lambda: None)
        sent.abort()
    net.env.run()
    assert net.cells["a"].active == 0
    assert all(not one.up.flows and not one.down.flows for one in devices)
