"""Who is asked in a round."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from emulator.protocols.policies.settings import GivenSampling
from emulator.protocols.verbs import Node, World


class Choice(Protocol):
    """A run's way to choose cohorts. ``metrics``: of the round under way, for its report."""

    metrics: dict[str, float]

    @property
    def profiling_s(self) -> float | None:
        """Not None: this round asks everybody and waits for all, at most so many seconds."""

    async def choose(self, count: int) -> Sequence[Node]:
        """At most ``count`` devices for the round under way, in fleet order; waits while no device is there.

        More in a round of profiling.
        """

    async def observe(self, asked: Sequence[Node], seconds: Mapping[Node, float]) -> None:
        """The round's gathering is over: who was asked, and how long those that count took."""


class RandomChoice:
    """The world's own sample."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.metrics: dict[str, float] = {}

    @property
    def profiling_s(self) -> float | None:
        """Never."""
        return None

    async def choose(self, count: int) -> Sequence[Node]:
        """Uniformly, without replacement."""
        return await self.world.sample(count)

    async def observe(self, asked: Sequence[Node], seconds: Mapping[Node, float]) -> None:
        """Nothing is learned."""


class GivenChoice(RandomChoice):
    """As told; who is away is left out."""

    def __init__(self, world: World, sampling: GivenSampling) -> None:
        super().__init__(world)
        self.cohorts = sampling.cohorts

    async def choose(self, count: int) -> Sequence[Node]:
        """The round's list."""
        wanted = self.cohorts[self.world.round - 1]
        there = set(await self.world.sample(len(self.world.devices)))
        return [device for number in sorted(wanted) if (device := self.world.devices[number]) in there]
