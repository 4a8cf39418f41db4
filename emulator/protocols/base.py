"""What all settings of a protocol have in common."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=1e-9, le=1e9)]  # of virtual time, which goes by whole nanoseconds


class Closed(BaseModel):
    """Frozen, closed, finite: an unknown key, a NaN or a change after the start is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Settings(Closed):
    """What every protocol is told, and what others ask of its settings."""

    def require_default(self, keys: tuple[str, ...], why: str) -> None:
        """Raises ValueError for a setting that has no effect here, unless it is its default, as resolved scenarios say it."""
        for key in keys:
            got, default = getattr(self, key), type(self).model_fields[key].default
            if got != default:
                words = "none" if default is None else f"{default}, the default"
                raise ValueError(f"{key}: got {got}; expected {words}, as it has no effect with {why}")

    @property
    def reads_validation(self) -> bool:
        """Whether the protocol's decisions look at the validation split."""
        return False

    @property
    def decides_by(self) -> str:
        """The setting for which decisions look at data, as ``key: got X``; empty: nothing is looked at, so far as is known."""
        return ""

    @property
    def assigns_band(self) -> str | None:
        """The setting by which a protocol gives away the parts of a band; None where it does not: no cell may wait for it."""
        return None

    @property
    def needs_powers(self) -> str | None:
        """The setting that counts joules, so that profiles must tell powers; None without any."""
        return None

    @property
    def plans(self) -> bool:
        """Whether a round's plan may fail (``Unmet``): the first one is then tried before the run."""
        return False

    @property
    def steps(self) -> int:
        """Rounds in which as much happens as in a synchronous one: so far the clock may run ahead in its place."""
        return 1

    @property
    def patience(self) -> int:
        """Operations whose results others need that may be held back, to travel to the actors together."""
        return 0

    def too_many_for(self, fleet: int) -> Iterator[str]:
        """What is wrong with these settings for a fleet of so many devices, as ``key.path: got X; expected Y``."""
        yield from ()


class Rounds(Settings):
    """What every protocol needs that goes on in rounds; in an asynchronous one a round is an aggregation."""

    rounds: int = Field(ge=1, description="number of rounds (upper bound when a stop is set)")

    def everybody(self, devices: int) -> Self:
        """The same settings for a short run in which every one of so many devices takes part, to look at what it needs."""
        return self.model_copy(update={"rounds": 1})
