"""Settings that several protocols share. Each protocol file derives its own; a scenario's ``protocol:`` block is one."""

from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from emulator.learning.codecs import CodecSettings
from emulator.learning.codecs.settings import PlainCodec
from emulator.learning.models import ModelSpec
from emulator.protocols.base import Settings
from emulator.protocols.round_settings import RoundSettings

PLAIN = PlainCodec(codec="fp32")


class LocalWork(Settings):
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


class LocalTraining(LocalWork, RoundSettings):
    """Local minibatch SGD in rounds."""


class CodedWork(LocalWork):
    """Local work whose weights and updates may be coded on their way (``courier.py``)."""

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


class CodedTraining(CodedWork, LocalTraining):
    """The same in rounds."""

    whole_work: ClassVar[str | None] = None
    foresees: ClassVar[bool] = True
    no_figures: ClassVar[str | None] = None


class CutWork(CodedWork):
    """Training of a model that is cut between devices and server."""

    @property
    def one_cut(self) -> str | None:
        """Why all devices must have one cut; None where groups may have cuts of their own."""
        return None

    def wrong_at(self, model: ModelSpec, cut: int) -> Iterator[str]:
        """What is wrong with these settings for a model at a cut, as ``key.path: got X; expected Y``."""
        yield from ()


class CutTraining(CutWork, CodedTraining):
    """The same in rounds."""

    whole_work: ClassVar[str | None] = "both ends count minibatches"
    foresees: ClassVar[bool] = False
    no_figures: ClassVar[str | None] = RoundSettings.no_figures


class PrunedTraining(LocalTraining):
    """Local training that may set small weights to zero (ADP's variant B, ``learning/pruning.py``)."""

    prune_threshold: float = Field(
        default=0.0,
        ge=0,
        description="after each local epoch convolutions' weights up to this size become zero; 0: none",
    )
