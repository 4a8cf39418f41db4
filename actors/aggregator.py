"""The aggregator actor: runs the clock and the protocol in one thread, plays the server's lane in another.

It is given the function that runs the protocol; what that function yields streams to the caller while the run goes on, in lots
and from a third thread. The lane goes first: devices wait for what it makes, and the clock is mostly ahead of them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import ray

from actors.device import Actors, Fleet
from actors.lots import giving_way, lots
from actors.program import resolve
from actors.ray_executor import RayExecutor
from actors.watchdog import Pulse
from actors.worker import WorkerPlayer


@ray.remote(num_cpus=0, concurrency_groups={"run": 1, "lane": 1})
class Aggregator:
    """The aggregator of a run, or of several one after another. Device actors belong to it and end with it."""

    def __init__(self) -> None:
        self._player = WorkerPlayer(None, ())
        self._clock = ThreadPoolExecutor(1)  # the warm-up is its too: some of what that makes is a thread's own
        self._playing = Lock()
        self._actors: Actors | None = None

    @ray.method(concurrency_group="run")
    def start(self, fleet: Fleet) -> dict[str, int]:
        """Start the device actors; gives their number and resident bytes when all are there."""
        self._actors = Actors(fleet)
        if fleet.warm_up is not None:
            self._clock.submit(resolve(fleet.warm_up)).result()  # while the device actors are starting
        return self._actors.wait_until_ready()

    @ray.method(concurrency_group="run")
    def run(self, entry: str, *arguments: Any) -> Iterator[list[Any]]:
        """Stream what ``entry(executor, *arguments)`` yields, in lots. Call with ``num_returns="streaming"``."""
        assert self._actors is not None
        executor = RayExecutor(self._actors, ray.get_runtime_context().current_actor, self._pulse)
        yield from lots(giving_way(resolve(entry)(executor, *arguments), self._playing), self._clock)

    @ray.method(concurrency_group="lane")
    def play(self, payload: bytes, *arguments: Any) -> Any:
        """Play programs of the server's lane."""
        with self._playing:
            return self._player.play(payload, arguments)

    def _pulse(self) -> Pulse:
        return Pulse(self._player.begun, self._player.ended)
