"""Waits for results on Ray and, when they let themselves be waited for, looks after the actors that should make them.

A process that no longer answers (stopped, swapped out for good, caught in a driver) is not noticed by Ray, nor is a call that
two actors have lost between them. Programs are pure, so the cure for both is that for a dead actor: end the process, and Ray
starts it again and tries its calls again.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import ray
from ray.exceptions import GetTimeoutError, RayActorError

PATIENCE_S = 30.0
LOGGER = logging.getLogger(__name__)


class Pulse(NamedTuple):
    """What a player of programs has been doing: calls that it began, and calls that it ended."""

    begun: int
    ended: int


class Stalled(RuntimeError):
    """Results are waited for that nobody is working on."""


class Watchdog:
    """Looks after hosts (which play programs), device actors (which hand them on) and the server's lane."""

    def __init__(self, hosts: list[Any], devices: list[Any], server: Callable[[], Pulse], patience_s: float) -> None:
        self._hosts = hosts
        self._devices = devices
        self._server = server
        self._patience_s = patience_s
        self._seen: list[Pulse] = []

    def wait(self, references: Iterable[Any]) -> None:
        """Block until all are there, or have failed. Raises Stalled when nothing can make them."""
        left = list(dict.fromkeys(references))
        while left:
            _, left = ray.wait(left, num_returns=len(left), timeout=self._patience_s, fetch_local=False)
            if left:
                self.look()

    def look(self) -> None:
        """Restart what does not answer, and what holds calls that nobody plays."""
        pulses = self._feel(self._hosts)
        if None in pulses:
            self._seen = []
            return
        seen, self._seen = self._seen, [*(pulse for pulse in pulses if pulse is not None), self._server()]
        if seen != self._seen or any(pulse.begun > pulse.ended for pulse in seen):
            return
        holding = self._holding()
        if not holding:
            raise Stalled(f"results are waited for, and for {self._patience_s:g} s no actor has had anything to play")
        for actor in holding:
            _restart(actor, "holds a call that no worker plays")

    def _feel(self, actors: list[Any]) -> list[Pulse | None]:
        """Every actor's pulse; None for one that gave none: it is restarted, unless Ray is doing so already."""
        asked = [actor.pulse.remote() for actor in actors]
        found: list[Pulse | None] = []
        for actor, reference in zip(actors, asked, strict=True):
            try:
                found.append(Pulse(*ray.get(reference, timeout=self._patience_s)))
            except GetTimeoutError:
                _restart(actor, f"has not answered for {self._patience_s:g} s")
                found.append(None)
            except RayActorError:  # dead or starting: pulses are not tried again, so that this is told at once
                found.append(None)
        return found

    def _holding(self) -> list[Any]:
        """Device actors that wait for a call that they handed on."""
        pulses = self._feel(self._devices)
        return [
            actor for actor, pulse in zip(self._devices, pulses, strict=True) if pulse and pulse.begun > pulse.ended
        ]


def _restart(actor: Any, why: str) -> None:
    LOGGER.warning("%s %s: restarted", actor, why)
    ray.kill(actor, no_restart=False)
