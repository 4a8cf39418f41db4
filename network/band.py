"""A band of spectrum, and the rates it carries."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from network.levels import Floats
from network.ratemaps import RateMap


@dataclass(frozen=True)
class Band:
    """``bandwidth_hz`` of spectrum and the efficiency reached on it, ``scale`` of which is left by all that is lost on the way.

    ``split``: ``none`` (each transmission uses the whole band), ``equal`` (the active stations have equal parts of it) or
    ``assigned`` (each flow has what its sender was given). A part p of the band at fixed transmit power carries
    ``p B efficiency(snr / p)``: the power that stays meets less noise.
    """

    bandwidth_hz: float
    efficiency: RateMap
    split: Literal["none", "equal", "assigned"] = "none"
    scale: float = 1.0

    def rate(self, snr: float, part: float = 1.0) -> float:
        """bit/s at a ratio (linear, over the whole band) on a part of the band, above 0 and at most 1."""
        return float(self.efficiency(snr / part)) * (part * self.bandwidth_hz * self.scale)

    def rates(self, snr: NDArray[np.float32], part: Floats | float) -> NDArray[Any]:
        """The same for arrays, in single precision and unchecked."""
        if isinstance(part, float) and part == 1.0:
            return self.efficiency.quick(snr) * np.float32(self.bandwidth_hz * self.scale)
        narrow = (snr / part).astype(np.float32)
        return np.asarray(self.efficiency.quick(narrow) * (part * self.bandwidth_hz * self.scale))


class BandFull(ValueError):
    """More bandwidth was assigned than the band has."""
