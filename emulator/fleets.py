"""Named benchmark fleets: device groups and their network under a name and a version, so that results can be compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from emulator.cell_settings import NetworkSettings
from emulator.section import known
from emulator.sections import DeviceGroup
from emulator.yaml_text import load

CATALOGUE = Path(str(files("scenarios") / "fleets"))


@dataclass(frozen=True)
class Fleet:
    """Groups, cells and sites as plain data, written as in a scenario. A fleet never changes: another mix has another name."""

    name: str
    about: str
    version: int
    devices: list[dict[str, Any]]
    network: dict[str, dict[str, Any]]


def fleet_names() -> list[str]:
    """Names of the shipped fleets, sorted."""
    return sorted(path.stem for path in CATALOGUE.glob("*.yaml"))


FleetName = Annotated[str, *known("a fleet", fleet_names())]


@lru_cache
def load_fleet(name: str) -> Fleet:
    """A shipped fleet by name (one of ``fleet_names``)."""
    data = load((CATALOGUE / f"{name}.yaml").read_text(encoding="utf-8"))
    return Fleet(name, data["about"], data["version"], data["devices"], data["network"])


def expand(data: Any) -> Any:
    """A scenario's data with the groups, cells and sites of the fleet that it names, beside its own network.

    Data that are no mapping, or name no known fleet, come back as they are: the scenario's fields tell what is wrong.
    """
    if not isinstance(data, dict) or data.get("fleet") not in fleet_names():
        return data
    fleet, network = load_fleet(data["fleet"]), data.get("network", {})
    found = {**data, "devices": fleet.devices if data.get("devices") is None else data["devices"]}
    if isinstance(network, dict):
        found["network"] = {
            **network,
            **{key: _beside(part, network.get(key, {})) for key, part in fleet.network.items()},
        }
    return found


def _beside(own: dict[str, Any], given: Any) -> Any:
    return {**own, **given} if isinstance(given, dict) else given


def fleet_findings(name: str, devices: Sequence[DeviceGroup], network: NetworkSettings) -> Iterator[str]:
    """Groups, cells and sites beside a fleet's name that are not its own: a resolved scenario writes both, and they agree."""
    groups, air = _parsed(name)
    if list(devices) != groups:
        yield f"devices: got other groups than those of fleet {name}; expected none, or exactly the fleet's own"
    for part, own, used in (("cells", air.cells, network.cells), ("sites", air.sites, network.sites)):
        for key in own:
            if used[key] != own[key]:
                what = part.removesuffix("s")
                yield (
                    f"network.{part}.{key}: got a {what} of a name that fleet {name} has, too; "
                    "expected another name, or exactly the fleet's own"
                )


@lru_cache
def _parsed(name: str) -> tuple[list[DeviceGroup], NetworkSettings]:
    fleet = load_fleet(name)
    groups = [DeviceGroup.model_validate(group) for group in fleet.devices]
    return groups, NetworkSettings.model_validate(fleet.network)
