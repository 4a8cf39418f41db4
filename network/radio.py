"""From transmit power to SNR and from bandwidth to rate: noise, link budget, shares of a band, NR's peak rate.

Powers in dBm, gains and losses in dB, bandwidths in Hz, rates in bit/s, SNR linear. Losses, SNRs and shares may be
arrays. All functions raise ValueError for bandwidths that are not above zero and for numbers that are not finite.
"""

from dataclasses import dataclass

import numpy as np

from network.ratemaps import RateMap
from network.reals import Reals, require, require_finite, require_nonnegative, require_positive, shaped

# k T at 290 K is 1.380649e-23 J/K * 290 K = 4.004e-21 W/Hz = -173.98 dBm/Hz; 3GPP's and most papers' figure is -174.
THERMAL_NOISE_DBM_PER_HZ = -174.0


def db_to_linear(value_db: Reals) -> Reals:
    """10^(x/10)."""
    require_finite("value_db", value_db)
    return shaped(10.0 ** (np.asarray(value_db) / 10), value_db)


def linear_to_db(ratio: Reals) -> Reals:
    """10 lg x. Raises ValueError unless above zero."""
    require_positive("ratio", ratio)
    return shaped(10 * np.log10(ratio), ratio)


def thermal_noise_dbm(bandwidth_hz: Reals, noise_figure_db: float = 0.0) -> Reals:
    """Noise power in dBm: -174 + 10 lg B + noise figure (zero or more)."""
    require_positive("bandwidth_hz", bandwidth_hz)
    require_nonnegative("noise_figure_db", noise_figure_db)
    return shaped(THERMAL_NOISE_DBM_PER_HZ + 10 * np.log10(bandwidth_hz) + noise_figure_db, bandwidth_hz)


@dataclass(frozen=True)
class LinkBudget:
    """One direction of a link whose whole transmit power fills ``bandwidth_hz``. The noise figure is the receiver's."""

    tx_power_dbm: float
    tx_gain_db: float
    rx_gain_db: float
    noise_figure_db: float
    bandwidth_hz: float

    def __post_init__(self) -> None:
        for name in ("tx_power_dbm", "tx_gain_db", "rx_gain_db"):
            require_finite(name, getattr(self, name))
        thermal_noise_dbm(self.bandwidth_hz, self.noise_figure_db)

    def snr(self, loss_db: Reals) -> Reals:
        """SNR (linear) behind a loss in dB: path loss and shadowing together; fading gains multiply it."""
        require_finite("loss_db", loss_db)
        noise_dbm = thermal_noise_dbm(self.bandwidth_hz, self.noise_figure_db)
        strongest_db = self.tx_power_dbm + self.tx_gain_db + self.rx_gain_db - noise_dbm
        return shaped(10.0 ** ((strongest_db - np.asarray(loss_db)) / 10), loss_db)


def fdma_share_rate(bandwidth_hz: float, share: float, snr_full_band: Reals, ratemap: RateMap) -> Reals:
    """Rate in bit/s of who has a part of the band and puts its whole power there: share B eff(snr / share).

    ``snr_full_band`` (linear) is that of the same power spread over all of B; on a part of it the noise is less in the
    same proportion (fixed power, as in uplink FDMA: Tse & Viswanath, Fundamentals of Wireless Communication, 2005,
    section 6.1.3). Raises ValueError unless 0 < share <= 1.
    """
    require_positive("bandwidth_hz", bandwidth_hz)
    require("share", share, 0 < share <= 1, "above 0, at most 1")
    require_nonnegative("snr_full_band", snr_full_band)
    narrow: Reals = shaped(np.asarray(snr_full_band) / share, snr_full_band)
    return shaped(share * bandwidth_hz * np.asarray(ratemap(narrow)), snr_full_band)


def assigned_rate(bandwidth_hz_assigned: float, bandwidth_hz: float, snr_full: Reals, ratemap: RateMap) -> Reals:
    """``fdma_share_rate`` with the part in Hz. Raises ValueError unless 0 < assigned <= bandwidth."""
    require_positive("bandwidth_hz", bandwidth_hz)
    fits = 0 < bandwidth_hz_assigned <= bandwidth_hz
    require("bandwidth_hz_assigned", bandwidth_hz_assigned, fits, f"above 0, at most {bandwidth_hz!r}")
    return fdma_share_rate(bandwidth_hz, bandwidth_hz_assigned / bandwidth_hz, snr_full, ratemap)


NR_OVERHEADS = {("FR1", "down"): 0.14, ("FR2", "down"): 0.18, ("FR1", "up"): 0.08, ("FR2", "up"): 0.10}


def nr_peak_rate(
    layers: int, modulation_order: int, resource_blocks: int, numerology: int, overhead: float, scaling: float = 1.0
) -> float:
    """Peak rate in bit/s of one NR carrier: v Qm f (948/1024) 12 N_PRB / Ts (1 - OH), 3GPP TS 38.306 clause 4.1.2.

    Ts = 1 ms / (14 * 2^numerology) is the mean OFDM symbol; ``overhead`` is one of ``NR_OVERHEADS``; ``scaling`` 1, 0.8,
    0.75 or 0.4. FR1 down, 100 MHz at 30 kHz (273 blocks), 4 layers, 256QAM: 2.337 Gbit/s. Raises ValueError for others.
    """
    require("layers", layers, layers in range(1, 9), "1 to 8")
    require("modulation_order", modulation_order, modulation_order in (1, 2, 4, 6, 8, 10), "1, 2, 4, 6, 8 or 10 bit")
    require("resource_blocks", resource_blocks, resource_blocks in range(1, 276), "1 to 275")
    require("numerology", numerology, numerology in range(7), "0 to 6")
    require("overhead", overhead, 0 <= overhead < 1, "0 to below 1")
    require("scaling", scaling, scaling in (1, 0.8, 0.75, 0.4), "1, 0.8, 0.75 or 0.4")
    symbols_per_s = 14_000 * float(1 << numerology)
    bits = layers * modulation_order * scaling * 948 / 1024
    return bits * resource_blocks * 12 * symbols_per_s * (1 - overhead)
