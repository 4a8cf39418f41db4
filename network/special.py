"""Two special functions behind means over fading: the exponential integral and the tail of a Rician gain."""

import math
from typing import Any

import numpy as np

from network.reals import require


def scaled_e1(x: float) -> float:
    """e^x E1(x), relative error below 1e-12, for x above zero: no overflow and no underflow.

    Abramowitz & Stegun: the series 5.1.11 up to 1, beyond it the continued fraction 5.1.22 in its even form (modified
    Lentz). Raises ValueError unless x is above zero.
    """
    require("x", x, x > 0, "above zero")
    return _e1_series(x) * math.exp(x) if x <= 1 else _e1_fraction(x)


def _e1_series(x: float) -> float:
    total, term, k = -float(np.euler_gamma) - math.log(x), 1.0, 0
    while abs(term) > 1e-18:
        k += 1
        term *= -x / k
        total -= term / k
    return total


def _e1_fraction(x: float) -> float:
    """1 / (x + 1 - 1 / (x + 3 - 4 / (x + 5 - 9 / ...)))."""
    b = x + 1.0
    d = 1 / b
    value, c = d, math.inf
    for k in range(1, 500):  # at x = 1, the slowest, some 100 do
        b += 2.0
        d = 1 / (b - k * k * d)
        c = b - k * k / c
        value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return value


def rician_tail(gain: Any, k_factor: float) -> Any:
    """P(G > gain) of a Rician power gain of mean 1: Marcum's Q1(sqrt(2K), sqrt(2(K+1) gain)), for arrays.

    Given N, Poisson with mean K, the gain times K + 1 is Erlang with N + 1 stages; N is summed to K + 12 sqrt(K) + 40,
    beyond which less than 1e-15 is left.
    """
    y = (k_factor + 1) * np.asarray(gain, np.float64)
    log_y = np.log(y, where=y > 0, out=np.full(y.shape, -np.inf))
    erlang, total, weight_sum = np.zeros(y.shape), np.zeros(y.shape), 0.0
    for n in range(int(k_factor + 12 * math.sqrt(k_factor) + 40)):
        erlang += np.exp((n * log_y if n else 0.0) - y - math.lgamma(n + 1))
        weight = math.exp(n * math.log(k_factor) - k_factor - math.lgamma(n + 1)) if k_factor else float(n == 0)
        total += weight * erlang
        weight_sum += weight
    return np.minimum(total / weight_sum, 1.0)
