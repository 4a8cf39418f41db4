"""What must hold among device groups: counts and shares, factors that multiply something, and what fits a cell."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import fsum

from emulator.cell_settings import CellSettings
from emulator.devices.population import apportion
from emulator.devices.profile import Profile
from emulator.devices.profile_file import load_profile
from emulator.devices.uncertainty import factored
from emulator.nearest import unknown
from emulator.sections import DeviceGroup, PopulationSettings

SUM = 1e-9  # how far shares may be off 1


def counts_of(groups: Sequence[DeviceGroup], population: PopulationSettings) -> list[int]:
    """Devices of each group: its count, or its share of those that counts leave (largest remainder)."""
    left = (population.devices or 0) - _counted(groups)
    shares = [group.share for group in groups if group.share is not None]
    dealt = iter(apportion(shares, left))
    return [next(dealt) if group.count is None else group.count for group in groups]


def contended(cell: CellSettings) -> bool:
    """Whether the cell's rates hold whatever a profile says of a typical connection."""
    return cell.sharing in ("airtime", "dcf") or cell.radio is not None


def population_findings(groups: Sequence[DeviceGroup], population: PopulationSettings) -> Iterator[str]:
    """Counts and shares that do not go together: ``key.path: got X; expected Y``."""
    for index, group in enumerate(groups):
        if (group.count is None) == (group.share is None):
            got = "missing" if group.count is None else f"got {group.count} beside a share"
            yield f"devices[{index}].count: {got}; expected a number of devices, or a share of population.devices"
    shares, counted, devices = [group.share or 0.0 for group in groups], _counted(groups), population.devices
    if not any(shares):
        if devices not in (None, counted):
            yield f"population.devices: got {devices}; expected none, or the {counted} that the groups' counts make"
        return
    if devices is None:
        yield "population.devices: missing; expected how many devices there are, as groups have shares of them"
    elif devices <= counted:
        yield f"population.devices: got {devices}; expected more than the {counted} of the groups that have counts"
    if abs(fsum(shares) - 1) > SUM:
        yield f"devices: got shares that sum to {fsum(shares):.12g}; expected 1 over all groups with a share"
    for index, count in enumerate(counts_of(groups, population)):
        if count == 0:
            yield f"devices[{index}].share: got {shares[index]:g}, no device of {devices}; expected one device or more"


def vary_findings(groups: Sequence[DeviceGroup], cells: Mapping[str, CellSettings]) -> Iterator[str]:
    """Factors on figures that a profile does not have, or that another figure stands in place of."""
    for index, group in enumerate(groups):
        accepted = factored(load_profile(group.profile))
        for key in group.vary:
            if key not in accepted:
                words = unknown(key, accepted, f"a figure that {group.profile} has")
                yield f"devices[{index}].vary.{key}: {words}"
        if group.cell is not None:
            yield from (f"devices[{index}].vary.{words}" for words in _idle(group, cells[group.cell]))


def drawn_findings(names: Sequence[str], profile: Callable[[str], Profile]) -> Iterator[str]:
    """Profiles of which the fleet's seed draws an impossible one."""
    for name in names:
        try:
            profile(name)
        except ValueError as error:
            yield f"population.uncertainty: {error}"


def place_findings(group: DeviceGroup, cells: Mapping[str, CellSettings]) -> Iterator[str]:
    """What a group says that its cell has no use for; it must be in one."""
    cell = cells[group.cell or ""]
    radio = cell.radio is not None
    strange = ["uplink", "downlink", "traces"] if radio or cell.sharing == "lora" else []
    for key in strange + ([] if radio else ["distance", "mobility"]):
        if getattr(group, key) is not None:
            kind = "a LoRa cell" if cell.sharing == "lora" else f"with{'' if radio else 'out'} a radio"
            yield f"{key}: got one in cell {group.cell}, which is {kind}; expected none"
    if group.traces is not None and cell.sharing not in ("dedicated", "shared", "fifo"):
        yield f"traces: got them in a {cell.sharing} cell; expected a dedicated, shared or fifo one"
    for key, rate in (("uplink", group.uplink), ("downlink", group.downlink)):
        if rate is not None and cell.contention is not None and cell.uplink is not None:
            try:
                cell.contention.law(cell.uplink).terms(rate, 1.0, 1)
            except ValueError as error:
                yield f"{key}: {error}, in cell {group.cell}"
    if group.weight != 1 and cell.sharing not in ("shared", "airtime"):
        yield f"weight: got {group.weight:g} in a {cell.sharing} cell; expected 1: only shared and airtime cells weigh"
    roams = group.roams
    for name in roams:
        if name not in cells:
            yield f"mobility.cells: {unknown(name, cells, 'a cell under network.cells')}"
        elif cells[name].radio is None:
            yield f"mobility.cells: got {name}, which has no radio; expected cells with one"
        elif len(roams) > 1 and cells[name].outages is not None:
            # Presence is worked out before the run, and knows the cell of the start alone.
            yield f"mobility.cells: got {name}, which has outages; expected cells without, as devices are handed over"
    if roams and group.cell not in roams:
        yield f"mobility.cells: got {', '.join(roams)}; expected the group's own cell {group.cell} among them"


def _idle(group: DeviceGroup, cell: CellSettings) -> Iterator[str]:
    """Factors on link figures that the cell's own stand in place of."""
    holds = {"uplink": contended(cell), "downlink": contended(cell), "latency": cell.latency is not None}
    for key in group.vary:
        if cell.sharing == "lora" and key in ("uplink", "downlink"):
            yield f"{key}: got a factor in LoRa cell {group.cell}; expected none: rates follow from the spreading factor"
        elif holds.get(key) and getattr(group, key) is None:
            radio = cell.radio is not None and key != "latency"
            accepted = "none: rates follow from the signal" if radio else f"the group's own {key} to multiply"
            yield f"{key}: got a factor, but cell {group.cell} decides the {key}; expected {accepted}"
        elif group.traces is not None and getattr(group.traces, key, None) is not None:
            yield f"{key}: got a factor beside a trace, which holds; expected traces.{key}.scale, or no trace"


def _counted(groups: Sequence[DeviceGroup]) -> int:
    return sum(group.count for group in groups if group.count is not None)
