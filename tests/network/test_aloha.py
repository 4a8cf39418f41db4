"""LoRa cells: frames, silence and collisions, by hand and against ALOHA's law."""

from collections.abc import Callable
from itertools import pairwise
from math import exp, sqrt
from typing import NamedTuple

import numpy as np
import pytest
import simpy

from network.aloha import WAIT, AlohaMedium, LoRaCell, LoRaStation, Undelivered
from network.fading import uniform
from network.flow import Flow
from network.lora import LoRa, aloha_success, duty_cycle_wait_s, upload_s
from network.plan import Access, CellPlan, NetworkPlan
from network.topology import Network
from network.transfer import Transfer

SF7 = LoRaCell()
ONE = LoRaCell(channels=1, duty_cycle=0.1)  # every overlap is a collision


class Upload(NamedTuple):
    """A flow of a station of its own: when it starts (ns), its bytes."""

    station: LoRaStation
    start_ns: int
    size: int


def station(key: int, factor: int | None = None, snr: float | None = None) -> LoRaStation:
    return LoRaStation(1.0, key, factor, snr)


def at(env: simpy.Environment, time_ns: int, then: Callable[[], None]) -> None:
    """Call in an instant of a clock that has not reached it."""
    timeout = simpy.Timeout(env, time_ns - int(env.now))
    assert timeout.callbacks is not None
    timeout.callbacks.append(lambda _: then())


def run(cell: LoRaCell, *uploads: Upload) -> tuple[list[int], AlohaMedium]:
    """ns at which uploads are through; -1 for those that failed."""
    env = simpy.Environment(0)
    failed: list[Flow] = []
    medium, ends = AlohaMedium(env, cell, failed.append), [-1] * len(uploads)

    def begin(number: int, upload: Upload) -> None:
        def done() -> None:
            ends[number] = int(env.now)

        medium.start(Flow(upload.station, 8.0 * upload.size, done))

    for number, upload in enumerate(uploads):
        at(env, upload.start_ns, lambda number=number, upload=upload: begin(number, upload))  # type: ignore[misc]
    env.run()
    assert ends.count(-1) == len(failed)
    return ends, medium


# -- one device ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", range(7, 13))
def test_one_device_alone(factor: int) -> None:
    """n frames and n - 1 silences, at every spreading factor: the last frame is as long as its own rest."""
    cell = LoRaCell(LoRa(factor))
    full, rest = cell.air_ns(cell.payload_bytes), cell.air_ns(7)
    ends, medium = run(cell, Upload(station(1), 0, 3 * cell.payload_bytes))
    assert ends == [3 * full + 2 * 99 * full]
    ends, medium = run(cell, Upload(station(1), 0, 3 * cell.payload_bytes + 7))
    assert ends == [3 * full + 3 * 99 * full + rest]
    assert (medium.frames, medium.collisions) == (4, 0)
    assert full == pytest.approx(cell.radio.time_on_air_s(cell.payload_bytes + 13) * 1e9, abs=0.5)


def test_a_hundred_kilobytes() -> None:
    """100 kB at SF7 and 1 % take 4.6 h, as the closed form of uploads says."""
    ends, medium = run(SF7, Upload(station(1), 0, 100_000))
    last = SF7.radio.time_on_air_s(100_000 % 222 + 13)
    assert ends[0] / 1e9 == pytest.approx(upload_s(100_000, SF7.radio) - duty_cycle_wait_s(last), rel=1e-8)
    assert ends[0] / 3.6e12 == pytest.approx(4.6, abs=0.05)
    assert (medium.frames, medium.collisions) == (451, 0)


