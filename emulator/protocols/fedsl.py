"""Lightweight FedSL: Zhang, Ni & Wang, "Federated Split Learning with Model Pruning and Gradient Quantization in Wireless Networks".

arXiv 2412.06414, 2024. Its abstract names the parts: federated split learning (devices in parallel, each with the front of the
model), dynamic pruning of the client-side model, quantised gradient updates, random dropout of the activations at the cut.
A summary of the paper adds: pruned is what contributes least to the loss; fronts are aggregated every I rounds; VGG-19 on CIFAR-10.

Inferred, and ours: the formulas (``pruning``, ``lean_front``), backs averaged every round as in SplitFed v1 or one shared back,
a cohort that stays for I rounds, fresh optimisers each round, averages weighted by samples. With every knob off a round is
SplitFed v1's, verb by verb. Between two aggregations the newest whole model is the last one.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from emulator.learning.aggregation import average
from emulator.learning.binding import block_of
from emulator.learning.codecs.settings import AnyCodec, DropoutCodec
from emulator.learning.lean_front import Lean
from emulator.learning.models import ModelSpec
from emulator.learning.pruning import Pruning
from emulator.learning.sgd import Problem
from emulator.learning.split import Split, begin, end, sizes
from emulator.learning.submodel import layers
from emulator.protocols.courier import Courier
from emulator.protocols.lean_training import Client, Course, OwnBack, SharedBack
from emulator.protocols.parallel_split import serve
from emulator.protocols.settings import PLAIN, LocalTraining
from emulator.protocols.split_cuts import Halves, at_cut, at_cuts, averaged
from emulator.protocols.split_training import SplitTraining, split_of, start
from emulator.protocols.verbs import Mailbox, Node, Value, World

Rate = Annotated[float, Field(ge=0, lt=1)]


class FedSLSettings(LocalTraining):
    """Settings of lightweight FedSL: pruning, quantised gradients and dropout at the cut, each a knob of its own."""

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
        pruned = max(self.pruning_rate, *self.pruning_rates.values(), 0) > 0
        if pruned and self.prune_by == "filter" and not any(block_of(layer.name) < cut for layer in layers(model)):
            front = f"the first {cut} blocks of {model.name} have no filters that may be cut"
            yield f"protocol.prune_by: got filter; expected weight, as {front}"

    def split(self, problem: Problem) -> Split:
        """The steps' settings."""
        return split_of(problem, SplitTraining(**{key: getattr(self, key) for key in SplitTraining.model_fields}))

    def course(self, split: Split, device: Node) -> Course:
        """How a device trains."""
        pruning = Pruning(at_cut(split, device.cut), self.rate(device.profile.name), self.prune_by)
        return Course(Lean(pruning, self.gradient_bits), self.calibrate)


class Rounds:
    """The server's side: a team that stays for ``interval`` rounds, its fronts and backs."""

    def __init__(self, world: World, settings: FedSLSettings, split: Split) -> None:
        self.world, self.settings, self.split = world, settings, split
        self.courier = Courier(world, settings)
        self.team: dict[Node, Client] = {}
        self._gradients: dict[str, Value] = {}  # of each device, there

    async def play(self, parts: Halves, *, closing: bool) -> Halves:
        """A round with backs of the devices' own: front and back at the server; the front is new when ``closing``."""
        halves = await self._hired(parts)
        trained = await self.world.gather(
            {
                device: self._alone(client, halves[device.cut][1], closing=closing)
                for device, client in self.team.items()
            }
        )
        self._stay(trained, closing=closing)
        if not any(device.samples for device in trained):
            return parts
        if closing:
            return await averaged(self.world, trained, self.split)
        samples = tuple(device.samples for device in trained)
        return parts[0], await self.world.server.compute(average, samples, *(theirs for _, theirs in trained.values()))

    async def play_joined(self, parts: Halves, *, closing: bool) -> Halves:
        """The same with one back, which goes on learning."""
        await self._hired(parts)
        front, half = parts
        box, split = self.world.mailbox(), self.split
        due = {device: len(sizes(split.plan, device.samples)) for device in self.team}
        serving = self.world.spawn(serve(self.world, half, (box, split), due))
        fronts = await self.world.gather(
            {device: self._beside(client, box, closing=closing) for device, client in self.team.items()}
        )
        half, samples = await serving, tuple(device.samples for device in fronts)
        self._stay(fronts, closing=closing)
        if closing and sum(samples):
            front = await self.world.server.compute(average, samples, *fronts.values())
        return front, half

    async def _hired(self, parts: Halves) -> dict[int | None, Halves]:
        """Who trains, sampled where nobody is there; and both halves at the cuts of those who do."""
        cohort = list(self.team) or await self.world.sample(self.settings.cohort)
        if self.settings.backs == "shared":
            halves: dict[int | None, Halves] = {self.split.cut: parts}
        else:
            halves = await at_cuts(self.world, parts, self.split, cohort)
        if not self.team:
            offers = {cut: await self.courier.offer(front) for cut, (front, _) in halves.items()}
            self.team = {device: Client(self.world, device, offers[device.cut], self._gradients) for device in cohort}
        return halves

    def _stay(self, survivors: Iterable[Node], *, closing: bool) -> None:
        """Who goes on to the next round."""
        self.team = {} if closing else {device: self.team[device] for device in survivors}

    async def _alone(self, client: Client, theirs: Value, *, closing: bool) -> Halves:
        """A device's round against a back of its own."""
        server, course = self.world.server, self.settings.course(self.split, client.device)
        half = await server.compute(begin, theirs, near=client.device, split=course.split, back=True)
        desk = OwnBack(self.world, client.device, half, course.split)
        await client.train(desk, course)
        update = await self._brought(client, course) if closing else None
        return update, await server.compute(end, desk.half, near=client.device)

    async def _beside(self, client: Client, box: Mailbox, *, closing: bool) -> Value:
        """A device's round against the back of all."""
        desk, course = SharedBack(self.world, client.device, box), self.settings.course(self.split, client.device)
        try:
            await client.train(desk, course)
        finally:
            desk.leave()
        return await self._brought(client, course) if closing else None

    async def _brought(self, client: Client, course: Course) -> Value:
        return await client.bring(course.lean.pruning if self.settings.upload == "kept" else None)


async def fedsl(world: World, problem: Problem, settings: FedSLSettings) -> None:
    """Rounds of split training, fronts averaged every ``interval`` of them."""
    split = settings.split(problem)
    front, back = newest = await start(world, split)
    rounds, shared = Rounds(world, settings, split), settings.backs == "shared"
    if shared:
        back = await world.server.compute(begin, back, split=split, back=True)
    for number in range(1, settings.rounds + 1):
        closing = number % settings.interval == 0
        front, back = await (rounds.play_joined if shared else rounds.play)((front, back), closing=closing)
        if closing:
            newest = (front, await world.server.compute(end, back) if shared else back)
        world.report(*newest)
