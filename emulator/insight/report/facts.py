"""What the report tells, worked out once: an explanation of the run, its devices by class, and the verdict."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from emulator.insight.critical_path import KINDS, owner
from emulator.insight.critical_path import Path as Chain
from emulator.insight.explain import Explanation
from emulator.insight.load import Run
from emulator.insight.waiting import Part
from emulator.insight.what_if import Change, Fast, Result, cautions, median_device, usual, what_if
from emulator.reading import ScenarioError
from emulator.rows import SERVER, is_device

MOST_PLAYED = 25_000  # operations that what-ifs play again unless more are asked for: some seconds
MOST_ASKED = 30_000  # operations of a run that is played again without being asked to
FAST: dict[str, Fast] = {
    "device compute": "processor", "device queue": "processor", "uplink": "uplink", "downlink": "downlink",
    "server compute": "server", "server queue": "server",
}  # fmt: skip


@dataclass(frozen=True)
class Device:
    """A row of ``devices.csv``; None where it is blank."""

    name: str
    profile: str
    cell: str | None
    samples: int
    asked: int
    finished: int
    finished_s: float | None
    accuracy: float | None

    @property
    def about(self) -> str:
        """Its class and cell."""
        return self.profile if self.cell is None else f"{self.profile}, {self.cell}"


class Facts:
    """A run as the report sees it. Raises RunError for one of which no round ended.

    ``asks``: whether what-ifs are asked for; they run the clock again, and need the scenario's data at hand. None: those that
    take seconds.
    """

    def __init__(self, run: Run, *, asks: bool | None = None) -> None:
        self.run, self.asks = run, asks
        self.found = Explanation(run)

    @cached_property
    def devices(self) -> dict[str, Device]:
        """The fleet by name."""
        table = self.run.roll.astype(object).where(self.run.roll.notna(), None)
        return {row["device"]: Device(*(row[key] for key in _COLUMNS)) for row in table.to_dict("records")}

    @cached_property
    def classes(self) -> dict[str, list[Device]]:
        """Devices by profile, in the fleet's order."""
        found: dict[str, list[Device]] = defaultdict(list)
        for device in self.devices.values():
            found[device.profile].append(device)
        return dict(found)

    @property
    def paths(self) -> list[Chain]:
        """Each round's critical path."""
        return self.found.paths

    @cached_property
    def parts(self) -> dict[str, list[Part]]:
        """Devices' parts in rounds, by class."""
        found: dict[str, list[Part]] = {name: [] for name in self.classes}
        for part in self.found.parts:
            if part.device in self.devices:
                found[self.devices[part.device].profile].append(part)
        return found

    @cached_property
    def set_rounds(self) -> Counter[str]:
        """Rounds that each node set."""
        return Counter(path.set_by for path in self.paths)

    @property
    def whole_s(self) -> float:
        """Seconds of all rounds."""
        return (self.found.whole.end_ns - self.found.whole.start_ns) / 1e9

    @cached_property
    def culprit(self) -> str:
        """Who has the most time on the critical path of all rounds: a node, ``deadline``, ``away`` or ``idle``."""
        return next(iter(self.found.owners), "idle")

    @cached_property
    def class_rounds(self) -> Counter[str]:
        """Rounds set by devices of each class."""
        return Counter({
            name: sum(self.set_rounds[device.name] for device in members) for name, members in self.classes.items()
        })  # fmt: skip

    def spent(self, name: str) -> dict[str, int]:
        """Nanoseconds of a node on the critical path by kind, the largest first."""
        found: Counter[str] = Counter()
        for path in self.paths:
            for segment in path.segments:
                if owner(segment) == name:
                    found[segment.kind] += segment.ns
        return dict(sorted(found.items(), key=lambda item: (-item[1], KINDS.index(item[0]))))

    # ---- what if ---------------------------------------------------------------------------------------------------------

    @cached_property
    def changes(self) -> Sequence[Change]:
        """What is asked, what helps most first: as many as ``MOST_PLAYED`` operations allow, but three at least."""
        kind = next(iter(self.spent(self.culprit)), "idle")
        every = list(usual(self.found.straggler, median_device(self.found.parts)))
        every.sort(
            key=lambda change: (change.like is None, change.without is None, _fast(change) != (None, FAST.get(kind)))
        )
        return every if self.asks else every[: max(3, MOST_PLAYED // max(1, len(self.run.rows)) - 1)]

    @cached_property
    def answers(self) -> list[Result]:
        """The what-if table; empty when none was asked for or none can be had: ``unanswered`` says why."""
        if self.asks is None and len(self.run.rows) > MOST_ASKED:
            self._unanswered = f"{len(self.run.rows):,} operations take minutes to play again; --what-if does it"
        elif self.asks is False:
            self._unanswered = "it was not asked for (--no-what-if)"
        else:
            return self._asked()
        return []

    def _asked(self) -> list[Result]:
        try:
            return what_if(self.run, self.changes)
        except (ScenarioError, OSError) as error:
            self._unanswered = str(error)
            return []

    _unanswered = ""

    @property
    def unanswered(self) -> str:
        """Why there is no what-if table."""
        return self._unanswered

    @property
    def cautions(self) -> list[str]:
        """What to bear in mind of the what-ifs."""
        return cautions(self.run) if self.answers else []

    @property
    def unasked(self) -> int:
        """How many of the usual what-ifs were left out."""
        return sum(1 for _ in usual(self.found.straggler, median_device(self.found.parts))) - len(self.changes)

    def answer(self, change: Change) -> Result | None:
        """What came of a change; None where it was not asked or refused."""
        return next((each for each in self.answers if each.change == change and each.refused is None), None)

    # ---- rounds ----------------------------------------------------------------------------------------------------------

    def picked(self) -> list[tuple[str, Chain]]:
        """The slowest, the median and the fastest round; fewer where there are fewer."""
        order = sorted(self.paths, key=lambda path: (-path.seconds, path.window.round))
        named = (("slowest", order[0]), ("median", order[len(order) // 2]), ("fastest", order[-1]))
        found: dict[int, tuple[str, Chain]] = {}
        for name, path in named:
            found.setdefault(path.window.round, (name, path))
        return list(found.values())

    @property
    def median_round_s(self) -> float:
        """Virtual seconds of the median round."""
        return median(path.seconds for path in self.paths)

    def role(self, name: str) -> str:
        """``device``, ``server``, ``edge server``, or the thing's own name."""
        if name in KINDS:
            return name
        return "device" if is_device(name) else "server" if name == SERVER else "edge server"


def _fast(change: Change) -> tuple[str | None, str | None]:
    return change.device, change.fast


_COLUMNS = ("device", "profile", "cell", "samples", "asked", "finished", "finished_s", "accuracy")
