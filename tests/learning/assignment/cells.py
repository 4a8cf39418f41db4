"""Drawn cells, what must hold of every assignment, and the exhaustive search that the solver is compared with."""

from dataclasses import replace
from math import inf

import numpy as np

from emulator.learning.assignment import Assignment, Candidate, Choice, Round, strength_hz
from emulator.learning.assignment.domain import Table
from emulator.learning.random import stream

BITS = 32 * 11_173_962  # ResNet-18
NOISE_W_PER_HZ = 10 ** (-174 / 10) / 1000
POWER_W = 10 ** (23 / 10) / 1000
BAND_HZ = 20e6


def gain(distance_m: float) -> float:
    """Of 128.1 + 37.6 lg d[km] dB."""
    return float(10 ** (-(128.1 + 37.6 * np.log10(distance_m / 1000)) / 10))


def choices(levels: int, alpha_s: float, beta_s: float, bits: float = BITS) -> tuple[Choice, ...]:
    """Ratios 1/levels, 2/levels, ..., 1; seconds alpha + beta u, payload and memory in proportion to u."""
    return tuple(
        Choice(u, alpha_s + beta_s * u, u * bits / 8, 100.0 * u, 2.0 * u)
        for u in (level / levels for level in range(1, levels + 1))
    )


def drawn(devices: int, seed: int, levels: int = 10) -> tuple[Candidate, ...]:
    """Devices of equal weight at 50 to 400 m by area, and speeds that differ by a factor of four."""
    generator = stream(seed, "cell", devices)
    places = 400 * np.sqrt(generator.uniform((50 / 400) ** 2, 1, devices))
    forward = generator.uniform(0.5, 2.0, devices)
    return tuple(
        Candidate(
            1 / devices, choices(levels, float(alpha), 2 * float(alpha)),
            strength_hz(POWER_W, gain(float(place)), NOISE_W_PER_HZ),
        )
        for place, alpha in zip(places, forward, strict=True)
    )  # fmt: skip


def capped(candidates: tuple[Candidate, ...], device: int, memory_bytes: float) -> tuple[Candidate, ...]:
    """One device's memory cap changed."""
    return tuple(
        replace(one, memory_bytes=memory_bytes) if index == device else one for index, one in enumerate(candidates)
    )


def ratios(candidates: tuple[Candidate, ...], found: Assignment) -> list[float]:
    """u_k, 0 where a device rests."""
    return [0.0 if c is None else one.choices[c].ratio for one, c in zip(candidates, found.choices, strict=True)]


def rate(band_hz: float, one: Candidate) -> float:
    """Shannon's, or the device's own."""
    if one.rate_bps is not None:
        return one.rate_bps
    return float(band_hz * np.log2(1 + one.strength_hz / band_hz)) if band_hz > 0 else 0.0


def require_all(candidates: tuple[Candidate, ...], band: Round, found: Assignment, close: float = 1e-6) -> None:
    """C1 to C6, relative to ``close``, from their definitions."""
    mass = 0.0
    for one, choice, part in zip(candidates, found.choices, found.bandwidth_hz, strict=True):
        assert part >= 0
        if choice is None:
            assert part == 0
            continue
        way = one.choices[choice]
        on_air = 8 * way.payload_bytes / rate(part, one) if way.payload_bytes else 0.0
        mass += one.weight * way.ratio
        assert way.seconds + on_air <= found.latency_s * (1 + close)  # C1
        assert way.memory_bytes <= one.memory_bytes  # C4
        assert way.joules + one.send_w * on_air <= one.joules * (1 + close)  # C5
    assert mass >= band.required * (1 - close)  # C2
    assert sum(found.bandwidth_hz) <= band.bandwidth_hz * (1 + close)  # C3


def exhaustive(candidates: tuple[Candidate, ...], band: Round) -> float:
    """The least latency over all choices of all devices: each bisection step looks at every combination."""
    table = Table(candidates, band)
    rest = np.zeros((len(candidates), 1))
    mass = _all_sums(np.concatenate([rest, table.mass], axis=1))
    enough = mass >= band.required * (1 - 1e-12)

    def carried(latency_s: float) -> bool:
        need = _all_sums(np.concatenate([rest, table.bandwidths(latency_s)], axis=1))
        return bool((need[enough] <= band.bandwidth_hz).any())

    low, high = 0.0, 1.0
    while not carried(high):
        high *= 2
        if high > 1e12:
            return inf
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if carried(middle) else (middle, high)
    return high


def _all_sums(rows: np.ndarray) -> np.ndarray:
    """Sums of one entry of each row, in every combination."""
    sums = np.zeros(1)
    for row in rows:
        sums = (sums[:, None] + row).ravel()
    return sums
