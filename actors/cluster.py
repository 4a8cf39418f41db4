"""Ray for one run: an embedded local instance, or an existing cluster; its own noise stays out of the user's terminal."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import RayActorError, RayTaskError

from actors.address import EXPECTED, NoCluster, require_answer
from actors.aggregator import Aggregator
from actors.device import Fleet, on


class AggregatorLost(Exception):
    """The aggregator's process ended in the middle of a run."""


class Cluster:
    """A connection to Ray for the length of a ``with`` block. One that was open before is used and left open."""

    def __init__(self, address: str | None = None, *, dashboard: bool = False) -> None:
        self._address = address
        self._dashboard = dashboard
        self._ours = False
        self._aggregator: Any = None
        self.namespace = f"edge-emulator-{uuid4().hex[:8]}"
        self.started: dict[str, int] = {}

    def __enter__(self) -> Self:
        if not ray.is_initialized():
            self._ours = True
            connect(self._address, dashboard=self._dashboard)
        return self

    def start(self, fleet: Fleet) -> dict[str, int]:
        """Start an aggregator, on this process's node, and its device actors; gives their number and resident bytes."""
        options = {"name": "aggregator", "namespace": self.namespace}
        actor: Any = Aggregator
        self._aggregator = actor.options(**options, **on(ray.get_runtime_context().get_node_id())).remote()
        with _aggregator_at_work():
            self.started = ray.get(self._aggregator.start.remote(replace(fleet, namespace=self.namespace)))
        return self.started

    def play(self, entry: str, *arguments: Any) -> Iterator[Any]:
        """Stream what ``entry(executor, *arguments)`` yields in the aggregator. Raises AggregatorLost, and what that raised."""
        with _aggregator_at_work():
            for lot in self._aggregator.run.options(num_returns="streaming").remote(entry, *arguments):
                yield from ray.get(lot)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._aggregator is not None:
            ray.kill(self._aggregator)  # its device actors belong to it and end with it
        if self._ours:
            disconnect()


@contextmanager
def _aggregator_at_work() -> Iterator[None]:
    """Raises AggregatorLost when its process ends."""
    try:
        yield
    except RayActorError as error:
        if isinstance(error, RayTaskError):  # of another actor, told by this one
            raise
        words = "the aggregator's process ended: killed, out of memory, or lost with its node; a run cannot go on without it"
        raise AggregatorLost(words) from error


def connect(address: str | None, *, dashboard: bool, processors: int | None = None) -> None:
    """Join the cluster at ``address``, or start a local one for this process (with so many processors). Raises NoCluster."""
    if address is not None:
        require_answer(address)
    local: dict[str, Any] = {} if address else {"include_dashboard": dashboard, "num_cpus": processors}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except ConnectionError as error:
        if address is None:
            raise
        raise NoCluster(f"got {address}, where no Ray cluster answers; {EXPECTED}") from error


def disconnect() -> None:
    """Leave the cluster; a local one ends, with all its processes."""
    ray.shutdown()
