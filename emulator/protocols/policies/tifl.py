"""TiFL: Chai et al., "TiFL: A Tier-based Federated Learning System", HPDC 2020 (arXiv 2001.09249).

Profiling: all devices are asked in ``sync_rounds`` rounds; who is never there within T_max is a drop-out and is asked no more.
The others are cut into m tiers by mean latency, and every round asks devices of one tier, drawn by the tiers' probabilities.
Algorithm 2 (adaptive): every I rounds, when the tier that was asked last is no better than I rounds ago, ``ChangeProbs`` gives
n tiers with credits the probabilities n / D, (n - 1) / D, ..., 1 / D, D = n (n + 1) / 2, the least accurate tier first. A round
costs its tier a credit; a tier without is not drawn.

Inferred, ours: tiers of equal numbers of devices; profiling rounds train, and their updates count; who was never profiled is
the slowest (with T_max: a drop-out); tiers of which nobody is there are not drawn, and drop-outs are asked if nobody else is
there; profiling is not repeated. A tier's accuracy is that of the weights on its devices' training data (the paper's devices
have test data), weighted by samples: those that evaluate are sent the weights, compute and answer.
"""

from collections.abc import Mapping, Sequence
from math import ceil, inf
from typing import TypeVar

from emulator.learning.random import choose, choose_by
from emulator.protocols.policies.choosing import RandomChoice
from emulator.protocols.policies.figures import Means
from emulator.protocols.policies.sampling import TiflSampling
from emulator.protocols.verbs import Node

K = TypeVar("K")


def tiers_of(latencies: Mapping[K, float], count: int) -> list[list[K]]:
    """Devices by latency in ``count`` tiers of equal size; the first ones have one more where it does not go up."""
    order = sorted(latencies, key=lambda device: latencies[device])
    size, more = divmod(len(order), count)
    bounds = [number * size + min(number, more) for number in range(count + 1)]
    return [order[bounds[number] : bounds[number + 1]] for number in range(count)]


def change_probs(accuracies: Sequence[float], credits: Sequence[int]) -> list[float]:
    """``ChangeProbs``: tiers with credits by accuracy, the least accurate is the most likely; others are not drawn."""
    alive = sorted((tier for tier, left in enumerate(credits) if left), key=lambda tier: accuracies[tier])
    n = len(alive)
    found = [0.0] * len(credits)
    for place, tier in enumerate(alive):
        found[tier] = (n - place) / (n * (n + 1) / 2)
    return found


