"""The blocks of a scenario that say what befalls devices: availability, other work, outages of cells."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from emulator.air import FileSettings
from emulator.devices.condition import Completeness
from emulator.devices.intervals import Intervals, read_intervals
from emulator.devices.pace import Load
from emulator.devices.presence import Diurnal, Markov, Presence
from emulator.quantities import Duration, PositiveDuration
from emulator.section import Section, wrong
from network.columns import ColumnError

SHORTEST_S, LONGEST_S = 1e-3, 1e9


def _sensible(seconds: float) -> float:
    # A run follows every turn: shorter ones would take it hours; 1e9 s are 31 years.
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise wrong(f"got {seconds:g} s; expected a duration from 1 ms to {LONGEST_S:g} s")
    return seconds


Stay = Annotated[PositiveDuration, AfterValidator(_sensible)]


class AlwaysSettings(Section):
    """There all the time."""

    kind: Literal["always"]

    def build(self, key: int, index: int) -> Presence | None:
        """Nothing to follow."""
        return None


class MarkovSettings(Section):
    """There and away by turns, for exponential times."""

    kind: Literal["markov"]
    mean_on: Stay
    mean_off: Stay

    def build(self, key: int, index: int) -> Presence | None:
        """A chain of its own for each device."""
        return Markov(key, self.mean_on, self.mean_off)


class DiurnalSettings(Section):
    """There once a day, from about ``start`` on for about ``length``."""

    kind: Literal["diurnal"]
    start: Duration = Field(default=22 * 3600.0, description="after the run's start, in each period")
    length: Stay = 8 * 3600.0
    spread: Duration = Field(default=3600.0, description="standard deviation of both ends, drawn for each day")
    period: Stay = 24 * 3600.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.length >= self.period:
            raise wrong(
                f"got a length of {self.length:g} s in a period of {self.period:g} s; expected less than the period"
            )
        return self

    def build(self, key: int, index: int) -> Presence | None:
        """Windows of its own for each device."""
        return Diurnal(key, self.period, (self.start, self.length), self.spread)


class IntervalSettings(FileSettings):
    """There as a file of ``device,start_s,end_s`` lines tells; its devices are dealt to the group in their order, in turn."""

    kind: Literal["trace"]

    @model_validator(mode="after")
    def _reads(self) -> Self:
        try:
            found = _intervals(self.file, self.sha256 or "")
        except (ColumnError, ValueError) as error:
            raise wrong(str(error)) from None
        if not found:
            raise wrong(f"{self.file}: got no device; expected one or more")
        return self

    def build(self, key: int, index: int) -> Presence | None:
        """The spans of the group's device of that index."""
        found = _intervals(self.file, self.sha256 or "")
        return found[index % len(found)]


@lru_cache(maxsize=8)
def _intervals(file: str, _: str) -> tuple[Intervals, ...]:
    return tuple(read_intervals(Path(file)).values())


AvailabilitySettings = Annotated[
    AlwaysSettings | MarkovSettings | DiurnalSettings | IntervalSettings, Field(discriminator="kind")
]


class LoadSettings(Section):
    """Other work on a device, by turns: while it is there, ours goes at ``speed`` times its rate."""

    mean_idle: Stay
    mean_busy: Stay
    speed: float = Field(gt=0, le=1, description="share of the full rate while something else runs")

    def build(self, key: int) -> Load:
        """A process of its own for each device."""
        return Load(Markov(key, self.mean_idle, self.mean_busy), self.speed)


class CompletenessSettings(Section):
    """The share of its local work that a device does, drawn anew each round, uniformly from ``low`` to ``high``."""

    low: float = Field(gt=0, le=1)
    high: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.low > self.high:
            raise wrong(f"got low {self.low} above high {self.high}; expected low to high")
        return self

    def build(self, key: int) -> Completeness:
        """A draw of its own for each device."""
        return Completeness(key, self.low, self.high)


class OutageSettings(Section):
    """A cell is out by turns, with all devices in it."""

    mean_up: Stay
    mean_down: Stay

    def build(self, key: int) -> Markov:
        """One process for the cell."""
        return Markov(key, self.mean_up, self.mean_down)
