"""The sections of a scenario: closed, frozen, finite, strict about types; every default is written here."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator
from pydantic.config import JsonDict

from emulator.air import TraceSettings, TrackSettings
from emulator.condition_settings import AvailabilitySettings, CompletenessSettings, LoadSettings
from emulator.learning.datasets import DATASETS
from emulator.learning.models import MODELS
from emulator.learning.partition import Iid, PartitionSettings
from emulator.pretrained import PRETRAINED
from emulator.quantities import Duration, Length, PositiveDuration, PositiveLength, Rate, Speed
from emulator.section import DIGEST, PROFILE, Profiled, ProfileName, Section, known, with_digest, wrong
from emulator.spreads import Figure, SpreadSettings

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class SeedSettings(Section):
    """One seed per concern; each defaults to ``seed``. Vary one and keep the others for variance studies."""

    data: Seed | None = Field(default=None, description="partition and validation split")
    fleet: Seed | None = Field(default=None, description="the draw of the devices")
    channel: Seed | None = Field(default=None, description="the air (used by fading channels)")
    model: Seed | None = Field(default=None, description="initial weights")
    sampling: Seed | None = Field(default=None, description="cohorts and minibatches")


DatasetName = Annotated[str, *known("a data set", DATASETS)]
ModelName = Annotated[str, *known("a model", MODELS)]


class DataSettings(Section):
    """Which data, and who holds what."""

    dataset: DatasetName = Field(description="name of a data set (emulator list datasets)")
    root: str | None = Field(default=None, description="folder with the data set's standard files, not the cache")
    samples: Count | None = Field(default=None, description="use only so many training samples, drawn by seed")
    public: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the training data that no device holds: emulator pretrain uses it",
    )
    partition: PartitionSettings = Field(default=Iid(kind="iid"), description="how samples are given to devices")
    speed_correlation: float | None = Field(
        default=None, ge=-1, le=1, description="of data quantity and speed (Gaussian copula); absent: as partitioned"
    )


class ModelSettings(Section):
    """Which model is trained; ``cut`` is refused where the protocol has no use for it."""

    name: ModelName = Field(description="name of a model (emulator list models)")
    cut: int | None = Field(default=None, ge=0, description="blocks on the device; only where the protocol splits")
    weights: str | None = Field(
        default=None, description="weights to start from: a file, or a name (emulator list weights); the rest is drawn"
    )
    weights_sha256: str | None = Field(
        default=None, description="of the file; written when resolved, checked when given"
    )
    batch_statistics: bool = Field(
        default=False, description="BatchNorm normalises by the batch at hand, in evaluation too, as in EcoFed"
    )
    keep_ratio: float | None = Field(
        default=None,
        description="share of the channels that a gated model keeps for each sample, in (0, 1]; default 0.7",
    )

    @field_validator("weights")
    @classmethod
    def _there(cls, chosen: str | None) -> str | None:
        if chosen is not None and chosen not in PRETRAINED and not Path(chosen).is_file():
            raise wrong(f"got {chosen}; expected a file of weights, or one of {', '.join(PRETRAINED)}")
        return chosen

    @model_validator(mode="before")
    @classmethod
    def _sum_up(cls, data: Any) -> Any:
        """Write the digest of the weights' file down, so that the scenario's hash covers them."""
        chosen = data.get("weights") if isinstance(data, dict) else None
        if isinstance(chosen, str) and chosen in PRETRAINED:
            return {**data, "weights_sha256": PRETRAINED[chosen].sha256}
        if isinstance(chosen, str) and Path(chosen).is_file():
            return with_digest(data, "weights", "weights_sha256")
        return data


class MobilitySettings(Section):
    """Random waypoint around the cell: straight walks to uniform places, a pause at each; or a track from a file."""

    track: TrackSettings | None = Field(
        default=None, description="places of every device of the group, in place of a walk"
    )

    slowest: Speed = Field(default=0.5, description="uniform speed from here; above zero, or devices come to rest")
    fastest: Speed = 1.5
    pause: Duration = 0.0
    radius: PositiveLength = Field(default=250.0, description="of the area, around the position of the device's cell")
    cells: list[str] = Field(default=[], description="cells between which devices are handed over; empty: they stay")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.slowest > self.fastest:
            raise wrong(
                f"got slowest {self.slowest:g} m/s above fastest {self.fastest:g} m/s; expected slowest to fastest"
            )
        return self


class GroupTraces(Section):
    """Rates of each device of a group over time, in place of constant ones."""

    uplink: TraceSettings | None = None
    downlink: TraceSettings | None = None


_COUNT_OR_SHARE = {
    "oneOf": [
        {"required": [key], "properties": {key: {"type": kind}}}
        for key, kind in (("count", "integer"), ("share", "number"))
    ]
}


class DeviceGroup(Profiled):
    """Devices of one profile, in one cell: ``count`` of them, or a ``share`` of ``population.devices``."""

    model_config = ConfigDict(json_schema_extra=cast(JsonDict, _COUNT_OR_SHARE))

    profile: ProfileName = Field(description=PROFILE)
    profile_sha256: str | None = Field(default=None, description=DIGEST)
    count: Count | None = Field(default=None, description="so many devices")
    share: float | None = Field(
        default=None, gt=0, le=1, description="of the devices that counts leave; shares sum to 1"
    )
    cell: str | None = Field(default=None, description="name of a cell under network.cells")
    cut: int | None = Field(default=None, ge=0, description="blocks on these devices, in place of model.cut")
    uplink: Rate | None = Field(default=None, description="device to network, before the cell's and the profile's")
    downlink: Rate | None = Field(default=None, description="network to device")
    latency: Duration | None = Field(default=None, description="one way")
    slowdown: SpreadSettings | None = Field(default=None, description="a factor on compute time, drawn per device")
    vary: dict[Figure, SpreadSettings] = Field(
        default_factory=dict, description="a factor on a figure of the profile, drawn per device"
    )
    weight: float = Field(default=1.0, gt=0, le=1e6, description="share of a shared or airtime cell, against others")
    distance: Length | None = Field(default=None, description="from the cell; absent: drawn uniformly by area")
    mobility: MobilitySettings | None = Field(default=None, description="in cells with a radio")
    traces: GroupTraces | None = Field(default=None, description="in cells without a radio")
    availability: AvailabilitySettings | None = Field(default=None, description="absent: always there")
    load: LoadSettings | None = Field(default=None, description="other work on the devices")
    charge: float = Field(default=1.0, gt=0, le=1, description="of the battery at the start; no matter on mains")
    completeness: CompletenessSettings | None = Field(default=None, description="absent: all of its local work")
    dynamic_channels: bool | None = Field(
        default=None, description="whether kernels compute only channels that a gate keeps; absent: as the profile says"
    )
    sparse_kernels: bool | None = Field(
        default=None, description="whether kernels skip single weights that are pruned; absent: as the profile says"
    )

    @property
    def roams(self) -> tuple[str, ...]:
        """Cells between which its devices are handed over; none: they stay in their own."""
        return tuple(self.mobility.cells) if self.mobility is not None else ()


class PopulationSettings(Section):
    """The fleet as a whole."""

    devices: Count | None = Field(default=None, description="how many; only where groups have shares it must be given")
    uncertainty: Literal["nominal", "drawn"] = Field(
        default="nominal",
        description="drawn: each profile's figures once within their uncertainties, by the fleet seed",
    )


class ServerSettings(Profiled):
    """The server."""

    profile: ProfileName = Field(default="edge-server", description=PROFILE)
    profile_sha256: str | None = Field(default=None, description=DIGEST)
    discipline: Literal["fifo", "shared", "share_per_client"] = Field(
        default="fifo", description="one compute at a time; all at equal shares; or each at the profile's full speed"
    )


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


DevicesPerActor = Annotated[int | str, BeforeValidator(_devices_per_actor), WithJsonSchema(_DEVICES_SCHEMA)]


class ActorSettings(Section):
    """How the emulation is spread over Ray actors. It changes speed, never results."""

    devices_per_actor: DevicesPerActor = Field(
        default="auto", description="auto: one actor a core; 1: one named, torch-free actor per device; or a number"
    )
    gpus_per_actor: float = Field(default=0.0, ge=0, description="share of a GPU per actor, on nodes that have one")
    dashboard: bool = Field(default=False, description="start Ray's dashboard")
    ahead: int = Field(default=2, ge=0, description="rounds the clock may run ahead of the tensors")
