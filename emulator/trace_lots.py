"""What one track did in one round, as one slice: how ``trace.json`` holds runs of millions of batches."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from emulator.rows import Event

NAMED = 3  # kinds in a slice's name


class Key(NamedTuple):
    """Whose lot it is: the device (or server), the kind of its track, and the round."""

    owner: str
    track: str
    round: int


@dataclass
class Lot:
    """Rows that become one slice, from the start of the first to the end of the last. Times in ns."""

    key: Key
    first: Event
    start_ns: int
    end_ns: int
    busy_ns: int = 0
    bytes: int = 0
    overhead_bytes: int = 0
    flops: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    fed_by: set[Key] = field(default_factory=set)  # lots of uploads that it used

    def add(self, row: Event) -> None:
        """One row more."""
        self.start_ns, self.end_ns = min(self.start_ns, row.start_ns), max(self.end_ns, row.end_ns)
        self.busy_ns += row.end_ns - row.start_ns
        self.bytes += row.bytes
        self.overhead_bytes += row.overhead_bytes
        self.flops += row.flops
        self.kinds[row.kind] += 1

    @property
    def count(self) -> int:
        """How many rows."""
        return self.kinds.total()

    @property
    def name(self) -> str:
        """Its commonest kinds, and how many rows it stands for: ``smashed ×120``."""
        kinds = ", ".join(kind for kind, _ in self.kinds.most_common(NAMED))
        return f"{kinds}{', ...' if len(self.kinds) > NAMED else ''} ×{self.count}"

    def details(self) -> dict[str, Any]:
        """A slice's arguments. ``busy_us``: the sum of the rows' times, without the gaps."""
        return {
            "op": self.first.op, "round": self.key.round, "slices": self.count, "bytes": self.bytes,
            "overhead_bytes": self.overhead_bytes, "flops": self.flops, "busy_us": self.busy_ns / 1000,
        }  # fmt: skip


class Lots:
    """The lots of the rounds that go on. ``uploads``: how many uploads are remembered for arrows."""

    def __init__(self, uploads: int) -> None:
        self._open: dict[Key, Lot] = {}
        self._sent: dict[int, Key] = {}
        self._uploads = uploads
        self.merged = 0

    def add(self, owner: str, row: Event, *, server: bool) -> None:
        """Put a row to its lot; ``server``: it is a compute there, and uses what was sent up."""
        key = Key(owner, row.direction or row.verb, row.round)
        lot = self._open.get(key)
        if lot is None:
            lot = self._open[key] = Lot(key, row, row.start_ns, row.end_ns)
        lot.add(row)
        self.merged += 1
        if server:
            lot.fed_by.update(self._sent.pop(source) for source in row.inputs if source in self._sent)
        elif row.direction == "uplink" and row.cause == "done":
            self._sent.update(dict.fromkeys(row.inputs, key))
            while len(self._sent) > self._uploads:
                del self._sent[next(iter(self._sent))]

    def take(self) -> list[Lot]:
        """All lots in the order in which they start; none is kept."""
        found = sorted(self._open.values(), key=lambda lot: (lot.start_ns, lot.first.op))
        self._open.clear()
        return found
