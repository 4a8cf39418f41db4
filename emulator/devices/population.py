"""The fleet: devices drawn from groups, each by its own key, so that a change of one never moves another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, fsum, isfinite

import numpy as np

from emulator.devices.profile import Profile
from emulator.devices.spread import Spread
from emulator.devices.uncertainty import factored, possible

Stream = Callable[..., np.random.Generator]


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
class GroupSpec:
    """``count`` devices of a profile; what is given here comes before the cell's and the profile's figures.

    Rates in bit/s, latency in s; no slowdown: a factor of 1. ``vary``: factors on figures of the profile (keys of its
    file) and on the link figures given here. ``cut``: blocks of a split model on these devices; None: the run's one cut.
    Raises ValueError for a count below one, for a figure that the profile does not have, and for link figures as
    ``CellSpec`` does.
    """

    profile: Profile
    count: int
    cell: CellSpec | None = None
    uplink_bps: float | None = None
    downlink_bps: float | None = None
    latency_s: float | None = None
    slowdown: Spread | None = None
    vary: tuple[tuple[str, Spread], ...] = ()
    cut: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"group of {self.profile.name}: count: got {self.count!r}; expected one device or more")
        known = factored(self.profile)
        for key, _ in self.vary:
            if key not in known:
                raise ValueError(f"group of {self.profile.name}: vary: got {key!r}; expected one of {', '.join(known)}")
        _check_link(f"group of {self.profile.name}", self)


@dataclass(frozen=True)
class Device:
    """One device of the fleet. Rates in bit/s, latency in s; ``slowdown`` multiplies its compute time; ``cut``: its group's."""

    index: int
    name: str
    profile: Profile
    cell: str | None
    uplink_bps: float
    downlink_bps: float
    latency_s: float
    slowdown: float
    cut: int | None = None


def draw(groups: Sequence[GroupSpec], stream: Stream) -> tuple[Device, ...]:
    """The fleet, in the order of its groups. ``stream(*names)`` gives a generator keyed by names.

    Rates: the group's, else the smaller of the profile's and the cell's (the cell's alone where it is contended); latency:
    the group's, else the cell's, else the profile's. A device's draws are keyed by field and index ("slowdown", or "vary"
    and the figure): neither what comes after it in the fleet nor another field moves them. Raises ValueError for a draw
    of memory that leaves none.
    """
    members = [group for group in groups for _ in range(group.count)]
    width = max(4, len(str(len(members) - 1)))
    return tuple(_device(index, f"device-{index:0{width}d}", group, stream) for index, group in enumerate(members))


def apportion(shares: Sequence[float], devices: int) -> list[int]:
    """Whole numbers of devices in proportion to ``shares`` that sum to ``devices``: largest remainder (Hamilton's method).

    Of equal remainders the first comes first.
    """
    whole = fsum(shares)
    quotas = [share / whole * devices for share in shares]
    found = [floor(quota) for quota in quotas]
    order = sorted(range(len(shares)), key=lambda index: (found[index] - quotas[index], index))
    for index in order[: devices - sum(found)]:
        found[index] += 1
    return found


def _device(index: int, name: str, group: GroupSpec, stream: Stream) -> Device:
    factors = {key: spread.draw(stream("vary", key, index)) for key, spread in group.vary}
    profile, cell = group.profile, group.cell or CellSpec("")
    if factors:
        profile = possible(profile.scaled(factors))
    up, down, late = (
        None if given is None else given * factors.get(key, 1.0)
        for key, given in (("uplink", group.uplink_bps), ("downlink", group.downlink_bps), ("latency", group.latency_s))
    )
    return Device(
        index,
        name,
        profile,
        group.cell.name if group.cell is not None else None,
        _rate(up, profile.uplink_bps, cell.uplink_bps, cell.contended),
        _rate(down, profile.downlink_bps, cell.downlink_bps, cell.contended),
        next(latency for latency in (late, cell.latency_s, profile.latency_s) if latency is not None),
        1.0 if group.slowdown is None else group.slowdown.draw_slowdown(stream("slowdown", index)),
        group.cut,
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
