"""A medium shared by classes of flows: the fast one.

Flows whose limit is the same multiple of their weight form a *class*: at any instant they are at the same *level* (rate
over weight), so one virtual clock (bits served per unit of weight) and one heap of finishing tags per class suffice,
whatever the law. A start, a finish or an abort costs O(classes + log flows); no flow is a process; a medium has one lazy
timer. The idea is that of virtual time in fair queueing (Parekh & Gallager, IEEE/ACM Trans. Networking 1(3), 1993).
"""

from bisect import insort
from heapq import heappush
from math import inf
from operator import attrgetter

import numpy as np
import simpy

from network.flow import Flow, Station
from network.hub import Hub, Offers
from network.sharing import UNLIMITED_BPS, Sharing
from network.timer import LazyTimer
from network.units import NS_PER_S
from network.virtual_time import FlowClass

SURELY = 1 - 1e-9  # below this share of the capacity a running sum, which gathers rounding, may be trusted
NO_LIMITS = (inf, inf)
KEPT = 64  # classes that are kept for later flows of their kind
_bound = attrgetter("bound")


class ClassMedium:
    """A medium on a SimPy clock of integer nanoseconds, shared by ``law``; ``hub``: the links above it."""

    def __init__(self, env: simpy.Environment, law: Sharing, hub: Hub | None = None) -> None:
        self.env = env
        self.law = law
        self._hub = hub
        self._by_phi = hub is not None  # a limit on rates parts the flows of a level by their weight
        self._classes: dict[tuple[float, float, bool, bool], FlowClass] = {}
        self._order: list[FlowClass] = []  # by bound, ascending
        self._active = 0  # stations with flows
        self._load = 0.0
        self._most = 0.0  # load if every flow were at its bound, but for the vast ones
        self._vast = 0  # flows that would fill any medium
        self._changes = 0
        self._stale = True  # flows or capacity have changed since the links above asked last
        self._touched = False  # flows or capacity have changed since rates were last set
        self._coupled = False
        self._has: tuple[bool, ...] = (False, False)  # flows down, up
        self._offers: list[Offers | None] = [None, None]  # by direction: down, up
        self._fresh: list[FlowClass] = []  # classes that have not started yet
        self._sequence = 0
        self._level = inf  # what a flow without a bound would get
        self._limits = NO_LIMITS  # bit/s a flow: down, up
        self._applied, self._applied_limits = inf, self._limits  # what the classes go on at
        self._ending = False
        self._timer = LazyTimer(env, self._on_time)
        if hub is not None:
            hub.join(self)

    # -- flows --------------------------------------------------------------------------------------------------

    def start(self, flow: Flow) -> None:
        """Put a flow on the medium now; one without a bit ends at once."""
        if not flow.bits > 0:
            flow.left = 0.0
            flow.on_done()
            return
        station = flow.station
        station.flows.append(flow)
        flow.medium = self
        if len(station.flows) > 1:
            self._regroup(station, flow)
        else:
            self._active += 1
            self._join(flow, flow.left)
        self._settle()

    def abort(self, flow: Flow) -> None:
        """Take a flow off the medium at once."""
        flow.left = self.left_bits(flow)
        self._leave(flow)
        self._settle()

    def left_bits(self, flow: Flow) -> float:
        """Bits of a flow that have not left by now."""
        group: FlowClass = flow.group
        served = group.served + group.level * ((self.env.now - group.since_ns) / NS_PER_S)
        return min(flow.bits, max(0.0, (flow.tag - served) * flow.phi))

    def rerate(self, station: Station, rate_bps: float) -> None:
        """A station's own rate changes now (bit/s; zero, under a fair rate: its flows stand still)."""
        if station.rate_bps == rate_bps:
            return  # a trace may well repeat itself
        station.rate_bps, station.solo = rate_bps, None
        if station.flows:
            self._regroup(station, None)
            self._settle()

    def recap(self, flow: Flow, cap_bps: float) -> None:
        """A flow's own limit changes now."""
        flow.limit_to(cap_bps)
        self._regroup(flow.station, None)
        self._settle()

    def relaw(self, law: Sharing) -> None:
        """The law, its capacity for one, changes now. Flows keep their classes: only the capacity may differ."""
        self.law = law
        self._settle()

    def _regroup(self, station: Station, fresh: Flow | None) -> None:
        """A station's flows changed in number or rate: all move to the class that fits now."""
        left = [(flow, flow.left if flow is fresh else self.left_bits(flow)) for flow in station.flows]
        for flow, _ in left:
            if flow is not fresh:
                self._quit(flow)
        for flow, bits in left:
            self._join(flow, bits)

    def _join(self, flow: Flow, left_bits: float) -> None:
        station, now = flow.station, self.env.now
        solo = station.solo
        if solo is not None and len(station.flows) == 1 and solo[0] is flow.through and flow.plain:
            _, phi, load, group = solo
        else:
            phi, load, group = self._class_of(flow)
        if group.count:
            group.advance(now)
        else:
            group.begin(now)
            insort(self._order, group, key=_bound)
            self._fresh.append(group)
        group.count += 1
        group.load += load
        self._load += load
        if group.vast:
            self._vast += 1
        else:
            self._most += load * group.bound
        flow.phi, flow.load, flow.group = phi, load, group
        flow.tag = tag = group.served + left_bits / phi
        self._sequence = flow.slot = entry = self._sequence + 1
        heappush(group.heap, (tag, entry, flow))
        if group.head is not None and tag < group.head.tag:
            group.head = None

    def _class_of(self, flow: Flow) -> tuple[float, float, FlowClass]:
        """Weight, load and class of a flow; its station remembers them for when it is alone again."""
        station = flow.station
        own = station.rate_bps if flow.own_bps is None else flow.own_bps
        phi, load, limit = self.law.terms(own, station.weight, len(station.flows))
        limit = min(limit, flow.cap_bps, UNLIMITED_BPS)
        key = (limit / phi, phi if self._by_phi else 0.0, flow.uplink, flow.through)
        group = self._classes.get(key)
        if group is None:
            group = self._classes[key] = FlowClass(key)
        if len(station.flows) == 1 and flow.plain:
            station.solo = (flow.through, phi, load, group)
        return phi, load, group

    def _quit(self, flow: Flow) -> None:
        group: FlowClass = flow.group
        flow.group = None
        group.count -= 1
        if group.head is flow:
            group.head = None
        group.load -= flow.load
        self._load -= flow.load
        if group.vast:
            self._vast -= 1
        else:
            self._most -= flow.load * group.bound
        if not group.count:
            self._order.remove(group)
            if len(self._classes) > KEPT and self._classes.get(group.key) is group:
                del self._classes[group.key]
        self._changes += 1
        if not self._order:
            self._load = self._most = 0.0
        elif self._changes > 256:
            self._add_up()

    def _add_up(self) -> None:
        """Running sums gather rounding: find them anew."""
        self._changes = 0
        self._load = sum([group.load for group in self._order])
        self._most = sum([group.load * group.bound for group in self._order if not group.vast])

    def _leave(self, flow: Flow) -> None:
        station = flow.station
        self._quit(flow)
        flow.medium = None
        station.flows.remove(flow)
        if station.flows:
            self._regroup(station, None)
        else:
            self._active -= 1

    # -- sharing ------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        if self._ending:
            return  # several flows end in this instant: one settling for all
        if self._hub is None:
            self._level = self.fill(inf, inf)
            self.apply()
        else:
            self._stale = self._touched = True
            self._hub.settle(self)

    def fill(self, down_bps: float, up_bps: float) -> float:
        """The level that fills the medium when no flow may exceed these rates; inf when it cannot be filled."""
        if not self._order:
            return inf
        left, load = self.law.capacity(self._active), self._load
        if left == inf or (not self._vast and self._most <= left * SURELY):
            return inf
        if down_bps == up_bps == inf:
            for group in self._order:
                if group.bound * load > left:
                    return left / load
                left -= group.bound * group.load
                load -= group.load
            return inf
        bounds = [(min(group.bound, group.limit(down_bps, up_bps)), group.load) for group in self._order]
        for bound, share in sorted(bounds):
            if bound * load > left:
                return left / load
            left -= bound * share
            load -= share
        return inf

    def limit(self, down_bps: float, up_bps: float) -> None:
        """No flow that goes on over the links above may exceed these rates; ``apply`` makes it so."""
        if self._stale:
            kinds = {(group.phi, group.uplink, group.through) for group in self._order}
            self._coupled = len(kinds) > 1 and self.law.capacity(self._active) < inf
            self._has = tuple(any(group.uplink is uplink for group in self._order) for uplink in (False, True))
        down_bps, up_bps = down_bps if self._has[0] else inf, up_bps if self._has[1] else inf
        self._limits = NO_LIMITS if down_bps == up_bps == inf else (down_bps, up_bps)
        if self._stale:
            self._stale = False
        elif not self._coupled:
            return  # what the medium offers is as before
        self._level = self.fill(down_bps, up_bps)
        self._offers = [None, None]

    def coupled(self) -> bool:
        """Whether a limit on some flows leaves more to others: where weights, directions or ways differ."""
        return self._coupled

    def offers(self, uplink: bool) -> Offers:
        """(rates in bit/s, flows of each) that this medium would put on the links above if they did not bind."""
        found = self._offers[uplink]
        if found is None:
            mine = [group for group in self._order if group.through and group.uplink is uplink]
            rates = np.array([group.phi * min(group.bound, self._level) for group in mine])
            found = self._offers[uplink] = rates, np.array([group.count for group in mine], float)
        return found

    def carried(self) -> tuple[float, float]:
        """Bit/s (down, up) over the links above, under the limit set last."""
        found = [0.0, 0.0]
        for group in self._order:
            if group.through:
                level = min(group.bound, self._level, group.limit(*self._limits))
                found[group.uplink] += level * group.phi * group.count
        return found[0], found[1]

    def moved(self) -> bool:
        """Whether ``apply`` has anything to do."""
        return self._touched or self._level != self._applied or self._limits != self._applied_limits

    def apply(self) -> None:
        """Go on at the levels that hold from now, and set the timer for the first flow to finish."""
        now, level, order = self.env.now, self._level, self._order
        if self._limits is not NO_LIMITS or self._applied_limits is not NO_LIMITS:
            for group in order:
                group.go_on(min(level, group.limit(*self._limits)), now)
        else:
            for group in self._fresh:
                group.go_on(level, now)
            least = level if level < self._applied else self._applied
            for group in reversed(order):
                if group.bound <= least:
                    break  # it and all below go on at their bounds as before
                group.go_on(level, now)
        self._fresh.clear()
        self._applied, self._applied_limits, self._touched = level, self._limits, False
        due = inf
        for group in order:
            if group.head is None:
                group.look()
            if group.due_ns < due:
                due = group.due_ns
        self._timer.set(due if due > now else now)

    def _on_time(self) -> None:
        now = self.env.now
        finished: list[Flow] = []
        for group in self._order:
            if group.due_ns <= now:
                group.collect(now, finished)
        self._ending = True
        if self._hub is not None:
            self._hub.hold()
        for flow in finished:
            flow.left = 0.0
            self._leave(flow)
        for flow in finished:
            flow.on_done()
        self._ending = False
        self._settle()
        if self._hub is not None:
            self._hub.release()
