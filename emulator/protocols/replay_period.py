"""When EcoFed's devices send: every so manieth round, or by how much the last rounds have gained.

EcoFed's authors' code reads the trend of accuracy again every 40 rounds, in bands of 1e-1, 1e-2 and 1e-3, but assigns a period
of 2 in every band. The rule here is ours: the less was gained on validation data, the longer devices rest.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from emulator.protocols.split_training import OwnFronts

Period = int | Literal["adaptive"]
RULE = ("adapt_every", "bands", "periods", "gain_of")


class Replaying(OwnFronts):
    """Settings of the replay period. Raises ValueError for a rule that cannot be, or that nobody asked for."""

    replay_period: Period = Field(default=2, description="devices send in every so manieth round; 1: in all; adaptive")
    adapt_every: int = Field(default=40, ge=1, description="adaptive: rounds between looks at the validation data")
    bands: list[float] = Field(default=[1e-1, 1e-2, 1e-3], description="adaptive: gains between two looks, falling")
    periods: list[int] = Field(
        default=[1, 2, 4, 8], description="adaptive: for gains from the first band up, and so on"
    )
    gain_of: Literal["accuracy", "loss"] = Field(default="accuracy", description="adaptive: what is looked at")

    @model_validator(mode="after")
    def _period_and_rule(self) -> Self:
        if self.replay_period != "adaptive":
            if self.replay_period < 1:
                raise ValueError(f"replay_period: got {self.replay_period}; expected 1 or more, or adaptive")
            given = [key for key in RULE if getattr(self, key) != type(self).model_fields[key].default]
            if given:
                got = f"got {getattr(self, given[0])} beside replay_period {self.replay_period}"
                raise ValueError(f"{given[0]}: {got}; expected none, or replay_period adaptive")
        if sorted(set(self.bands), reverse=True) != self.bands or not self.bands:
            raise ValueError(f"bands: got {self.bands}; expected gains that fall, e.g. [0.1, 0.01, 0.001]")
        if len(self.periods) != len(self.bands) + 1 or min(self.periods) < 1:
            raise ValueError(
                f"periods: got {self.periods}; expected {len(self.bands) + 1} of 1 or more, a band's and the rest"
            )
        return self

    @property
    def reads_validation(self) -> bool:
        """Whether decisions look at the validation split."""
        return self.replay_period == "adaptive"

    @property
    def decides_by(self) -> str:
        """The setting for which decisions look at data."""
        return "replay_period: got adaptive" if self.reads_validation else super().decides_by


class Schedule:
    """Which rounds are update rounds, counted from 0. ``period`` holds from now on."""

    def __init__(self, settings: Replaying) -> None:
        self._settings = settings
        self.period = settings.periods[0] if settings.replay_period == "adaptive" else settings.replay_period
        self._seen: float | None = None
        self._last: int | None = None

    def wants(self, number: int) -> bool:
        """Whether to look at the validation data before a round."""
        return self._settings.reads_validation and number % self._settings.adapt_every == 0

    def look(self, accuracy: float, loss: float) -> None:
        """What was seen: from the second look on the gain since the one before chooses the period."""
        seen = accuracy if self._settings.gain_of == "accuracy" else -loss
        if self._seen is not None:
            gain = seen - self._seen
            self.period = self._settings.periods[sum(gain < band for band in self._settings.bands)]
        self._seen = seen

    def due(self, number: int) -> bool:
        """Whether devices send in a round: the period since they last did is over. To be asked once a round."""
        if self._last is not None and number - self._last < self.period:
            return False
        self._last = number
        return True
