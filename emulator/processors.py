"""How computes share a node: one after another, all at once at equal shares, or each on a share of its own."""

from collections import deque
from typing import Literal, Protocol

import simpy

from network.classes import ClassMedium
from network.flow import Flow, Station
from network.sharing import FairRate
from network.units import NS_PER_S

Discipline = Literal["fifo", "shared", "share_per_client"]


class Work(Protocol):
    """A compute, as a processor sees it. ``work_ns`` is its time at full speed, alone."""

    work_ns: int
    start_ns: int

    def serve(self) -> None:
        """Its turn has come: it calls ``run``."""

    def served(self) -> None:
        """Its work is done."""


class Speed(Protocol):
    """How work (nanoseconds at full speed) turns into time, and time into work."""

    def end_ns(self, start_ns: int, work_ns: int) -> int:
        """When work that starts then would end."""

    def done_ns(self, start_ns: int, now_ns: int) -> int:
        """How much of the work that started then is done now."""


class Full:
    """A nanosecond of work takes a nanosecond."""

    def end_ns(self, start_ns: int, work_ns: int) -> int:
        """Without delay."""
        return start_ns + work_ns

    def done_ns(self, start_ns: int, now_ns: int) -> int:
        """All the time that has passed."""
        return now_ns - start_ns


FULL = Full()


class Fifo:
    """One compute at a time, first come, first served, at a pace: how work turns into time and back."""

    def __init__(self, env: simpy.Environment, pace: Speed) -> None:
        self._env = env
        self._pace = pace
        self._serving: Work | None = None
        self._queue: deque[Work] = deque()

    def enter(self, work: Work) -> None:
        """Serve now or queue."""
        if self._serving is None:
            self._serving = work
            work.serve()
        else:
            self._queue.append(work)

    def run(self, work: Work) -> None:
        """Call ``served`` when the work is done."""
        _later(self._env, self._pace.end_ns(work.start_ns, work.work_ns) - work.start_ns, work)

    def leave(self, work: Work) -> None:
        """The work has ended or was cut off; the next one starts at once."""
        if work is not self._serving:
            if work in self._queue:
                self._queue.remove(work)
            return
        self._serving = self._queue.popleft() if self._queue else None
        if self._serving is not None:
            self._serving.serve()

    def done_ns(self, work: Work) -> int:
        """How much of it is done now."""
        return self._pace.done_ns(work.start_ns, int(self._env.now))


class PerClient:
    """No queue: each client has a share of the server of its own, as fast as the profile says."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env

    def enter(self, work: Work) -> None:
        """Serve now."""
        work.serve()

    def run(self, work: Work) -> None:
        """At full speed, whatever else there is."""
        _later(self._env, work.work_ns, work)

    def leave(self, work: Work) -> None:
        """Nobody waits."""

    def done_ns(self, work: Work) -> int:
        """As much as time has passed."""
        return FULL.done_ns(work.start_ns, int(self._env.now))


class Shared:
    """Processor sharing: all computes at once, each at an equal share of the speed.

    It is the network's own fair sharing, with a nanosecond of work for a bit.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._medium = ClassMedium(env, FairRate(float(NS_PER_S)))
        self._station = Station(float(NS_PER_S))
        self._flows: dict[Work, Flow] = {}

    def enter(self, work: Work) -> None:
        """Serve now."""
        work.serve()

    def run(self, work: Work) -> None:
        """Share with the others until the work is done."""
        flow = self._flows[work] = Flow(self._station, float(work.work_ns), lambda: self._done(work), True, False)
        self._medium.start(flow)

    def _done(self, work: Work) -> None:
        self._flows.pop(work, None)
        work.served()

    def leave(self, work: Work) -> None:
        """The work has ended or was cut off; the others are faster from now on."""
        flow = self._flows.pop(work, None)
        if flow is not None:
            flow.abort()

    def done_ns(self, work: Work) -> int:
        """What has left the medium."""
        flow = self._flows.get(work)
        return work.work_ns if flow is None else work.work_ns - round(flow.left_bits())


Processor = Fifo | PerClient | Shared


def processor(env: simpy.Environment, discipline: Discipline) -> Processor:
    """A server's processor."""
    if discipline == "fifo":
        return Fifo(env, FULL)
    return Shared(env) if discipline == "shared" else PerClient(env)


def _later(env: simpy.Environment, delay_ns: int, work: Work) -> None:
    timer = simpy.Timeout(env, delay_ns)
    assert timer.callbacks is not None
    timer.callbacks.append(lambda _: work.served())
