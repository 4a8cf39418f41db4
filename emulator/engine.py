"""What all verbs of a run share: the clock, the tape, the network, operation numbers and the rows that verbs leave."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from actors.program import Executor
from actors.tape import Handle, Tape
from emulator.devices.energy import Ledger
from emulator.rows import Event, is_device
from emulator.tasks import Clock, OutOfMemory
from network.topology import Network

Finish = Literal["done", "cut off", "lost", "stopped"]


class Serving(Protocol):
    """A verb in service: it has an operation number and can tell its row at any time."""

    def event(self, cause: Finish) -> Event:
        """The row of what was done by now."""


@dataclass
class Totals:
    """What has ended since the last report: payload bytes each way, overhead bytes, FLOPs of devices and of servers."""

    uplink_bytes: int = 0
    downlink_bytes: int = 0
    overhead_bytes: int = 0
    device_flops: int = 0
    server_flops: int = 0

    def add(self, row: Event) -> None:
        """Count a finished row."""
        if row.direction == "uplink":
            self.uplink_bytes += row.bytes
        elif row.direction == "downlink":
            self.downlink_bytes += row.bytes
        elif not is_device(row.node):
            self.server_flops += row.flops
        else:
            self.device_flops += row.flops
        self.overhead_bytes += row.overhead_bytes


class Engine:
    """One run's machinery. ``rows`` collects finished events in operation order, without gaps."""

    def __init__(self, clock: Clock, executor: Executor, network: Network, patience: int = 0) -> None:
        self.clock = clock
        self.tape = Tape(executor, patience)
        self.tape.placed = _placed
        self.network = network
        self.ledger = Ledger(clock.env)
        self.out_of_memory: Callable[[Any, OutOfMemory], None] = lambda _, error: clock.fail(error)
        self.edges: dict[str | None, Any] = {}  # edge servers by site
        self.round = 1
        self.numbers = 0
        self.rows: list[Event] = []
        self.totals = Totals()
        self._serving: dict[int, Serving] = {}
        self._ended: dict[int, Event] = {}  # finished, but an earlier operation is still under way
        self._next = 0

    def number(self, verb: Serving) -> int:
        """The verb's service starts: its operation number, counted in the order of service."""
        op = self.numbers
        self.numbers += 1
        self._serving[op] = verb
        return op

    def ended(self, op: int | None, cause: Finish) -> None:
        """The verb's service ends now; a verb that never started leaves no row."""
        if op is None:
            return
        row = self._serving.pop(op).event(cause)
        self.totals.add(row)
        if op != self._next:
            self._ended[op] = row
            return
        self.rows.append(row)
        self._next += 1
        while self._next in self._ended:
            self.rows.append(self._ended.pop(self._next))
            self._next += 1

    def in_flight(self) -> list[Event]:
        """Rows of what is in service now, as if it were stopped at this instant, in operation order."""
        return [self._serving[op].event("stopped") for op in sorted(self._serving)]

    def unsorted(self) -> list[Event]:
        """Finished rows that still wait for an earlier operation, in operation order."""
        return [self._ended[op] for op in sorted(self._ended)]


def _placed(handle: Handle, change: int) -> None:
    """Keep count of what lies on a node that has a memory of its own."""
    shelf = handle.place.shelf
    if shelf is not None:
        shelf.note(handle, change)
