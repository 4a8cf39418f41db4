"""The level that fills a link, found at once for any number of limited parties."""

from math import inf

import numpy as np
from numpy.typing import NDArray

FULL = 1 + 1e-12  # relative: sums of floats that should just fill a link do not count as overfull
_FINITE = 1e300  # stands for no limit at all, where a product with zero must stay a number

Floats = NDArray[np.float64]


def water_level(limits: Floats, loads: Floats, capacity: float) -> float:
    """L with ``sum loads * min(limits, L) = capacity``; inf when all limits together do not overfill the link."""
    loads_sum = float(loads.sum())
    if not loads_sum or capacity == inf:
        return inf
    least = float(limits.min())
    if least * loads_sum >= capacity:  # nobody is limited below the level that all share
        return capacity / loads_sum if least * loads_sum > capacity * FULL or limits.max() > least else inf
    order = np.argsort(limits, kind="stable")
    limits, loads = np.minimum(limits[order], _FINITE), loads[order]
    taken = np.cumsum(loads * limits)
    if not taken[-1] > capacity * FULL:
        return inf
    levels = (capacity - np.concatenate([[0.0], taken[:-1]])) / np.cumsum(loads[::-1])[::-1]
    return float(levels[np.argmax(levels < limits)])
