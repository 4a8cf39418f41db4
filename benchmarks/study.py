"""Studies: one scenario in several variants over paired seeds, and the claims that are tested on them.

A study's runs go to ``results/studies/NAME/VARIANT/SEED``; those that are there already, of the same resolved scenario, are not
run again, as in a sweep (``emulator/insight/runs.py``).
"""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from emulator.insight.runs import Asked, answers
from emulator.paired import Interval, Verdict, differences

ROOT = Path("results/studies")
Overrides = tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """A finished run's records."""

    folder: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """``summary.json``."""
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return found

    @cached_property
    def rounds(self) -> list[dict[str, str]]:
        """The rows of ``rounds.csv``."""
        with (self.folder / "rounds.csv").open() as file:
            return list(csv.DictReader(file))

    def series(self, over: str, what: str) -> list[tuple[float, float]]:
        """One column of the rounds against another, where both are told."""
        return [(float(row[over]), float(row[what])) for row in self.rounds if row[over] and row[what]]


Metric = Callable[[Result], float]


@dataclass(frozen=True)
class Study:
    """A scenario, the overrides that make its variants, and the seeds that all of them run with."""

    name: str
    scenario: str
    variants: Mapping[str, Overrides]
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)

    def results(self, processes: int | None = None) -> dict[str, list[Result]]:
        """Every variant's runs, in the order of the seeds; ``processes`` at once, as many as there are cores if not told.

        Raises RuntimeError for a run that failed.
        """
        places = [(variant, seed) for variant in self.variants for seed in self.seeds]
        told = dict(answers([self._asked(*place) for place in places], processes))
        found: dict[str, list[Result]] = {variant: [] for variant in self.variants}
        for number, (variant, seed) in enumerate(places):
            folder, error = told[number].folder, told[number].error
            if folder is None:
                raise RuntimeError(f"{self.name}: {variant}, seed {seed}: {error}")
            found[variant].append(Result(folder))
        return found

    def _asked(self, variant: str, seed: int) -> Asked:
        out = ROOT / self.name / variant / str(seed)
        return Asked(self.scenario, (*self.variants[variant], f"seed={seed}"), out)


@dataclass(frozen=True)
class Claim:
    """``left`` beats ``right`` in a metric by more than ``above``; or, with ``within``, is as good give or take that."""

    words: str
    left: str
    right: str
    metric: Metric
    above: float = 0.0
    within: float | None = None

    def tested(self, results: Mapping[str, list[Result]]) -> tuple[Interval, Verdict]:
        """The paired differences and what they say."""
        sides = ([self.metric(result) for result in results[side]] for side in (self.left, self.right))
        found = differences(*sides)
        return found, found.above(self.above) if self.within is None else found.within(self.within)


def table(claims: tuple[Claim, ...], results: Mapping[str, list[Result]]) -> str:
    """A Markdown table: claim, threshold, difference with interval, verdict."""
    lines = ["| claim | threshold | difference, 95% interval | verdict |", "|---|---|---|---|"]
    for claim in claims:
        found, verdict = claim.tested(results)
        limit = f"> {claim.above:g}" if claim.within is None else f"within ±{claim.within:g}"
        lines.append(f"| {claim.words} | {limit} | {found} | {verdict} |")
    return "\n".join(lines)
