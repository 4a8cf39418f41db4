"""Waits for results of actors and, when they let themselves be waited for, looks after the actors that should make them.

A process that no longer answers (stopped, swapped out for good, caught in a driver) is not noticed by Ray, nor is a call that
two actors have lost between them. Programs are pure, so the cure for both is that for a dead actor: end the process, and Ray
starts it again and tries its calls again.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

PATIENCE_S = 30.0
IDLE_LOOKS = 5
"""Looks at which nothing has moved before a stall is told: a call that Ray tries again takes its time to arrive."""
LOGGER = logging.getLogger(__name__)


class Pulse(NamedTuple):
    """What a player of programs has been doing: calls that it began, and calls that it ended."""

    begun: int
    ended: int


class Watched(Protocol):
    """An actor that can be looked after."""

    def pulse(self, timeout_s: float) -> Pulse | None:
        """Its pulse; None for one that is known to be dead or starting. Raises TimeoutError."""

    def restart(self) -> None:
        """End its process; it is started again, and what it was asked for is tried again."""


class Stalled(RuntimeError):
    """Results are waited for that nobody is working on."""


class Watchdog:
    """Looks after hosts (which play programs), device actors (which hand them on) and the server's lane."""

    def __init__(
        self, hosts: Sequence[Watched], devices: Sequence[Watched], server: Callable[[], Pulse], patience_s: float
    ) -> None:
        self._hosts = hosts
        self._devices = devices
        self._server = server
        self._patience_s = patience_s
        self._seen: list[Pulse] = []
        self._idle_looks = 0

    def wait(self, come: Callable[[float], bool]) -> None:
        """Block until all is there, or has failed; ``come`` waits so many seconds and tells. Raises Stalled."""
        while not come(self._patience_s):
            self.look()

    def look(self) -> None:
        """Restart what does not answer, and what holds calls that nobody plays. Raises Stalled when nothing can be done."""
        if self._somebody_plays():
            self._idle_looks = 0
            return
        handed = self._feel(self._devices)
        holding = [
            actor for actor, pulse in zip(self._devices, handed, strict=True) if pulse and pulse.begun > pulse.ended
        ]
        for actor in holding:
            _restart(actor, "holds a call that no worker plays")
        if holding or None in handed:
            self._seen, self._idle_looks = [], 0  # their calls are on their way again
            return
        self._idle_looks += 1
        if self._idle_looks == IDLE_LOOKS:
            waited_s = IDLE_LOOKS * self._patience_s
            raise Stalled(f"results are waited for, and for {waited_s:g} s no actor has had anything to play")

    def _somebody_plays(self) -> bool:
        """Whether a host or the server's lane has moved since the last look, is playing, or is being started."""
        pulses = self._feel(self._hosts)
        if None in pulses:
            self._seen = []
            return True
        seen, self._seen = self._seen, [*(pulse for pulse in pulses if pulse is not None), self._server()]
        return seen != self._seen or any(pulse.begun > pulse.ended for pulse in seen)

    def _feel(self, actors: Sequence[Watched]) -> list[Pulse | None]:
        """Every actor's pulse; None for one that gave none: it is restarted, unless that is under way already."""
        found: list[Pulse | None] = []
        for actor in actors:
            try:
                found.append(actor.pulse(self._patience_s))
            except TimeoutError:
                _restart(actor, f"has not answered for {self._patience_s:g} s")
                found.append(None)
        return found


def _restart(actor: Watched, why: str) -> None:
    LOGGER.warning("%s %s: restarted", actor, why)
    actor.restart()
