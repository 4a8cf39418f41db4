"""How a scenario says that figures differ from device to device: the settings of ``slowdown`` and ``vary``."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from emulator.devices.profile import FACTORED
from emulator.devices.spread import Distribution, Spread, read_values
from emulator.section import Section, known, with_digest, wrong

Figure = Annotated[str, *known("a figure of a profile", FACTORED)]
Factor = Annotated[float, Field(gt=0)]

# The settings that each distribution needs, and no others; empirical takes either of two sets.
NEEDED: dict[Distribution, tuple[set[str], ...]] = {
    "lognormal": ({"sigma"},),
    "uniform": ({"low", "high"},),
    "constant": ({"factor"},),
    "zipf": ({"exponent", "ranks"},),
    "empirical": ({"values"}, {"file", "column"}),
}


class SpreadSettings(Section):
    """A factor, drawn once per device: lognormal, uniform, constant, a Zipf law over ranks, or from given values."""

    distribution: Distribution
    sigma: float | None = Field(default=None, ge=0, le=10, description="lognormal: spread of the log; the median is 1")
    low: float | None = Field(default=None, gt=0, description="uniform: smallest factor")
    high: float | None = Field(default=None, gt=0, description="uniform: largest factor")
    factor: float | None = Field(default=None, gt=0, description="constant: the factor")
    exponent: float | None = Field(default=None, gt=0, le=10, description="zipf: factor = rank^-exponent; fastest 1")
    ranks: int | None = Field(default=None, ge=1, le=10**6, description="zipf: ranks are uniform from 1 to this")
    values: list[Factor] | None = Field(default=None, min_length=1, description="empirical: factors to draw from")
    file: str | None = Field(default=None, description="empirical: a CSV file with a line of column names")
    column: str | None = Field(default=None, description="empirical: the file's column of factors")
    sha256: str | None = Field(default=None, description="of the file; written when resolved, checked when given")

    @model_validator(mode="before")
    @classmethod
    def _sum_up(cls, data: Any) -> Any:
        return with_digest(data, "file", "sha256")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = {key for key, value in self if value is not None} - {"distribution", "sha256"}
        sets = NEEDED[self.distribution]
        if given not in sets:
            got = ", ".join(sorted(given)) or "neither figure"
            accepted = ", or ".join(" and ".join(sorted(needed)) for needed in sets)
            raise wrong(f"got {got}; expected {accepted} for a {self.distribution} spread")
        if self.sha256 is not None and self.file is None:
            raise wrong("got sha256 without a file; expected the file that it is of, or none")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise wrong(f"got low {self.low} above high {self.high}; expected low to high")
        try:
            self.build()
        except ValueError as error:
            raise wrong(str(error)) from None
        return self

    def build(self) -> Spread:
        """As the population draws it; raises ValueError for a file that holds no factors."""
        given = self.model_dump(exclude_none=True, exclude={"file", "column", "sha256", "values"})
        if self.file is not None and self.column is not None:
            return Spread(**given, values=read_values(Path(self.file), self.column))
        return Spread(**given, values=tuple(self.values or (1.0,)))
