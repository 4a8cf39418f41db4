"""A run's operations, and what each of them waited for: worked out from the rows alone.

A value keeps the number of the compute that made it, so what brought an input to a node is that compute, or the last send of
its value there. What no input explains follows from the clock: whatever ended at the very nanosecond at which something was
asked for. Where several did, those of the same device come first, then those at the same node, then the latest in order.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from emulator.rows import SERVER, Event, is_device

ENDS = frozenset({"done", "lost"})  # what somebody can have waited for; a cut is the consequence of something else


class History:
    """The rows of a run, in order of their numbers, with indices."""

    def __init__(self, rows: Sequence[Event]) -> None:
        self.rows = rows
        self._ended: dict[int, list[int]] = defaultdict(list)  # by instant
        self._sent: dict[tuple[int, str], list[int]] = defaultdict(list)  # sends by value and receiver
        self._freed: dict[tuple[str, int], int] = {}  # the compute that left a node at an instant
        self._asked: dict[int, int] = {}  # by round: when its first device was asked for anything
        for row in rows:
            self._note(row)
        self._ends = sorted((row.end_ns, row.op) for row in rows if row.cause in ENDS)

    def _note(self, row: Event) -> None:
        if row.cause in ENDS:
            self._ended[row.end_ns].append(row.op)
        if row.verb == "compute":
            self._freed[row.node, row.end_ns] = row.op
        elif row.cause == "done" and row.peer is not None:
            for source in row.inputs:
                self._sent[source, row.peer].append(row.op)
        if devices_of(row):
            self._asked[row.round] = min(row.queued_ns, self._asked.get(row.round, row.queued_ns))

    # ---- what an operation waited for ------------------------------------------------------------------------------------

    def ready(self, row: Event) -> tuple[int, int | None]:
        """(when all that an operation needed was there, the operation that was the last of it; None: none was).

        From then on until its start it queued.
        """
        brought = [found for source in row.inputs if (found := self._brought(source, row)) is not None]
        last = max(brought, key=lambda op: (self.rows[op].end_ns, op), default=None)
        if last is not None and self.rows[last].end_ns >= row.queued_ns:
            ready_ns, cause = self.rows[last].end_ns, last
        else:
            ready_ns, cause = row.queued_ns, self.before(row.queued_ns, row)  # type: ignore[assignment]
        if ready_ns < row.start_ns and self.occupant(row) is None:  # data that no compute made came then
            late = self.before(row.start_ns, row)
            return (row.start_ns, late) if late is not None else (ready_ns, cause)
        return ready_ns, cause

    def _brought(self, source: int, row: Event) -> int | None:
        """The operation that put a value where the row needs it: its compute, or the send of it that came last."""
        if self.rows[source].node == row.node:
            return source
        sends = self._sent.get((source, row.node), [])
        came = (op for op in sends[: bisect_left(sends, row.op)] if self.rows[op].end_ns <= row.start_ns)
        return max(came, key=lambda op: (self.rows[op].end_ns, op), default=None)

    def occupant(self, row: Event) -> int | None:
        """The compute that left the node when this one started there; None where the node was free."""
        found = self._freed.get((row.node, row.start_ns)) if row.verb == "compute" else None
        return found if found != row.op else None

    # ---- what ended when -------------------------------------------------------------------------------------------------

    def before(self, time_ns: int, row: Event | None, limit: int | None = None) -> int | None:
        """The operation that ended at an instant and let ``row`` be asked for; numbers below ``limit`` or the row's."""
        most = limit if row is None else row.op
        there = [op for op in self._ended.get(time_ns, ()) if most is None or op < most]
        if row is None:
            return max(there, default=None)
        nodes, devices = nodes_of(row), devices_of(row)

        def nearness(op: int) -> tuple[bool, bool, int]:
            other = self.rows[op]
            return bool(devices & devices_of(other)), bool(nodes & nodes_of(other)), op

        return max(there, key=nearness, default=None)

    def last_of(self, number: int, time_ns: int) -> int | None:
        """The operation that ended a round: at the server if possible, else on its way there, else anywhere."""

        def nearness(op: int) -> tuple[bool, bool, int]:
            row = self.rows[op]
            return row.node == SERVER and row.verb == "compute", row.peer == SERVER, op

        there = [op for op in self._ended.get(time_ns, ()) if self.rows[op].round <= number]
        return max(there, key=nearness, default=None)

    def latest(self, time_ns: int) -> int | None:
        """The operation that was the last to end before an instant."""
        place = bisect_left(self._ends, (time_ns, -1))
        return self._ends[place - 1][1] if place else None

    def asked_ns(self, number: int) -> int | None:
        """When the first device of a round was asked for anything."""
        return self._asked.get(number)


def nodes_of(row: Event) -> set[str]:
    """Both ends of a transfer; the node of a compute."""
    return {row.node} if row.peer is None else {row.node, row.peer}


def devices_of(row: Event) -> set[str]:
    """Those of them that are devices."""
    return {node for node in nodes_of(row) if is_device(node)}
