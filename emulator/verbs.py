"""What the two verbs share: they wait for their inputs, then for their turn, take their time, and leave one row.

A verb starts when its inputs are there: a compute (``computing.py``) waits for its node's processor, a send (``sending.py``)
goes on the air at once and shares it. It gets its operation number when its service starts.
"""

from typing import Any, Protocol

import simpy

from emulator.devices.energy import Supply
from emulator.devices.pace import Pace
from emulator.engine import Engine, Finish
from emulator.learning.meter import Cost
from emulator.memory import Shelf
from emulator.processors import Processor
from emulator.protocols.verbs import DeviceLost
from emulator.rows import Event
from emulator.tasks import Future
from network.attachment import Attachment
from network.topology import Edge
from network.transfer import Way


class Host(Protocol):
    """A node, as its verbs see it."""

    engine: Engine
    name: str
    lane: int
    lost: bool
    under_way: dict["Verb", None]
    profile: Any
    shelf: Shelf | None
    pace: Pace | None
    supply: Supply | None

    @property
    def processor(self) -> Processor:
        """Where computations queue."""

    @property
    def attachment(self) -> Attachment | Edge | None:
        """Where it is linked to the network; None for a server in its middle."""

    def duration_ns(self, cost: Cost) -> int:
        """Nanoseconds that such a computation takes here, alone."""

    def way(self, to: Any) -> Way:
        """The links from here to another node."""


class Verb(Future):
    """Work asked for by a protocol: waits for its inputs, then for its turn, then takes its time."""

    def __init__(self, node: Host, inputs: tuple[Any, ...]) -> None:
        super().__init__(node.engine.clock)
        self.node = node
        self.op: int | None = None
        self.queued_ns = self.start_ns = self.clock.now_ns
        self.round = node.engine.round
        self.inputs: tuple[int, ...] = ()
        self._inputs: list[Any] = list(inputs)
        self._missing = 0
        waited_for = [item for item in inputs if isinstance(item, Future)]
        for future in waited_for:
            future.consume()
        ends = self._ends = self.ends()
        for end in ends:
            if end.lost:
                self._give_up(DeviceLost(end.name))
                return
        for end in ends:
            end.under_way[self] = None
        for future in waited_for:
            self._wait_for(future)
        if not self._missing:
            self._ready()

    def ends(self) -> tuple[Host, ...]:
        """The nodes without which this verb cannot go on."""
        return (self.node,)

    def _give_up(self, error: Exception) -> None:
        """It never starts."""
        self._inputs.clear()
        for end in self._ends:
            end.under_way.pop(self, None)
        self.break_off(error)

    def _wait_for(self, future: Future) -> None:
        if future.processed:
            return
        self._missing += 1
        assert future.callbacks is not None
        future.callbacks.append(self._arrived)

    def _arrived(self, event: simpy.Event) -> None:
        self._missing -= 1
        if self.triggered:
            return
        if isinstance(event.value, Exception):
            self._give_up(event.value)
        elif not self._missing:
            self._ready()

    def _ready(self) -> None:
        self._inputs = inputs = [item.value if isinstance(item, Future) else item for item in self._inputs]
        for item in inputs:
            if isinstance(item, Exception):
                self._give_up(item)
                return
        self._begin()

    def _begin(self) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        """Give back what the verb occupies."""
        raise NotImplementedError

    def event(self, cause: Finish) -> Event:
        """The verb's row: what it did by now."""
        raise NotImplementedError

    def _over(self, how: Finish) -> None:
        """The service ends now: leave the row, forget the inputs."""
        self.node.engine.ended(self.op, how)
        self._inputs.clear()
        for end in self._ends:
            end.under_way.pop(self, None)

    def end_early(self, how: Finish, error: Exception | None) -> None:
        """Cut the work off where it is: what was done stays in the rows, the rest never happens."""
        if self.triggered:
            return
        self._over(how)
        self._leave()
        if error is not None:
            self.break_off(error)

    def cancel(self) -> None:
        """Somebody else decided that this is not needed."""
        self.end_early("cut off", None)
        super().cancel()
