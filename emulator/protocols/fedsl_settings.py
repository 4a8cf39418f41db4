"""The settings of lightweight FedSL, and what is wrong with them before a run (see ``fedsl``)."""

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from emulator.learning.binding import block_of
from emulator.learning.codecs.settings import AnyCodec, DropoutCodec
from emulator.learning.front_pruning import Pruning
from emulator.learning.lean_front import Lean
from emulator.learning.models import ModelSpec
from emulator.learning.sgd import Problem
from emulator.learning.split import Split
from emulator.learning.submodel import layers
from emulator.protocols.lean_training import Course
from emulator.protocols.settings import PLAIN, CutTraining
from emulator.protocols.split_cuts import at_cut
from emulator.protocols.split_training import SplitTraining, split_of
from emulator.protocols.verbs import Node

Rate = Annotated[float, Field(ge=0, lt=1)]


class FedSLSettings(CutTraining):
    """Settings of lightweight FedSL: pruning, quantised gradients and dropout at the cut, each a knob of its own."""

    whole_rounds: ClassVar[str | None] = "its fronts stay on their devices over several rounds"
    own_sampling: ClassVar[str | None] = "a team stays for several rounds"

    pruning_rate: float = Field(
        default=0.0, ge=0, lt=1, description="share of the front that is pruned in a round, lambda"
    )
    pruning_rates: dict[str, Rate] = Field(
        default={}, description="pruning rates of devices by the name of their profile"
    )
    prune_by: Literal["weight", "filter"] = Field(
        default="weight", description="single weights of the whole front, or filters layer by layer, which saves time"
    )
    calibrate: Literal["never", "first", "every"] = Field(
        default="never", description="rounds whose first minibatch goes unpruned and tells what to prune"
    )
    gradient_bits: int = Field(
        default=32, ge=1, le=32, description="bits of the front's gradients, b; 32: not quantised"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of the smashed data that is dropped, p")
    dropout_by: Literal["element", "channel"] = Field(
        default="element", description="what is dropped: entries or channels"
    )
    dropout_mask: Literal["seed", "bitmap"] = Field(default="seed", description="how what is kept is told")
    interval: int = Field(default=1, ge=1, description="rounds between two aggregations of the fronts, I")
    backs: Literal["per_client", "shared"] = Field(
        default="per_client", description="copies averaged every round, or one that learns from all minibatches at once"
    )
    upload: Literal["all", "kept"] = Field(
        default="all", description="of a front: all of it, or what the last round kept, and the mask"
    )

    @model_validator(mode="after")
    def _all_rounds_count(self) -> Self:
        if self.rounds % self.interval:
            raise ValueError(
                f"rounds: got {self.rounds} with an interval of {self.interval}; expected a multiple of it, as fronts "
                "that are never averaged are lost"
            )
        return self

    @model_validator(mode="after")
    def _one_code_of_updates(self) -> Self:
        if self.upload == "kept" and not self.weights_codec == self.update_codec == PLAIN:
            raise ValueError(
                "upload: got kept with a codec of weights or updates; expected fp32, as what is kept goes as it is"
            )
        return self

    @model_validator(mode="after")
    def _something_left_to_prune(self) -> Self:
        if self.prunes and self.calibrate == "every" and self.local_steps == 1:
            raise ValueError(
                "calibrate: got every with local_steps 1; expected first or never, as a round's only minibatch would go "
                "unpruned, and nothing would ever be pruned"
            )
        return self

    @property
    def prunes(self) -> bool:
        """Whether any device prunes."""
        return max(self.pruning_rate, *self.pruning_rates.values(), 0) > 0

    @property
    def smashed(self) -> AnyCodec:
        """What dropout at the cut is as a codec."""
        if not self.dropout:
            return PLAIN
        return DropoutCodec(codec="dropout", p=self.dropout, mask=self.dropout_mask, by=self.dropout_by)

    @property
    def cut_gradient(self) -> AnyCodec:
        """The same, with the same seed: the gradients of the entries that were kept."""
        return self.smashed

    @property
    def one_cut(self) -> str | None:
        """Why device groups may not have cuts of their own."""
        if self.backs == "shared":
            return "backs: shared joins all devices' data"
        return "fronts are not averaged every round" if self.interval > 1 else None

    @property
    def profiles(self) -> dict[str, Iterable[str]]:
        """Settings that name profiles of the fleet."""
        return {"pruning_rates": self.pruning_rates}

    def rate(self, profile: str) -> float:
        """A device's pruning rate."""
        return self.pruning_rates.get(profile, self.pruning_rate)

    def wrong_at(self, model: ModelSpec, cut: int) -> Iterator[str]:
        """What does not go with a cut of a model: filters to prune, where none can be cut."""
        if not self.prunes or self.prune_by != "filter":
            return
        try:
            found = any(block_of(layer.name) < cut for layer in layers(model))
        except ValueError as error:
            yield f"protocol.prune_by: got filter; expected weight, as {model.name} is no model for it ({error})"
            return
        if not found:
            front = f"the first {cut} blocks of {model.name} have no filters that may be cut"
            yield f"protocol.prune_by: got filter; expected weight, as {front}"

    def split(self, problem: Problem) -> Split:
        """The steps' settings."""
        return split_of(problem, SplitTraining(**{key: getattr(self, key) for key in SplitTraining.model_fields}))

    def course(self, split: Split, device: Node) -> Course:
        """How a device trains."""
        pruning = Pruning(at_cut(split, device.cut), self.rate(device.profile.name), self.prune_by)
        return Course(Lean(pruning, self.gradient_bits), self.calibrate)
