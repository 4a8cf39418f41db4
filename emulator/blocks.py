"""The blocks of a scenario, and what follows from single ones; ``scenario.py`` puts them together."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from emulator.cell_settings import NetworkSettings
from emulator.devices.profile import Profile
from emulator.devices.profile_file import load_profile
from emulator.devices.uncertainty import drawn_within
from emulator.fleet_rules import (
    counts_of,
)
from emulator.fleets import FleetName
from emulator.learning.datasets import DATASETS
from emulator.learning.models import ModelSpec
from emulator.learning.random import stream
from emulator.protocols.base import Settings
from emulator.protocols.catalogue import PROTOCOLS
from emulator.section import Section
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


class Blocks(Section):
    """What a scenario holds, each block by itself in order."""

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

    def profile(self, name: str) -> Profile:
        """What machines of a profile can do here: as its file says, or drawn once within its figures' uncertainties."""
        found = load_profile(name)
        nominal = self.population.uncertainty == "nominal"
        return found if nominal else drawn_within(found, partial(stream, self.all_seeds.fleet))
