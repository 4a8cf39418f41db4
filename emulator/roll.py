"""``devices.csv``: what became of every device in a run, one row each."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from emulator.rows import Round


class Member(NamedTuple):
    """A device, as its row begins."""

    device: str
    profile: str
    cell: str | None
    samples: int


class Roll:
    """Counts, round by round, who was asked, whose work was kept, how long it took, and how good the weights are for whom."""

    def __init__(self, fleet: Sequence[Member]) -> None:
        self.fleet = fleet
        self._asked: Counter[str] = Counter()
        self._finished: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._accuracy: dict[str, float] = {}

    def note(self, row: Round) -> None:
        """A round is over."""
        self._asked.update(row.cohort)
        self._finished.update(row.finished)
        for name, seconds in zip(row.finished, row.device_seconds, strict=True):
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds
        self._accuracy = row.per_device or self._accuracy

    def text(self) -> str:
        """The file."""
        file = io.StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow((*Member._fields, "asked", "finished", "finished_s", "accuracy"))
        for member in self.fleet:
            name = member.device
            counts = (self._asked[name], self._finished[name], self._seconds.get(name))
            cells = (*member, *counts, self._accuracy.get(name))
            rows.writerow(["" if cell is None else cell for cell in cells])
        return file.getvalue()
