"""Rate maps and their means over fading: tables, closed forms, 30-digit references, simulation, properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.ratemaps import (
    CQI_EFFICIENCIES,
    NR_MCS_ROWS,
    Cqi,
    NrMcs,
    Shannon,
    Steps,
    bit_error_gap_db,
    gap_thresholds_db,
    rayleigh_ergodic,
    rayleigh_outage,
    rician_ergodic,
)
from network.special import rician_tail, scaled_e1

MAPS = [Shannon(), Shannon(3.0, 5.5), Cqi(), NrMcs(), Steps((0.0, 10.0), (1.0, 3.0))]
SNRS = st.floats(1e-6, 1e9)


def db(value: float) -> float:
    return float(10 ** (value / 10))


# Shannon, by hand.
def test_shannon() -> None:
    assert [Shannon()(snr) for snr in (0.0, 1.0, 3.0, 1023.0)] == pytest.approx([0, 1, 2, 10])
    assert Shannon(ceiling=4)(1e6) == 4
    # A gap of 10 lg 2 dB halves the SNR: log2(1 + 6 / 2) = 2.
    assert Shannon(gap_db=10 * math.log10(2))(6.0) == pytest.approx(2)


# Tables.
def test_cqi_is_modulation_times_code_rate() -> None:
    # TS 36.213 table 7.2.3-1 prints the code rate x 1024 too: QPSK 78 to 602, 16QAM 378 to 616, 64QAM 466 to 948.
    rates = {
        2: (78, 120, 193, 308, 449, 602),
        4: (378, 490, 616),
        6: (466, 567, 666, 772, 873, 948),
    }
    expected = [order * rate / 1024 for order, row in rates.items() for rate in row]
    np.testing.assert_allclose(CQI_EFFICIENCIES, expected, rtol=0, atol=5.1e-5)


def test_cqi_thresholds_are_the_gap_formula() -> None:
    # -ln(5 * 5e-5) / 1.5 = 8.2940 / 1.5 = 5.5293: 7.4268 dB. CQI 7: 2^1.4766 - 1 = 1.7829, times 5.5293 = 9.858: 9.938 dB.
    assert bit_error_gap_db(5e-5) == pytest.approx(7.4268, abs=1e-4)
    assert Cqi().thresholds_db[6] == pytest.approx(9.938, abs=1e-3)
    # The inverse way: at each threshold Shannon's formula with that gap gives the table's efficiency.
    shannon = Shannon(gap_db=bit_error_gap_db(5e-5))
    np.testing.assert_allclose(shannon(Cqi().thresholds), CQI_EFFICIENCIES, rtol=1e-12)
    assert Cqi(gap_thresholds_db(CQI_EFFICIENCIES, 0.0))(1.0001) == 0.8770  # log2 2 = 1 lies above CQI 5, below 6


def test_nr_table() -> None:
    # 26 rows, MCS 3 to 28; 251/1024 * 2 = 0.4902 and 948/1024 * 6 = 5.5547 are printed in TS 38.214 table 5.1.3.1-1.
    efficiencies = NrMcs().efficiencies
    assert len(efficiencies) == len(NR_MCS_ROWS) == 26
    assert (round(efficiencies[0], 4), round(efficiencies[-1], 4)) == (0.4902, 5.5547)
    # MCS 17 at 8.8 dB (2.5664) does not replace MCS 16 at 7.9 dB (2.5703).
    assert NrMcs()(db(8.9)) == NrMcs()(db(8.0)) == 4 * 658 / 1024
    # No row beats capacity: every threshold lies above 2^eff - 1.
    assert (NrMcs().thresholds > 2 ** np.array(efficiencies) - 1).all()


@pytest.mark.parametrize("steps", [Cqi(), NrMcs()])
def test_outage_and_top(steps: Steps) -> None:
    low, high = steps.thresholds[0], steps.thresholds[-1]
    assert steps(float(low) * (1 - 1e-9)) == 0 == steps(0.0)
    assert steps(float(low)) == steps.efficiencies[0]
    assert steps(float(high)) == steps(1e12) == steps.efficiencies[-1]


@given(st.sampled_from(MAPS), SNRS, st.floats(1, 100))
def test_never_falls(ratemap: Shannon | Steps, snr: float, factor: float) -> None:
    assert 0 <= ratemap(snr) <= ratemap(snr * factor)
    assert ratemap is MAPS[-1] or ratemap(snr) <= Shannon()(snr) + 1e-12  # the last is no real code
    assert rayleigh_ergodic(snr, ratemap) <= rayleigh_ergodic(snr * factor, ratemap) + 1e-12


@pytest.mark.parametrize("ratemap", MAPS)
def test_arrays_are_many_numbers(ratemap: Shannon | Steps) -> None:
    snrs = np.array([[0.5, 3.0, 20.0], [100.0, 1e3, 1e5]])
    assert ratemap(snrs).tolist() == [[ratemap(float(s)) for s in row] for row in snrs]
    many = rician_ergodic(snrs, 2.0, ratemap)
    np.testing.assert_allclose(
        many, [[rician_ergodic(float(s), 2.0, ratemap) for s in row] for row in snrs], rtol=1e-14
    )
    np.testing.assert_allclose(
        rayleigh_ergodic(snrs, ratemap),
        [[rayleigh_ergodic(float(s), ratemap) for s in row] for row in snrs],
        rtol=1e-14,
    )
    assert (
        type(ratemap(1.0)) is type(rayleigh_ergodic(1.0, ratemap)) is type(rician_ergodic(1.0, 1.0, ratemap)) is float
    )


# The exponential integral: e^x E1(x) to 17 digits by mpmath 1.3 with 30 digits. E1(1) = .219383934 is in Abramowitz & Stegun.
@pytest.mark.parametrize(
    ("x", "value"),
    [
        (1e-6, 13.238309131365003),
        (0.01, 4.0785114434564258),
        (0.1, 2.0146425447084517),
        (0.5, 0.92291063248373047),
        (0.999, 0.59675131336868582),
        (1.0, 0.59634736232319407),
        (1.001, 0.59594400762544768),
        (2.0, 0.36132861688822258),
        (5.0, 0.1704221762847322),
        (10.0, 0.091563333939788082),
        (50.0, 0.01961510993011487),
        (500.0, 0.0019960159047604109),
    ],
)
def test_exponential_integral(x: float, value: float) -> None:
    assert scaled_e1(x) == pytest.approx(value, rel=1e-12)


@given(st.floats(1e-8, 1e8))
def test_exponential_integral_lies_between_its_bounds(x: float) -> None:
    # Abramowitz & Stegun 5.1.20: ln(1 + 2/x) / 2 < e^x E1(x) < ln(1 + 1/x).
    assert math.log1p(2 / x) / 2 * (1 - 1e-15) <= scaled_e1(x) <= math.log1p(1 / x) * (1 + 1e-15)


# Means over fading.
def test_rayleigh_mean_at_ten() -> None:
    # e^0.1 E1(0.1) / ln 2 = 2.01464254 / 0.69314718 = 2.9065; without fading log2 11 = 3.4594.
    assert rayleigh_ergodic(10.0, Shannon()) == pytest.approx(2.9065, abs=5e-5)
    assert Shannon()(10.0) == pytest.approx(3.4594, abs=5e-5)


def test_rayleigh_mean_of_one_step() -> None:
    # One step of 3 bit/s/Hz at 10 dB, mean 10 dB: 3 P(gain > 1) = 3 / e.
    assert rayleigh_ergodic(10.0, Steps((10.0,), (3.0,))) == pytest.approx(3 / math.e, rel=1e-15)
    assert rayleigh_outage(10.0, 10.0) == pytest.approx(1 - 1 / math.e)
    # Far above the threshold the outage is threshold / mean, which 1 - exp would round away.
    assert rayleigh_outage(1.0, 1e-20) == 1e-20


# 30-digit quadrature of mpmath 1.3 over the density (1+K) e^(-K-(1+K)g) I0(2 sqrt(K (1+K) g)).
@pytest.mark.parametrize(
    ("mean", "k", "ceiling", "value"),
    [
        (10.0, 0.0, math.inf, 2.90651480841403),
        (10.0, 1.0, math.inf, 3.000794060169302),
        (10.0, 5.0, math.inf, 3.262348925028661),
        (0.1, 3.0, math.inf, 0.134989191654628),
        (1000.0, 10.0, math.inf, 9.830082110976804),
        (3.0, 30.0, math.inf, 1.974116955391114),
        (10.0, 5.0, 4.0, 3.208810774918729),
        (100.0, 1.0, 4.0, 3.870545341851969),
    ],
)
def test_rician_mean(mean: float, k: float, ceiling: float, value: float) -> None:
    assert rician_ergodic(mean, k, Shannon(ceiling=ceiling)) == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize(
    ("threshold", "mean", "k", "value"),
    [
        (5, 10, 5, 0.8149387724865562),
        (12, 10, 1, 0.3167835982415475),
        (40, 100, 20, 0.9899341344412006),
    ],
)
def test_rician_tail(threshold: float, mean: float, k: float, value: float) -> None:
    assert float(rician_tail(threshold / mean, k)) == pytest.approx(value, rel=1e-13)


@given(SNRS, st.sampled_from(MAPS))
def test_rician_without_direct_path_is_rayleigh(mean: float, ratemap: Shannon | Steps) -> None:
    # The quadrature against the closed form.
    assert rician_ergodic(mean, 0.0, ratemap) == pytest.approx(rayleigh_ergodic(mean, ratemap), rel=1e-9, abs=1e-14)


@settings(max_examples=30)
@given(st.floats(1e-3, 1e6), st.floats(0, 20))
def test_fading_only_costs_capacity(mean: float, k: float) -> None:
    # Jensen: log2 is concave. A stronger direct path costs less.
    values = [rician_ergodic(mean, factor, Shannon()) for factor in (k, k + 1.0, 100.0)]
    assert values == sorted(values)
    assert values[2] < Shannon()(mean)
    assert values[2] == pytest.approx(Shannon()(mean), rel=1e-2)


@pytest.mark.parametrize("ratemap", MAPS)
@pytest.mark.parametrize("k", [0.0, 4.0])
def test_means_against_simulation(ratemap: Shannon | Steps, k: float) -> None:
    # |direct + scattered|^2, 200,000 draws: within 4.5 standard errors of the mean (one false alarm in 150,000).
    draw = np.random.default_rng(20)
    scattered = (draw.standard_normal(200_000) + 1j * draw.standard_normal(200_000)) / math.sqrt(2 * (k + 1))
    sample = ratemap(db(12) * np.abs(math.sqrt(k / (k + 1)) + scattered) ** 2)
    error = sample.std() / math.sqrt(len(sample))
    assert abs(sample.mean() - rician_ergodic(db(12), k, ratemap)) < 4.5 * error
    if k == 0:
        assert abs(sample.mean() - rayleigh_ergodic(db(12), ratemap)) < 4.5 * error


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"snr: got -1\.0; expected zero or more \(linear\)"):
        Shannon()(-1.0)
    with pytest.raises(ValueError, match="snr: got nan"):
        Cqi()(np.array([1.0, math.nan]))
    with pytest.raises(ValueError, match="gap_db: got -1; expected finite, zero or more"):
        Shannon(gap_db=-1)
    with pytest.raises(ValueError, match="ceiling: got 0; expected above zero"):
        Shannon(ceiling=0)
    with pytest.raises(ValueError, match="thresholds_db: got 2; expected as many as efficiencies"):
        Steps((1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match=r"thresholds_db: got \[2\.0, 1\.0\]; expected finite, none below"):
        Steps((2.0, 1.0), (1.0, 2.0))
    with pytest.raises(ValueError, match=r"efficiencies: got 0\.0; expected finite, above zero"):
        Steps((1.0,), (0.0,))
    with pytest.raises(ValueError, match=r"mean_snr: got 0\.0; expected finite, above zero"):
        rayleigh_ergodic(0.0, Cqi())
    with pytest.raises(ValueError, match="k_factor: got -1; expected 0 to 1000"):
        rician_ergodic(1.0, -1, Cqi())
    with pytest.raises(ValueError, match=r"bit_error_rate: got 0\.1; expected above 0, at most 0\.04"):
        bit_error_gap_db(0.1)
    with pytest.raises(ValueError, match=r"x: got 0\.0; expected above zero"):
        scaled_e1(0.0)
