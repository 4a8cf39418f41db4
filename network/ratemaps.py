"""From signal-to-noise ratio (linear) to spectral efficiency (bit/s/Hz), and its mean over fading.

A rate map is called with a number or an array of any shape. Below the lowest threshold of a table nothing gets through
(0: outage), above the highest the efficiency stays. Means over fading take the mean SNR; the power gain is exponential
(Rayleigh) or noncentral chi-squared (Rician), with mean 1.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from network.reals import Reals, require, require_nonnegative, require_positive, shaped
from network.special import rician_tail, scaled_e1

Vector = NDArray[np.float64]
Singles = NDArray[np.float32]

# 3GPP TS 36.213 v12, table 7.2.3-1 (4-bit CQI): bit/s/Hz of CQI 1 to 15, as printed there (code rate x modulation order).
CQI_EFFICIENCIES = (
    0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766, 1.9141,
    2.4063, 2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547,
)  # fmt: skip

# 3GPP TS 38.214, table 5.1.3.1-1, MCS 3 to 28: (modulation order, code rate x 1024, SNR in dB at 10 % block errors).
# The SNRs were read off the AWGN block-error tables of Sionna 2.2 for PDSCH and blocks of 3000 bit, rounded to 0.1 dB;
# those tables do not reach MCS 0 to 2, so the map starts at MCS 3.
NR_MCS_ROWS = (
    (2, 251, -2.8), (2, 308, -2.4), (2, 379, -1.0), (2, 449, 0.5), (2, 526, 0.8), (2, 602, 2.4), (2, 679, 2.5),
    (4, 340, 2.9), (4, 378, 4.2), (4, 434, 4.5), (4, 490, 6.0), (4, 553, 6.3), (4, 616, 7.9), (4, 658, 7.9),
    (6, 438, 8.8), (6, 466, 9.8), (6, 517, 10.1), (6, 567, 11.6), (6, 616, 12.3), (6, 666, 13.4), (6, 719, 14.3),
    (6, 772, 14.9), (6, 822, 16.6), (6, 873, 17.1), (6, 910, 18.4), (6, 948, 19.0),
)  # fmt: skip


class RateMap(Protocol):
    """SNR (linear, zero or more) to bit/s/Hz; never falls."""

    def __call__(self, snr: Reals) -> Reals:
        """Spectral efficiency at an SNR. Raises ValueError for a negative one and for nan."""

    def quick(self, snr: Singles) -> Singles:
        """The same, unchecked and in single precision: for thousands of stations at every tick of fading."""


@dataclass(frozen=True)
class Shannon:
    """min(ceiling, log2(1 + snr / gap)): Shannon's capacity, ``gap_db`` short of it, at most ``ceiling`` bit/s/Hz.

    The SNR gap is that of Cioffi, "A multicarrier primer", 1991; ``gap_db`` is zero or more. Raises ValueError otherwise,
    and for a ceiling that is not above zero.
    """

    gap_db: float = 0.0
    ceiling: float = math.inf

    def __post_init__(self) -> None:
        require_nonnegative("gap_db", self.gap_db)
        require("ceiling", self.ceiling, self.ceiling > 0, "above zero (inf: none)")

    def __call__(self, snr: Reals) -> Reals:
        """Spectral efficiency at an SNR."""
        _require_snr("snr", snr)
        return shaped(np.minimum(self.ceiling, np.log1p(np.asarray(snr) / self.gap) / math.log(2)), snr)

    def quick(self, snr: Singles) -> Singles:
        """Spectral efficiency in single precision; numpy's natural logarithm is its fastest."""
        found = snr * np.float32(1 / self.gap) if self.gap_db else snr.copy()
        np.add(found, np.float32(1), out=found)
        np.log(found, out=found)
        np.multiply(found, np.float32(1 / math.log(2)), out=found)
        return found if math.isinf(self.ceiling) else np.minimum(found, np.float32(self.ceiling), out=found)

    @property
    def gap(self) -> float:
        """The gap, linear."""
        return float(10 ** (self.gap_db / 10))

    @property
    def highest(self) -> float:
        """snr / gap at which the ceiling is reached."""
        return 2.0**self.ceiling - 1 if self.ceiling < 1023 else math.inf


