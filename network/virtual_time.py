"""A class of flows at equal level: one virtual clock, one heap of finishing tags."""

from heapq import heappop
from math import inf

from network.flow import Flow
from network.sharing import UNLIMITED_BPS
from network.units import NS_PER_S

HALF_NS = 0.5000001  # the clock resolves no less; the rest is for rounding


class FlowClass:
    """Flows at the same level; ``served`` bits per unit of weight up to ``since_ns``."""

    __slots__ = ("bound", "count", "due_ns", "head", "heap", "key", "level", "load", "phi", "served", "since_ns",
                 "through", "uplink", "vast")  # fmt: skip

    def __init__(self, key: tuple[float, float, bool, bool]) -> None:
        self.key = key
        self.bound, self.phi, self.uplink, self.through = key
        self.vast = self.bound > UNLIMITED_BPS / 1e6 or self.bound * self.phi > UNLIMITED_BPS / 1e6
        self.count = 0
        self.heap: list[tuple[float, int, Flow]] = []
        self.begin(0)

    def begin(self, now_ns: float) -> None:
        """Nobody is in the class: start from nothing."""
        self.level = self.served = self.load = 0.0
        self.since_ns = now_ns
        self.due_ns = inf
        self.head: Flow | None = None  # for whom ``due_ns`` holds
        self.heap.clear()

    def advance(self, now_ns: float) -> None:
        """Serve up to now at the level that held so far."""
        if now_ns > self.since_ns:
            self.served += self.level * ((now_ns - self.since_ns) / NS_PER_S)
            self.since_ns = now_ns

    def go_on(self, level: float, now_ns: float) -> None:
        """From now on at this level, or at the class's own bound."""
        if self.bound < level:
            level = self.bound
        if level != self.level:
            self.advance(now_ns)
            self.level = level
            self.head = None

    def look(self) -> None:
        """Find who finishes first, and when (to the nearest ns) if nothing changes."""
        self.head = first = self.first()
        assert first is not None
        wait = (first.tag - self.served) / self.level * NS_PER_S if self.level > 0 else inf
        self.due_ns = self.since_ns + round(wait) if wait < inf else inf

    def first(self) -> Flow | None:
        """The flow that finishes first; entries of flows that left are thrown away here."""
        heap = self.heap
        while heap:
            _, entry, flow = heap[0]
            if flow.group is self and flow.slot == entry:
                return flow
            heappop(heap)
        return None

    def limit(self, down_bps: float, up_bps: float) -> float:
        """The level that these rates on the links above allow."""
        if not self.through:
            return inf
        return (up_bps if self.uplink else down_bps) / self.phi

    def collect(self, now_ns: float, finished: list[Flow]) -> None:
        """Take out the flows whose last bit leaves within half a nanosecond of now."""
        self.advance(now_ns)
        self.head = None
        reached = self.served + self.level * HALF_NS / NS_PER_S
        heap = self.heap
        while heap:
            tag, entry, flow = heap[0]
            if flow.group is self and flow.slot == entry:
                if tag > reached:
                    break
                finished.append(flow)
            heappop(heap)
