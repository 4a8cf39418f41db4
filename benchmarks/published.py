"""``python -m benchmarks.published [--write]``: predicted seconds of on-device training beside published, held-out ones.

A prediction is what a run of the platform would charge: local SGD measured on meta tensors, in seconds of a shipped profile.
``--write`` puts the table into docs/published.md.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

import torch
import yaml

from actors.values import Spec
from emulator.devices.processor import seconds
from emulator.devices.profile_file import load_profile
from emulator.learning.meter import Cost
from emulator.learning.models import ModelSpec, weight_specs
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.shards import Normalisation, Plan, shard_spec
from emulator.learning.tracing import measure

CASES = Path(__file__).with_suffix(".yaml")
PAGE = Path(__file__).parent.parent / "docs" / "published.md"
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")
EVIDENCE = ("seen", "recalled")
WITHIN = 2.0


@dataclass(frozen=True)
class Case:
    """One published time. ``published_s`` and predictions are for ``epochs`` passes, or for ``steps`` batches when given.

    ``scale``: FLOPs of the published model over those of ours. ``publication``: the name that its source goes by.
    ``evidence``: ``seen`` at the source, or ``recalled``.

    Raises ValueError for other evidence and for a time or scale that is not above zero.
    """

    name: str
    profile: str
    model: ModelSpec
    plan: Plan
    samples: int
    published_s: float
    source: str
    publication: str
    evidence: str
    note: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.evidence not in EVIDENCE:
            raise ValueError(f"{self.name}: evidence: got {self.evidence!r}; expected one of {', '.join(EVIDENCE)}")
        if not (self.published_s > 0 and self.scale > 0):
            got = f"published_s {self.published_s!r}, scale {self.scale!r}"
            raise ValueError(f"{self.name}: got {got}; expected numbers above zero")


@dataclass(frozen=True)
class Row:
    """A case and the seconds that the platform predicts for it."""

    case: Case
    predicted_s: float

    @property
    def ratio(self) -> float:
        """Predicted over published."""
        return self.predicted_s / self.case.published_s

    @property
    def factor(self) -> float:
        """How far off, whichever way: 2 for twice as long and for half as long."""
        return exp(abs(log(self.ratio)))


def load_cases(path: Path = CASES) -> list[Case]:
    """The cases of the file, in its order."""
    return [_case(entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["cases"]]


def _case(entry: dict[str, Any]) -> Case:
    left = dict(entry)
    channels, height, width = left.pop("images")
    model = ModelSpec(left.pop("model"), left.pop("classes"), (channels, height, width))
    plan = Plan(left.pop("batch"), left.pop("epochs", 1), left.pop("steps", None))
    return Case(model=model, plan=plan, **left)


def cost_of(case: Case) -> Cost:
    """What the case's local training costs: plain SGD on images stored as bytes."""
    channels = case.model.shape[0]
    problem = Problem(case.model, Normalisation(255.0, (0.5,) * channels, (0.5,) * channels))
    weights = {
        name: torch.empty(weight.shape, dtype=weight.dtype, device="meta")
        for name, weight in weight_specs(case.model).items()
    }
    inputs = (Spec.of(weights), shard_spec(case.samples, case.model.shape), 0)
    return measure(train, inputs, {"sgd": LocalSGD(problem, case.plan, 0.01)})[1]


def predict(case: Case) -> Row:
    """The case with the seconds that its profile takes for it."""
    return Row(case, case.scale * seconds(cost_of(case).ops, load_profile(case.profile)))


def middle(rows: Sequence[Row]) -> float:
    """Median of |log ratio|, as a factor."""
    return exp(median(log(row.factor) for row in rows))


def within(rows: Sequence[Row], factor: float = WITHIN) -> int:
    """How many are at most so far off."""
    return sum(row.factor <= factor for row in rows)


def seen(rows: Sequence[Row]) -> list[Row]:
    """Those whose published time was read at its source."""
    return [row for row in rows if row.case.evidence == "seen"]


def table(rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| case | profile | evidence | predicted s | published s | ratio |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = (row.case.name, row.case.profile, row.case.evidence, f"{row.predicted_s:.3g}",
                 f"{row.case.published_s:.3g}", f"{row.ratio:.2f}")  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def told(name: str, rows: Sequence[Row]) -> str:
    """One line on so many cases."""
    return f"{name}: median factor {middle(rows):.2f}; within {WITHIN:g}x: {within(rows)} of {len(rows)}"


def found(rows: Sequence[Row]) -> str:
    """The table and what it comes to, as Markdown."""
    return "\n".join([*table(rows), "", told("seen", seen(rows)) + "  ", told("all", rows), ""])


def written(page: str, text: str) -> str:
    """The page with ``text`` between its marks. Raises ValueError for a page without them."""
    before, start, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (start and end):
        raise ValueError(f"{PAGE.name}: got a page without marks; expected {MARKS[0].strip()} and {MARKS[1].strip()}")
    return before + start + text + end + after


def main(arguments: Sequence[str] = ()) -> bool:
    """Print what was found; there is no limit to keep."""
    text = found([predict(case) for case in load_cases()])
    print(text)
    if "--write" in arguments:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    return True


if __name__ == "__main__":
    raise SystemExit(0 if main(sys.argv[1:]) else 1)
