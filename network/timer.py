"""A timer that is set often and fires seldom."""

from collections.abc import Callable
from math import inf

import simpy


class LazyTimer:
    """One pending deadline (integer ns). Setting it later costs nothing: it then fires early and is set again.

    SimPy cannot take a scheduled event back; an event is therefore scheduled only when a deadline comes *before* the
    pending one. ``on_time`` is called at the deadline that holds then.
    """

    __slots__ = ("_on_time", "_pending", "due_ns", "env")

    def __init__(self, env: simpy.Environment, on_time: Callable[[], None]) -> None:
        self.env = env
        self.due_ns: float = inf
        self._pending: float = inf
        self._on_time = on_time

    def set(self, due_ns: float) -> None:
        """Fire at ``due_ns``, not before now; ``inf``: never. Replaces what was set before."""
        self.due_ns = due_ns
        if due_ns < self._pending:
            self._schedule(due_ns)

    def _schedule(self, due_ns: float) -> None:
        self._pending = due_ns
        timeout = simpy.Timeout(self.env, int(due_ns - self.env.now), due_ns)
        assert timeout.callbacks is not None
        timeout.callbacks.append(self._fired)

    def _fired(self, event: simpy.Event) -> None:
        if event.value != self._pending:
            return  # an earlier deadline was set after this one, and has fired
        self._pending = inf
        if self.due_ns <= self.env.now:
            self.due_ns = inf
            self._on_time()
        elif self.due_ns < inf:
            self._schedule(self.due_ns)
