"""What must hold where a protocol plans by bands and powers: one cell whose rates follow its formula, profiles with powers.

And where it does not: no cell that waits for a protocol to assign its band.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from emulator.cell_settings import CellSettings
from emulator.devices.profile import Profile
from emulator.protocols.base import Settings
from emulator.sections import DeviceGroup


def plan_findings(
    settings: Settings,
    groups: Sequence[DeviceGroup],
    cells: Mapping[str, CellSettings],
    profile: Callable[[str], Profile],
) -> Iterator[str]:
    """What does not go with a protocol's plans: ``key.path: got X; expected Y``."""
    band, joules = settings.assigns_band, settings.needs_powers
    if band is None:
        yield from _unassigned(groups, cells)
    else:
        got = f"protocol.{band}: got {getattr(settings, band)}"
        yield from _place_findings(got, groups)
        for name in dict.fromkeys(group.cell for group in groups if group.cell is not None):
            if cells[name].sharing != "assigned":
                words = f"in cell {name}, whose sharing is {cells[name].sharing}"
                yield f"{got} {words}; expected one with sharing: assigned, or {band}: network"
            else:
                why = f"as protocol.{band} is {getattr(settings, band)}"
                yield from (f"network.cells.{name}.{words}, {why}" for words in _rate_findings(cells[name]))
    for name in dict.fromkeys(group.profile for group in groups):
        if joules is not None and profile(name).load_w is None:
            got = f"got {getattr(settings, joules)} with {name}, which has no powers"
            yield f"protocol.{joules}: {got}; expected profiles with powers"


def _unassigned(groups: Sequence[DeviceGroup], cells: Mapping[str, CellSettings]) -> Iterator[str]:
    """Cells of devices in which nothing could be sent."""
    for name in dict.fromkeys(cell for group in groups for cell in (group.cell, *group.roams)):
        if name is not None and name in cells and cells[name].sharing == "assigned":
            why = "but the protocol, with these settings, assigns no bandwidth"
            yield f"network.cells.{name}.sharing: got assigned, {why}; expected fdma, airtime or dcf"


def _place_findings(got: str, groups: Sequence[DeviceGroup]) -> Iterator[str]:
    """Devices outside any cell, or in several ones."""
    places = list(dict.fromkeys(group.cell for group in groups))
    if None in places:
        yield f"{got} with devices[{places.index(None)}] in no cell; expected all in one with sharing: assigned"
    elif len(places) > 1:
        yield f"{got} with devices in {', '.join(map(str, places))}; expected one cell, whose band is assigned"
    for index, group in enumerate(groups):
        if len(group.roams) > 1:
            roams = ", ".join(group.roams)
            yield f"devices[{index}].mobility.cells: got {roams}; expected one cell, whose band is assigned"


def _rate_findings(cell: CellSettings) -> Iterator[str]:
    """Rates that are not b log2(1 + s / b) of a signal that holds for the transfer."""
    radio, connection = cell.radio, cell.connection
    assert radio is not None  # or it could not be assigned
    kind, ceiling, fading = radio.rate_map.kind, radio.rate_map.ceiling, radio.fading
    if kind != "shannon":
        yield f"radio.rate_map.kind: got {kind}; expected shannon"
    if ceiling is not None:
        yield f"radio.rate_map.ceiling: got {ceiling:g}; expected none"
    if fading is not None and fading.mode != "transfer":
        yield f"radio.fading.mode: got {fading.mode}; expected transfer"
    if connection is not None and connection.initial_window:
        yield f"connection.initial_window: got {connection.initial_window}; expected 0"
