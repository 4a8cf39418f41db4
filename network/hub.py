"""Links above the cells: site backhauls and the core, as a tree whose leaves are media.

A flow's rate is the least of what its medium and every link on its way leave it. Each link is shared fairly by rate among
the flows that go over it: with levels L of the links, ``rate_f = min(medium's offer_f, min over links L)``, and a link's
level solves ``sum_f min(rest_f, L) = capacity`` where ``rest_f`` is what all others leave flow f; it is infinite while
the link is not full. Over media that share by rate this is max-min fairness, and one pass from the media to the root
finds it. Where a medium shares airtime, airtime that a full link above leaves unused goes to its other flows, whose
offers then rise: the passes are repeated until nothing changes. That allocation is known as *bottleneck fairness*: every
flow has a full link, or its own limit, at which no other flow is at a higher level (Bonald & Roberts, "Multi-resource
fairness: objectives, algorithms and performance", SIGMETRICS 2015).

While no link is full, an event touches only its own medium.
"""

from collections.abc import Iterator
from math import inf
from typing import Protocol

import numpy as np

from network.levels import FULL, Floats, water_level

Offers = tuple[Floats, Floats]  # rates in bit/s, and how many flows have each
Rates = list[float]  # by direction: down, up

CLOSE = 1e-13
PASSES = 1000


class Shareable(Protocol):
    """A medium as the links above see it."""

    def limit(self, down_bps: float, up_bps: float) -> None:
        """No flow that goes on upwards may exceed these rates."""

    def offers(self, uplink: bool) -> Offers:
        """What the medium would put on the links above if they did not bind."""

    def carried(self) -> tuple[float, float]:
        """Bit/s (down, up) that go over the links above, under the limit set last."""

    def coupled(self) -> bool:
        """Whether a limit on some flows changes what the medium offers for others."""

    def moved(self) -> bool:
        """Whether the rates that hold from now differ from those before."""

    def apply(self) -> None:
        """Go on at the rates that hold from now."""


