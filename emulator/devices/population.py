"""The fleet: devices drawn from groups, each by its own key, so that a change of one never moves another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import exp
from typing import Literal

import numpy as np

from emulator.devices.profile import Profile

Stream = Callable[..., np.random.Generator]


@dataclass(frozen=True)
class CellSpec:
    """A cell that devices are in. Rates in bit/s per device, latency in s; None: the device's own figure holds."""

    name: str
    uplink_bps: float | None = None
    downlink_bps: float | None = None
    latency_s: float | None = None


@dataclass(frozen=True)
class Slowdown:
    """A factor on a device's compute time. ``lognormal``: exp(sigma z), median 1; ``uniform``: in [low, high]."""

    distribution: Literal["lognormal", "uniform", "constant"]
    sigma: float = 0.0
    low: float = 1.0
    high: float = 1.0
    factor: float = 1.0

    def draw(self, generator: np.random.Generator) -> float:
        """One factor."""
        if self.distribution == "lognormal":
            return exp(self.sigma * float(generator.standard_normal()))
        if self.distribution == "uniform":
            return float(generator.uniform(self.low, self.high))
        return self.factor


@dataclass(frozen=True)
class GroupSpec:
    """``count`` devices of a profile; what is given here comes before the cell's and the profile's figures."""

    profile: Profile
    count: int
    cell: CellSpec | None = None
    uplink_bps: float | None = None
    downlink_bps: float | None = None
    latency_s: float | None = None
    slowdown: Slowdown = field(default_factory=lambda: Slowdown("constant"))


@dataclass(frozen=True)
class Device:
    """One device of the fleet. Rates in bit/s, latency in s; ``slowdown`` multiplies its compute time."""

    index: int
    name: str
    profile: Profile
    cell: str | None
    uplink_bps: float
    downlink_bps: float
    latency_s: float
    slowdown: float


def draw(groups: Sequence[GroupSpec], stream: Stream) -> tuple[Device, ...]:
    """The fleet, in the order of its groups. ``stream(*names)`` gives a generator keyed by names.

    Rates: the group's, else the smaller of the profile's and the cell's; latency: the group's, else the cell's, else the
    profile's.
    """
    fleet: list[Device] = []
    for group in groups:
        for _ in range(group.count):
            fleet.append(_device(len(fleet), group, stream))
    return tuple(fleet)


def _device(index: int, group: GroupSpec, stream: Stream) -> Device:
    profile, cell = group.profile, group.cell
    latency_s = profile.latency_s if cell is None or cell.latency_s is None else cell.latency_s
    return Device(
        index,
        f"device-{index:04d}",
        profile,
        cell.name if cell is not None else None,
        group.uplink_bps or _smaller(profile.uplink_bps, cell.uplink_bps if cell else None),
        group.downlink_bps or _smaller(profile.downlink_bps, cell.downlink_bps if cell else None),
        latency_s if group.latency_s is None else group.latency_s,
        group.slowdown.draw(stream("slowdown", index)),
    )


def _smaller(own: float, cell: float | None) -> float:
    return own if cell is None else min(own, cell)
