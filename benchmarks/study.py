"""Studies: one scenario in several variants over paired seeds, and the claims that are tested on them.

A study's runs go to ``results/studies/NAME/VARIANT/SEED``; those that are there already, of the same resolved scenario, are not
run again. Runs are inline, one a process, as many at once as there are cores: their hashes are those of runs on Ray.
"""

import csv
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from emulator.paired import Interval, Verdict, differences
from emulator.reading import read_scenario
from emulator.run import RunOptions, run

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
        """Every variant's runs, in the order of the seeds; ``processes`` at once, as many as there are cores if not told."""
        asked = [(self, variant, seed) for variant in self.variants for seed in self.seeds]
        with ProcessPoolExecutor(processes or os.cpu_count(), get_context("spawn")) as pool:
            folders = list(pool.map(_run, asked))
        found: dict[str, list[Result]] = {variant: [] for variant in self.variants}
        for (_, variant, _), folder in zip(asked, folders, strict=True):
            found[variant].append(Result(folder))
        return found


def _run(asked: tuple[Study, str, int]) -> Path:
    study, variant, seed = asked
    scenario = read_scenario(study.scenario, [*study.variants[variant], f"seed={seed}"])
    out = ROOT / study.name / variant / str(seed)
    for known in sorted(out.rglob("summary.json")):
        summary = json.loads(known.read_text())
        if summary["scenario_sha256"] == scenario.sha256() and summary["status"].startswith(("done", "stopped")):
            return known.parent
    return run(scenario, RunOptions(out=out, inline=True, quiet=True)).folder


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
