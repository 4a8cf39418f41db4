"""Settings that several protocols share. Each protocol file derives its own; a scenario's ``protocol:`` block is one."""

from collections.abc import Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from emulator.learning.codecs import CodecSettings
from emulator.learning.codecs.settings import PlainCodec
from emulator.learning.models import ModelSpec

PLAIN = PlainCodec(codec="fp32")


class Settings(BaseModel):
    """Frozen, closed, finite: an unknown key, a NaN or a change after the start is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

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
    def assigns_band(self) -> str | None:
        """The setting by which a protocol gives away the parts of a band; None where it does not."""
        return None

    @property
    def needs_powers(self) -> str | None:
        """The setting that counts joules, so that profiles must tell powers; None without any."""
        return None

    @property
    def plans(self) -> bool:
        """Whether a round's plan may fail (``Unmet``): the first one is then tried before the run."""
        return False


class RoundSettings(Settings):
    """What every synchronous protocol needs."""

    rounds: int = Field(ge=1, description="number of rounds (upper bound when a stop is set)")
    cohort: int = Field(ge=1, description="devices sampled per round, without replacement")


class LocalTraining(RoundSettings):
    """Local minibatch SGD on the device: ``local_epochs`` passes over the local data, or ``local_steps`` minibatches."""

    local_epochs: int | None = Field(default=None, ge=1, description="passes over the local data (default 1)")
    local_steps: int | None = Field(default=None, ge=1, description="minibatches a round, instead of local_epochs")
    batch_size: int = Field(default=16, ge=1, description="samples per minibatch; the last one may be smaller")
    learning_rate: float = Field(gt=0, description="step size of local SGD")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="heavy-ball momentum of local SGD")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 coefficient added to the gradient")

    @model_validator(mode="after")
    def _one_measure_of_work(self) -> Self:
        if self.local_epochs is not None and self.local_steps is not None:
            raise ValueError("local_epochs and local_steps exclude each other; give one of them")
        return self


class CodedTraining(LocalTraining):
    """Local training whose weights and updates may be coded on their way (``courier.py``)."""

    weights_codec: CodecSettings = Field(default=PLAIN, description="codec of weights on their way to those that train")
    update_codec: CodecSettings = Field(
        default=PLAIN, description="codec of what comes back: new minus received weights"
    )
    error_feedback: bool = Field(default=False, description="what update_codec leaves out is added to the next update")

    @model_validator(mode="after")
    def _something_to_feed_back(self) -> Self:
        if self.error_feedback and self.update_codec == PLAIN:
            raise ValueError(
                "error_feedback: got true with update_codec fp32; expected a codec that leaves something out"
            )
        return self


class CutTraining(CodedTraining):
    """Training of a model that is cut between devices and server."""

    @property
    def one_cut(self) -> str | None:
        """Why all devices must have one cut; None where groups may have cuts of their own."""
        return None

    def wrong_at(self, model: ModelSpec, cut: int) -> Iterator[str]:
        """What is wrong with these settings for a model at a cut, as ``key.path: got X; expected Y``."""
        yield from ()


class PrunedTraining(LocalTraining):
    """Local training that may set small weights to zero (ADP's variant B, ``learning/pruning.py``)."""

    prune_threshold: float = Field(
        default=0.0,
        ge=0,
        description="after each local epoch convolutions' weights up to this size become zero; 0: none",
    )
