"""What all settings of a protocol have in common."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen, closed, finite: an unknown key, a NaN or a change after the start is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @property
    def reads_validation(self) -> bool:
        """Whether the protocol's decisions look at the validation split."""
        return False

    @property
    def decides_by(self) -> str:
        """The setting for which decisions look at data, as ``key: got X``; empty: nothing is looked at, so far as is known."""
        return ""