class TierChoice(RandomChoice):
    """A run's tiers, once they are known, fastest first; their probabilities and credits."""

    def __init__(self, means: Means, sampling: TiflSampling) -> None:
        super().__init__(means.world)
        self.means, self.sampling = means, sampling
        self.tiers: list[list[Node]] | None = None
        measured = sampling.latency == "measured"
        self._left = sampling.profiling_rounds if measured else 0
        self._times: dict[Node, list[float]] = {device: [] for device in self.world.devices}
        self.probabilities = list(sampling.probabilities or [1 / sampling.tiers] * sampling.tiers)
        each = ceil((means.rounds - self._left) / sampling.tiers)
        self.credits = list(sampling.credits or [each] * sampling.tiers)
        self._round = 0  # since tiers are known
        self._last: int | None = None  # the tier that was asked
        self._seen: list[float] | None = None  # accuracies at the last look

    @property
    def profiling_s(self) -> float | None:
        """T_max in profiling rounds."""
        return (self.sampling.t_max_s or inf) if self._left else None

    async def choose(self, count: int) -> Sequence[Node]:
        """Everybody, while profiling; then devices of one tier."""
        there = await self.world.sample(len(self.world.devices))
        if self._left:
            self.metrics = {"tier": 0.0}
            return there
        if self.tiers is None:
            assert self.means.expect is not None
            self._divide({device: self.means.expect(device) for device in self.world.devices})
        if self.sampling.selection == "adaptive":
            await self._look(there)
        members = self._drawn(there)
        self._round += 1
        chosen = choose(self.world.seed("tier", "devices", self.world.round), min(count, len(members)), len(members))
        return [members[index] for index in sorted(chosen)]

    async def observe(self, asked: Sequence[Node], seconds: Mapping[Node, float]) -> None:
        """Latencies, while profiling."""
        if not self._left:
            return
        limit = self.sampling.t_max_s
        for device, times in self._times.items():
            if device in seconds:
                times.append(seconds[device])
            elif limit is not None:
                times.append(limit)
        self._left -= 1
        if not self._left:
            self._divide({device: sum(times) / len(times) if times else inf for device, times in self._times.items()})

    # ---- tiers -------------------------------------------------------------------------------------------------------------

    def _divide(self, latencies: Mapping[Node, float]) -> None:
        limit = self.sampling.t_max_s
        quick = {device: seconds for device, seconds in latencies.items() if limit is None or seconds < limit}
        self.tiers = tiers_of(quick, self.sampling.tiers)

    def _drawn(self, there: Sequence[Node]) -> list[Node]:
        """The devices of a tier that are there; its credit is taken."""
        assert self.tiers is not None
        present = self._present(there)
        weights = self._weights([bool(members) for members in present])
        if not any(weights):  # drop-outs
            self._last, self.metrics = None, {"tier": 0.0}
            return list(there)
        (tier,) = choose_by(self.world.seed("tier", self.world.round), 1, weights)
        self.credits[tier] = max(0, self.credits[tier] - 1)
        self._last, self.metrics = tier, {"tier": tier + 1.0}
        return present[tier]

    def _present(self, there: Sequence[Node]) -> list[list[Node]]:
        """The devices of each tier that are there, in fleet order."""
        assert self.tiers is not None
        known = set(there)
        numbers = {device: number for number, device in enumerate(self.world.devices)}
        return [sorted((d for d in tier if d in known), key=lambda d: numbers[d]) for tier in self.tiers]

    def _weights(self, here: list[bool]) -> list[float]:
        """Of tiers in the draw: their probabilities, where somebody is there and (adaptive) a credit is left; else any such."""
        counted = self.sampling.selection == "adaptive"
        allowed = [some and (left > 0 or not counted) for some, left in zip(here, self.credits, strict=True)]
        weights = [p if ok else 0.0 for p, ok in zip(self.probabilities, allowed, strict=True)]
        if any(weights):
            return weights
        return [float(ok) for ok in (allowed if any(allowed) else here)]

    # ---- Algorithm 2 -------------------------------------------------------------------------------------------------------

    async def _look(self, there: Sequence[Node]) -> None:
        if self._round % (self.sampling.interval or self.sampling.tiers):
            return
        accuracies = await self._accuracies(there)
        if self._seen is not None and self._last is not None and accuracies[self._last] <= self._seen[self._last]:
            self.probabilities = change_probs(accuracies, self.credits)
        self._seen = accuracies

    async def _accuracies(self, there: Sequence[Node]) -> list[float]:
        """Of each tier; where nobody answers, as last seen, and 0 at first."""
        assert self.tiers is not None
        asked = [self._evaluators(number, members) for number, members in enumerate(self._present(there))]
        told = await self.means.probed([device for some in asked for device in some])
        found = list(self._seen or [0.0] * len(self.tiers))
        for number, some in enumerate(asked):
            came = [device for device in some if device in told]
            if came:
                samples = sum(device.samples for device in came)
                found[number] = sum(told[device] * device.samples for device in came) / samples
        return found

    def _evaluators(self, number: int, members: list[Node]) -> list[Node]:
        members = [device for device in members if device.samples]
        count = min(self.sampling.evaluators or len(members), len(members))
        chosen = choose(self.world.seed("tier", "evaluators", number, self.world.round), count, len(members))
        return [members[index] for index in sorted(chosen)]
