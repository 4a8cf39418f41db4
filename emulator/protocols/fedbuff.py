"""FedBuff: Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022 (arXiv 2106.06639).

Algorithm 1: the server adds the mean of ``buffer`` (K) updates to its weights, times eta_g. An update is the difference from
the weights that its device was given, divided by sqrt(1 + staleness); the sum is divided by K whatever the staleness.

Ours: ``weighting: samples`` (n_k / n in place of 1 / K), other functions of staleness, BatchNorm's running statistics (moved by
the same shares towards what came), and split and frozen training, whose halves are merged alike.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from emulator.learning.late_updates import add_updates
from emulator.learning.sgd import Problem
from emulator.protocols.async_training import FrozenWork, training_of
from emulator.protocols.asynchronous import Asynchronous, Server, Update
from emulator.protocols.settings import CodedWork
from emulator.protocols.split_training import SplitWork
from emulator.protocols.verbs import Value, World


class Adding(Asynchronous):
    """Settings of servers that add updates to their weights."""

    server_learning_rate: float = Field(default=1.0, gt=0, description="eta_g, the server's step size")
    weighting: Literal["uniform", "samples"] = Field(
        default="uniform", description="of the updates that are merged together: all alike, or by samples"
    )


class Buffering(Adding):
    """Settings of the rule."""

    buffer: int = Field(default=10, ge=1, description="K: updates that are merged together")

    @property
    def steps(self) -> int:
        """A buffer each."""
        return -(-self.concurrency // self.buffer)

    def too_many_for(self, fleet: int) -> Iterator[str]:
        """More than there are devices."""
        yield from super().too_many_for(fleet)
        if self.buffer > fleet:
            yield f"protocol.buffer: got {self.buffer}; expected at most the fleet's {fleet} devices"


class FedBuffSettings(CodedWork, Buffering):
    """Settings of FedBuff."""


class SplitFedBuffSettings(SplitWork, Buffering):
    """The same for split training."""


class FrozenFedBuffSettings(FrozenWork, Buffering):
    """The same behind a frozen front."""


class Added:
    """Updates that are added to the weights."""

    window_s: float | None = None
    eager = True

    def __init__(self, settings: Adding) -> None:
        self._settings = settings

    async def merge(self, world: World, weights: Value, updates: Sequence[Update]) -> Value:
        """The weights and eta_g times the mean update."""
        uniform = self._settings.weighting == "uniform"
        counts = [1 if uniform else update.device.samples for update in updates]
        late = [self._settings.staleness.weight(update.staleness) for update in updates]
        shares = tuple(n / sum(counts) * weight for n, weight in zip(counts, late, strict=True))
        pairs = [value for update in updates for value in (update.given, update.made)]
        rate = self._settings.server_learning_rate
        return await world.server.compute(add_updates, shares, rate, weights, *pairs, near=world.server)


class Buffered(Added):
    """So many at a time."""

    def __init__(self, settings: Buffering) -> None:
        super().__init__(settings)
        self._size = settings.buffer

    def due(self, came: int, over: bool) -> int | None:
        """As soon as the buffer is full."""
        return self._size if came >= self._size else None


async def fedbuff(
    world: World, problem: Problem, settings: FedBuffSettings | SplitFedBuffSettings | FrozenFedBuffSettings
) -> None:
    """Algorithm 1."""
    training, rule = training_of(world, problem, settings), Buffered(settings)
    await Server(world, training, rule, settings.concurrency).run(settings.rounds)
