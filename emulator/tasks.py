"""Coroutines on SimPy: tasks, their scopes and their cancellation.

A SimPy event is awaited by yielding it, so ``async``/``await`` needs no change to SimPy: ``Future`` is an event with
``__await__`` and ``Task`` drives a coroutine from event to event. What a task starts and does not await belongs to its
*scope*: leaving the scope cancels it, and a verb that was never awaited nor passed on is an error that names its line.
"""

import sys
from collections.abc import Callable, Coroutine, Generator
from functools import cache
from types import FrameType
from typing import Any

import simpy
from simpy.events import EventPriority

from emulator.protocols.verbs import DeviceLost

LATE = EventPriority(
    2
)  # after everything else of the same instant: deadlines are inclusive, losses and stops come last


class Cancelled(Exception):
    """Raised at an ``await`` of a verb or task that somebody else cut off."""


class OutOfMemory(DeviceLost):
    """A step does not fit its device: ``words`` tell what was needed, what is there, and what would fit."""

    def __init__(self, device: str, words: str) -> None:
        super().__init__(device)
        self.words = words

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.device, self.words)

    def __str__(self) -> str:
        return f"{self.device}: out of memory: {self.words}"


class NobodyLeft(Exception):
    """No device is there, and none will come back: the run is over."""


class ProtocolError(Exception):
    """A protocol misused a verb; the message names the line."""


class Clock:
    """Virtual time in integer nanoseconds on a SimPy environment, and the task that is running."""

    def __init__(self) -> None:
        self.env = simpy.Environment(0)
        self.current: Task | None = None
        self.failure: BaseException | None = None

    @property
    def now_ns(self) -> int:
        """Nanoseconds of virtual time since the start."""
        return int(self.env.now)

    def quiet(self) -> bool:
        """Whether nothing else happens in this instant. What nobody waits for is let pass: it changes nothing."""
        env = self.env
        while env.peek() <= env.now:
            if env._queue[0][-1].callbacks:
                return False
            env.step()
        return True

    def fail(self, error: BaseException) -> None:
        """End the run with ``error``: nobody is left who could await it."""
        if self.failure is None:
            self.failure = error

    def late(self, then: Callable[[], None], time_ns: int | None = None) -> None:
        """Call ``then`` now, or at ``time_ns``, after everything else of that instant."""
        event = self.at(self.now_ns if time_ns is None else time_ns)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: then())

    def at(self, time_ns: int, priority: EventPriority = LATE) -> simpy.Event:
        """An event at ``time_ns`` (not before now) that comes after all others of that instant."""
        event = simpy.Event(self.env)
        event._ok, event._value = True, None
        self.env.schedule(event, priority, max(0, time_ns - self.now_ns))
        return event


class Future(simpy.Event):
    """Something a task can await."""

    consumed = False

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.env)
        self.clock = clock
        self._asked_at = _asking_line()
        self.failure: Exception | None = None
        self.owner = clock.current
        if self.owner is not None:
            self.owner.children[self] = None

    @property
    def line(self) -> str:
        """``path/protocol.py:12``: the protocol line that asked."""
        return _told(*self._asked_at)

    def __await__(self) -> Generator["Future", Any, Any]:
        self.consume()
        return (yield self)

    def consume(self) -> None:
        """Somebody uses the result: it is awaited, or passed on as a value."""
        self.consumed = True
        if self.triggered:
            self.disown()

    def disown(self) -> None:
        """Leave the scope of the task that made this."""
        if self.owner is not None:
            self.owner.children.pop(self, None)

    def finish(self, value: Any) -> None:
        """Succeed with ``value``."""
        if self.consumed:
            self.disown()
        self.succeed(value)

    def break_off(self, error: Exception) -> None:
        """Fail with ``error``; it is kept until this is awaited."""
        if self.consumed:
            self.disown()
        self.failure = error
        self.fail(error)
        self.defused = True

    def cancel(self) -> None:
        """Cut this off now. Subclasses stop what is under way; whoever still awaits it gets ``Cancelled``."""
        if not self.triggered:
            self.break_off(Cancelled("the awaited work was cut off"))
        self.disown()


