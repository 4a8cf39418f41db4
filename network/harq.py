"""Retransmissions: how many attempts a block or a whole transfer needs, what is still lost, and what goodput is left.

A block is sent up to ``maximum`` times; attempt k fails with probability p_k given that all before it failed (one number:
the same for each, as without combining; a sequence: falling, as with soft combining). With P_k = p_1 ... p_k, a block
takes 1 + P_1 + ... + P_(maximum-1) attempts on average and is lost with P_maximum (the truncated geometric law; e.g.
Caire & Tuninetti, IEEE Trans. Inf. Theory 47(5), 2001, whose renewal argument also gives the goodput).
"""

import math
from collections.abc import Sequence

from network.reals import require


def mean_attempts(bler_per_attempt: float | Sequence[float], maximum: int) -> float:
    """Attempts per block on average, from 1 to ``maximum``.

    Raises ValueError for probabilities outside [0, 1], a sequence that is not ``maximum`` long and a maximum below 1.
    """
    failed = _all_failed(bler_per_attempt, maximum)
    return 1.0 + math.fsum(failed[:-1])


def residual_loss(bler_per_attempt: float | Sequence[float], maximum: int) -> float:
    """Probability that a block is lost for good. Raises ValueError as ``mean_attempts``."""
    return _all_failed(bler_per_attempt, maximum)[-1]


def goodput_factor(bler_per_attempt: float | Sequence[float], maximum: int) -> float:
    """Delivered blocks per attempt: (1 - residual loss) / mean attempts.

    With one p for all attempts it is 1 - p, whatever the maximum. Raises ValueError as ``mean_attempts``.
    """
    return (1.0 - residual_loss(bler_per_attempt, maximum)) / mean_attempts(bler_per_attempt, maximum)


def erasure_attempts(loss_probability: float, uniform: float) -> int:
    """Attempts of a whole transfer, each lost independently, until the first success: the least k with uniform < 1 - p^k.

    This is the geometric law by inverse CDF (Devroye, Non-Uniform Random Variate Generation, 1986, chapter X), so one
    uniform in [0, 1) belongs to one transfer: a larger p never takes fewer attempts with it. Raises ValueError for
    p outside [0, 1) (at 1 it would never end) and a uniform outside [0, 1).
    """
    require("loss_probability", loss_probability, 0 <= loss_probability < 1, "0 to below 1")
    require("uniform", uniform, 0 <= uniform < 1, "0 to below 1")
    if loss_probability == 0:
        return 1
    return 1 + math.floor(math.log1p(-uniform) / math.log(loss_probability))


def _all_failed(bler_per_attempt: float | Sequence[float], maximum: int) -> list[float]:
    """P_1 to P_maximum."""
    require("maximum", maximum, maximum >= 1, "at least 1")
    one = isinstance(bler_per_attempt, int | float)
    each: Sequence[float] = (
        [bler_per_attempt] * maximum if isinstance(bler_per_attempt, int | float) else bler_per_attempt
    )
    require("bler_per_attempt", f"{len(each)} of them", one or len(each) == maximum, f"one number, or {maximum}")
    for probability in each:
        require("bler_per_attempt", probability, 0 <= probability <= 1, "0 to 1")
    products, product = [], 1.0
    for probability in each:
        product *= probability
        products.append(product)
    return products
