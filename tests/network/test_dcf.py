"""DCF: exchanges added up by hand, reference throughputs, a simulated back-off, and properties."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.dcf import (
    DCF_11A,
    DCF_11AC,
    DCF_11AX,
    DCF_11G,
    DCF_11N,
    DcfTiming,
    anomaly_rate,
    attempt_rate,
    bianchi,
    efficiency,
    exchange,
    successful_share,
)
from network.sharing import EqualExchanges

EIFS = replace(DCF_11A, eifs_after_collision=True)
NAMED = [DCF_11A, DCF_11G, DCF_11N, DCF_11AC, DCF_11AX, EIFS]


def test_one_frame_by_hand() -> None:
    # 54 Mbit/s is 216 bit a symbol. 22 + 8 * (1472 + 64) = 12,310 bit are 57 symbols: 20 + 228 = 248 us.
    assert DCF_11A.data_us(54e6, 1472) == 248
    # DIFS 34, back-off 7.5 slots = 67.5, data 248, SIFS 16, ACK 28: 393.5 us for 11,776 bit = 29.93 Mbit/s.
    assert efficiency(1, 54e6, 1472, DCF_11A) * 54 == pytest.approx(1472 * 8 / 393.5)
    # 22 + 112 = 134 bit at 24 a symbol are 6 symbols: 16 + 20 + 24 + 34.
    assert DCF_11A.eifs_us == 94


def test_other_frames_by_hand() -> None:
    # 11n, MCS 7: 65 Mbit/s * 4 us = 260 bit. 22 + 8 * 1538 = 12,326: 48 symbols after 36 us.
    assert DCF_11N.data_us(65e6, 1472) == 36 + 48 * 4
    # Two subframes of 4 + 1540 bytes: 24,726 bit, 96 symbols.
    assert DCF_11N.data_us(65e6, 1472, 2) == 36 + 96 * 4
    # With AIFS 43, back-off 67.5, SIFS 16 and a block acknowledgement of 32 us: 578.5 us for 23,552 bit.
    assert efficiency(1, 65e6, 1472, DCF_11N, 2) * 65 == pytest.approx(2 * 1472 * 8 / 578.5)
    # 11ac, MCS 9, 80 MHz: 390 Mbit/s * 4 us = 1560 bit: 8 symbols for 12,326.
    assert DCF_11AC.data_us(390e6, 1472) == 40 + 8 * 4
    # 11ax, MCS 0, 20 MHz: 117 bit in 13.6 us (8.6 Mbit/s). 22 + 8 * 166 = 1350: 12 symbols.
    assert DCF_11AX.data_us(117 / 13.6e-6, 100) == pytest.approx(43.2 + 12 * 13.6)
    # 11g: 6 us of extension after data and ACK, SIFS and DIFS 6 us shorter each: the same exchange as 11a.
    assert efficiency(1, 54e6, 1472, DCF_11G) == pytest.approx(efficiency(1, 54e6, 1472, DCF_11A))


# Saturated 802.11a at 54 Mbit/s: an earlier independent implementation of Bianchi's model, to 0.01 Mbit/s. Its figures mean
# UDP payloads of 1472 bytes (1500 with IPv4 and UDP, 1536 with MAC, FCS and LLC), the ACK at 24 Mbit/s, and for EIFS an
# ACK at 6 Mbit/s.
@pytest.mark.parametrize(
    ("timing", "throughput"),
    [
        (DCF_11A, {1: 29.93, 2: 30.91, 5: 29.56, 10: 27.77, 20: 25.82, 50: 22.96}),
        (EIFS, {1: 29.93, 2: 30.63, 5: 28.79, 10: 26.68, 20: 24.49, 50: 21.39}),
    ],
)
def test_reference_throughputs(timing: DcfTiming, throughput: dict[int, float]) -> None:
    assert {n: round(efficiency(n, 54e6, 1472, timing) * 54, 2) for n in throughput} == throughput


# ns-3.44, UDP saturation, one run of 4 s each (no confidence interval): within 3 %, which is what the model claims.
@pytest.mark.parametrize(
    ("stations", "measured", "tolerance"),
    [(1, 29.86, 0.02), (2, 30.23, 0.03), (5, 28.89, 0.03), (10, 27.10, 0.03), (20, 25.70, 0.02), (50, 23.20, 0.02)],
)
def test_against_a_packet_simulator(stations: int, measured: float, tolerance: float) -> None:
    assert efficiency(stations, 54e6, 1472, DCF_11A) * 54 == pytest.approx(measured, rel=tolerance)


def test_bianchis_own_form_of_tau() -> None:
    # Equation 7 as printed; at p = 1/2 it is 0/0, and the sum is m: 2 / (1 + W + m W / 2).
    window, stages = 16, 6
    for p in (0.0, 0.1, 0.3, 0.7, 0.99):
        printed = 2 * (1 - 2 * p) / ((1 - 2 * p) * (window + 1) + p * window * (1 - (2 * p) ** stages))
        assert attempt_rate(p, DCF_11A) == pytest.approx(printed, rel=1e-12)
    assert attempt_rate(0.5, DCF_11A) == 2 / (1 + 16 + 6 * 16 / 2)


@given(st.integers(2, 5000), st.sampled_from([1, 7, 15, 31]), st.integers(0, 10))
def test_the_root_is_a_root(stations: int, cw_min: int, stages: int) -> None:
    timing = replace(DCF_11A, cw_min=cw_min, backoff_stages=stages)
    tau, p = bianchi(stations, timing)
    assert 0 < tau < 1 and 0 < p <= 1
    assert p == pytest.approx(1 - (1 - tau) ** (stations - 1), abs=1e-12)
    assert tau == attempt_rate(p, timing)


def test_no_stages_is_a_constant_window() -> None:
    # m = 0: tau = 2 / (W + 1) however many there are.
    timing = replace(DCF_11A, backoff_stages=0)
    assert [bianchi(n, timing)[0] for n in (1, 2, 30)] == [2 / 17] * 3
    assert bianchi(1, DCF_11A) == (2 / 17, 0.0)


def test_attempts_of_a_simulated_backoff() -> None:
    # Ten stations, 60,000 slots: counters fall by one in every slot, busy or not, as in Bianchi's chain. The model assumes
    # that collisions are independent, which costs it under 1 %; the p estimate has a standard error near 0.003.
    draw = np.random.default_rng(7)
    stage, sent, collided = np.zeros(10, int), 0, 0
    counter = draw.integers(0, 16, 10)
    slots = 60_000
    for _ in range(slots):
        now = np.flatnonzero(counter == 0)
        counter -= 1
        if len(now):
            sent += len(now)
            collided += len(now) if len(now) > 1 else 0
            stage[now] = np.minimum(stage[now] + 1, 6) if len(now) > 1 else 0
            counter[now] = draw.integers(0, 16 << stage[now])
    tau, p = bianchi(10, DCF_11A)
    assert sent / slots / 10 == pytest.approx(tau, rel=0.03)
    assert collided / sent == pytest.approx(p, rel=0.04)


@settings(max_examples=50)
@given(st.sampled_from(NAMED), st.integers(1, 200), st.integers(100, 1472), st.sampled_from([6e6, 24e6, 54e6]))
def test_efficiency_is_a_part(timing: DcfTiming, stations: int, payload: int, rate: float) -> None:
    value = efficiency(stations, rate, payload, timing)
    assert 0 < value < 1
    # Twice the payload pays the overhead once, and fills at most twice the symbols.
    assert efficiency(stations, rate, 2 * payload, timing) > value
    # The overhead does not shrink with the symbols: a faster PHY is used less well.
    assert efficiency(stations, 2 * rate, payload, timing) < value


@given(st.integers(3, 300))
def test_more_stations_collide_more(stations: int) -> None:
    assert bianchi(stations + 1, DCF_11A)[1] > bianchi(stations, DCF_11A)[1]
    assert efficiency(stations + 1, 54e6, 1472, DCF_11A) < efficiency(stations, 54e6, 1472, DCF_11A)
    assert efficiency(stations, 54e6, 1472, EIFS) < efficiency(stations, 54e6, 1472, DCF_11A)


def test_aggregation_pays() -> None:
    values = [efficiency(10, 390e6, 1472, DCF_11AC, frames) for frames in (1, 2, 4, 8, 16, 32, 64)]
    assert values == sorted(values)
    # 1472 of 1544 bytes is what is left when only the frame headers count.
    assert 0.65 < values[-1] < 1472 / 1544


def test_anomaly() -> None:
    # 54 and 6: 1 / (1/54 + 1/6) = 5.4 each, far from 54 and 6; the whole carries twice that.
    assert anomaly_rate([54e6, 6e6], 1.0) == pytest.approx(5.4e6)
    # n alike share n ways, and the slowest bounds all.
    assert anomaly_rate([54e6] * 4, 0.5) == pytest.approx(54e6 / 8)


@given(st.lists(st.floats(1e6, 1e9), min_size=1, max_size=20))
def test_the_slowest_sets_the_pace(rates: list[float]) -> None:
    assert min(rates) / len(rates) * (1 - 1e-12) <= anomaly_rate(rates, 1.0) <= min(rates) * (1 + 1e-12)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="stations: got 0; expected a whole number, at least 1"):
        bianchi(0, DCF_11A)
    with pytest.raises(ValueError, match="aggregated_frames: got 2; expected at most 1, as the timing says"):
        efficiency(1, 54e6, 1472, DCF_11A, 2)
    with pytest.raises(ValueError, match="frame: got '6308 us'; expected at most 5484 us: fewer bytes or frames"):
        efficiency(1, 65e6, 1472, DCF_11N, 33)
    with pytest.raises(ValueError, match="payload_bytes: got 0; expected a whole number"):
        efficiency(1, 54e6, 0, DCF_11A)
    with pytest.raises(ValueError, match="rate_bps: got 0; expected finite, above zero"):
        efficiency(1, 0, 1472, DCF_11A)
    with pytest.raises(ValueError, match="slot_us: got 0; expected finite, above zero"):
        replace(DCF_11A, slot_us=0)
    with pytest.raises(ValueError, match="backoff_stages: got 17; expected 0 to 16"):
        replace(DCF_11A, backoff_stages=17)
    with pytest.raises(ValueError, match=r"rates_bps: got \[\]; expected at least one"):
        anomaly_rate([], 0.5)
    with pytest.raises(ValueError, match=r"rates_bps: got 0\.0; expected finite, above zero"):
        anomaly_rate([54e6, 0.0], 0.5)
    with pytest.raises(ValueError, match=r"efficiency: got 1\.5; expected above 0, at most 1"):
        anomaly_rate([54e6], 1.5)
    with pytest.raises(ValueError, match=r"collision_probability: got 1\.1; expected 0 to 1"):
        attempt_rate(1.1, DCF_11A)


def test_exchanges_of_unlike_stations() -> None:
    """One station at 6 Mbit/s among others at 54, beside Bianchi's slots with each frame's own time, worked out here.

    Attempts do not depend on rates. The k-th frame in ascending order is the longest of a collision when none above it is
    sent, and some below it is. A share of time that knows one rate alone comes within a tenth up to ten stations.
    """
    timing, payload = DCF_11A, 1472
    for count, within in ((2, 0.04), (5, 0.07), (10, 0.10)):
        rates = [54e6] * (count - 1) + [6e6]
        tau, p = bianchi(count, timing)
        frames = [timing.data_us(rate, payload) for rate in rates]
        took = [exchange(rate, payload, timing)[1] * 1e6 for rate in rates]
        slot = (1 - tau) ** count * timing.slot_us + tau * (1 - p) * sum(took)
        slot += sum(
            tau * (1 - tau) ** (count - 1 - below) * (1 - (1 - tau) ** below) * (frame + timing.difs_us)
            for below, frame in enumerate(frames)
        )
        exact = tau * (1 - p) * payload * 8 / (slot * 1e-6)
        law = EqualExchanges(
            lambda rate: exchange(rate, payload, timing), lambda n: successful_share(n, 54e6, payload, timing)
        )
        terms = [law.terms(rate, 1.0, 1) for rate in rates]
        ours = terms[0][0] * law.capacity(count) / sum(load for _, load, _ in terms)
        assert ours == pytest.approx(exact, rel=within)
        plain = anomaly_rate(rates, efficiency(count, 54e6, payload, timing))
        assert abs(ours / exact - 1) < abs(plain / exact - 1) or count == 10


def test_stations_of_one_rate_have_bianchis_goodput() -> None:
    for count in (1, 3, 20):
        law = EqualExchanges(
            lambda rate: exchange(rate, 1472, DCF_11N, 16), lambda n: successful_share(n, 65e6, 1472, DCF_11N, 16)
        )
        phi, load, _ = law.terms(65e6, 1.0, 1)
        expected = efficiency(count, 65e6, 1472, DCF_11N, 16) * 65e6 / count
        assert phi * law.capacity(count) / (count * load) == pytest.approx(expected, rel=1e-12)


def test_a_slow_station_aggregates_what_fits() -> None:
    # At 6.5 Mbit/s 16 frames of 1,472 bytes would last 30 ms; two fit the longest PPDU of 5.484 ms, at 1 Mbit/s not even one.
    bits, seconds = exchange(6.5e6, 1472, DCF_11N, 16)
    assert bits == 2 * 1472 * 8
    assert 2 * 1472 * 8 / 6.5e6 < seconds < 5.6e-3
    with pytest.raises(ValueError, match="5484"):
        exchange(1e6, 1472, DCF_11N, 16)
