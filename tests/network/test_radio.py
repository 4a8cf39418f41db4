"""Radio: figures by hand, the standard's check value, and properties of sharing a band."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.pathloss import LogDistance
from network.radio import (
    NR_OVERHEADS,
    THERMAL_NOISE_DBM_PER_HZ,
    LinkBudget,
    assigned_rate,
    db_to_linear,
    fdma_share_rate,
    linear_to_db,
    nr_peak_rate,
    thermal_noise_dbm,
)
from network.ratemaps import Cqi, Shannon


def test_noise() -> None:
    # 10 MHz is 70 dB above 1 Hz: -174 + 70 + 5.
    assert thermal_noise_dbm(10e6, 5.0) == pytest.approx(-99.0)
    # k T at 290 K in mW/Hz is what -174 rounds.
    assert 10 * math.log10(1.380649e-23 * 290 * 1000) == pytest.approx(THERMAL_NOISE_DBM_PER_HZ, abs=0.03)
    np.testing.assert_allclose(thermal_noise_dbm(np.array([1.0, 100.0])), [-174, -154])


@given(st.floats(-200, 200))
def test_decibels_there_and_back(value: float) -> None:
    assert linear_to_db(db_to_linear(value)) == pytest.approx(value, abs=1e-12)


def test_link_budget() -> None:
    # 23 dBm + 0 + 15 - 128.1 (1 km) against -174 + 70 + 5 = -99 dBm: 8.9 dB.
    budget = LinkBudget(23, 0, 15, 5, 10e6)
    assert linear_to_db(budget.snr(LogDistance().nlos_db(1000.0))) == pytest.approx(8.9)
    # 10 dB more loss is a tenth of the SNR.
    np.testing.assert_allclose(budget.snr(np.array([137.0, 147.0])), [1.0, 0.1])


def test_share_by_hand() -> None:
    # Half of 1 MHz at SNR 1.5 over the whole: 3 over the half, log2 4 = 2 bit/s/Hz on 0.5 MHz.
    assert fdma_share_rate(1e6, 0.5, 1.5, Shannon()) == pytest.approx(1e6)
    assert assigned_rate(0.5e6, 1e6, 1.5, Shannon()) == pytest.approx(1e6)
    # A narrow band gets a far device over CQI 1's threshold (-2.1 dB): at -6 dB nothing on all, something on a quarter.
    snr = db_to_linear(-6.0)
    assert fdma_share_rate(1e6, 1.0, snr, Cqi()) == 0
    assert fdma_share_rate(1e6, 0.25, snr, Cqi()) == 0.25e6 * 0.2344


@given(st.floats(1e-3, 1), st.floats(1e-3, 1), st.floats(1e-3, 1e6))
def test_more_band_never_hurts_and_the_gain_shrinks(first: float, second: float, snr: float) -> None:
    # x log2(1 + s/x) rises and is concave in x: the mean of two shares does at least as well.
    low, high = sorted((first, second))
    rates = [fdma_share_rate(1.0, share, snr, Shannon()) for share in (low, (low + high) / 2, high)]
    assert rates[0] <= rates[2] * (1 + 1e-12)
    assert rates[1] >= (rates[0] + rates[2]) / 2 * (1 - 1e-12)
    # The limit of a vanishing share is power-limited: s / ln 2.
    assert rates[2] <= snr / math.log(2) * (1 + 1e-12)


def test_peak_rate_of_the_standard() -> None:
    # 4 * 8 * 948/1024 * 273 * 12 * 28,000 /s * 0.86 = 29.625 * 3276 * 28,000 * 0.86 = 2.337 Gbit/s.
    peak = nr_peak_rate(4, 8, 273, 1, NR_OVERHEADS["FR1", "down"])
    assert peak == pytest.approx(29.625 * 3276 * 28_000 * 0.86, rel=1e-14)
    assert round(peak / 1e9, 3) == 2.337
    assert nr_peak_rate(4, 8, 273, 1, 0.14, 0.4) == pytest.approx(peak * 0.4)
    assert nr_peak_rate(4, 8, 273, 0, 0.14) == pytest.approx(peak / 2)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="bandwidth_hz: got 0; expected finite, above zero"):
        thermal_noise_dbm(0)
    with pytest.raises(ValueError, match="noise_figure_db: got -1; expected finite, zero or more"):
        LinkBudget(23, 0, 0, -1, 1e6)
    with pytest.raises(ValueError, match="tx_gain_db: got nan; expected a finite number"):
        LinkBudget(23, math.nan, 0, 5, 1e6)
    with pytest.raises(ValueError, match="loss_db: got inf; expected a finite number"):
        LinkBudget(23, 0, 0, 5, 1e6).snr(np.array([100, math.inf]))
    with pytest.raises(ValueError, match=r"ratio: got 0\.0; expected finite, above zero"):
        linear_to_db(0.0)
    with pytest.raises(ValueError, match="share: got 0; expected above 0, at most 1"):
        fdma_share_rate(1e6, 0, 1.0, Shannon())
    with pytest.raises(
        ValueError, match=r"bandwidth_hz_assigned: got 2000000\.0; expected above 0, at most 1000000\.0"
    ):
        assigned_rate(2e6, 1e6, 1.0, Shannon())
    with pytest.raises(ValueError, match="modulation_order: got 3; expected 1, 2, 4, 6, 8 or 10 bit"):
        nr_peak_rate(4, 3, 273, 1, 0.14)
    with pytest.raises(ValueError, match=r"scaling: got 0\.5; expected 1, 0\.8, 0\.75 or 0\.4"):
        nr_peak_rate(4, 8, 273, 1, 0.14, 0.5)
