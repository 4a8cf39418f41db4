"""Media against queueing theory and hand work: batches, stationary means, the anomaly, fading, slow start."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from math import exp, log2, sqrt

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from network.band import Band, BandFull
from network.classes import ClassMedium
from network.dense import DenseMedium
from network.fading import BlockFading
from network.flow import Flow, Medium, RadioStation, Station
from network.hub import Hub
from network.queueing import QueueMedium
from network.ratemaps import Shannon
from network.sharing import EqualAirtime, EqualPackets, FairRate, Sharing

SECOND = 1_000_000_000
FREE = 1e15  # a station that never binds
Make = Callable[[simpy.Environment], Medium]


def finish(make: Make, flows: Sequence[tuple[Station, float]]) -> list[float]:
    """Seconds at which flows (station, bits) that all start at once finish."""
    env = simpy.Environment(0)
    medium, ends = make(env), [0.0] * len(flows)

    def done(number: int) -> Callable[[], None]:
        def at_end() -> None:
            ends[number] = env.now / 1e9

        return at_end

    for number, (station, bits) in enumerate(flows):
        medium.start(Flow(station, bits, done(number)))
    env.run()
    return ends


def classes(law: Sharing) -> Make:
    return lambda env: ClassMedium(env, law)


def batch(works: Sequence[float], capacity: float) -> list[float]:
    """Processor sharing of ascending works that start together: f_k = (sum_{j<k} w_j + (N - k + 1) w_k) / C."""
    before = [0.0, *accumulate(works)]
    return [(before[k] + (len(works) - k) * work) / capacity for k, work in enumerate(works)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(10**8, 10**11), min_size=1, max_size=40))
def test_processor_sharing_of_a_batch(sizes: list[int]) -> None:
    sizes.sort()
    ends = finish(classes(FairRate(1e8)), [(Station(FREE), float(size)) for size in sizes])
    assert ends == pytest.approx(batch(sizes, 1e8), rel=1e-9, abs=len(sizes) * 1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(10**8, 10**10), st.floats(1e5, 1e8)), min_size=1, max_size=40))
def test_equal_airtime_of_a_batch(flows: list[tuple[int, float]]) -> None:
    """The same with work s_j / R_j, of which the air does one second a second."""
    flows.sort(key=lambda flow: flow[0] / flow[1])
    ends = finish(classes(EqualAirtime(0.8)), [(Station(rate), float(size)) for size, rate in flows])
    assert ends == pytest.approx(batch([size / rate for size, rate in flows], 0.8), rel=1e-9, abs=len(flows) * 1e-9)


def test_weights_part_a_shared_link() -> None:
    # 9 Mbit/s in parts 2 : 1. Both have 6 Mbit: the first ends at 1 s, the second has 3 Mbit left: 1.333 s.
    ends = finish(classes(FairRate(9e6)), [(Station(FREE, 2.0), 6e6), (Station(FREE), 6e6)])
    assert ends == pytest.approx([1.0, 4 / 3], abs=2e-9)


def test_the_anomaly() -> None:
    # Seven stations at 54 Mbit/s and one at 6: each sends at 1 / (7 / 54 + 1 / 6) = 3.375 Mbit/s. Without the slow one:
    # 54 / 7 = 7.714 Mbit/s. All have 3.375 Mbit and end at 1 s, the slow one with them.
    fast = [Station(54e6) for _ in range(7)]
    law = EqualPackets(lambda n: 1.0)
    assert finish(classes(law), [(station, 3.375e6) for station in (*fast, Station(6e6))]) == pytest.approx(
        [1.0] * 8, abs=2e-9
    )
    spared = [(Station(54e6), 54e6 / 7) for _ in range(7)]
    assert finish(classes(law), spared) == pytest.approx([1.0] * 7, abs=2e-9)


def test_efficiency_falls_with_the_number_of_stations() -> None:
    # eta(2) = 0.5, eta(1) = 0.8 at 10 Mbit/s: both send at 0.5 / (2 / 10) = 2.5 Mbit/s. The first has 2.5 Mbit: 1 s. The
    # second has 2.5 of 5 Mbit left, alone at 8 Mbit/s: 0.3125 s more.
    law = EqualPackets(lambda stations: {1: 0.8, 2: 0.5}[stations])
    assert finish(classes(law), [(Station(10e6), 2.5e6), (Station(10e6), 5e6)]) == pytest.approx(
        [1.0, 1.3125], abs=2e-9
    )


def test_one_at_a_time() -> None:
    # 10 Mbit/s, in order of arrival: 1 s, then 2 s, though the second is shorter.
    ends = finish(lambda env: QueueMedium(env, FairRate(10e6)), [(Station(FREE), 10e6), (Station(5e6), 5e6)])
    assert ends == pytest.approx([1.0, 2.0], abs=2e-9)


SIZES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "exponential": lambda draw, n: draw.exponential(1.0, n),
    "deterministic": lambda draw, n: np.ones(n),
    # Two exponentials of means 0.25 (9 in 10) and 7.75 (1 in 10): mean 1, variance 11.8 times an exponential's.
    "hyper-exponential": lambda draw, n: draw.exponential(np.where(draw.random(n) < 0.9, 0.25, 7.75)),
}


@pytest.mark.parametrize("sizes", SIZES)
def test_m_g_1_processor_sharing(sizes: str) -> None:
    """E[T] = E[S] / (1 - rho), whatever the distribution of sizes (Kleinrock, Queueing Systems vol. 2, 1976, section 4.4).

    Load 0.7, 20 independent runs of 1,200 jobs after 400 to warm up; within four standard errors of their mean.
    """
    means = [mean_stay(np.random.default_rng([number, 5]), SIZES[sizes], 0.7) for number in range(20)]
    error = np.std(means, ddof=1) / sqrt(len(means))
    assert abs(np.mean(means) - 1 / (1 - 0.7)) < 4 * error + 0.02
    assert error < 0.35  # or the test could not fail


def mean_stay(draw: np.random.Generator, sizes: Callable[[np.random.Generator, int], np.ndarray], load: float) -> float:
    jobs, warm = 1600, 400
    arrivals = np.rint(np.cumsum(draw.exponential(1 / load, jobs)) * 1e9).astype(np.int64)
    works = sizes(draw, jobs)
    works = works / works.mean()  # the mean is known to be 1: what is left is the spread
    env = simpy.Environment(0)
    medium, stays = ClassMedium(env, FairRate(1.0)), np.zeros(jobs)

    def arrive(number: int) -> Callable[[simpy.Event], None]:
        def at_arrival(_: simpy.Event) -> None:
            def done() -> None:
                stays[number] = (env.now - int(arrivals[number])) / 1e9

            medium.start(Flow(Station(FREE), float(works[number]), done))

        return at_arrival

    for number, time in enumerate(arrivals.tolist()):
        simpy.Timeout(env, time).callbacks.append(arrive(number))
    env.run()
    return float(stays[warm:].mean())


def test_fdma_in_equal_parts() -> None:
    # 1 MHz, two stations at a ratio of 3 over the whole band. Together: 0.5 MHz each at log2(1 + 6) = 2.807 bit/s/Hz; alone
    # log2(4) = 2 Mbit/s. The first has 0.7 Mbit, the second 1.4.
    both = 0.5e6 * log2(7)
    first = 0.7e6 / both
    expected = [first, first + (1.4e6 - first * both) / 2e6]
    stations = [RadioStation(1.0, 3.0, key) for key in (1, 2)]
    band = Band(1e6, Shannon(), "equal")
    ends = finish(lambda env: DenseMedium(env, band, FairRate()), [(stations[0], 0.7e6), (stations[1], 1.4e6)])
    assert ends == pytest.approx(expected, rel=2e-7)  # rates are kept in single precision


def test_assigned_bands() -> None:
    # 250 of 1000 kHz at a ratio of 3: 0.25 MHz log2(1 + 12) = 0.925 Mbit/s, whoever else sends; 800 kHz more do not fit.
    env = simpy.Environment(0)
    medium, ends = DenseMedium(env, Band(1e6, Shannon(), "assigned"), FairRate()), []
    flow, other = (Flow(RadioStation(1.0, 3.0, key), 1e6, lambda: ends.append(env.now / 1e9)) for key in (1, 2))
    flow.bandwidth_hz, other.bandwidth_hz = 250e3, 800e3
    medium.start(flow)
    with pytest.raises(BandFull, match="got 800000; expected at most the 750000 Hz left"):
        medium.start(other)
    env.run()
    assert ends == pytest.approx([1e6 / (0.25e6 * log2(13))], rel=2e-7)


def test_fading_by_blocks_integrates_the_gains() -> None:
    """A lone flow ends where the sum of B log2(1 + s g) over its blocks reaches its bits, found here block by block."""
    fading = BlockFading(SECOND // 100)
    bits, band, snr, key = 3e6, 1e6, 4.0, 99
    left, block = bits, 0
    while (rate := band * log2(1 + snr * fading.gain(key, block))) * 0.01 < left:
        left -= rate * 0.01
        block += 1
    ends = finish(
        lambda env: DenseMedium(env, Band(band, Shannon()), EqualAirtime(), fading),
        [(RadioStation(1.0, snr, key), bits)],
    )
    assert ends == pytest.approx([block * 0.01 + left / rate], rel=1e-6)


def test_the_gains_are_rayleigh() -> None:
    """20,000 devices by 50 blocks: mean 1, variance 1, and the share below each of nine levels, in four standard errors."""
    fading = BlockFading(1)
    keys = np.random.default_rng(3).integers(0, 2**63, 20_000).astype(np.uint64)
    gains = np.concatenate([fading.gains(fading.bits(keys, block), block) for block in range(50)]).astype(float)
    count = len(gains)
    assert abs(gains.mean() - 1) < 4 / sqrt(count)
    assert abs(gains.var() - 1) < 4 * sqrt(8 / count)  # the variance of (g - 1)^2 is 8
    for level in (0.01, 0.1, 0.3, 0.7, 1.0, 1.5, 2.3, 4.0, 7.0):
        below = 1 - exp(-level)
        assert abs((gains < level).mean() - below) < 4 * sqrt(below * (1 - below) / count) + 2e-5
    lagged = gains.reshape(50, -1)
    assert abs(np.mean((lagged[1:] - 1) * (lagged[:-1] - 1))) < 4 / sqrt(count)  # no memory from block to block


@pytest.mark.parametrize("k_factor", [0.5, 3.0, 12.0])
def test_the_gains_are_rician(k_factor: float) -> None:
    """Mean 1 and variance (1 + 2 K) / (1 + K)^2 (Rice factor K)."""
    fading = BlockFading(1, k_factor)
    keys = np.random.default_rng(4).integers(0, 2**63, 20_000).astype(np.uint64)
    gains = np.concatenate([fading.gains(fading.bits(keys, block), block) for block in range(20)]).astype(float)
    variance = (1 + 2 * k_factor) / (1 + k_factor) ** 2
    assert abs(gains.mean() - 1) < 4 * sqrt(variance / len(gains))
    assert gains.var() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("k_factor", [0.0, 3.0])
def test_a_gain_does_not_depend_on_who_asks(k_factor: float) -> None:
    fading = BlockFading(10, k_factor)
    keys = np.arange(50, dtype=np.uint64) * np.uint64(7919)
    for block in (0, 1, 2, 3, 17, 10**9):
        together = fading.gains(fading.bits(keys, block), block).tolist()
        assert together == [fading.gain(int(key), block) for key in keys]
    assert len({fading.gain(5, block) for block in range(100)}) > 95


@pytest.mark.parametrize(
    "law", [FairRate(8e6), EqualAirtime(0.9), EqualPackets(lambda n: 0.7)], ids=["rate", "air", "packets"]
)
def test_both_kinds_of_medium_agree(law: Sharing) -> None:
    """Without fading, the array form and the classes share alike: two implementations of each law."""
    draw = np.random.default_rng(8)
    snrs, bits = draw.uniform(1, 50, 30), draw.uniform(1e5, 1e7, 30)
    band = Band(1e6, Shannon())
    dense = finish(
        lambda env: DenseMedium(env, band, law),
        [(RadioStation(1.0, snr, key), size) for key, (snr, size) in enumerate(zip(snrs, bits, strict=True))],
    )
    plain = [(Station(band.rate(snr)), size) for snr, size in zip(snrs, bits, strict=True)]
    assert dense == pytest.approx(finish(classes(law), plain), rel=1e-6)


@pytest.mark.parametrize(
    "law", [FairRate(8e6), EqualAirtime(0.9), EqualPackets(lambda n: 0.7)], ids=["rate", "air", "packets"]
)
@pytest.mark.parametrize("core", [3e6, 2e7])
def test_both_kinds_of_medium_agree_under_a_full_link(law: Sharing, core: float) -> None:
    """Two media under one core, two flows for every third station, some that stay below the core: the same times."""
    draw = np.random.default_rng(9)
    snrs, bits = draw.uniform(1, 50, 24), draw.uniform(1e5, 5e6, 36)
    band = Band(1e6, Shannon())
    found = []
    for dense in (True, False):
        env = simpy.Environment(0)
        ends: dict[int, float] = {}
        hub = Hub(core, core)
        media: list[Medium] = [
            DenseMedium(env, band, law, None, hub) if dense else ClassMedium(env, law, hub) for _ in range(2)
        ]
        stations = [RadioStation(band.rate(snr), snr, key) for key, snr in enumerate(snrs)]
        for number, size in enumerate(bits):
            place = number % 24 if number < 24 else 3 * (number - 24) % 24
            flow = Flow(stations[place], size, partial(_note, env, ends, number), place % 5 != 0, place % 7 != 0)
            media[place % 2].start(flow)
        env.run()
        found.append([ends[number] for number in range(len(bits))])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def _note(env: simpy.Environment, ends: dict[int, float], number: int) -> None:
    ends[number] = env.now / 1e9


@pytest.mark.parametrize("dense", [True, False])
def test_an_end_may_start_flows_anywhere(dense: bool) -> None:
    """Under a core of 2 Mbit/s two flows in cell a end at 1 s, and each starts one in cell b in that instant: those and the
    third one of a share the core from then on: 2/3 Mbit/s each.
    """
    env = simpy.Environment(0)
    ends: dict[int, float] = {}
    hub, band, law = Hub(2e6, 2e6), Band(1e6, Shannon()), EqualAirtime()
    one, other = (DenseMedium(env, band, law, None, hub) if dense else ClassMedium(env, law, hub) for _ in range(2))
    stations = [RadioStation(10e6, 1023.0, key) for key in range(5)]

    def follow(number: int) -> Callable[[], None]:
        def done() -> None:
            ends[number] = env.now / 1e9
            other.start(Flow(stations[3 + number], 1e6, partial(_note, env, ends, 3 + number)))

        return done

    for number in range(2):
        one.start(Flow(stations[number], 2e6 / 3, follow(number)))
    one.start(Flow(stations[2], 2e6 / 3 + 1e6, partial(_note, env, ends, 2)))
    env.run()
    assert ends == pytest.approx({0: 1.0, 1: 1.0, 2: 2.5, 3: 2.5, 4: 2.5}, abs=1e-6)
