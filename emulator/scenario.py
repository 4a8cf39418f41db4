"""A scenario: everything that defines a run, validated, frozen, and hashed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationError, model_validator

import scenarios
from emulator.cell_settings import NetworkSettings
from emulator.devices.population import CellSpec, GroupSpec
from emulator.devices.profile import Profile
from emulator.devices.profile_file import load_profile
from emulator.devices.uncertainty import drawn_within
from emulator.fleet_rules import (
    contended,
    counts_of,
    drawn_findings,
    place_findings,
    population_findings,
    vary_findings,
)
from emulator.fleets import FleetName, expand, fleet_findings
from emulator.learning.datasets import DATASETS
from emulator.learning.models import ModelSpec, refusal
from emulator.learning.random import stream
from emulator.model_rules import model_findings
from emulator.nearest import unknown
from emulator.plan_rules import plan_findings
from emulator.protocols.base import Settings
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.settings import CutWork
from emulator.section import Section, wrong
from emulator.sections import (
    ActorSettings,
    DataSettings,
    DeviceGroup,
    EvaluateSettings,
    ModelSettings,
    PopulationSettings,
    SeedSettings,
    ServerSettings,
    StopSettings,
)
from emulator.world import Seeds
from emulator.yaml_text import dump


class Scenario(Section):
    """A whole run. ``resolved`` writes every default out; reading that again gives an equal scenario."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="names the run folder")
    seed: int = Field(default=0, ge=0)
    seeds: SeedSettings = SeedSettings()
    data: DataSettings
    model: ModelSettings
    fleet: FleetName | None = Field(
        default=None, description="name of a fleet, in place of devices (emulator list fleets)"
    )
    devices: Annotated[list[DeviceGroup], Field(min_length=1)]
    population: PopulationSettings = PopulationSettings()
    server: ServerSettings = ServerSettings()
    network: NetworkSettings = NetworkSettings()
    protocol: SerializeAsAny[Settings]
    evaluate: EvaluateSettings = EvaluateSettings()
    stop: StopSettings = StopSettings()
    on_out_of_memory: Literal["fail", "exclude"] = Field(
        default="fail", description="when a step does not fit a device: end the run, or go on without the device"
    )
    actors: ActorSettings = ActorSettings()

    @model_validator(mode="before")
    @classmethod
    def _spread_seed(cls, data: Any) -> Any:
        """Give each concern that has no seed of its own the scenario's: a resolved scenario then equals its source."""
        if not isinstance(data, dict) or not isinstance(data.get("seeds", {}), dict):
            return data
        given = {concern: seed for concern, seed in data.get("seeds", {}).items() if seed is not None}
        return {**data, "seeds": {**dict.fromkeys(Seeds._fields, data.get("seed", 0)), **given}}

    @model_validator(mode="before")
    @classmethod
    def _expand_fleet(cls, data: Any) -> Any:
        return expand(data)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        finding = next(self._findings(), None)
        if finding is not None:
            raise wrong(finding)
        return self

    def _findings(self) -> Iterator[str]:
        """What does not go together: ``key.path: got X; expected Y``."""
        yield from self._fleet_findings()
        yield from self.network.findings()
        for index, group in enumerate(self.devices):
            if group.cell is not None:
                yield from (f"devices[{index}].{words}" for words in place_findings(group, self.network.cells))
        yield from vary_findings(self.devices, self.network.cells)
        yield from drawn_findings(self._profiles(), self.profile)
        yield from self._edge_findings()
        yield from self._completeness_findings()
        yield from self._data_findings()
        yield from self._model_findings()
        yield from plan_findings(self.protocol, self.devices, self.network.cells, self.profile)
        if self.stop.accuracy is not None and self.evaluate.validation == 0:
            yield "stop.accuracy: got a target, but no validation data; expected evaluate.validation above 0"
        if self.protocol.reads_validation and self.evaluate.validation == 0:
            yield f"evaluate.validation: got 0; expected above 0, as {self.protocol_name} decides on validation data"

    def _fleet_findings(self) -> Iterator[str]:
        if self.fleet is not None:
            yield from fleet_findings(self.fleet, self.devices, self.network)
        yield from population_findings(self.devices, self.population)
        for index, group in enumerate(self.devices):
            if group.cell is not None and group.cell not in self.network.cells:
                words = unknown(group.cell, self.network.cells, "a cell under network.cells")
                yield f"devices[{index}].cell: {words}"
        yield from self.protocol.too_many_for(self.fleet_size)

    def _profiles(self) -> list[str]:
        """Every profile that machines here have, once."""
        edges = [site.edge.profile for site in self.network.sites.values() if site.edge is not None]
        return list(dict.fromkeys([*(group.profile for group in self.devices), self.server.profile, *edges]))

    def _completeness_findings(self) -> Iterator[str]:
        """Protocols that split count minibatches at both ends; that a device leaves some out is not built there."""
        for index, group in enumerate(self.devices):
            if group.completeness is not None and isinstance(self.protocol, CutWork):
                got = f"devices[{index}].completeness: got {group.completeness.low:g} to {group.completeness.high:g}"
                yield f"{got}; expected none, as {self.protocol_name} does all of the local work"

    def _edge_findings(self) -> Iterator[str]:
        if not PROTOCOLS[self.protocol_name].edges:
            return
        for index, group in enumerate(self.devices):
            site = self.network.cells[group.cell].site if group.cell is not None else None
            if site is None or self.network.sites[site].edge is None:
                got = "no cell" if group.cell is None else f"cell {group.cell} without an edge server at its site"
                yield f"devices[{index}].cell: got {got}; expected one, as {self.protocol_name} aggregates at edges"

    def _data_findings(self) -> Iterator[str]:
        data, info = self.data, DATASETS[self.data.dataset]
        used = data.samples or info.train
        if used > info.train:
            yield f"data.samples: got {used}; expected at most the {info.train} training samples of {data.dataset}"
        if self.fleet_size > used:  # what validation and the partition need besides shows when the data are there
            yield f"devices: got {self.fleet_size} for {used} training samples; expected a sample a device or more"
        if (self.evaluate.samples or 0) > info.test:
            got = self.evaluate.samples
            yield f"evaluate.samples: got {got}; expected at most the {info.test} test samples of {data.dataset}"
        if data.root is not None and data.dataset == "digits":
            yield f'data.root: got "{data.root}"; expected none, as digits come with the platform'

    def _model_findings(self) -> Iterator[str]:
        reason = refusal(self.model_spec)
        if reason is not None and reason.startswith("keep_ratio: "):
            yield f"model.{reason}"
        elif reason is not None:
            yield f"model.name: {reason} (data.dataset is {self.data.dataset})"
        else:
            own = {f"devices[{index}].cut": group.cut for index, group in enumerate(self.devices)}
            cuts = {"model.cut": self.model.cut, **own}
            yield from model_findings(self.protocol_name, self.protocol, self.model_spec, cuts)
        yield from self._profile_findings()

    def _profile_findings(self) -> Iterator[str]:
        """Settings of a protocol that name profiles which no device has."""
        known = sorted({group.profile for group in self.devices})
        for key, names in getattr(self.protocol, "profiles", {}).items():
            for name in names:
                if name not in known:
                    yield f'protocol.{key}: got "{name}"; expected profiles of the fleet: {", ".join(known)}'

    @property
    def protocol_name(self) -> str:
        """The protocol's name: the one whose settings these are."""
        return next(name for name, entry in PROTOCOLS.items() if type(self.protocol) is entry.settings)

    @property
    def fleet_size(self) -> int:
        """Number of devices."""
        return sum(self.counts)

    @property
    def counts(self) -> list[int]:
        """Number of devices of each group."""
        return counts_of(self.devices, self.population)

    @property
    def cuts(self) -> list[int]:
        """Blocks on the devices of each group; empty where the model is not split."""
        found = [self.model.cut if group.cut is None else group.cut for group in self.devices]
        return [cut for cut in found if cut is not None]

    @property
    def model_spec(self) -> ModelSpec:
        """The model for this data set's images."""
        info = DATASETS[self.data.dataset]
        return ModelSpec(self.model.name, info.classes, info.shape, self.model.batch_statistics, self.model.keep_ratio)

    @property
    def all_seeds(self) -> Seeds:
        """The seed of each concern."""
        return Seeds(**{key: self.seed if value is None else value for key, value in self.seeds})

    def groups(self) -> list[GroupSpec]:
        """The device groups as the population draws them."""
        cells = {
            name: CellSpec(
                name, cell.uplink, cell.downlink or cell.uplink if together else cell.downlink, cell.latency, together
            )
            for name, cell in self.network.cells.items()
            for together in [contended(cell)]
        }
        several = len(set(self.cuts)) > 1
        cuts: Sequence[int | None] = self.cuts if several else [None] * len(self.devices)
        profiles = [self._own(group) for group in self.devices]
        return [
            GroupSpec(
                profiles[index], count, cells[group.cell] if group.cell else None,
                group.uplink, group.downlink, group.latency, group.slowdown.build() if group.slowdown else None,
                tuple((key, spread.build()) for key, spread in group.vary.items()), cut,
            )
            for index, (group, count, cut) in enumerate(zip(self.devices, self.counts, cuts, strict=True))
        ]  # fmt: skip

    def _own(self, group: DeviceGroup) -> Profile:
        found = self.profile(group.profile)
        dynamic, sparse = group.dynamic_channels, group.sparse_kernels
        return replace(
            found,
            dynamic_channels=found.dynamic_channels if dynamic is None else dynamic,
            sparse_kernels=found.sparse_kernels if sparse is None else sparse,
        )

    def profile(self, name: str) -> Profile:
        """What machines of a profile can do here: as its file says, or drawn once within its figures' uncertainties."""
        found = load_profile(name)
        nominal = self.population.uncertainty == "nominal"
        return found if nominal else drawn_within(found, partial(stream, self.all_seeds.fleet))

    def server_profile(self) -> Profile:
        """What the server can do."""
        return self.profile(self.server.profile)

    def resolved(self) -> dict[str, Any]:
        """Every setting, defaults written out, in YAML's plain types."""
        found = self.model_dump(mode="json")
        found["protocol"] = {"name": self.protocol_name, **found["protocol"]}
        found["seeds"] = self.all_seeds._asdict()
        return found

    def to_yaml(self) -> str:
        """``resolved`` as YAML."""
        return dump(self.resolved())

    def sha256(self) -> str:
        """SHA-256 of the canonical JSON of all that can change results: not ``name``, ``actors`` and ``data.root``."""
        found = self.resolved()
        del found["name"], found["actors"], found["data"]["root"]
        return sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def build(data: dict[str, Any]) -> Scenario:
    """A scenario from plain data; the protocol's block is validated by the settings class of the protocol it names.

    Raises pydantic's ValidationError, ``InProtocol`` around one, or ``UnknownProtocol``.
    """
    block = data.get("protocol")
    if not isinstance(block, dict):
        return Scenario.model_validate(data)
    entry = PROTOCOLS.get(str(block.get("name")))
    if entry is None:
        missing = f"missing; expected a protocol: {', '.join(PROTOCOLS)}"
        raise UnknownProtocol(unknown(block["name"], PROTOCOLS, "a protocol") if "name" in block else missing)
    try:
        settings = entry.settings.model_validate({key: value for key, value in block.items() if key != "name"})
    except ValidationError as error:
        raise InProtocol(error) from None
    return Scenario.model_validate({**data, "protocol": settings})


class InProtocol(ValueError):
    """Findings inside the ``protocol`` block."""

    def __init__(self, error: ValidationError) -> None:
        super().__init__(str(error))
        self.error = error


class UnknownProtocol(ValueError):
    """``protocol.name`` names none."""


def shipped(name: str) -> Path | None:
    """The file of a scenario that ships with the platform, by its bare name; None when there is none."""
    return next((path for path in shipped_files() if path.stem == name), None)


def shipped_files() -> list[Path]:
    """All scenarios that ship with the platform: those of studies lie in folders of their own."""
    folder = scenarios_folder()
    studies = (path for path in sorted(folder.glob("*/*.yaml")) if path.parent.name != "fleets")
    return [*sorted(folder.glob("*.yaml")), *studies]


def scenarios_folder() -> Path:
    """Where the shipped scenarios are."""
    return Path(scenarios.__file__).parent
