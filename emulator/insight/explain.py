"""``emulator explain``: who set each round of a run and with what, who waited, and what would change it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from emulator.insight.critical_path import KINDS, Window, largest, owner, paths
from emulator.insight.critical_path import Path as Chain
from emulator.insight.load import Run, RunError
from emulator.insight.waiting import Part, Participation, jain, participation, parts, server_share, straggler_index
from emulator.insight.what_if import Result, cautions, median_device, usual, what_if
from emulator.rows import is_device


@dataclass
class Explanation:
    """All that is worked out of one run; each part when it is first asked for.

    Raises RunError for a run of which no round ended.
    """

    run: Run

    def __post_init__(self) -> None:
        if not len(self.run.rounds):
            raise RunError(f"{self.run.folder}: got a run in which no round ended; expected one round or more")

    @cached_property
    def windows(self) -> list[Window]:
        """The rounds' bounds."""
        return windows_of(self.run)

    @cached_property
    def paths(self) -> list[Chain]:
        """The critical path of each round."""
        return paths(self.run.rows, self.windows, _comings(self.run))

    @cached_property
    def parts(self) -> list[Part]:
        """Each device's part in each round."""
        return parts(self.run.rows, self.windows)

    @cached_property
    def participation(self) -> list[Participation]:
        """Each device over the run."""
        fleet = self.run.devices
        known = [None if number != number else int(number) for number in fleet["samples"].astype(float)]
        samples = dict(zip(fleet["name"], known, strict=True))
        return participation(self.parts, samples, (self.whole.end_ns - self.whole.start_ns) / 1e9)

    @cached_property
    def results(self) -> list[Result]:
        """The what-if table."""
        return what_if(self.run, list(usual(self.straggler, median_device(self.parts))))

    @property
    def whole(self) -> Window:
        """All rounds together."""
        return Window(0, self.windows[0].start_ns, self.windows[-1].end_ns)

    @cached_property
    def owners(self) -> dict[str, int]:
        """Nanoseconds on the critical path of all rounds, by who, the largest first."""
        found = Counter[str]()
        for path in self.paths:
            found.update(path.by_owner())
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @cached_property
    def classes(self) -> dict[str, int]:
        """The same by class of device (its profile); servers, deadlines and the like under their own names."""
        profiles = dict(zip(self.run.devices["name"], self.run.devices["profile"], strict=True))
        found = Counter[str]()
        for name, time_ns in self.owners.items():
            found[profiles.get(name, name)] += time_ns
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def straggler(self) -> str | None:
        """The device with the most time on the critical path; None where no device is on it."""
        return next((name for name in self.owners if name not in KINDS and is_device(name)), None)

    def bottleneck(self, name: str) -> str:
        """What a node spent most of its time on the critical path on."""
        return largest(segment for path in self.paths for segment in path.segments if owner(segment) == name)

    def place(self, name: str) -> str:
        """A device's profile and cell."""
        row = self.run.devices.set_index("name").loc[name]
        return str(row["profile"]) if not isinstance(row["cell"], str) else f"{row['profile']}, {row['cell']}"

    def headline(self) -> list[str]:
        """The answer in two lines: who, where and the bottleneck; and the shares of classes of devices."""
        name, time_ns = next(iter(self.owners.items()), ("idle", 0))
        count = sum(path.set_by == name for path in self.paths)
        whole_ns = self.whole.end_ns - self.whole.start_ns
        about = f" ({self.place(name)})" if name not in KINDS and is_device(name) else ""
        share = time_ns / whole_ns if whole_ns else 0.0
        why = "" if name in KINDS else f"; its bottleneck: {self.bottleneck(name)}"
        shares = {each: ns / (whole_ns or 1) for each, ns in self.classes.items()}
        by_class = ", ".join(f"{each} {part:.0%}" for each, part in shares.items() if part >= 0.005)
        return [
            f"{name}{about} set {count} of {len(self.paths)} rounds, {share:.0%} of the critical path{why}",
            f"critical path by class: {by_class}",
        ]

    def cure(self) -> str:
        """The what-if that saves most, in words."""
        best = max((result for result in self.results if result.refused is None), key=lambda r: r.saved, default=None)
        if best is None or best.saved <= 0:
            return "no change of the table saves time"
        seconds = f"{best.after_s:.3f} s in place of {best.before_s:.3f} s"
        return f"what would save most: {best.change}: {seconds} ({-best.saved:+.0%})"


def windows_of(run: Run) -> list[Window]:
    """A run's rounds, in nanoseconds."""
    table = run.rounds
    waits = table["deadline_s"] if "deadline_s" in table else [None] * len(table)
    return [
        Window(int(number), _ns(start), _ns(end), None if wait is None or wait != wait else _ns(wait))
        for number, start, end, wait in zip(table["round"], table["start_s"], table["end_s"], waits, strict=True)
    ]


def _ns(seconds: float) -> int:
    return round(float(seconds) * 1e9)


def _comings(run: Run) -> Callable[[int], bool]:
    """Whether any device came or went at an instant."""
    groups, cells = run.resolved["devices"], run.resolved["network"]["cells"]
    if not any(group.get("availability") for group in groups) and not any(c.get("outages") for c in cells.values()):
        return lambda _: False
    from emulator.conditions import conditions
    from emulator.preparation import draw_fleet

    found = conditions(run.scenario, draw_fleet(run.scenario))
    known = [condition.presence for condition in found if condition.presence is not None]
    return lambda ns: ns > 0 and any(one.at(ns)[0] != one.at(ns - 1)[0] for one in known)


def as_data(found: Explanation, *, what_if: bool) -> dict[str, Any]:
    """All of it as JSON's plain types; seconds, and shares from 0 to 1."""
    counts = [each.done for each in found.participation]
    told: dict[str, Any] = {
        "run": str(found.run.folder),
        "name": found.run.name,
        "straggler": found.straggler,
        "set_by": {name: ns / 1e9 for name, ns in found.owners.items()},
        "classes": {name: ns / 1e9 for name, ns in found.classes.items()},
        "rounds": [_round(found, path) for path in found.paths],
        "server_busy": server_share(found.run.rows, found.whole),
        "fairness": {"jain": jain(counts)},
        "devices": [each._asdict() for each in found.participation],
        "parts": [part._asdict() for part in found.parts],
    }
    if what_if:
        told["what_if"] = [_result(result) for result in found.results]
        told["cautions"] = cautions(found.run)
    return told


def _round(found: Explanation, path: Chain) -> dict[str, Any]:
    return {
        "round": path.window.round,
        "duration_s": path.seconds,
        "set_by": path.set_by,
        "bottleneck": path.bottleneck,
        "share": path.share,
        "straggler_index": straggler_index(part for part in found.parts if part.round == path.window.round),
        "seconds": {kind: ns / 1e9 for kind, ns in path.by_kind().items()},
        "segments": [
            {
                "kind": s.kind,
                "who": s.who,
                "start_s": s.start_ns / 1e9,
                "end_s": s.end_ns / 1e9,
                "op": s.op,
                "what": s.what,
            }
            for s in path.segments
        ],
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "change": str(result.change),
        "before_s": result.before_s,
        "after_s": None if result.refused else result.after_s,
        "saved": None if result.refused else result.saved,
        "rounds_s": list(result.rounds_s),
        "same_work": result.same_work,
        "refused": result.refused,
    }


def explain(folder: Path | str) -> Explanation:
    """The explanation of the run in a folder. Raises RunError (a ValueError) where there is none."""
    return Explanation(Run(folder))