def test_a_stations_flows_take_turns() -> None:
    """One duty cycle for all flows of a station: first come, first served. Nothing and half a bit are sent as well."""
    env = simpy.Environment(0)
    medium, one, seen = AlohaMedium(env, ONE), station(1), dict[str, int]()
    for name, bits in (("first", 8.0 * 300), ("nothing", 0.0), ("half a bit", 0.5)):
        medium.start(Flow(one, bits, lambda name=name: seen.update({name: int(env.now)})))  # type: ignore[misc]
    env.run()
    full, rest, least = ONE.air_ns(222), ONE.air_ns(78), ONE.air_ns(1)
    assert seen == {"nothing": 0, "first": 10 * full + rest, "half a bit": 10 * full + 10 * rest + least}


# -- collisions ---------------------------------------------------------------------------------------------------


def test_frames_that_overlap_are_both_lost() -> None:
    """By hand: the second begins while the first is on the air. Each goes again after its own nine times on air and a wait
    of up to three, keyed by station and by when the frame began.
    """
    air = ONE.air_ns(100)
    starts = {3: 0, 4: air // 2}
    again = {key: start + 10 * air + round(3 * air * uniform(key ^ WAIT, start)) for key, start in starts.items()}
    assert again[4] - again[3] > air  # they part at once
    ends, medium = run(ONE, *(Upload(station(key), start, 100) for key, start in starts.items()))
    assert ends == [again[3] + air, again[4] + air]
    assert (medium.frames, medium.collisions) == (4, 2)


@pytest.mark.parametrize("first", [0, 1])
def test_frames_that_touch_are_not(first: int) -> None:
    """One begins in the instant in which the other ends, whichever the clock turns to first; a nanosecond less is enough."""
    air = ONE.air_ns(100)
    uploads = [Upload(station(1), 0, 100), Upload(station(2), air, 100)]
    ends, medium = run(ONE, uploads[first], uploads[1 - first])
    assert (sorted(ends), medium.collisions) == ([air, 2 * air], 0)
    _, medium = run(ONE, Upload(station(1), 0, 100), Upload(station(2), air - 1, 100))
    assert medium.collisions >= 2


def test_one_frame_hits_two() -> None:
    """A frame over the end of one and the start of another: all three are lost, though those two never met."""
    air = ONE.air_ns(100)
    once = LoRaCell(channels=1, attempts=1)
    ends, medium = run(once, *(Upload(station(key), key * air * 3 // 4, 100) for key in range(3)))
    assert (ends, medium.frames, medium.collisions) == ([-1] * 3, 3, 3)


def test_without_a_wait_they_meet_for_ever() -> None:
    """Silence alone moves both alike: why there is a random wait."""
    cell = LoRaCell(channels=1, backoff=0.0, attempts=20)
    ends, medium = run(cell, Upload(station(1), 0, 100), Upload(station(2), 5, 100))
    assert (ends, medium.collisions) == ([-1, -1], 40)


def test_channels_and_spreading_factors_do_not_meet() -> None:
    """With very many channels two frames at once hardly ever meet; on one channel, never at two spreading factors."""
    ends, medium = run(LoRaCell(channels=10_000), Upload(station(1), 0, 200), Upload(station(2), 0, 200))
    assert (ends[0], medium.collisions) == (ends[1], 0)
    ends, medium = run(ONE, Upload(station(1), 0, 51), Upload(station(2, 12), 0, 51))
    assert (ends, medium.collisions) == ([ONE.air_ns(51), ONE.air_ns(51, 12)], 0)
    assert ONE.air_ns(51, 12) == LoRaCell(LoRa(12)).air_ns(51)
    ends, medium = run(ONE, Upload(station(1, 12), 0, 51), Upload(station(2, 12), 0, 51))
    assert medium.collisions >= 2


@pytest.mark.parametrize(
    ("capture_db", "signals_db", "through"),
    [
        (6.0, (6.0, 0.0), (True, False)),
        (6.0, (0.0, 6.0), (False, True)),
        (6.0, (5.9, 0.0), (False, False)),
        (None, (30.0, 0.0), (False, False)),
        (6.0, (30.0, None), (False, False)),
        (6.0, (12.1, 6.0, 0.0), (True, False, False)),  # the middle one falls to the first
        (6.0, (7.0, 6.5, 0.0), (False, False, False)),  # neither of the strong ones stands out
    ],
)
def test_capture(capture_db: float | None, signals_db: tuple[float | None, ...], through: tuple[bool, ...]) -> None:
    """Frames that overlap: who is stronger than every other one by 6 dB gets through."""
    cell = LoRaCell(channels=1, attempts=1, capture_db=capture_db)
    stations = [station(key, snr=None if db is None else 10 ** (db / 10)) for key, db in enumerate(signals_db)]
    ends, medium = run(cell, *(Upload(one, 7 * number, 100) for number, one in enumerate(stations)))
    assert tuple(end > 0 for end in ends) == through
    assert [one.lost for one in stations] == [1 - got for got in through]
    assert medium.collisions == through.count(False)


@pytest.mark.parametrize("load", [0.1, 0.5])
def test_alohas_law(load: float) -> None:
    """Single attempts of very many stations, a Poisson process of one length on one channel, succeed with exp(-2 G).

    Within four standard errors of the mean of 40 batches: neighbours share their fate, batches hardly do.
    """
    cell = LoRaCell(channels=1, attempts=1)
    frames, air = 6000, cell.air_ns(50)
    gaps = np.random.default_rng(5).exponential(air / load, frames)
    starts = np.cumsum(gaps).round().astype(int).tolist()
    ends, medium = run(cell, *(Upload(station(key), start, 50) for key, start in enumerate(starts)))
    got = np.array(ends) > 0
    assert (medium.frames, medium.collisions) == (frames, frames - got.sum())
    batches = got.reshape(40, -1).mean(axis=1)
    assert abs(got.mean() - aloha_success(load)) < 4 * batches.std(ddof=1) / sqrt(40)
    assert batches.std(ddof=1) / sqrt(40) < 0.02
    assert aloha_success(load) == exp(-2 * load)


def test_channels_share_the_load() -> None:
    """The same frames on eight channels: an eighth of the load on each."""
    cell = LoRaCell(channels=8, attempts=1)
    frames, air, load = 6000, cell.air_ns(50), 2.0
    starts = np.cumsum(np.random.default_rng(6).exponential(air / load, frames)).round().astype(int).tolist()
    ends, _ = run(cell, *(Upload(station(key * 977), start, 50) for key, start in enumerate(starts)))
    batches = (np.array(ends) > 0).reshape(40, -1).mean(axis=1)
    assert abs(batches.mean() - aloha_success(load / 8)) < 4 * batches.std(ddof=1) / sqrt(40)


# -- what must hold -----------------------------------------------------------------------------------------------


def watched(cell: LoRaCell, stations: list[LoRaStation], size: int) -> list[list[tuple[int, int]]]:
    """(start, time on air) of every frame of every station; bytes are looked after at every event."""
    env = simpy.Environment(0)
    medium, sent = AlohaMedium(env, cell), [list[tuple[int, int]]() for _ in stations]
    flows = [Flow(one, 8.0 * size, lambda: None) for one in stations]
    for number, flow in enumerate(flows):
        at(env, number * 10_000_000, lambda flow=flow: medium.start(flow))  # type: ignore[misc]
    payload, seen = 8.0 * cell.payload_bytes, [0] * len(stations)
    while env.peek() < float("inf"):
        env.step()
        for frames, one, flow, was in zip(sent, stations, flows, seen, strict=True):
            if one.frames > len(frames):
                frames.append((int(env.now), one.air_ns - was))
            through = round((flow.bits - flow.left_bits()) / payload)
            assert flow.bits - flow.left_bits() == through * payload  # whole frames
            assert one.frames - one.lost - 1 <= through <= one.frames - one.lost  # all but one on the air
        seen = [one.air_ns for one in stations]
    assert all((flow.left, flow.sent_bytes(), flow.medium) == (0.0, size, None) for flow in flows)
    assert sum(one.lost for one in stations) == medium.collisions > 0
    assert sum(one.frames for one in stations) == medium.frames
    return sent


@pytest.mark.parametrize("duty", [0.3, 0.07, 0.01])
def test_bytes_are_conserved_and_the_duty_cycle_is_kept(duty: float) -> None:
    """From the start of any frame to the start of any later one, a station is on the air for at most its share."""
    cell = LoRaCell(channels=2, duty_cycle=duty)
    for frames in watched(cell, [station(key) for key in range(12)], 8 * 222):
        used = np.cumsum([0] + [air for _, air in frames])
        for first in range(len(frames)):
            for last in range(first + 1, len(frames)):
                assert used[last] - used[first] <= duty * (frames[last][0] - frames[first][0])
        assert all(then - start >= air for (start, air), (then, _) in pairwise(frames))


def test_any_hour_keeps_the_duty_cycle() -> None:
    """A window that cuts frames: at most its share, and a frame less that share more."""
    cell = LoRaCell(channels=1, duty_cycle=0.01)
    hour = 3_600_000_000_000
    for frames in watched(cell, [station(key) for key in range(4)], 150 * 222):
        starts, airs = np.array(frames).T
        for begin in [*starts.tolist(), *(starts - hour).tolist(), *(starts + airs - hour).tolist()]:
            within = np.minimum(starts + airs, begin + hour) - np.maximum(starts, begin)
            assert within.clip(0).sum() <= 0.01 * hour + 0.99 * airs.max() + 1


def test_the_same_seeds_meet_the_same_luck() -> None:
    """The same times again, in whatever order flows come to the medium, and whatever is sent at another spreading factor."""
    cell = LoRaCell(channels=2, duty_cycle=0.05)
    uploads = [(key, 70_000_000 * key, 2000) for key in range(12)]
    others = [Upload(station(100 + key, 9), 11_000_000 * key, 800) for key in range(20)]
    ends, medium = run(cell, *(Upload(station(key), start, size) for key, start, size in uploads))
    assert medium.collisions > 10
    again, _ = run(cell, *(Upload(station(key), start, size) for key, start, size in uploads[::-1]))
    assert again[::-1] == ends
    amid, busier = run(cell, *others, *(Upload(station(key), start, size) for key, start, size in uploads))
    assert amid[len(others) :] == ends
    assert busier.collisions > medium.collisions


# -- leaving ------------------------------------------------------------------------------------------------------


def test_an_aborted_flow_makes_room() -> None:
    env = simpy.Environment(0)
    medium, seen = AlohaMedium(env, LoRaCell(duty_cycle=0.5)), list[tuple[int, int]]()
    one = station(3)
    first, second = (Flow(one, 8.0 * 222 * 2, lambda n=n: seen.append((n, int(env.now)))) for n in range(2))  # type: ignore[misc]
    medium.start(first)
    medium.start(second)
    air = SF7.air_ns(222)
    env.run(until=air + 1)
    assert (first.left_bits(), first.sent_bytes()) == (8.0 * 222, 222)
    first.abort()
    env.run()
    assert seen == [(1, 2 * air + 3 * air)]  # its two frames, from the end of the first one's silence on


@pytest.mark.parametrize(("starts_ns", "collisions"), [(1499, 1), (1500, 0)])
def test_an_aborted_frame_is_cut_short(starts_ns: int, collisions: int) -> None:
    """Nobody gets it. It spoils what it has met by then; who begins in the instant of the abort is alone."""
    env = simpy.Environment(0)
    medium, seen, ends = AlohaMedium(env, ONE), list[int](), list[int]()
    air, cut, other = ONE.air_ns(200), station(1), station(2)
    first = Flow(cut, 1600.0, lambda: seen.append(int(env.now)))
    second = Flow(other, 1600.0, lambda: ends.append(int(env.now)))
    medium.start(first)
    at(env, starts_ns, lambda: medium.start(second))
    at(env, 1500, first.abort)
    env.run(until=1501)
    assert (first.left_bits(), first.sent_bytes(), first.medium) == (1600.0, 0, None)
    assert (cut.air_ns, other.air_ns) == (1500, air)
    env.run()
    again = starts_ns + 10 * air + round(3 * air * uniform(2 ^ WAIT, starts_ns)) + air
    assert (seen, ends) == ([], [again if collisions else starts_ns + air])
    assert (medium.frames, medium.collisions) == (2 + collisions, collisions)


def test_a_frame_of_no_length_hits_nobody() -> None:
    """Begun and aborted in one instant, amid another frame."""
    env = simpy.Environment(0)
    medium, ends = AlohaMedium(env, ONE), list[int]()
    medium.start(Flow(station(1), 1600.0, lambda: ends.append(int(env.now))))
    brief = Flow(station(2), 1600.0, lambda: None)
    at(env, 1000, lambda: medium.start(brief))
    at(env, 1000, brief.abort)
    env.run()
    assert (ends, medium.collisions) == ([ONE.air_ns(200)], 0)


def test_an_aborted_retry_takes_its_wait_along() -> None:
    """A flow behind one that is aborted in its wait for another attempt is held by the silence alone."""
    env = simpy.Environment(0)
    medium, seen, one = AlohaMedium(env, ONE), list[int](), station(1)
    air = ONE.air_ns(100)
    first, second = Flow(one, 800.0, lambda: None), Flow(one, 800.0, lambda: seen.append(int(env.now)))
    medium.start(first)
    medium.start(second)
    other = Flow(station(2), 800.0, lambda: None)
    medium.start(other)
    at(env, 2 * air, first.abort)
    at(env, 2 * air, other.abort)
    env.run()
    assert seen == [10 * air + air]


def test_the_silence_after_a_cut_frame() -> None:
    """T (1/d - 1) of what was sent: 1500 ns on the air at a tenth are silent until 15,000 ns after they began."""
    env = simpy.Environment(0)
    medium, one, seen = AlohaMedium(env, ONE), station(1), list[int]()
    cut = Flow(one, 800.0, lambda: None)
    medium.start(cut)
    at(env, 1500, cut.abort)
    at(env, 3000, lambda: medium.start(Flow(one, 800.0, lambda: seen.append(int(env.now)))))
    env.run()
    assert seen == [15_000 + ONE.air_ns(100)]


def test_a_flow_fails_loudly() -> None:
    """After its attempts: out of the clock, unless somebody asked to be told. What got through before is told."""
    cell = LoRaCell(channels=1, backoff=0.0, attempts=3)
    env = simpy.Environment(0)
    medium = AlohaMedium(env, cell)
    flows = [Flow(station(key), 8.0 * 100, lambda: None) for key in (1, 2)]
    for flow in flows:
        medium.start(flow)
    with pytest.raises(Undelivered, match=r"lost 3 times, .* with 100 of 100 bytes left; expected more attempts"):
        env.run()
    assert (flows[0].medium, flows[0].left_bits(), medium.frames) == (None, 800.0, 6)
    told: list[Flow] = []
    env = simpy.Environment(0)
    medium = AlohaMedium(env, cell, told.append)
    long, short = Flow(station(1), 8.0 * 322, lambda: None), Flow(station(2), 8.0 * 100, lambda: None)
    medium.start(long)
    at(env, 100 * cell.air_ns(222) + 5, lambda: medium.start(short))  # long's second frame has just begun
    env.run()
    assert told == [long, short]
    assert (long.sent_bytes(), short.sent_bytes()) == (222, 0)


def test_the_next_flow_has_attempts_of_its_own() -> None:
    """Two stations that always meet, with two flows each: three attempts at each of the four."""
    env, told = simpy.Environment(0), list[Flow]()
    medium = AlohaMedium(env, LoRaCell(channels=1, backoff=0.0, attempts=3), told.append)
    for one in (station(1), station(2)):
        for _ in range(2):
            medium.start(Flow(one, 8.0 * 100, lambda: None))
    env.run()
    assert (len(told), medium.frames, medium.collisions) == (4, 12, 12)


# -- in a network -------------------------------------------------------------------------------------------------


def test_a_lora_cell_in_a_network() -> None:
    """Up at 1 %, down at the gateway's 10 %: a frame each way takes its time on air; the second frame waits for silence.
    With one channel each way they do not meet: the gateway has its own band.
    """
    cell = LoRaCell(LoRa(9), channels=1)
    net = Network(simpy.Environment(0), NetworkPlan(cells=(CellPlan("a", "lora", lora=cell),)))
    one, two = (net.attach(Access(f"d{key}", "a", 1e6, 1e6, 0, key=key)) for key in (1, 2))
    seen: list[tuple[str, int]] = []
    for name, way in (("up", one.to_server), ("down", one.from_server), ("down too", two.from_server)):
        net.send(way, 100, lambda name=name: seen.append((name, int(net.env.now))))  # type: ignore[misc]
    net.env.run()
    air = cell.air_ns(100)
    assert dict(seen) == {"up": air, "down": air, "down too": 10 * air + air}
    assert one.rates() == (cell.rate_bps(False), cell.rate_bps(True))
    assert cell.rate_bps(True) == pytest.approx(115 * 8 / cell.radio.time_on_air_s(128) * 0.01)


def test_devices_with_spreading_factors_of_their_own() -> None:
    """Two uploads at once on one channel, at SF7 and at SF12; an aborted transfer tells what had got through."""
    cell = LoRaCell(channels=1, factors={"far": 12})
    net = Network(simpy.Environment(0), NetworkPlan(cells=(CellPlan("a", "lora", lora=cell),)))
    near, far = (net.attach(Access(name, "a", 1e6, 1e6, 0, key=key)) for key, name in enumerate(("near", "far")))
    seen = dict[str, int]()
    for name, way in (("near", near.to_server), ("far", far.to_server)):
        net.send(way, 60, lambda name=name: seen.update({name: int(net.env.now)}))  # type: ignore[misc]
    net.env.run()
    assert seen == {"near": cell.air_ns(60), "far": 100 * cell.air_ns(51, 12) + cell.air_ns(9, 12)}
    assert far.rates()[1] == cell.rate_bps(True, 12) < near.rates()[1] / 20
    transfer: Transfer = net.send(near.to_server, 1000, lambda: None)
    assert net.env.now > 100 * cell.air_ns(60)  # the silence of its upload before is over
    net.env.run(until=net.env.now + 150 * cell.air_ns(222))  # two frames, and silence
    transfer.abort()
    assert transfer.moved() == (444, 0)
    net.env.run()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"duty_cycle": 0.0}, "duty_cycle: got 0.0"),
        ({"downlink_duty_cycle": 1.1}, "downlink_duty_cycle: got 1.1"),
        ({"channels": 0}, "channels: got 0"),
        ({"backoff": -1.0}, "backoff: got -1.0"),
        ({"attempts": 0}, "attempts: got 0"),
        ({"capture_db": 0.0}, "capture_db: got 0.0"),
        ({"factors": {"far": 13}}, "factors: got 13 for far"),
    ],
)
def test_impossible_cells(settings: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LoRaCell(**settings)  # type: ignore[arg-type]


def test_impossible_stations_and_plans() -> None:
    with pytest.raises(ValueError, match="factor: got 6"):
        station(1, 6)
    with pytest.raises(ValueError, match=r"snr: got 0\.0"):
        station(1, snr=0.0)
    with pytest.raises(ValueError, match="lora: got None for a lora cell"):
        CellPlan("a", "lora")
    with pytest.raises(ValueError, match=r"lora: got .* for a shared cell"):
        CellPlan("a", "shared", lora=SF7)
    medium, one = AlohaMedium(simpy.Environment(0), SF7), station(1)
    with pytest.raises(TypeError, match="no rate of its own"):
        medium.recap(Flow(one, 8.0, lambda: None), 1.0)
    with pytest.raises(TypeError, match="spreading factor"):
        medium.rerate(one, 1.0)
