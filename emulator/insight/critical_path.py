"""The critical path: per round, the chain of compute, queue, air and server time that ended it, and who set it.

It is walked back from the round's end: the operation that ended at that very nanosecond; its service; its queue, from when its
inputs were there; then the operation that was the last to bring them, and so on until the round's start. Where no operation
ended at an instant, nobody's work was waited for but the clock: a deadline, or a device that comes back. The segments tile the
round. A longest path through what waited for what is what ends a project in CPM (Kelley & Walker, 1959); here it is read off
what happened, so that its length is the round's duration.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from emulator.insight.history import History, devices_of
from emulator.rows import Event, is_device

Kind = Literal[
    "device compute", "device queue", "uplink", "downlink", "server compute", "server queue", "deadline", "away", "idle"
]  # fmt: skip
KINDS: tuple[Kind, ...] = (
    "device compute", "device queue", "uplink", "downlink", "server compute", "server queue", "deadline", "away", "idle",
)  # fmt: skip
NOBODY = "-"  # whose a segment is that no node has


class Window(NamedTuple):
    """A round: its number and bounds (ns), and how long it would wait at most, where a deadline was told."""

    round: int
    start_ns: int
    end_ns: int
    wait_ns: int | None = None


class Segment(NamedTuple):
    """A piece of the path. ``who``: the device (at either end of a transfer), else the server or edge server; or ``-``.

    ``op`` is the operation; ``what`` its kind, and of a queue the step that the node was busy with at its end. ``cause``: how
    the operation ended (``docs/records.md``).
    """

    kind: Kind
    who: str
    start_ns: int
    end_ns: int
    op: int | None = None
    what: str = ""
    cause: str = "done"

    @property
    def ns(self) -> int:
        """Its length."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True)
class Path:
    """A round's segments, in order of time: they tile it."""

    window: Window
    segments: tuple[Segment, ...]

    @property
    def seconds(self) -> float:
        """The round's duration."""
        return (self.window.end_ns - self.window.start_ns) / 1e9

    def by_kind(self) -> dict[Kind, int]:
        """Nanoseconds of each kind, in the order of ``KINDS``."""
        found = Counter[Kind]()
        for segment in self.segments:
            found[segment.kind] += segment.ns
        return {kind: found[kind] for kind in KINDS if kind in found}

    def by_owner(self) -> dict[str, int]:
        """Nanoseconds of each node, the largest first; names decide ties. Deadlines and absences stand for themselves."""
        found = Counter[str]()
        for segment in self.segments:
            found[owner(segment)] += segment.ns
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def set_by(self) -> str:
        """Who has the largest share of the path: a device, a server, ``deadline``, ``away`` or ``idle``."""
        return next(iter(self.by_owner()), "idle")

    @property
    def bottleneck(self) -> Kind:
        """What that owner spent most of its share on."""
        return largest(segment for segment in self.segments if owner(segment) == self.set_by)

    @property
    def share(self) -> float:
        """Of the round's duration, that owner's."""
        whole = self.window.end_ns - self.window.start_ns
        return self.by_owner()[self.set_by] / whole if whole else 0.0


def owner(segment: Segment) -> str:
    """Whose a segment is; a deadline, an absence and idling are their own."""
    return segment.kind if segment.who == NOBODY else segment.who


def largest(segments: Iterator[Segment]) -> Kind:
    """The kind with the most time; the order of ``KINDS`` decides ties."""
    found = Counter[Kind]()
    for segment in segments:
        found[segment.kind] += segment.ns
    return max(KINDS, key=lambda kind: (found[kind], -KINDS.index(kind))) if found else "idle"


def paths(
    rows: Sequence[Event], windows: Sequence[Window], changed: Callable[[int], bool] = lambda _: False
) -> list[Path]:
    """The critical path of every round. ``changed(ns)``: whether a device came or went at that instant."""
    history = History(rows)
    return [Path(window, tuple(_Walk(history, window, changed).back())) for window in windows]


class _Walk:
    """One round, from its end to its start."""

    def __init__(self, history: History, window: Window, changed: Callable[[int], bool]) -> None:
        self.history, self.window, self.changed = history, window, changed
        self.found: list[Segment] = []
        self.time_ns = window.end_ns

    def back(self) -> list[Segment]:
        op = self.history.last_of(self.window.round, self.time_ns)
        limit, waited = len(self.history.rows), False
        while self.time_ns > self.window.start_ns:
            if op is None:
                self._wait(waited)
                waited, op = True, self.history.before(self.time_ns, None, limit)
            else:
                waited, limit = False, op
                op = self._work(self.history.rows[op])
        return self.found[::-1]

    def _work(self, row: Event) -> int | None:
        """An operation's service and queue; gives the operation that it waited for."""
        who, kind, queue = _names(row)
        self._add(row.start_ns, Segment(kind, who, 0, 0, row.op, row.kind, row.cause))
        ready_ns, cause = self.history.ready(row)
        occupant = self.history.occupant(row)
        if occupant is not None:
            self._add(ready_ns, Segment(queue, who, 0, 0, row.op, self.history.rows[occupant].kind))
        else:
            self._add(ready_ns, Segment("idle", NOBODY, 0, 0, row.op))
        return cause

    def _wait(self, again: bool) -> None:
        """No operation ended now: what was waited for, and since when."""
        if again:
            self._add(self._after_latest(), Segment("idle", NOBODY, 0, 0))
        elif self.changed(self.time_ns):
            self._add(self._after_latest(), Segment("away", NOBODY, 0, 0))
        else:
            self._add(self._timer_start(), Segment("deadline", NOBODY, 0, 0))

    def _timer_start(self) -> int:
        """When the clock was set: as told, else when the round first asked a device for anything."""
        told, asked = self.window.wait_ns, self.history.asked_ns(self.window.round)
        begun = self.time_ns - told if told else asked
        return begun if begun is not None and begun < self.time_ns else self.window.start_ns

    def _after_latest(self) -> int:
        op = self.history.latest(self.time_ns)
        return self.window.start_ns if op is None else self.history.rows[op].end_ns

    def _add(self, start_ns: int, segment: Segment) -> None:
        """From there until where the walk is, cut at the round's start; what takes no time leaves none."""
        start_ns = max(start_ns, self.window.start_ns)
        if start_ns < self.time_ns:
            self.found.append(segment._replace(start_ns=start_ns, end_ns=self.time_ns))
            self.time_ns = start_ns


def _names(row: Event) -> tuple[str, Kind, Kind]:
    """Whose an operation is, and what its service and its queue are called."""
    if row.verb == "compute":
        here = is_device(row.node)
        kinds: tuple[Kind, Kind] = ("device compute", "device queue") if here else ("server compute", "server queue")
        return row.node, *kinds
    edge = row.node if row.direction == "uplink" else str(row.peer)
    return min(devices_of(row), default=edge), "uplink" if row.direction == "uplink" else "downlink", "idle"