@dataclass(frozen=True)
class Steps:
    """A table: ``efficiencies`` (bit/s/Hz) from ``thresholds_db`` on. Of the rows an SNR allows the best one is used.

    Raises ValueError for tables of unlike length or none, thresholds that fall, and efficiencies that are not above zero.
    """

    thresholds_db: tuple[float, ...]
    efficiencies: tuple[float, ...]

    def __post_init__(self) -> None:
        same = 0 < len(self.efficiencies) == len(self.thresholds_db)
        require("thresholds_db", len(self.thresholds_db), same, "as many as efficiencies, at least one")
        fine = np.isfinite(self.thresholds_db).all() and (np.diff(self.thresholds_db) >= 0).all()
        require("thresholds_db", list(self.thresholds_db), fine, "finite, none below the one before")
        require_positive("efficiencies", self.efficiencies)

    def __call__(self, snr: Reals) -> Reals:
        """Spectral efficiency at an SNR: 0 below the first threshold; a threshold itself is enough."""
        _require_snr("snr", snr)
        best = np.concatenate(([0.0], np.maximum.accumulate(self.efficiencies)))
        return shaped(best[np.searchsorted(self.thresholds, snr, side="right")], snr)

    def quick(self, snr: Singles) -> Singles:
        """Spectral efficiency in single precision."""
        thresholds, best = self._singles
        return best.take(np.searchsorted(thresholds, snr, side="right"))

    @cached_property
    def _singles(self) -> tuple[Singles, Singles]:
        best = np.concatenate(([0.0], np.maximum.accumulate(self.efficiencies)))
        return self.thresholds.astype(np.float32), best.astype(np.float32)

    @property
    def thresholds(self) -> Vector:
        """Linear."""
        return 10.0 ** (np.asarray(self.thresholds_db, np.float64) / 10)

    @property
    def gains(self) -> Vector:
        """What passing each threshold adds, in bit/s/Hz: zero where a row is no better than an earlier one."""
        return np.diff(np.maximum.accumulate(self.efficiencies), prepend=0.0)


def gap_thresholds_db(efficiencies: tuple[float, ...], gap_db: float) -> tuple[float, ...]:
    """SNR in dB at which log2(1 + snr / gap) reaches each efficiency: 10 lg(2^eff - 1) + gap_db."""
    return tuple(10 * math.log10(2.0**efficiency - 1) + gap_db for efficiency in efficiencies)


def bit_error_gap_db(bit_error_rate: float) -> float:
    """SNR gap in dB of adaptive M-QAM at a bit error rate: -ln(5 BER) / 1.5.

    Goldsmith & Chua, "Variable-rate variable-power MQAM for fading channels", IEEE Trans. Commun. 45(10), 1997. Raises
    ValueError unless the rate lies in (0, 0.04], where the gap is at least 1.07.
    """
    require("bit_error_rate", bit_error_rate, 0 < bit_error_rate <= 0.04, "above 0, at most 0.04")
    return 10 * math.log10(-math.log(5 * bit_error_rate) / 1.5)


@dataclass(frozen=True)
class Cqi(Steps):
    """LTE's 15 channel qualities: efficiencies of TS 36.213 table 7.2.3-1, thresholds from the gap formula.

    No standard gives thresholds. These are *derived*: log2(1 + snr / gap) reaches the efficiency, with the gap of M-QAM at
    a bit error rate of 5e-5 (7.43 dB), as in Piro et al., European Wireless 2010, and ns-3's LteAmc: -2.1 dB (CQI 1) to
    24.0 dB (CQI 15). That takes no account of coding: the same rows of ``NrMcs`` need 5 to 7 dB less. Give
    ``thresholds_db`` for a measured table, or ``gap_thresholds_db(CQI_EFFICIENCIES, gap_db)`` for another gap.
    """

    thresholds_db: tuple[float, ...] = gap_thresholds_db(CQI_EFFICIENCIES, bit_error_gap_db(5e-5))
    efficiencies: tuple[float, ...] = CQI_EFFICIENCIES


@dataclass(frozen=True)
class NrMcs(Steps):
    """NR's PDSCH table 1 (``NR_MCS_ROWS``): efficiency Qm R, thresholds at 10 % block errors without retransmission.

    MCS 17 (2.5664) is never used: MCS 16 carries 2.5703 at a lower SNR. The efficiency is that of the coded block, the
    tenth that is lost included; ``network.harq`` has what retransmissions leave.
    """

    thresholds_db: tuple[float, ...] = tuple(row[2] for row in NR_MCS_ROWS)
    efficiencies: tuple[float, ...] = tuple(order * rate / 1024 for order, rate, _ in NR_MCS_ROWS)


def rayleigh_outage(mean_snr: Reals, threshold: float) -> Reals:
    """Probability that the SNR falls below ``threshold`` (linear): 1 - exp(-threshold / mean). Both must be above or at 0."""
    require_positive("mean_snr", mean_snr)
    require_nonnegative("threshold", threshold)
    return shaped(-np.expm1(-threshold / np.asarray(mean_snr)), mean_snr)


