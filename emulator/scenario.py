"""A scenario: everything that defines a run, validated, frozen, and hashed."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from emulator.devices.population import CellSpec, GroupSpec, Slowdown
from emulator.devices.profile import Profile, ProfileError, load_profile
from emulator.learning.datasets import DATASETS
from emulator.learning.models import ModelSpec, refusal
from emulator.learning.partition import Iid, PartitionSettings
from emulator.nearest import unknown
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.settings import RoundSettings, Settings
from emulator.quantities import Duration, PositiveDuration, Rate
from emulator.world import Seeds

Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A block of a scenario: closed, frozen, finite, and strict about types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


def wrong(message: str) -> PydanticCustomError:
    """A finding with its own words; the reader adds file and key."""
    return PydanticCustomError("scenario", "{message}", {"message": message})


class SeedSettings(Section):
    """One seed per concern; each defaults to ``seed``. Vary one and keep the others for variance studies."""

    data: int | None = Field(default=None, ge=0, description="partition and validation split")
    fleet: int | None = Field(default=None, ge=0, description="the draw of the devices")
    channel: int | None = Field(default=None, ge=0, description="the air (used by fading channels)")
    model: int | None = Field(default=None, ge=0, description="initial weights")
    sampling: int | None = Field(default=None, ge=0, description="cohorts and minibatches")


class DataSettings(Section):
    """Which data, and who holds what."""

    dataset: str = Field(description="name of a data set (emulator list datasets)")
    root: str | None = Field(
        default=None, description="folder with the data set's standard files, instead of the cache"
    )
    samples: Count | None = Field(default=None, description="use only so many training samples, drawn by seed")
    partition: PartitionSettings = Field(default=Iid(kind="iid"), description="how samples are given to devices")

    @field_validator("dataset")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DATASETS:
            raise wrong(unknown(name, DATASETS, "a data set"))
        return name


class ModelSettings(Section):
    """Which model is trained."""

    name: str = Field(description="name of a model (emulator list models)")


class SlowdownSettings(Section):
    """A factor on each device's compute time, drawn once per device."""

    distribution: Literal["lognormal", "uniform", "constant"]
    sigma: float | None = Field(default=None, ge=0, description="lognormal: spread of the log; the median is 1")
    low: float | None = Field(default=None, gt=0, description="uniform: smallest factor")
    high: float | None = Field(default=None, gt=0, description="uniform: largest factor")
    factor: float | None = Field(default=None, gt=0, description="constant: the factor")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        needed = {"lognormal": {"sigma"}, "uniform": {"low", "high"}, "constant": {"factor"}}[self.distribution]
        given = {key for key in ("sigma", "low", "high", "factor") if getattr(self, key) is not None}
        if given != needed:
            raise wrong(
                f"{self.distribution} takes {' and '.join(sorted(needed))}; got {', '.join(sorted(given)) or 'none'}"
            )
        if self.low is not None and self.high is not None and self.low > self.high:
            raise wrong(f"low {self.low} is above high {self.high}")
        return self

    def build(self) -> Slowdown:
        """As the population draws it."""
        given = self.model_dump(exclude_none=True)
        return Slowdown(**given)


def _profile(name: str) -> str:
    try:
        load_profile(name)
    except ProfileError as error:
        raise wrong(str(error)) from None
    return name


class DeviceGroup(Section):
    """``count`` devices of one profile, in one cell."""

    profile: str = Field(description="name of a profile (emulator list profiles)")
    count: Count
    cell: str | None = Field(default=None, description="name of a cell under network.cells")
    uplink: Rate | None = Field(default=None, description="device to network, before the cell's and the profile's")
    downlink: Rate | None = Field(default=None, description="network to device")
    latency: Duration | None = Field(default=None, description="one way")
    slowdown: SlowdownSettings | None = None

    _known = field_validator("profile")(_profile)


class ServerSettings(Section):
    """The server."""

    profile: str = Field(default="edge-server", description="name of a profile (emulator list profiles)")

    _known = field_validator("profile")(_profile)


class CellSettings(Section):
    """What a cell gives each of its devices; what is left out, the device's profile gives."""

    uplink: Rate | None = None
    downlink: Rate | None = None
    latency: Duration | None = None


class BackhaulSettings(Section):
    """The server's own link, shared exactly fairly by all flows in flight; the same rate each way."""

    rate: Rate | None = Field(default=None, description="absent: never the bottleneck")
    latency: Duration = Field(default=0.0, description="one way, added to each device's own")


class NetworkSettings(Section):
    """Cells and the server's link."""

    cells: dict[str, CellSettings] = Field(default_factory=dict)
    backhaul: BackhaulSettings = BackhaulSettings()


class EvaluateSettings(Section):
    """What the observer looks at; it costs no virtual time."""

    every: Count = Field(default=1, description="rounds between evaluations; the last round is always evaluated")
    validation: float = Field(default=0.1, ge=0, lt=1, description="share of the training data kept for decisions")
    per_device: bool = Field(default=False, description="also each device's accuracy on its own data")
    samples: Count | None = Field(default=None, description="evaluate on so many test samples only, drawn by seed")


class StopSettings(Section):
    """End before the last round: at an accuracy on the validation split, or at a virtual time."""

    accuracy: float | None = Field(default=None, gt=0, le=1)
    virtual_time: PositiveDuration | None = None


_DEVICES_SCHEMA = {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}


def _devices_per_actor(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f'got {value!r}; expected "auto" or a whole number of at least 1')


