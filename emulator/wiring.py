"""From a scenario to its network: cells and sites as the network builds them, and how each device hangs on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from emulator.cell_settings import CellSettings
from emulator.devices.population import Device
from emulator.devices.profile import Profile
from emulator.learning.random import seed_of
from emulator.scenario import Scenario
from emulator.sections import DeviceGroup
from network.mobility import Area, Fixed, Place, RandomWaypoint
from network.plan import Access, NetworkPlan


@dataclass(frozen=True)
class Wiring:
    """The network of a run: its plan, one access per device, and the sites with an edge server."""

    plan: NetworkPlan
    accesses: tuple[Access, ...]
    edges: tuple[tuple[str, Profile], ...] = ()


def wire(scenario: Scenario, devices: Sequence[Device]) -> Wiring:
    """The network of a scenario; what is drawn is keyed by the channel seed, the device's name and the cell's."""
    seed = scenario.all_seeds.channel
    groups = [group for group, count in zip(scenario.devices, scenario.counts, strict=True) for _ in range(count)]
    plan = scenario.network.plan(lambda name: seed_of(seed, "cell", name))
    accesses = tuple(_access(scenario, device, group, seed) for device, group in zip(devices, groups, strict=True))
    edges = tuple(
        (name, scenario.profile(site.edge.profile))
        for name, site in scenario.network.sites.items()
        if site.edge is not None
    )
    return Wiring(plan, accesses, edges)


def plain(devices: Sequence[Device]) -> tuple[Access, ...]:
    """Accesses of devices that need nothing but their own rates and latency."""
    return tuple(_wire_of(device) for device in devices)


def _wire_of(device: Device) -> Access:
    link = device.cell or f"{device.profile.name} link"
    return Access(device.name, device.cell, device.uplink_bps, device.downlink_bps, round(device.latency_s * 1e9), link)


def _access(scenario: Scenario, device: Device, group: DeviceGroup, seed: int) -> Access:
    cell = scenario.network.cells[group.cell] if group.cell is not None else None
    key = seed_of(seed, "device", device.name)
    traces = group.traces
    return Access(
        device.name, device.cell, device.uplink_bps, device.downlink_bps, round(device.latency_s * 1e9),
        device.cell or f"{device.profile.name} link", key, group.weight,
        _place(cell, group, key) if cell is not None and cell.radio is not None else None,
        traces.uplink.build() if traces is not None and traces.uplink is not None else None,
        traces.downlink.build() if traces is not None and traces.downlink is not None else None,
        group.roams,
    )  # fmt: skip


def _place(cell: CellSettings, group: DeviceGroup, key: int) -> Place:
    """Where a device is in a cell with a radio: at its distance, walking, or drawn in the cell."""
    assert cell.radio is not None
    x, y = cell.position
    if group.mobility is not None:
        walk = group.mobility
        if walk.track is not None:
            return walk.track.build()
        return RandomWaypoint(key, Area(x, y, walk.radius), walk.slowest, walk.fastest, walk.pause)
    if group.distance is not None:
        return Fixed(x + group.distance, y)
    return Fixed(*Area(x, y, cell.radio.radius, cell.radio.nearest).place(key, 0))
