"""The domain of an assignment: what devices may choose from, what a round asks for, and the arrays in which both are solved.

r(b) = b log2(1 + s / b) is Shannon's rate on a part b of the band at fixed power, s = p h / N0 (Hz).
"""

from dataclasses import dataclass
from math import inf, isfinite, log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]
Flags = NDArray[np.bool_]

NEWTON_STEPS = 40
CLOSE = 1e-14


class Infeasible(ValueError):
    """No assignment meets all constraints; the message says which one fails, and by how much.

    ``device``: the candidate, by its number, at which it fails most; None where that is nobody's more than others'.
    """

    def __init__(self, words: str, device: int | None = None) -> None:
        super().__init__(words)
        self.device = device

    @property
    def constraint(self) -> str:
        """Which one: convergence requirement, memory caps, energy caps, bandwidth or latency."""
        return str(self).partition(":")[0]


@dataclass(frozen=True)
class Choice:
    """One way to take part: which share of the model is updated, and what that costs the device.

    ``seconds`` and ``joules`` are of the computation, ``payload_bytes`` of the upload, ``memory_bytes`` at the peak.
    """

    ratio: float
    seconds: float
    payload_bytes: float
    memory_bytes: float = 0.0
    joules: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio: got {self.ratio!r}; expected above 0, at most 1")
        for name in ("seconds", "payload_bytes", "memory_bytes", "joules"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name}: got {value!r}; expected a finite number, zero or more")


@dataclass(frozen=True)
class Candidate:
    """A device: its weight q = D_k / D, its choices, its radio and its caps (inf: none).

    ``strength_hz`` is s above; with ``rate_bps`` the device has that rate and needs none of the band.
    """

    weight: float
    choices: tuple[Choice, ...]
    strength_hz: float = 0.0
    rate_bps: float | None = None
    memory_bytes: float = inf
    joules: float = inf
    send_w: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight: got {self.weight!r}; expected a finite number, zero or more")
        air = self.strength_hz if self.rate_bps is None else self.rate_bps
        if not air > 0:
            raise ValueError(
                f"strength_hz, rate_bps: got {self.strength_hz!r}, {self.rate_bps!r}; expected one above zero"
            )
        if not self.choices:
            raise ValueError("choices: got none; expected at least one")


@dataclass(frozen=True)
class Round:
    """What a round asks for: the least sum of q_k u_k (Q), the band, and the latest end (inf: none)."""

    required: float
    bandwidth_hz: float = inf
    latest_s: float = inf

    def __post_init__(self) -> None:
        if not 0 < self.required <= 1:
            raise ValueError(f"required: got {self.required!r}; expected above 0, at most 1")
        for name in ("bandwidth_hz", "latest_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name)!r}; expected above zero")


@dataclass(frozen=True)
class Assignment:
    """Which choice each device makes (None: it rests), its part of the band (Hz), and the round's latency (s).

    ``history``: the best latency after each outer step.
    """

    choices: tuple[int | None, ...]
    bandwidth_hz: tuple[float, ...]
    latency_s: float
    history: tuple[float, ...] = ()


def strength_hz(power_w: float, gain: float, noise_w_per_hz: float) -> float:
    """s = p h / N0 in Hz, of a transmit power, a channel's power gain and a noise density."""
    return power_w * gain / noise_w_per_hz


def least_band(rate_bps: Floats, strength: Floats) -> Floats:
    """Hz needed for a rate: the least b with b log2(1 + s / b) >= rate; inf from s / ln 2 on, which no band reaches.

    With y = rate ln 2 / s and x = s / b this is ln(1 + x) = y x, so x = -1 - W(-y e^-y) / y on Lambert's lower branch. Newton's
    method from above (the function is concave, so it never steps below the root); the start is the lower bound of
    Chatzigeorgiou, IEEE Comm. Letters 17(8), 2013, theorem 1.
    """
    y = np.asarray(rate_bps * log(2) / strength, np.float64)
    found = np.where(y > 0, inf, 0.0)
    inside = (y > 0) & (y < 1 - 1e-9)
    y = y[inside]
    u = y - np.log(y) - 1
    x = (1 + np.sqrt(2 * u) + u) / y - 1
    for _ in range(NEWTON_STEPS):
        step = (np.log1p(x) - y * x) / (1 / (1 + x) - y)
        x = x - step
        if not np.any(np.abs(step) > CLOSE * x):
            break
    found[inside] = np.broadcast_to(strength, found.shape)[inside] / x
    return found


