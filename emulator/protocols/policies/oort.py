"""Oort: Lai et al., "Oort: Efficient Federated Learning via Guided Participant Selection", OSDI 2021 (arXiv 2010.06081).

Algorithm 1. Of a device that has taken part, U = |B| sqrt(mean squared loss), clipped; Util = U + sqrt(0.1 log R / L), where R
is the round and L the device's last one, times (T / t)^alpha if its t seconds are more than T. The (1 - epsilon) K of a cohort
are drawn by Util among those with at least c of the (1 - epsilon) K-th; the others are new devices, by speed. The pacer adds
Delta to T when the utility of the last W rounds is less than that of the W before. Fairness: (1 - f) Util + f (most rounds of
any device - its own rounds).

As in the authors' code: the pacer looks every W rounds; without Delta, T is the time by which a share of the known devices is
done, and that share grows. Inferred, ours: speed is 1 / the nominal seconds of a round, and all are alike where none are
foreseen; places that known or new devices cannot fill go to the other kind; the blacklist counts rounds asked, and is void when
all that are there are on it; who was asked and did not count stays as known as before. The loss is that of the weights that a
device received, on all its data, by a forward pass of its own (the paper's comes with training); for EcoFed see
``replay_figures.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from math import floor, inf, isfinite, log, sqrt
from typing import NamedTuple, TypeVar

from emulator.learning.random import choose_by
from emulator.protocols.policies.choosing import RandomChoice
from emulator.protocols.policies.deadlines import quantile
from emulator.protocols.policies.figures import Means
from emulator.protocols.policies.sampling import OortSampling
from emulator.protocols.verbs import Node


class Seen(NamedTuple):
    """Of a device's last round that counted: statistical utility U, seconds D, number L."""

    utility: float
    seconds: float
    last: int


class Pacer:
    """The preferred duration T."""

    def __init__(self, sampling: OortSampling) -> None:
        self._sampling = sampling
        self._steps = 0
        self._utilities: list[float] = []

    def note(self, utility: float) -> None:
        """A round is over: the sum of its devices' statistical utilities."""
        self._utilities.append(utility)
        window, rounds = self._sampling.pacer_window, len(self._utilities)
        if rounds >= 2 * window and rounds % window == 0:
            before, lately = self._utilities[-2 * window : -window], self._utilities[-window:]
            self._steps += sum(before) > sum(lately)

    def preferred_s(self, durations: Sequence[float]) -> float:
        """T, seconds, with what known devices need; infinite: anything goes."""
        if self._sampling.pacer_step_s is not None:
            return self._sampling.pacer_step_s * (1 + self._steps)
        share = self._sampling.pacer_share + self._sampling.pacer_share_step * self._steps
        return quantile(durations, share) if share < 1 else inf


K = TypeVar("K")


def utilities(known: Mapping[K, Seen], number: int, preferred_s: float, sampling: OortSampling) -> dict[K, float]:
    """``Util`` of known devices in round ``number``, without fairness."""
    if not known:
        return {}
    own = [seen.utility for seen in known.values()]
    most, least = quantile(own, sampling.clip), min(own)
    found = {}
    for device, seen in known.items():
        utility = min(seen.utility, most)
        if sampling.normalise:
            utility = (utility - least) / (most - least) if most > least else 0.0
        utility += sqrt(0.1 * log(number) / seen.last)
        slow = seen.seconds > preferred_s
        found[device] = utility * (preferred_s / seen.seconds) ** sampling.alpha if slow else utility
    return found


class OortChoice(RandomChoice):
    """A run's memory of its devices."""

    def __init__(self, means: Means, sampling: OortSampling) -> None:
        super().__init__(means.world)
        self.means, self.sampling = means, sampling
        self.pacer = Pacer(sampling)
        self.seen: dict[Node, Seen] = {}
        self.asked: dict[Node, int] = dict.fromkeys(self.world.devices, 0)
        self._came: dict[Node, float] = {}  # of the last round, and their seconds
        self._round = 0  # R

    async def choose(self, count: int) -> Sequence[Node]:
        """``SelectParticipant``."""
        there = await self.world.sample(len(self.world.devices))
        await self._learn()
        self._round += 1
        limit = self.sampling.blacklist or inf
        free = [device for device in there if self.asked[device] < limit] or there
        known = {device: self.seen[device] for device in free if device in self.seen}
        new = [device for device in free if device not in self.seen]
        exploited = min(len(known), max(floor((1 - self._epsilon()) * count + 1e-9), count - len(new)))
        chosen = {*self._exploited(known, exploited), *self._explored(new, count - exploited)}
        self.metrics["explored"] = float(sum(device in chosen for device in new))
        return [device for device in there if device in chosen]

    async def observe(self, asked: Sequence[Node], seconds: Mapping[Node, float]) -> None:
        """Rounds of those asked, seconds of those that came; their losses are looked at when the next are chosen."""
        for device in asked:
            self.asked[device] += 1
        self._came = dict(seconds)

    def _epsilon(self) -> float:
        start, decay = self.sampling.exploration, self.sampling.exploration_decay
        return max(start * decay ** (self._round - 1), self.sampling.exploration_min)

    async def _learn(self) -> None:
        """``UpdateWithFeedback``."""
        if not self._round:
            return
        told = await self.means.latest(list(self._came))
        for device, loss in told.items():
            self.seen[device] = Seen(device.samples * loss, self._came[device], self._round)
        self.pacer.note(sum(self.seen[device].utility for device in told))
        self._came = {}

    def _exploited(self, known: Mapping[Node, Seen], count: int) -> list[Node]:
        preferred_s = self.pacer.preferred_s([seen.seconds for seen in self.seen.values()])
        self.metrics = {"preferred_s": preferred_s} if isfinite(preferred_s) else {}
        if not count:
            return []
        scores, f = utilities(known, self._round, preferred_s, self.sampling), self.sampling.fairness
        most = max(self.asked[device] for device in known)
        scores = {device: (1 - f) * util + f * (most - self.asked[device]) for device, util in scores.items()}
        cut_off = self.sampling.cutoff * sorted(scores.values(), reverse=True)[count - 1]
        admitted = {device: score for device, score in scores.items() if score >= cut_off}
        return self._drawn("exploited", admitted, count)

    def _explored(self, new: Sequence[Node], count: int) -> list[Node]:
        expect: Callable[[Node], float] = self.means.expect or (lambda _: 1.0)
        return self._drawn("explored", {device: 1 / expect(device) for device in new} if count else {}, count)

    def _drawn(self, what: str, weights: Mapping[Node, float], count: int) -> list[Node]:
        devices = list(weights)
        seed = self.world.seed("oort", what, self.world.round)
        return [devices[index] for index in choose_by(seed, count, list(weights.values()))]
