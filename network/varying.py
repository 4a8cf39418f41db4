"""Something that changes with time and is followed only while somebody looks."""

from collections.abc import Callable

import simpy

from network.timer import LazyTimer


class Varying:
    """``follow(now)`` brings something up to date and tells when it changes next (ns; None: never).

    It is called when ``wake`` is, and then at every change for as long as ``watched()`` holds.
    """

    def __init__(
        self, env: simpy.Environment, follow: Callable[[int], int | None], watched: Callable[[], bool]
    ) -> None:
        self._env = env
        self._follow = follow
        self._watched = watched
        self._timer = LazyTimer(env, self._on_time)
        self._awake = False

    def wake(self) -> None:
        """Somebody looks from now on."""
        if not self._awake:
            self._awake = True
            self._go_on()

    def _on_time(self) -> None:
        if self._watched():
            self._go_on()
        else:
            self._awake = False

    def _go_on(self) -> None:
        then = self._follow(int(self._env.now))
        if then is None:
            self._timer.set(float("inf"))  # still awake: nothing changes any more
        else:
            self._timer.set(then)