class ActorSettings(Section):
    """How the emulation is spread over Ray actors. It changes speed, never results."""

    devices_per_actor: Annotated[int | str, BeforeValidator(_devices_per_actor), WithJsonSchema(_DEVICES_SCHEMA)] = (
        Field(
            default="auto", description="auto: one actor a core; 1: one named, torch-free actor per device; or a number"
        )
    )
    gpus_per_actor: float = Field(default=0.0, ge=0, description="share of a GPU per actor, on nodes that have one")
    dashboard: bool = Field(default=False, description="start Ray's dashboard")
    ahead: int = Field(default=2, ge=0, description="rounds the clock may run ahead of the tensors")


class Scenario(Section):
    """A whole run. ``resolved`` writes every default out; reading that again gives an equal scenario."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="names the run folder")
    seed: int = Field(default=0, ge=0)
    seeds: SeedSettings = SeedSettings()
    data: DataSettings
    model: ModelSettings
    devices: Annotated[list[DeviceGroup], Field(min_length=1)]
    server: ServerSettings = ServerSettings()
    network: NetworkSettings = NetworkSettings()
    protocol: SerializeAsAny[Settings]
    evaluate: EvaluateSettings = EvaluateSettings()
    stop: StopSettings = StopSettings()
    actors: ActorSettings = ActorSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_cells()
        self._check_learning()
        fleet = self.fleet_size
        if isinstance(self.protocol, RoundSettings) and self.protocol.cohort > fleet:
            raise wrong(f"protocol.cohort: got {self.protocol.cohort}; expected at most the fleet's {fleet} devices")
        if self.stop.accuracy is not None and self.evaluate.validation == 0:
            raise wrong("stop.accuracy: decisions use validation data; expected evaluate.validation above 0")
        return self

    def _check_cells(self) -> None:
        for index, group in enumerate(self.devices):
            if group.cell is not None and group.cell not in self.network.cells:
                raise wrong(
                    f"devices[{index}].cell: " + unknown(group.cell, self.network.cells, "a cell under network.cells")
                )

    def _check_learning(self) -> None:
        reason = refusal(self.model_spec)
        if reason is not None:
            raise wrong(f"model.name: {reason} (data.dataset is {self.data.dataset})")
        held = DATASETS[self.data.dataset].train
        if self.data.samples is not None and self.data.samples > held:
            raise wrong(f"data.samples: got {self.data.samples}; {self.data.dataset} has {held} training samples")
        available = int((self.data.samples or held) * (1 - self.evaluate.validation))
        if self.fleet_size > available:
            raise wrong(
                f"devices: got {self.fleet_size} for {available} training samples; expected one sample a device or more"
            )
        tested = DATASETS[self.data.dataset].test
        if self.evaluate.samples is not None and self.evaluate.samples > tested:
            raise wrong(f"evaluate.samples: got {self.evaluate.samples}; {self.data.dataset} has {tested} test samples")

    @property
    def protocol_name(self) -> str:
        """The protocol's name: the one whose settings these are."""
        return next(name for name, entry in PROTOCOLS.items() if type(self.protocol) is entry.settings)

    @property
    def fleet_size(self) -> int:
        """Number of devices."""
        return sum(group.count for group in self.devices)

    @property
    def model_spec(self) -> ModelSpec:
        """The model for this data set's images."""
        info = DATASETS[self.data.dataset]
        return ModelSpec(self.model.name, info.classes, info.shape)

    @property
    def all_seeds(self) -> Seeds:
        """The seed of each concern."""
        return Seeds(**{key: self.seed if value is None else value for key, value in dict(self.seeds).items()})

    def groups(self) -> list[GroupSpec]:
        """The device groups as the population draws them."""
        cells = {
            name: CellSpec(name, cell.uplink, cell.downlink, cell.latency) for name, cell in self.network.cells.items()
        }
        return [
            GroupSpec(
                load_profile(group.profile), group.count, cells[group.cell] if group.cell else None,
                group.uplink, group.downlink, group.latency,
                group.slowdown.build() if group.slowdown else Slowdown("constant"),
            )
            for group in self.devices
        ]  # fmt: skip

    def server_profile(self) -> Profile:
        """What the server can do."""
        return load_profile(self.server.profile)

    def resolved(self) -> dict[str, Any]:
        """Every setting, defaults written out, in YAML's plain types."""
        found = self.model_dump(mode="json")
        found["protocol"] = {"name": self.protocol_name, **found["protocol"]}
        found["seeds"] = self.all_seeds._asdict()
        return found

    def to_yaml(self) -> str:
        """``resolved`` as YAML."""
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)

    def sha256(self) -> str:
        """Hash of everything that can change results: not the name, not the actors, not where the data lie."""
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
        found = "missing; " if "name" not in block else ""
        raise UnknownProtocol(found + unknown(block.get("name"), PROTOCOLS, "a protocol"))
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


def schema() -> dict[str, Any]:
    """JSON Schema of a scenario file, for editors: one alternative per protocol."""
    found = Scenario.model_json_schema(mode="validation")
    definitions = found["$defs"]
    alternatives = []
    for name, entry in PROTOCOLS.items():
        part = entry.settings.model_json_schema(mode="validation", ref_template="#/$defs/{model}")
        definitions.update(part.pop("$defs", {}))
        part["properties"] = {"name": {"const": name, "description": entry.about}, **part["properties"]}
        part["required"] = ["name", *part.get("required", [])]
        alternatives.append(part)
    found["properties"]["protocol"] = {"oneOf": alternatives, "description": "what devices and server do"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Edge emulator scenario", **found}


def shipped(name: str) -> Path | None:
    """The file of a scenario that ships with the platform, by its bare name; None when there is none."""
    path = scenarios_folder() / f"{name}.yaml"
    return path if path.is_file() else None


def scenarios_folder() -> Path:
    """Where the shipped scenarios are."""
    import scenarios

    return Path(scenarios.__file__).parent
