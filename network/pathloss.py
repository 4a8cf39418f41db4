"""Mean path loss in dB over distance in metres, with line-of-sight probability and the sigma of shadowing.

Distances are horizontal (``d2d_m``); a number gives a number, an array of any shape an array of that shape. TR 38.901
means 3GPP TR 38.901 v19.4, table 7.4.1-1 (loss and shadowing) and table 7.4.2-1 (line of sight); its NOTE 1 takes the
speed of light as 3.0e8 m/s. Every method raises ValueError outside the range its source states.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from network.reals import Reals, require, require_finite, require_nonnegative, require_positive, shaped

SPEED_OF_LIGHT_MPS = 299_792_458.0  # SI brochure, 9th edition: exact
_TR_SPEED_MPS = 3.0e8  # TR 38.901 table 7.4.1-1, NOTE 1
_TR_ENVIRONMENT_M = 1.0  # effective environment height h_E, NOTE 1


class PathLoss(Protocol):
    """What every model here has."""

    def los_db(self, d2d_m: Reals) -> Reals:
        """Mean loss in dB with line of sight."""

    def nlos_db(self, d2d_m: Reals) -> Reals:
        """Mean loss in dB without."""

    def los_probability(self, d2d_m: Reals) -> Reals:
        """Probability of line of sight."""

    def shadowing_db(self, los: bool) -> float:
        """Standard deviation of the log-normal shadowing in dB."""


@dataclass(frozen=True)
class LogDistance:
    """``constant_db + slope_db * lg(d / 1 km)``, the same with and without line of sight (which it never claims).

    The defaults are macro cells at 2 GHz: 3GPP TR 36.814 v9.2, annex A.2.1.1, 128.1 + 37.6 lg R (R in km), shadowing
    8 dB. Raises ValueError for constants that are not finite, a negative slope or sigma, and distances not above zero.
    """

    constant_db: float = 128.1
    slope_db: float = 37.6
    sigma_db: float = 8.0

    def __post_init__(self) -> None:
        require_finite("constant_db", self.constant_db)
        require_nonnegative("slope_db", self.slope_db)
        require_nonnegative("sigma_db", self.sigma_db)

    def los_db(self, d2d_m: Reals) -> Reals:
        """Mean loss in dB."""
        require_positive("d2d_m", d2d_m)
        return shaped(self.constant_db + self.slope_db * np.log10(np.asarray(d2d_m) / 1000), d2d_m)

    def nlos_db(self, d2d_m: Reals) -> Reals:
        """Mean loss in dB: the same."""
        return self.los_db(d2d_m)

    def los_probability(self, d2d_m: Reals) -> Reals:
        """Zero: the fit mixes both states, so the one sigma holds everywhere."""
        require_nonnegative("d2d_m", d2d_m)
        return shaped(np.zeros(np.shape(d2d_m)), d2d_m)

    def shadowing_db(self, los: bool) -> float:
        """``sigma_db`` in either state."""
        return self.sigma_db


@dataclass(frozen=True)
class FreeSpace:
    """Friis: 20 lg(4 pi d f / c) (ITU-R P.525), line of sight always, no shadowing.

    Raises ValueError for a frequency or distance not above zero, and for distances in the near field below c / (4 pi f),
    where the formula would give a gain.
    """

    frequency_hz: float

    def __post_init__(self) -> None:
        require_positive("frequency_hz", self.frequency_hz)

    def los_db(self, d2d_m: Reals) -> Reals:
        """Loss in dB."""
        reach = SPEED_OF_LIGHT_MPS / (4 * np.pi * self.frequency_hz)
        far = np.isfinite(d2d_m) & (np.asarray(d2d_m) >= reach)
        require("d2d_m", d2d_m, far, f"at least {reach:.4g} m (c / 4 pi f)")
        return shaped(20 * np.log10(np.asarray(d2d_m) / reach), d2d_m)

    def nlos_db(self, d2d_m: Reals) -> Reals:
        """Loss in dB: nothing is ever in the way."""
        return self.los_db(d2d_m)

    def los_probability(self, d2d_m: Reals) -> Reals:
        """One."""
        require_nonnegative("d2d_m", d2d_m)
        return shaped(np.ones(np.shape(d2d_m)), d2d_m)

    def shadowing_db(self, los: bool) -> float:
        """Zero."""
        return 0.0


@dataclass(frozen=True)
class _Street:
    """What UMi and UMa have in common: PL1 up to a break point, PL2 beyond, and max(LOS, PL') without line of sight."""

    _FIT: ClassVar[tuple[float, float, float]]  # constant, slope of PL1, weight of the break point in PL2
    _DECAY_M: ClassVar[float]  # of the probability of line of sight
    _SIGMA_DB: ClassVar[tuple[float, float]]  # without line of sight, with
    _HIGHEST_UE_M: ClassVar[float]

    frequency_hz: float
    bs_height_m: float
    ue_height_m: float = 1.5

    def __post_init__(self) -> None:
        _require_band(self.frequency_hz)
        fine = np.isfinite(self.bs_height_m) and self.bs_height_m > _TR_ENVIRONMENT_M
        require("bs_height_m", self.bs_height_m, fine, "above 1 m, the effective environment height of the break point")
        low = 1.5 <= self.ue_height_m <= self._HIGHEST_UE_M
        require("ue_height_m", self.ue_height_m, low, f"1.5 to {self._HIGHEST_UE_M} m (TR 38.901)")

    def los_db(self, d2d_m: Reals) -> Reals:
        """PL1 up to the break point, PL2 beyond."""
        return shaped(self._los(self._lg_slant(d2d_m), d2d_m), d2d_m)

    def nlos_db(self, d2d_m: Reals) -> Reals:
        """max(LOS, PL')."""
        lg_slant = self._lg_slant(d2d_m)
        return shaped(np.maximum(self._los(lg_slant, d2d_m), self._blocked(lg_slant, self._lg_ghz)), d2d_m)

    def los_probability(self, d2d_m: Reals) -> Reals:
        """1 to 18 m, then 18/d + exp(-d/decay) (1 - 18/d); UMa's factor with C'(h_UT) is 1 up to 13 m."""
        require_nonnegative("d2d_m", d2d_m)
        ratio = 18.0 / np.maximum(d2d_m, 18.0)  # 1, hence probability 1, up to 18 m
        return shaped(ratio + np.exp(-np.asarray(d2d_m) / self._DECAY_M) * (1 - ratio), d2d_m)

    def shadowing_db(self, los: bool) -> float:
        """Sigma in dB."""
        return self._SIGMA_DB[los]

    def _blocked(self, lg_slant: Any, lg_ghz: float) -> Any:
        """PL'."""
        raise NotImplementedError

    @property
    def _lg_ghz(self) -> float:
        return float(np.log10(self.frequency_hz / 1e9))

    def _lg_slant(self, d2d_m: Any) -> Any:
        fits = (np.asarray(d2d_m) >= 10) & (np.asarray(d2d_m) <= 5000)
        require("d2d_m", d2d_m, fits, "10 to 5000 m (TR 38.901 table 7.4.1-1)")
        return np.log10(np.hypot(d2d_m, self.bs_height_m - self.ue_height_m))

    def _los(self, lg_slant: Any, d2d_m: Any) -> Any:
        constant, slope, weight = self._FIT
        above = (self.bs_height_m - _TR_ENVIRONMENT_M) * (self.ue_height_m - _TR_ENVIRONMENT_M)
        point_m = 4 * above * self.frequency_hz / _TR_SPEED_MPS
        near = constant + slope * lg_slant + 20 * self._lg_ghz
        beyond = weight * np.log10(point_m**2 + (self.bs_height_m - self.ue_height_m) ** 2)
        return np.where(d2d_m <= point_m, near, constant + 40 * lg_slant + 20 * self._lg_ghz - beyond)


@dataclass(frozen=True)
class UMi(_Street):
    """TR 38.901 urban micro, street canyon: 10 m to 5 km, UE at 1.5 to 22.5 m, 0.5 to 100 GHz, sigma 4 / 7.82 dB.

    The table states the base station at 10 m; another height enters the distance and the break point, as its formulas say.
    """

    _FIT = (32.4, 21.0, 9.5)
    _DECAY_M = 36.0
    _SIGMA_DB = (7.82, 4.0)
    _HIGHEST_UE_M = 22.5

    bs_height_m: float = 10.0

    def _blocked(self, lg_slant: Any, lg_ghz: float) -> Any:
        return 35.3 * lg_slant + 22.4 + 21.3 * lg_ghz - 0.3 * (self.ue_height_m - 1.5)


@dataclass(frozen=True)
class UMa(_Street):
    """TR 38.901 urban macro: 10 m to 5 km, UE at 1.5 to 13 m, 0.5 to 100 GHz, sigma 4 / 6 dB.

    Above 13 m the table draws the effective environment height at random (NOTE 1), so a mean loss has no single formula:
    refused. The table states the base station at 25 m; another height enters the distance and the break point.
    """

    _FIT = (28.0, 22.0, 9.0)
    _DECAY_M = 63.0
    _SIGMA_DB = (6.0, 4.0)
    _HIGHEST_UE_M = 13.0

    bs_height_m: float = 25.0

    def _blocked(self, lg_slant: Any, lg_ghz: float) -> Any:
        return 13.54 + 39.08 * lg_slant + 20 * lg_ghz - 0.6 * (self.ue_height_m - 1.5)


@dataclass(frozen=True)
class InH:
    """TR 38.901 indoor hotspot, ``mixed`` or ``open`` office: slant distance 1 to 150 m, 0.5 to 100 GHz."""

    frequency_hz: float
    bs_height_m: float = 3.0
    ue_height_m: float = 1.0
    office: Literal["mixed", "open"] = "mixed"

    def __post_init__(self) -> None:
        _require_band(self.frequency_hz)
        require_positive("bs_height_m", self.bs_height_m)
        require_positive("ue_height_m", self.ue_height_m)
        require("office", self.office, self.office in ("mixed", "open"), "mixed or open")

    def los_db(self, d2d_m: Reals) -> Reals:
        """32.4 + 17.3 lg d3D + 20 lg f[GHz]."""
        return shaped(self._los(self._slant(d2d_m)), d2d_m)

    def nlos_db(self, d2d_m: Reals) -> Reals:
        """max(LOS, 38.3 lg d3D + 17.30 + 24.9 lg f[GHz])."""
        slant = self._slant(d2d_m)
        loss = 38.3 * np.log10(slant) + 17.30 + 24.9 * np.log10(self.frequency_hz / 1e9)
        return shaped(np.maximum(self._los(slant), loss), d2d_m)

    def los_probability(self, d2d_m: Reals) -> Reals:
        """Two exponentials that do not quite meet: 0.324 to 0.320 at 6.5 m (mixed), 0.537 to 0.540 at 49 m (open)."""
        require_nonnegative("d2d_m", d2d_m)
        distance = np.asarray(d2d_m)
        if self.office == "mixed":
            near, far = np.exp(-(distance - 1.2) / 4.7), 0.32 * np.exp(-(distance - 6.5) / 32.6)
            return shaped(np.where(distance < 6.5, np.minimum(near, 1.0), far), d2d_m)
        near, far = np.exp(-(distance - 5.0) / 70.8), 0.54 * np.exp(-(distance - 49.0) / 211.7)
        return shaped(np.where(distance <= 49.0, np.minimum(near, 1.0), far), d2d_m)

    def shadowing_db(self, los: bool) -> float:
        """3 dB with line of sight, 8.03 dB without."""
        return 3.0 if los else 8.03

    def _slant(self, d2d_m: Any) -> Any:
        require_nonnegative("d2d_m", d2d_m)
        slant = np.hypot(d2d_m, self.bs_height_m - self.ue_height_m)
        require("d3d of d2d_m", slant, (slant >= 1) & (slant <= 150), "1 to 150 m (TR 38.901 table 7.4.1-1, InH)")
        return slant

    def _los(self, slant: Any) -> Any:
        return 32.4 + 17.3 * np.log10(slant) + 20 * np.log10(self.frequency_hz / 1e9)


def _require_band(frequency_hz: float) -> None:
    require("frequency_hz", frequency_hz, 0.5e9 <= frequency_hz <= 100e9, "0.5e9 to 100e9 (TR 38.901, its scope)")
