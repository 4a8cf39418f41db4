"""The fleet: devices drawn from groups, each by its own key, so that a change of one never moves another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, isfinite
from typing import Literal

import numpy as np

from emulator.devices.profile import Profile
from network.units import format_duration, format_flops, format_rate

Stream = Callable[..., np.random.Generator]

FLEET_HEADER = ("device", "profile", "cell", "compute", "slowdown", "uplink", "downlink", "latency")


@dataclass(frozen=True)
class CellSpec:
    """A cell that devices are in. Rates in bit/s per device, latency in s; None: the device's own figure holds.
    ``contended``: rates are what a device alone on the air reaches, whatever its profile says of a typical connection.

    Raises ValueError for a rate that is not above zero and a latency below zero.
    """

    name: str
    uplink_bps: float | None = None
    downlink_bps: float | None = None
    latency_s: float | None = None
    contended: bool = False

    def __post_init__(self) -> None:
        _check_link(f"cell {self.name}", self)


@dataclass(frozen=True)
class Slowdown:
    """A factor on a device's compute time. ``lognormal``: exp(sigma z), median 1; ``uniform``: in [low, high).

    ``constant``: ``factor`` for all. Raises ValueError for an unknown distribution, a factor that is not finite and
    above zero, and bounds out of order.
    """

    distribution: Literal["lognormal", "uniform", "constant"]
    sigma: float = 0.0
    low: float = 1.0
    high: float = 1.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.distribution not in ("lognormal", "uniform", "constant"):
            raise ValueError(f"slowdown: got {self.distribution!r}; expected lognormal, uniform or constant")
        if not (isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(f"slowdown.sigma: got {self.sigma!r}; expected a finite number, zero or more")
        if not (isfinite(self.high) and 0 < self.low <= self.high):
            raise ValueError(f"slowdown: got low {self.low!r}, high {self.high!r}; expected 0 < low <= high, finite")
        if not (isfinite(self.factor) and self.factor > 0):
            raise ValueError(f"slowdown.factor: got {self.factor!r}; expected a finite number above zero")

    def draw(self, generator: np.random.Generator) -> float:
        """One factor."""
        if self.distribution == "lognormal":
            return exp(self.sigma * float(generator.standard_normal()))
        if self.distribution == "uniform":
            return float(generator.uniform(self.low, self.high))
        return self.factor


@dataclass(frozen=True)
class GroupSpec:
    """``count`` devices of a profile; what is given here comes before the cell's and the profile's figures.

    Rates in bit/s, latency in s; no slowdown: a factor of 1. Raises ValueError for a count below one and for link
    figures as ``CellSpec`` does.
    """

    profile: Profile
    count: int
    cell: CellSpec | None = None
    uplink_bps: float | None = None
    downlink_bps: float | None = None
    latency_s: float | None = None
    slowdown: Slowdown | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"group of {self.profile.name}: count: got {self.count!r}; expected one device or more")
        _check_link(f"group of {self.profile.name}", self)


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

    Rates: the group's, else the smaller of the profile's and the cell's (the cell's alone where it is contended); latency:
    the group's, else the cell's, else the profile's. A device's draws are keyed by field and index: what comes after it
    in the fleet never moves it.
    """
    members = [group for group in groups for _ in range(group.count)]
    width = max(4, len(str(len(members) - 1)))
    return tuple(_device(index, f"device-{index:0{width}d}", group, stream) for index, group in enumerate(members))


def fleet_table(devices: Sequence[Device]) -> Iterator[tuple[str, ...]]:
    """One row of text a device, under ``FLEET_HEADER``; figures with their units."""
    for device in devices:
        yield (
            device.name, device.profile.name, device.cell or "-", format_flops(device.profile.flop_per_s),
            f"{device.slowdown:.3f}", format_rate(device.uplink_bps), format_rate(device.downlink_bps),
            format_duration(device.latency_s),
        )  # fmt: skip


def _device(index: int, name: str, group: GroupSpec, stream: Stream) -> Device:
    profile, cell = group.profile, group.cell or CellSpec("")
    return Device(
        index,
        name,
        profile,
        group.cell.name if group.cell is not None else None,
        _rate(group.uplink_bps, profile.uplink_bps, cell.uplink_bps, cell.contended),
        _rate(group.downlink_bps, profile.downlink_bps, cell.downlink_bps, cell.contended),
        next(latency for latency in (group.latency_s, cell.latency_s, profile.latency_s) if latency is not None),
        1.0 if group.slowdown is None else group.slowdown.draw(stream("slowdown", index)),
    )


def _rate(given: float | None, own: float, cell: float | None, contended: bool) -> float:
    if given is not None:
        return given
    if cell is not None and contended:
        return cell
    return own if cell is None else min(own, cell)


def _check_link(place: str, spec: CellSpec | GroupSpec) -> None:
    # An infinite rate is a link that never holds anything up: allowed.
    for key, rate in (("uplink_bps", spec.uplink_bps), ("downlink_bps", spec.downlink_bps)):
        if rate is not None and not rate > 0:
            raise ValueError(f"{place}: {key}: got {rate!r}; expected bit/s above zero")
    if spec.latency_s is not None and not (isfinite(spec.latency_s) and spec.latency_s >= 0):
        raise ValueError(f"{place}: latency_s: got {spec.latency_s!r}; expected seconds, zero or more")
