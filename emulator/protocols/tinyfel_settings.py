"""TinyFEL's settings: each decision is optimised, or taken as a baseline takes it (see ``tinyfel``)."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from emulator.protocols.settings import LocalTraining


class TinyFELSettings(LocalTraining):
    """Settings of TinyFEL. Each decision is optimised, or taken as a baseline takes it."""

    whole_rounds: ClassVar[str | None] = "TinyFEL assigns ratios and bandwidth so that all end together"
    own_sampling: ClassVar[str | None] = "TinyFEL selects devices itself"

    ratio: Literal["optimised", "uniform", "largest", "full", "fixed"] = Field(
        default="optimised",
        description="update ratios: optimised; one for all; the largest that caps allow; 1; or update_ratio for all",
    )
    update_ratio: float | None = Field(default=None, gt=0, le=1, description="of ratio: fixed")
    ratio_by: Literal["parameters", "layers"] = Field(default="parameters", description="what a ratio is a share of")
    least_ratio: float = Field(default=0.05, ge=0, le=1, description="smaller ratios are not assigned")
    required: float = Field(default=0.45, gt=0, le=1, description="convergence: least sum of q_k u_k over the cohort")
    selection: Literal["optimised", "all", "random"] = Field(
        default="optimised",
        description="devices of the cohort that take part; random: as many as the requirement needs",
    )
    bandwidth: Literal["optimised", "equal", "network"] = Field(
        default="optimised", description="parts of an assigned band; network: as the devices' cells share it"
    )
    knowledge: Literal["mean", "now"] = Field(
        default="now",
        description="of the channel: its mean, or its gain in the coherence block in which a round starts",
    )
    count_downlink: bool = Field(
        default=False,
        description="whether T, which is minimised (assigned_s), has the downlink; else a round takes downlink_s more",
    )
    memory_share: float | None = Field(default=None, gt=0, le=1, description="cap, as a share of full training's peak")
    energy_cap_j: float | None = Field(default=None, gt=0, description="cap of a device's joules for a round")
    latest_s: float | None = Field(default=None, gt=0, description="latest end of a round, in seconds")
    penalty: float = Field(default=1.0, gt=0, description="of ADMM")
    iterations: int = Field(default=120, ge=1, description="of ADMM, at most")

    @model_validator(mode="after")
    def _fixed_has_a_ratio(self) -> Self:
        if (self.ratio == "fixed") != (self.update_ratio is not None):
            raise ValueError(
                f"update_ratio: got {self.update_ratio} with ratio: {self.ratio}; expected one with fixed only"
            )
        return self

    @property
    def assigns_band(self) -> str | None:
        """See ``Settings``."""
        return None if self.bandwidth == "network" else "bandwidth"

    @property
    def needs_powers(self) -> str | None:
        """See ``Settings``."""
        return None if self.energy_cap_j is None else "energy_cap_j"

    @property
    def plans(self) -> bool:
        """See ``Settings``."""
        return True
