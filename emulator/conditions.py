"""From a scenario to what befalls each of its devices."""

from collections.abc import Sequence

from emulator.devices.condition import Completeness, Condition
from emulator.devices.population import Device
from emulator.devices.presence import Both, Markov, Presence
from emulator.learning.random import seed_of
from emulator.scenario import Scenario
from emulator.sections import DeviceGroup


def conditions(scenario: Scenario, devices: Sequence[Device]) -> tuple[Condition, ...]:
    """One condition a device; what is drawn is keyed by the fleet seed and the device's name, or the cell's."""
    seed = scenario.all_seeds.fleet
    outages = {
        name: cell.outages.build(seed_of(seed, "outages", name))
        for name, cell in scenario.network.cells.items()
        if cell.outages is not None
    }
    counted = zip(scenario.devices, scenario.counts, strict=True)
    members = [(group, index) for group, count in counted for index in range(count)]
    return tuple(
        _condition(device, group, index, (seed, outages))
        for device, (group, index) in zip(devices, members, strict=True)
    )


def _condition(device: Device, group: DeviceGroup, index: int, given: tuple[int, dict[str, Markov]]) -> Condition:
    seed, outages = given
    own = group.availability.build(seed_of(seed, "availability", device.name), index) if group.availability else None
    load = group.load.build(seed_of(seed, "load", device.name)) if group.load is not None else None
    share = group.completeness
    completeness = share.build(seed_of(seed, "completeness", device.name)) if share is not None else Completeness()
    return Condition(_both(own, outages.get(group.cell or "")), load, group.charge, completeness)


def _both(own: Presence | None, cell: Presence | None) -> Presence | None:
    if own is None or cell is None:
        return own or cell
    return Both(own, cell)
