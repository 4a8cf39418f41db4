"""Waiting for many clients: all of them, the first few, or those in time; and mailboxes for those who do not wait."""

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Generic, TypeVar

import simpy

from emulator.protocols.verbs import DeviceLost
from emulator.tasks import Clock, Future, Task

K = TypeVar("K")
V = TypeVar("V")


class Gather(Future, Generic[K, V]):
    """Clients under way. Gives ``{key: result}`` of those that count, in the given order.

    ``first=k`` ends when k have finished (ties go to the given order), ``within_s`` at a deadline (inclusive: what ends at
    that very instant counts). Those that were not waited for are cut off at once. A lost device is left out; any other
    failure of a client cuts the rest off and is raised at the ``await``.
    """

    def __init__(
        self, clock: Clock, clients: Mapping[K, Coroutine[Any, Any, V]], *, first: int | None, within_s: float | None
    ) -> None:
        super().__init__(clock)
        self._first = len(clients) if first is None else first
        self._deciding = False
        self._waiting = 0
        self._done = 0
        self.tasks: dict[K, Task] = {}
        self.watch: Callable[[list[K], dict[K, float]], None] | None = None  # is told who was asked and who counted
        for key, coroutine in clients.items():
            self.tasks[key] = task = Task(clock, coroutine)
            task.disown()
            task.consumed = True
            self._waiting += 1
            if task.processed:
                self._ended(task)
            else:
                assert task.callbacks is not None
                task.callbacks.append(self._ended)
        if within_s is not None:
            self._decide_at(clock.now_ns + round(within_s * 1e9))
        elif not clients:
            self._decide_at(clock.now_ns)

    def _decide_at(self, time_ns: int) -> None:
        event = self.clock.at(time_ns)
        assert event.callbacks is not None
        event.callbacks.append(self._decide)

    def _ended(self, event: simpy.Event) -> None:
        if self.triggered:
            return
        self._waiting -= 1
        if not event.ok and not isinstance(event.value, DeviceLost):
            self._cut_rest()
            assert isinstance(event.value, Exception)
            self.break_off(event.value)
            return
        self._done += event.ok
        if (self._done >= self._first or not self._waiting) and not self._deciding:
            self._deciding = True
            self._decide_at(self.clock.now_ns)

    def _decide(self, _: simpy.Event) -> None:
        if self.triggered:
            return
        ended = [(task.end_ns, order, key) for order, (key, task) in enumerate(self.tasks.items()) if _kept(task)]
        chosen = {key for _, _, key in sorted(ended, key=lambda item: item[:2])[: self._first]}
        kept = [key for key in self.tasks if key in chosen]
        results = {key: self.tasks[key].value for key in kept}
        self._cut_rest()
        ended_s = {
            key: (task.end_ns - task.start_ns) / 1e9 for key, task in self.tasks.items() if task.end_ns is not None
        }
        if self.watch is not None:
            self.watch(list(self.tasks), {key: ended_s[key] for key in kept})
        self.tasks = {}
        self.finish(results)

    def _cut_rest(self) -> None:
        for task in self.tasks.values():
            task.cancel()

    def cancel(self) -> None:
        """Cut off every client still under way."""
        if not self.triggered:
            self._cut_rest()
            self.tasks = {}
        super().cancel()


def _kept(task: Task) -> bool:
    return task.triggered and task.ok


class Mailbox(Generic[V]):
    """A queue between clients and a server loop: ``put`` never waits, ``await get()`` gives items in order of arrival."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._items: deque[V] = deque()
        self._readers: deque[Future] = deque()

    def put(self, item: V) -> None:
        """Leave an item."""
        while self._readers:
            reader = self._readers.popleft()
            if not reader.triggered:
                reader.finish(item)
                return
        self._items.append(item)

    def get(self) -> Future:
        """The oldest item, now or when it comes."""
        reader = Future(self._clock)
        if self._items:
            reader.finish(self._items.popleft())
        else:
            self._readers.append(reader)
        return reader

    def __len__(self) -> int:
        return len(self._items)