def rayleigh_ergodic(mean_snr: Reals, ratemap: Shannon | Steps) -> Reals:
    """Mean spectral efficiency in bit/s/Hz under Rayleigh fading, in closed form.

    Steps: the sum of gain_k exp(-threshold_k / s). Shannon: with s the mean SNR over the gap and x the SNR over the gap at
    the ceiling, e^(1/s) (E1(1/s) - E1((1 + x)/s)) / ln 2; without ceiling, Alouini & Goldsmith, IEEE Trans. Veh. Technol.
    48(4), 1999. Raises ValueError unless the mean is above zero and finite.
    """
    require_positive("mean_snr", mean_snr)
    mean = np.asarray(mean_snr, np.float64)
    if isinstance(ratemap, Steps):
        return shaped(np.exp(-ratemap.thresholds / mean[..., None]) @ ratemap.gains, mean_snr)
    means = [_shannon_rayleigh(one / ratemap.gap, ratemap.highest) for one in mean.flat]
    return shaped(np.reshape(means, mean.shape), mean_snr)


def _shannon_rayleigh(mean: float, highest: float) -> float:
    whole = scaled_e1(1 / mean)
    cut = 0.0 if math.isinf(highest) else math.exp(-highest / mean) * scaled_e1((1 + highest) / mean)
    return (whole - cut) / math.log(2)


_PANELS = 400
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


def rician_ergodic(mean_snr: Reals, k_factor: float, ratemap: Shannon | Steps) -> Reals:
    """Mean spectral efficiency in bit/s/Hz under Rician fading; ``k_factor`` is direct over scattered power, 0 to 1000.

    The mean is the integral of P(SNR > x) d(efficiency). For steps that is a sum of tails, exact to 1e-12; for Shannon it
    is taken over ln x by Gauss-Legendre quadrature, 10 nodes on each of 400 panels: relative error below 1e-9. Raises
    ValueError for a mean that is not above zero and for other factors.
    """
    require_positive("mean_snr", mean_snr)
    require("k_factor", k_factor, 0 <= k_factor <= 1000, "0 to 1000 (beyond, the channel is as good as constant)")
    mean = np.asarray(mean_snr, np.float64)
    if isinstance(ratemap, Steps):
        return shaped(rician_tail(ratemap.thresholds / mean[..., None], k_factor) @ ratemap.gains, mean_snr)
    means = [_shannon_rician(one / ratemap.gap, k_factor, ratemap.highest) for one in mean.flat]
    return shaped(np.reshape(means, mean.shape), mean_snr)


def _shannon_rician(mean: float, k_factor: float, highest: float) -> float:
    """Integral of P(G > e^t) s e^t / (1 + s e^t) dt / ln 2, from where e^t no longer counts to where P no longer does."""
    low = -37.0 - math.log1p(mean)
    high = math.log((math.sqrt(k_factor) + 7) ** 2 / (k_factor + 1))
    if not math.isinf(highest):
        high = min(high, math.log(highest / mean))
    if high <= low:
        return math.log2(1 + highest)  # the mean is so high that only the ceiling is seen
    half = (high - low) / _PANELS / 2
    gain = np.exp((low + half * (2 * np.arange(_PANELS) + 1))[:, None] + half * _NODES)
    inner = rician_tail(gain, k_factor) * mean * gain / (1 + mean * gain)
    return float((inner @ _WEIGHTS).sum() * half) / math.log(2)


@dataclass(frozen=True)
class Ergodic:
    """The mean of another map over Rayleigh fading, or Rician with ``k_factor`` above 0: called with the mean SNR."""

    ratemap: Shannon | Steps
    k_factor: float = 0.0

    def __call__(self, snr: Reals) -> Reals:
        """Mean spectral efficiency; numbers once found are remembered."""
        if isinstance(snr, float | int):
            return _ergodic(self, float(snr))
        return (
            rician_ergodic(snr, self.k_factor, self.ratemap) if self.k_factor else rayleigh_ergodic(snr, self.ratemap)
        )

    def quick(self, snr: Singles) -> Singles:
        """The same in single precision; no quicker."""
        return np.asarray(self(snr.astype(np.float64)), np.float32)


@lru_cache(maxsize=65536)
def _ergodic(mean: Ergodic, snr: float) -> float:
    if mean.k_factor:
        return float(rician_ergodic(snr, mean.k_factor, mean.ratemap))
    return float(rayleigh_ergodic(snr, mean.ratemap))


def _require_snr(what: str, snr: Any) -> None:
    require(what, snr, np.asarray(snr) >= 0, "zero or more (linear)")
