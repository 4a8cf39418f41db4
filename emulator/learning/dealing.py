"""Who gets which part of the data: parts dealt so that how much a device holds goes with how fast it is, or against it."""

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np


def deal(
    parts: Sequence[np.ndarray], speeds: Sequence[float], correlation: float, stream: Callable[..., np.random.Generator]
) -> list[np.ndarray]:
    """The same parts, one a device: sizes and ``speeds`` in a Gaussian copula of ``correlation``, by ranks.

    A device's z1 is the normal score of its speed's rank, inverse normal of rank / (devices + 1); its z2 is
    rho z1 + sqrt(1 - rho^2) e with e standard normal from stream("speed_correlation", device). The largest part goes to
    the largest z2, and so on; of equal speeds or sizes the later counts as the larger. 1: the faster, the more; -1: the
    faster, the less. Spearman's rank correlation is 6/pi asin(rho/2) in expectation of many devices (Kruskal 1958, JASA 53,
    "Ordinal Measures of Association"). Raises ValueError for a correlation outside [-1, 1].
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"speed_correlation: got {correlation!r}; expected a number from -1 to 1")
    own = sqrt(1 - correlation**2)
    noise = [float(stream("speed_correlation", device).standard_normal()) for device in range(len(parts))]
    scores = correlation * normal_scores(speeds) + own * np.array(noise)
    by_size = sorted(range(len(parts)), key=lambda index: (len(parts[index]), index))
    dealt = list(parts)
    for device, part in zip(np.argsort(scores, kind="stable").tolist(), by_size, strict=True):
        dealt[device] = parts[part]
    return dealt


def normal_scores(values: Sequence[float]) -> np.ndarray:
    """Each value's rank (from 1, ties by place) as a quantile of the standard normal: float64 [n] (van der Waerden)."""
    quantile = NormalDist().inv_cdf
    found = np.empty(len(values))
    for rank, place in enumerate(np.argsort(values, kind="stable").tolist(), 1):
        found[place] = quantile(rank / (len(values) + 1))
    return found
