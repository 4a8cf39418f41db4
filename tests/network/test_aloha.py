"""LoRa cells: frames, silence and collisions, by hand and against ALOHA's law."""

from functools import partial
from math import exp, sqrt

import numpy as np
import pytest
import simpy

from network.aloha import AlohaMedium, LoRaCell, LoRaStation
from network.flow import Flow
from network.lora import LoRa, duty_cycle_wait_s, upload_s
from network.plan import Access, CellPlan, NetworkPlan
from network.topology import Network

SF7 = LoRaCell()


def upload(cell: LoRaCell, *flows: tuple[int, float, int]) -> tuple[list[float], AlohaMedium]:
    """Seconds at which flows (key of the station, start s, bytes) are through, each from a station of its own."""
    env = simpy.Environment(0)
    medium, ends = AlohaMedium(env, cell), [-1.0] * len(flows)

    def begin(number: int, key: int, size: int, _: simpy.Event) -> None:
        def done() -> None:
            ends[number] = env.now / 1e9

        medium.start(Flow(LoRaStation(1.0, key), 8.0 * size, done))

    for number, (key, start_s, size) in enumerate(flows):
        simpy.Timeout(env, round(start_s * 1e9)).callbacks.append(partial(begin, number, key, size))
    env.run()
    return ends, medium


def test_one_device_alone() -> None:
    """n frames and n - 1 silences; 100 kB at SF7 and 1 % take 4.6 h, as the closed form of uploads says."""
    full = SF7.radio.time_on_air_s(222 + 13)
    ends, medium = upload(SF7, (1, 0.0, 3 * 222))
    assert ends == [pytest.approx(3 * full + 2 * duty_cycle_wait_s(full), abs=5e-9)]
    ends, medium = upload(SF7, (1, 0.0, 100_000))
    last = SF7.radio.time_on_air_s(100_000 % 222 + 13)
    assert ends[0] == pytest.approx(upload_s(100_000, SF7.radio) - duty_cycle_wait_s(last), rel=1e-8)
    assert ends[0] / 3600 == pytest.approx(4.6, abs=0.05)
    assert (medium.frames, medium.collisions) == (451, 0)


def test_frames_that_overlap_are_both_lost() -> None:
    """One channel, no back-off: the second begins while the first is on the air; both go again after their silence, which
    shifts them by as much as they were apart, so they meet for ever; with a wait drawn by key they part.
    """
    air = SF7.air_ns(100) / 1e9
    alone = LoRaCell(channels=1, duty_cycle=0.1)
    ends, medium = upload(alone, (1, 0.0, 100), (2, air / 2, 100))
    assert medium.collisions >= 2
    assert min(ends) >= air * 10  # nobody got through at first
    assert upload(alone, (1, 0.0, 100), (2, air * 1.0001, 100))[0] == [
        pytest.approx(air, abs=2e-9), pytest.approx(2.0001 * air, abs=1e-6)
    ]  # fmt: skip


def test_channels_do_not_meet() -> None:
    """With very many channels two frames at once hardly ever meet."""
    ends, medium = upload(LoRaCell(channels=10_000), (1, 0.0, 200), (2, 0.0, 200))
    assert medium.collisions == 0
    assert ends[0] == ends[1]


def test_alohas_law() -> None:
    """Frames of one length that begin at random on one channel get through with probability exp(-2 G).

    600 stations send one frame each in a window; first attempts alone count: those that end one time on air after they
    began. Load G = frames begun per time on air. Twenty windows, within four standard errors.
    """
    cell = LoRaCell(channels=1, duty_cycle=0.0001)  # whoever fails comes back long after the window
    air = cell.air_ns(50) / 1e9
    window, stations = 600 * air / 0.3, 600  # G = 0.3
    draw, through, counted = np.random.default_rng(5), 0, 0
    for number in range(20):
        starts = draw.uniform(0, window, stations)
        ends, _ = upload(cell, *((number * 1000 + i, float(start), 50) for i, start in enumerate(starts)))
        inner = [(s, e) for s, e in zip(starts, ends, strict=True) if air < s < window - air]
        through += sum(e - s < 1.5 * air for s, e in inner)
        counted += len(inner)
    expected = exp(-2 * 0.3)
    assert abs(through / counted - expected) < 4 * sqrt(expected * (1 - expected) / counted) + 0.002


def test_the_duty_cycle_is_kept() -> None:
    """Over its whole time a busy station is on the air at most its share, counted from a frame's start to the next one's."""
    cell = LoRaCell(channels=3, duty_cycle=0.05)
    ends, medium = upload(cell, *((key, 0.1 * key, 2000) for key in range(12)))
    on_air = medium.frames * cell.air_ns(222) / 1e9
    assert on_air / 12 <= 0.05 * max(ends) + cell.air_ns(222) / 1e9
    assert medium.collisions > 0
    again, _ = upload(cell, *((key, 0.1 * key, 2000) for key in range(12)))
    assert again == ends


def test_an_aborted_flow_makes_room() -> None:
    env = simpy.Environment(0)
    medium, seen = AlohaMedium(env, LoRaCell(duty_cycle=0.5)), []
    station = LoRaStation(1.0, 3)
    first, second = (Flow(station, 8.0 * 222 * 2, lambda n=n: seen.append((n, env.now))) for n in range(2))  # type: ignore[misc]
    medium.start(first)
    medium.start(second)
    air = SF7.air_ns(222)
    env.run(until=air + 1)
    assert (first.left_bits(), first.sent_bytes()) == (8.0 * 222, 222)
    first.abort()
    env.run()
    assert seen == [(1, 2 * air + 3 * air)]  # its two frames, from the end of the first one's silence on


def test_a_lora_cell_in_a_network() -> None:
    """Up at 1 %, down at the gateway's 10 %: a frame each way takes its time on air; the second frame waits for silence."""
    net = Network(simpy.Environment(0), NetworkPlan(cells=(CellPlan("a", "lora", lora=LoRaCell(LoRa(9))),)))
    one, two = (net.attach(Access(f"d{key}", "a", 1e6, 1e6, 0, key=key)) for key in (1, 2))
    cell = LoRaCell(LoRa(9))
    seen: list[tuple[str, int]] = []
    for name, way in (("up", one.to_server), ("down", one.from_server), ("down too", two.from_server)):
        net.send(way, 100, lambda name=name: seen.append((name, int(net.env.now))))  # type: ignore[misc]
    net.env.run()
    air = cell.air_ns(100)
    assert dict(seen)["down too"] == 10 * air + air
    assert one.rates() == (cell.rate_bps(False), cell.rate_bps(True))
    assert cell.rate_bps(True) == pytest.approx(115 * 8 / cell.radio.time_on_air_s(128) * 0.01)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"duty_cycle": 0.0}, "duty_cycle: got 0.0"),
        ({"channels": 0}, "channels: got 0"),
        ({"backoff": -1.0}, "backoff: got -1.0"),
    ],
)
def test_impossible_cells(settings: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LoRaCell(**settings)  # type: ignore[arg-type]