class Hub:
    """A link up and a link down, of ``down_bps`` and ``up_bps`` (inf: never full), below ``parent`` or at the root."""

    def __init__(self, down_bps: float = inf, up_bps: float = inf, parent: "Hub | None" = None) -> None:
        for key, rate in (("down_bps", down_bps), ("up_bps", up_bps)):
            if not rate > 0:
                raise ValueError(f"{key}: got {rate!r}; expected a rate in bit/s above zero")
        self.capacity: Rates = [down_bps, up_bps]
        self.parent = parent
        self.level: Rates = [inf, inf]
        self._media: list[Shareable] = []
        self._carried: dict[Shareable, tuple[float, float]] = {}
        self._sum: Rates = [0.0, 0.0]  # over all media below, also those of hubs below
        self._changes = 0
        self._hubs: list[Hub] = []
        self._all: list[tuple[Hub, Shareable]] | None = None  # every medium below, once asked for
        self._root: Hub = self if parent is None else parent._root
        self._held = 0
        self._waiting: dict[Shareable, Hub] = {}  # media whose flows changed meanwhile
        if parent is not None:
            parent._hubs.append(self)

    def join(self, medium: Shareable) -> None:
        """A medium hangs on this hub."""
        self._media.append(medium)
        for hub in self._path():
            hub._all = None
        self._carried[medium] = (0.0, 0.0)

    def finite(self) -> bool:
        """Whether this link, or one above it, can be full."""
        return any(rate < inf for hub in self._path() for rate in hub.capacity)

    def resize(self, down_bps: float, up_bps: float) -> None:
        """The link's own rates change now."""
        self.capacity = [down_bps, up_bps]
        self._rebalance(self)

    def settle(self, medium: Shareable) -> None:
        """The flows of a medium on this hub changed: find all rates anew, as far up as the change reaches."""
        if self._root._held:
            self._root._waiting[medium] = self
            return
        medium.limit(inf, inf)
        self._carry(medium)
        tight = [hub for hub in self._path() if hub._tight()]
        if tight:
            self._rebalance(tight[-1])
        else:
            medium.apply()

    def hold(self) -> None:
        """Flows of a medium below end, and what they set off may start others anywhere: find rates only once it is over."""
        self._root._held += 1

    def release(self) -> None:
        """It is over."""
        root = self._root
        root._held -= 1
        while root._waiting and not root._held:
            medium = next(iter(root._waiting))
            root._waiting.pop(medium).settle(medium)

    def _carry(self, medium: Shareable) -> None:
        """Note what a medium puts on the links above."""
        old, new = self._carried[medium], medium.carried()
        if new == old:
            return
        self._carried[medium] = new
        for hub in self._path():
            hub._sum[0] += new[0] - old[0]
            hub._sum[1] += new[1] - old[1]
            hub._changes += 1
            if hub._changes >= 1000:  # adding and taking away leaves a rest, which must stay far below FULL
                hub._add_up()

    def _add_up(self) -> None:
        self._changes = 0
        pairs = [hub._carried[medium] for hub, medium in self._below()]
        self._sum = [sum(down for down, _ in pairs), sum(up for _, up in pairs)]

    def _path(self) -> "Iterator[Hub]":
        hub: Hub | None = self
        while hub is not None:
            yield hub
            hub = hub.parent

    def _tight(self) -> bool:
        return self.level != [inf, inf] or any(
            load > rate * FULL for load, rate in zip(self._sum, self.capacity, strict=True)
        )

    def _rebalance(self, top: "Hub") -> None:
        """Share all links from ``top`` downwards; go higher where that fills a link above."""
        while True:
            top._share()
            above = [hub for hub in top._path() if hub is not top and hub._tight()]
            if not above:
                break
            top = above[-1]
        for _, medium in top._below():
            if medium.moved():
                medium.apply()

    def _below(self) -> "list[tuple[Hub, Shareable]]":
        """(hub, medium) of every medium below."""
        if self._all is None:
            self._all = [(hub, medium) for hub in self._bottom_up() for medium in hub._media]
        return self._all

    def _bottom_up(self) -> "Iterator[Hub]":
        for hub in self._hubs:
            yield from hub._bottom_up()
        yield self

    def _share(self) -> None:
        hubs, media = list(self._bottom_up()), self._below()
        for hub in hubs:
            hub.level = [inf, inf]
        for _, medium in media:
            medium.limit(inf, inf)
        for _ in range(PASSES):
            before = [hub.level for hub in hubs]
            for hub in hubs:
                hub.level = [hub._fill(False), hub._fill(True)]
            limits = {hub: hub.limits() for hub in hubs}
            for hub, medium in media:
                medium.limit(*limits[hub])
            if not any(medium.coupled() for _, medium in media) or _close(before, [hub.level for hub in hubs]):
                break
        else:
            raise ArithmeticError(f"the rates of {len(media)} media did not settle in {PASSES} passes")
        for hub, medium in media:
            if medium.moved():
                hub._carry(medium)

    def limits(self) -> tuple[float, float]:
        """The least level (down, up) from here to the root."""
        return min(hub.level[0] for hub in self._path()), min(hub.level[1] for hub in self._path())

    def _fill(self, uplink: bool) -> float:
        """The level at which this link is just full, given what all other links leave; inf when it is not full."""
        if self.capacity[uplink] == inf or not self._below():
            return inf
        others = {hub: hub._other(self, uplink) for hub in self._bottom_up()}
        found = [(medium.offers(uplink), others[hub]) for hub, medium in self._below()]
        rates = np.concatenate([offer[0] if bound == inf else np.minimum(offer[0], bound) for offer, bound in found])
        return water_level(rates, np.concatenate([offer[1] for offer, _ in found]), self.capacity[uplink])

    def _other(self, link: "Hub", uplink: bool) -> float:
        return min((hub.level[uplink] for hub in self._path() if hub is not link), default=inf)


def _close(before: list[Rates], now: list[Rates]) -> bool:
    pairs = [(a, b) for old, new in zip(before, now, strict=True) for a, b in zip(old, new, strict=True)]
    return all(a == b or abs(a - b) <= CLOSE * abs(b) for a, b in pairs)