class Table:
    """Candidates as arrays, a device a row and a choice a column; what caps forbid is out."""

    def __init__(self, candidates: tuple[Candidate, ...], band: Round) -> None:
        width = max((len(one.choices) for one in candidates), default=0)
        self.candidates = candidates
        self.band = band
        self.there = np.array([[i < len(one.choices) for i in range(width)] for one in candidates], np.bool_)
        self.ratio = self._column("ratio", width)
        self.seconds = self._column("seconds", width)
        self.bits = self._column("payload_bytes", width) * 8
        self.joules = self._column("joules", width)
        self.memory = self._column("memory_bytes", width)
        self.weight = np.array([one.weight for one in candidates])
        self.fixed = np.array([one.rate_bps is not None for one in candidates], np.bool_)[:, None]
        self.strength = np.array([[one.strength_hz if one.rate_bps is None else one.rate_bps] for one in candidates])
        self.mass = self.weight[:, None] * self.ratio
        self.least_bps = self._least_bps()  # what the energy caps ask of the rates
        self.allowed: Flags = self._fits_memory() & (self.least_bps <= self._fastest_bps())

    def _column(self, name: str, width: int) -> Floats:
        rows = [[getattr(choice, name) for choice in one.choices] for one in self.candidates]
        return np.array([row + [0.0] * (width - len(row)) for row in rows], np.float64)

    def _fits_memory(self) -> Flags:
        caps = np.array([[one.memory_bytes] for one in self.candidates])
        return np.asarray(self.there & (self.memory <= caps))

    def _least_bps(self) -> Floats:
        """E = joules + send_w bits / r <= cap asks for r >= send_w bits / (cap - joules)."""
        caps = np.array([[one.joules] for one in self.candidates])
        needed = np.array([[one.send_w] for one in self.candidates]) * self.bits
        left = caps - self.joules
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.where(np.isinf(left) | (needed == 0), 0.0, needed / left)
        return np.where(left < 0, inf, np.where((left == 0) & (needed > 0), inf, rate))

    def _fastest_bps(self) -> Floats:
        whole = self.band.bandwidth_hz
        with np.errstate(invalid="ignore"):
            shannon = whole * np.log2(1 + self.strength / whole) if isfinite(whole) else self.strength / log(2)
        return np.where(self.fixed, self.strength, shannon)

    def bandwidths(self, latency_s: float) -> Floats:
        """Hz that each choice needs to end by then within its energy; inf where it cannot."""
        left = latency_s - self.seconds
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.where(self.bits > 0, np.where(left > 0, self.bits / left, inf), np.where(left >= 0, 0.0, inf))
        rate = np.maximum(rate, self.least_bps)
        need = np.where(self.fixed, np.where(rate <= self.strength, 0.0, inf), 0.0)
        free = self.allowed & ~self.fixed
        if free.any():
            need[free] = least_band(rate[free], np.broadcast_to(self.strength, rate.shape)[free])
        return np.where(self.allowed, need, inf)

    def seconds_on(self, bandwidth: Floats) -> Floats:
        """Seconds of each choice on a given band a device (Hz, one a row); inf where caps forbid it."""
        band = bandwidth[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            shannon = np.where(band > 0, band * np.log2(1 + self.strength / band), 0.0)
            rate = np.where(self.fixed, self.strength, shannon)
            took = np.where(self.bits > 0, self.bits / rate, 0.0)
        fits = self.allowed & (rate >= self.least_bps * (1 - 1e-12))
        return np.where(fits, self.seconds + took, inf)

    def require_reachable(self) -> None:
        """Raises Infeasible where the caps leave too little of the convergence requirement."""
        stages = (
            ("convergence requirement", self.there, "even if all update all they can"),
            ("memory caps", self._fits_memory(), "under the memory caps"),
            ("energy caps", self.allowed, "under the memory and energy caps"),
        )
        before: Floats | None = None
        for name, mask, words in stages:
            each = np.where(mask, self.mass, 0.0).max(axis=1, initial=0.0)
            most = float(each.sum())
            if most < self.band.required * (1 - 1e-12):
                short = self.band.required - most
                raise Infeasible(
                    f"{name}: the sum of q_k u_k reaches {most:.6g} {words}; expected {self.band.required:.6g} or more: "
                    f"{short:.3g} are missing",
                    None if before is None else int((before - each).argmax()),
                )
            before = each
