"""FedAsync: Xie, Koyejo & Gupta, "Asynchronous Federated Optimization", arXiv 1903.03934, Algorithm 1.

Whatever comes is mixed in at once: x_t = (1 - alpha_t) x_{t-1} + alpha_t x_new, alpha_t = alpha s(t - tau). Devices minimise
their loss with a proximal term rho / 2 |x - x_tau|^2. Ours: split and frozen training, whose halves are mixed alike.
"""

from collections.abc import Sequence

from pydantic import Field

from emulator.learning.aggregation import mixed
from emulator.learning.sgd import Problem
from emulator.protocols.async_training import FrozenWork, training_of
from emulator.protocols.asynchronous import Asynchronous, Server, Update
from emulator.protocols.settings import CodedWork
from emulator.protocols.split_training import SplitWork
from emulator.protocols.staleness import Staleness
from emulator.protocols.verbs import Value, World


class Mixing(Asynchronous):
    """Settings of the rule."""

    mixing: float = Field(default=0.6, gt=0, le=1, description="alpha: the share of a fresh update in the new weights")

    @property
    def steps(self) -> int:
        """An update each."""
        return self.concurrency


class FedAsyncSettings(CodedWork, Mixing):
    """Settings of FedAsync."""

    rho: float = Field(default=0.0, ge=0, description="weight of the proximal term on the device")


class SplitFedAsyncSettings(SplitWork, Mixing):
    """The same for split training."""


class FrozenFedAsyncSettings(FrozenWork, Mixing):
    """The same behind a frozen front."""


class Mixed:
    """One update at a time."""

    window_s = None
    eager = True

    def __init__(self, mixing: float, staleness: Staleness) -> None:
        self._mixing, self._staleness = mixing, staleness

    def due(self, came: int, over: bool) -> int | None:
        """As soon as there is one."""
        return 1 if came else None

    async def merge(self, world: World, weights: Value, updates: Sequence[Update]) -> Value:
        """Lines 4 to 6 of the updater: the share falls with staleness."""
        (update,) = updates
        share = self._mixing * self._staleness.weight(update.staleness)
        return await world.server.compute(mixed, share, weights, update.made, near=world.server)


async def fedasync(
    world: World, problem: Problem, settings: FedAsyncSettings | SplitFedAsyncSettings | FrozenFedAsyncSettings
) -> None:
    """The updater and the scheduler of Algorithm 1, in one loop; ``rho`` where devices have all of the model."""
    mu = settings.rho if isinstance(settings, FedAsyncSettings) else 0.0
    training, rule = training_of(world, problem, settings, mu), Mixed(settings.mixing, settings.staleness)
    await Server(world, training, rule, settings.concurrency).run(settings.rounds)