class Task(Future):
    """A coroutine under way. ``start_ns`` and ``end_ns`` are its life in virtual time."""

    def __init__(self, clock: Clock, coroutine: Coroutine[Any, Any, Any], *, detached: bool = False) -> None:
        super().__init__(clock)
        self.children: dict[Future, None] = {}
        self.detached = detached
        self.start_ns = clock.now_ns
        self.end_ns: int | None = None
        self._coroutine = coroutine
        self._target: simpy.Event | None = None
        self._advance(None)

    def _advance(self, event: simpy.Event | None) -> None:
        previous, self.clock.current = self.clock.current, self
        self._target = None
        try:
            target = self._run(event)
            while target.processed:  # it ended before it was awaited
                target = self._run(target)
            assert target.callbacks is not None
            target.callbacks.append(self._advance)
            self._target = target
        except StopIteration as stop:
            self._end(stop.value)
        except Exception as error:
            self._break(error)
        finally:
            self.clock.current = previous

    def _run(self, event: simpy.Event | None) -> simpy.Event:
        if event is None:
            return self._awaited(self._coroutine.send(None))
        if event.ok:
            return self._awaited(self._coroutine.send(event.value))
        assert isinstance(event.value, BaseException)
        try:
            return self._awaited(self._coroutine.throw(event.value))
        finally:
            _strip(event.value)  # who caught it goes on, and its frame would wait for the collector

    @staticmethod
    def _awaited(target: Any) -> simpy.Event:
        if not isinstance(target, simpy.Event):
            raise ProtocolError(f"a protocol can only await verbs and tasks; got {target!r}")
        return target

    def _end(self, value: Any) -> None:
        self.end_ns = self.clock.now_ns
        try:
            self._close_scope()
        except Exception as error:
            self.break_off(error)
            self._nobody_awaits(error)
        else:
            self.finish(value)

    def _break(self, error: Exception) -> None:
        self.end_ns = self.clock.now_ns
        self._cancel_children()
        _strip(error)
        self.break_off(error)
        self._nobody_awaits(error)

    def _nobody_awaits(self, error: Exception) -> None:
        if self.detached and not self.consumed and not isinstance(error, DeviceLost):
            self.clock.fail(error)

    def _close_scope(self) -> None:
        unused = [child for child in self.children if not child.consumed and not isinstance(child, Task)]
        self._cancel_children()
        for child in unused:
            if child.failure is not None:
                raise child.failure
            raise ProtocolError(f"{child.line}: this verb was never awaited nor passed on as a value")

    def _cancel_children(self) -> None:
        for child in list(self.children):
            child.cancel()
        self.children.clear()

    def cancel(self) -> None:
        """Cut the task off: its children first, then the coroutine, whose ``finally`` blocks still run."""
        if self.triggered:
            self.disown()
            return
        self._cancel_children()
        self.end_ns = self.clock.now_ns
        if self._target is not None and self._target.callbacks is not None:
            self._target.callbacks.remove(self._advance)
        self._target = None
        previous, self.clock.current = self.clock.current, self
        try:
            self._coroutine.close()
        finally:
            self.clock.current = previous
        super().cancel()


def _strip(error: BaseException) -> None:
    """Forget where a loss or a cut was raised: it would keep the frames' values alive."""
    if isinstance(error, (DeviceLost, Cancelled)):
        error.__traceback__ = error.__context__ = error.__cause__ = None


@cache  # one text per line of a protocol, however many verbs it asks for: programs carry it to the actors
def _told(path: str, line: int) -> str:
    return f"{'/'.join(path.split('/')[-3:])}:{line}"


_ENGINE = frozenset(
    {
        __name__, "emulator.verbs", "emulator.computing", "emulator.sending", "emulator.nodes", "emulator.world",
        "emulator.gathering",
    }
)  # fmt: skip


def _asking_line() -> tuple[str, int]:
    """File and line of the first frame outside the engine: the protocol line that asked."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals["__name__"] in _ENGINE:
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("?", 0)
