"""A link shared exactly fairly by the flows in flight: fluid max-min with the rate of each flow's own port as a cap.

Flows whose port leaves them the same rate form a *class*: at any instant all flows of a class have the same rate, so one
virtual clock (bits served per flow) and one heap of finishing tags per class suffice. A start or a finish costs
O(classes + log flows); no flow is a process, and a link has one lazy timer.

Rates solve ``sum_i min(cap_i, share) = rate`` (Bertsekas & Gallager, Data Networks, 2nd ed., section 6.5.2, max-min
flow control on a single link); without binding caps this is egalitarian processor sharing.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

import simpy

from network.units import BITS_PER_BYTE, NS_PER_S, transfer_bits


@dataclass(slots=True)
class Port:
    """One device's own end of the path: ``rate_bps`` (bit/s), shared equally by this device's flows in flight."""

    rate_bps: float
    flows: list["Flow"] = field(default_factory=list)


class Flow:
    """A transfer in progress. ``done`` fires when its last bit has left; ``bits`` is its size."""

    __slots__ = ("bits", "done", "group", "port", "tag")

    def __init__(self, bits: float, port: Port, done: simpy.Event) -> None:
        self.bits = bits
        self.port = port
        self.done = done
        self.group: _Class | None = None
        self.tag = 0.0


class _Class:
    """Flows with the same cap: ``served`` bits per flow so far, at ``rate`` bit/s each."""

    __slots__ = ("cap", "count", "heap", "rate", "served")

    def __init__(self, cap: float) -> None:
        self.cap = cap
        self.rate = 0.0
        self.served = 0.0
        self.count = 0
        self.heap: list[tuple[float, int, Flow]] = []

    def head(self) -> float:
        """Finishing tag of the flow that ends first; entries of flows that left are thrown away here."""
        heap = self.heap
        while heap:
            tag, _, flow = heap[0]
            if flow.group is self and flow.tag == tag:
                return tag
            heappop(heap)
        return inf


class SharedLink:
    """A link of ``rate_bps`` bit/s (``inf``: never the bottleneck), on a SimPy clock that counts integer nanoseconds."""

    def __init__(self, env: simpy.Environment, rate_bps: float = inf) -> None:
        if not rate_bps > 0:
            raise ValueError(f"rate_bps: got {rate_bps}; expected a positive rate in bit/s")
        self.env = env
        self.rate_bps = rate_bps
        self._classes: dict[float, _Class] = {}
        self._caps: list[float] = []  # of the classes in use, ascending
        self._since_ns = int(env.now)
        self._sequence = 0
        self._due_ns = inf  # what the pending timer waits for

    def start(self, port: Port, size_bytes: int) -> Flow:
        """Put ``size_bytes`` on the link now, through ``port``. The flow's ``done`` fires when they have all left."""
        flow = Flow(float(transfer_bits(size_bytes)), port, simpy.Event(self.env))
        if size_bytes == 0:
            flow.done.succeed()
            return flow
        self._advance()
        port.flows.append(flow)
        self._regroup(port, {id(flow): flow.bits})
        self._share()
        return flow

    def abort(self, flow: Flow) -> None:
        """Take a flow off the link at once; it never fires, and the others speed up from this instant."""
        if flow.group is None:
            return
        self._advance()
        self._remove(flow)
        self._regroup(flow.port, {})
        self._share()

    def sent_bytes(self, flow: Flow) -> int:
        """Whole bytes of ``flow`` that have left by now."""
        if flow.group is None:
            return int(flow.bits) // BITS_PER_BYTE
        return int(flow.bits - self._left(flow, int(self.env.now))) // BITS_PER_BYTE

    def _left(self, flow: Flow, now_ns: int) -> float:
        group = flow.group
        assert group is not None
        served = group.served + group.rate * ((now_ns - self._since_ns) / NS_PER_S)
        return min(flow.bits, max(0.0, flow.tag - served))

    def _advance(self) -> None:
        now = int(self.env.now)
        if now > self._since_ns:
            elapsed_s = (now - self._since_ns) / NS_PER_S
            for cap in self._caps:
                group = self._classes[cap]
                group.served += group.rate * elapsed_s
        self._since_ns = now

    def _regroup(self, port: Port, fresh: dict[int, float]) -> None:
        """Move a port's flows to the class of their present cap; ``fresh`` holds the bits of flows that just start."""
        if not port.flows:
            return
        cap = port.rate_bps / len(port.flows)
        for flow in port.flows:
            if flow.group is not None and flow.group.cap == cap:
                continue
            left = fresh.get(id(flow))
            if left is None:
                left = self._left(flow, self._since_ns)
                self._leave_class(flow)
            self._join_class(flow, cap, left)

    def _join_class(self, flow: Flow, cap: float, left_bits: float) -> None:
        group = self._classes.get(cap)
        if group is None:
            group = self._classes[cap] = _Class(cap)
            insort(self._caps, cap)
        group.count += 1
        flow.group, flow.tag = group, group.served + left_bits
        self._sequence += 1
        heappush(group.heap, (flow.tag, self._sequence, flow))

    def _leave_class(self, flow: Flow) -> None:
        group = flow.group
        assert group is not None
        group.count -= 1
        flow.group = None
        if group.count == 0:
            del self._classes[group.cap]
            del self._caps[bisect_left(self._caps, group.cap)]

    def _remove(self, flow: Flow) -> None:
        self._leave_class(flow)
        flow.port.flows.remove(flow)

    def _share(self) -> None:
        """Solve the max-min rates class by class, smallest cap first, and set the timer for the first to finish."""
        left_bps, left_flows = self.rate_bps, sum(group.count for group in self._classes.values())
        soonest_s = inf
        for cap in self._caps:
            group = self._classes[cap]
            group.rate = min(cap, left_bps / left_flows)
            left_bps -= group.rate * group.count
            left_flows -= group.count
            soonest_s = min(soonest_s, max(0.0, group.head() - group.served) / group.rate)
        self._arm(inf if soonest_s == inf else self._since_ns + round(soonest_s * NS_PER_S))

    def _arm(self, due_ns: float) -> None:
        if due_ns < self._due_ns:
            self._due_ns = due_ns
            timer = simpy.Timeout(self.env, int(due_ns) - int(self.env.now), value=due_ns)
            assert timer.callbacks is not None
            timer.callbacks.append(self._on_timer)

    def _on_timer(self, timer: simpy.Event) -> None:
        if timer.value != self._due_ns:
            return  # an earlier deadline was set after this one, and has fired
        self._due_ns = inf
        self._advance()
        finished = [flow for cap in list(self._caps) for flow in self._finished(self._classes[cap])]
        for flow in finished:
            self._remove(flow)
        for flow in finished:
            self._regroup(flow.port, {})
            flow.done.succeed()
        self._share()

    def _finished(self, group: _Class) -> list[Flow]:
        """Flows whose last bit leaves within half a nanosecond of now: the clock resolves no less."""
        found = []
        while group.head() - group.served <= group.rate * 0.5000001 / NS_PER_S:
            found.append(heappop(group.heap)[2])
        return found
