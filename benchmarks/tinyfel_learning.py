"""TinyFEL's learning claims, on paired seeds: what updating less of a model, or on fewer devices, costs in learning.

Rounds are those of the protocol (``train_suffix``, ``average_layers``) without a clock: rounds are compared, not seconds. Made
smaller than in the paper, which names no data set in its abstract: 1,100 images of digits, ten devices, a small CNN. Sizes,
targets and margins were fixed before the first run with these seeds. Accuracy on a model for which the memory saving is shown:
``tinyfel_memory.py``.

    python -m benchmarks.tinyfel_learning [--processes N] [--figures FOLDER]
"""

import json
import os
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from benchmarks.trends import Trend
from emulator.learning.binding import Weights, bound
from emulator.learning.datasets import load
from emulator.learning.evaluation import evaluate
from emulator.learning.models import ModelSpec, initial_weights
from emulator.learning.random import seed_of, stream
from emulator.learning.sgd import LocalSGD, Problem, train, trained
from emulator.learning.shards import Normalisation, Plan, Shard
from emulator.learning.suffix import Suffix, average_layers, suffixes, train_suffix
from emulator.paired import Interval, Verdict, differences, first_reaching

SEEDS = (11, 12, 13, 14, 15)
DEVICES, ROUNDS, SAMPLES, PUBLIC, LATE = 10, 15, 1000, 100, 5
TARGET, WARM_TARGET, MARGIN = 0.90, 0.95, 0.02  # of test accuracy; a warm start is at 0.90 after a round or two
KEPT = Path("results/studies/tinyfel")
SELECTIONS = (2, 5, 10)
MODEL = ModelSpec("cnn", 10, (1, 8, 8))
EVERY = suffixes(MODEL)  # the shortest first


@dataclass(frozen=True)
class Run:
    """One training: seed, first block that is updated, devices a round, and whether it starts from a warmed-up model."""

    seed: int
    first: int
    selected: int = DEVICES
    warm: bool = False


@dataclass(frozen=True)
class Found:
    """Test accuracy after each round, and the squared norm of the whole gradient before it."""

    accuracy: tuple[float, ...]
    gradient: tuple[float, ...]

    @property
    def rounds_to_target(self) -> float:
        """One more than there were, where the target was not reached."""
        return self._rounds(TARGET)

    @property
    def rounds_to_warm_target(self) -> float:
        """The same, to what is asked of a warm start."""
        return self._rounds(WARM_TARGET)

    def _rounds(self, target: float) -> float:
        return min(first_reaching(list(enumerate(self.accuracy, start=1)), target), ROUNDS + 1)

    @property
    def last(self) -> float:
        """Accuracy after the last round."""
        return self.accuracy[-1]

    @property
    def late_gradient(self) -> float:
        """Mean over the last rounds."""
        return float(np.mean(self.gradient[-LATE:]))


@cache
def _data(seed: int) -> tuple[Problem, Shard, Shard, tuple[Shard, ...]]:
    """The problem; public, test and the devices' shards, drawn by the seed."""
    data = load("digits")
    order = stream(seed, "samples").permutation(len(data.y_train))[: SAMPLES + PUBLIC]
    shards = tuple(_shard(data.x_train, data.y_train, part) for part in np.split(order[PUBLIC:], DEVICES))
    problem = Problem(MODEL, Normalisation(data.scale, data.mean, data.std))
    public = _shard(data.x_train, data.y_train, order[:PUBLIC])
    return problem, public, _shard(data.x_test, data.y_test, np.arange(len(data.y_test))), shards


def _shard(images: np.ndarray, labels: np.ndarray, index: np.ndarray) -> Shard:
    return Shard(torch.from_numpy(images[index]), torch.from_numpy(labels[index]))


def played(run: Run) -> Found:
    """All rounds of one training."""
    torch.set_num_threads(1)
    problem, public, test, shards = _data(run.seed)
    sgd = LocalSGD(problem, Plan(25, 1), 0.05, momentum=0.9)
    weights: Weights = initial_weights(MODEL, torch.Generator().manual_seed(run.seed))
    if run.warm:
        weights = train(weights, public, run.seed, sgd=LocalSGD(problem, Plan(25, 10), 0.05, momentum=0.9))
    accuracy, gradient = [], []
    for number in range(1, ROUNDS + 1):
        gradient.append(gradient_norm(weights, problem, shards))
        chosen = stream(run.seed, "cohort", number).choice(DEVICES, run.selected, replace=False)
        seeds = {device: seed_of(run.seed, "batches", int(device), number) for device in chosen}
        updates = [train_suffix(weights, shards[d], seeds[d], sgd=sgd, first=run.first)[0] for d in chosen]
        weights = average_layers((SAMPLES // DEVICES,) * len(updates), weights, *updates)
        score = evaluate(test, weights, problem=problem)
        accuracy.append(float(score.correct) / score.samples)
    return Found(tuple(accuracy), tuple(gradient))


def gradient_norm(weights: Weights, problem: Problem, shards: Sequence[Shard]) -> float:
    """Squared norm of the gradient of the mean loss over all devices' data."""
    own = {name: tensor.clone().requires_grad_(name in trained(MODEL)) for name, tensor in weights.items()}
    images, labels = (torch.cat(parts) for parts in zip(*shards, strict=True))
    with bound(MODEL, own, training=False) as model:
        loss = functional.cross_entropy(model(problem.normalise(images)), labels)
    parts = torch.autograd.grad(loss, [own[name] for name in trained(MODEL)])
    return float(sum(part.square().sum() for part in parts))


def runs(seed: int) -> Iterator[Run]:
    """Every suffix on all devices from both starts, and every selection of the whole model."""
    yield from (Run(seed, one.first, warm=warm) for warm in (False, True) for one in EVERY)
    yield from (Run(seed, 0, selected) for selected in SELECTIONS if selected != DEVICES)


def capped() -> Suffix:
    """The longest suffix that leaves out the block with most of the activations: the first."""
    return EVERY[-2]


def kept(run: Run) -> Found:
    """A run, or what is kept of it from the same sizes."""
    sizes = [DEVICES, ROUNDS, SAMPLES, PUBLIC, asdict(run)]
    file = KEPT / f"{run.seed}-{run.first}-{run.selected}-{'warm' if run.warm else 'cold'}.json"
    if file.exists():
        told = json.loads(file.read_text())
        if told["sizes"] == sizes:
            return Found(tuple(told["accuracy"]), tuple(told["gradient"]))
    found = played(run)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"sizes": sizes, **asdict(found)}))
    return found


@cache
def study(processes: int | None = None) -> dict[Run, Found]:
    """All runs, ``processes`` at a time: as many as there are cores, if not told."""
    asked = [run for seed in SEEDS for run in runs(seed)]
    with ProcessPoolExecutor(processes or os.cpu_count(), get_context("spawn")) as pool:
        return dict(zip(asked, pool.map(kept, asked), strict=True))


# ---- what they say ---------------------------------------------------------------------------------------------------------

TRENDS = {  # words -> axis, measure, whether from a warm start
    "rounds to target falls with ratio": ("ratio", "rounds_to_target", False),
    "late gradient falls with ratio": ("ratio", "late_gradient", False),
    "rounds to target falls with selection": ("selection", "rounds_to_target", False),
    "late gradient falls with selection": ("selection", "late_gradient", False),
    "warm start: rounds to target falls with ratio": ("ratio", "rounds_to_warm_target", True),
    "warm start: late gradient falls with ratio": ("ratio", "late_gradient", True),
}


def trend(words: str) -> Trend:
    """The logarithm of rounds or gradient against the share that is updated: of parameters, or of devices."""
    axis, what, warm = TRENDS[words]
    at = [(one.ratio, Run(0, one.first, warm=warm)) for one in EVERY]
    if axis == "selection":
        at = [(selected / DEVICES, Run(0, 0, selected)) for selected in SELECTIONS]
    values = tuple(
        tuple(float(getattr(study()[Run(seed, run.first, run.selected, run.warm)], what)) for _, run in at)
        for seed in SEEDS
    )
    return Trend(tuple(share for share, _ in at), values, rising=False)


def claims() -> dict[str, tuple[Interval, Verdict]]:
    """Words, paired differences (of slopes: from zero, downwards) and verdict."""
    warm = [[study()[Run(seed, first, warm=True)].last for seed in SEEDS] for first in (capped().first, 0)]
    equal = differences(*warm)
    slopes = {words: (trend(words).slope, trend(words).verdict) for words in TRENDS}
    told = f"warm start, first block frozen: accuracy within {MARGIN:g} of the whole model"
    return {told: (equal, equal.within(MARGIN)), **slopes}


def figures(folder: Path) -> None:
    """Six trends in one picture."""
    from benchmarks.figures import Panel, draw  # the only place that needs the extra

    across = {"ratio": "share of parameters updated", "selection": "share of devices updating, a round"}
    up = {
        "rounds_to_target": f"rounds to {TARGET:g} accuracy",
        "late_gradient": "squared gradient norm, late",
        "rounds_to_warm_target": f"rounds to {WARM_TARGET:g} accuracy",
    }
    panels = []
    for words, (axis, what, warm) in TRENDS.items():
        noun = "gradient falls" if "gradient" in what else "rounds fall"
        claim = f"Warm: {noun} with {axis}" if warm else f"{noun.capitalize()} with {axis}"
        panels.append(Panel(claim, across[axis], up[what], trend(words)))
    draw(panels, folder / "tinyfel_trends.svg", columns=2)


def table_of_runs() -> str:
    """Means over seeds, as Markdown."""
    lines = [
        f"| updated | devices | start | rounds to target | squared gradient norm, last {LATE} rounds | accuracy at the end |",
        "|---" * 6 + "|",
    ]
    for run in runs(0):
        some = [study()[Run(seed, run.first, run.selected, run.warm)] for seed in SEEDS]
        asked = "rounds_to_warm_target" if run.warm else "rounds_to_target"
        rounds, gradient, accuracy = (
            float(np.mean([getattr(one, key) for one in some])) for key in (asked, "late_gradient", "last")
        )
        ratio, start = next(one.ratio for one in EVERY if one.first == run.first), "warm" if run.warm else "cold"
        lines.append(f"| {ratio:.3f} | {run.selected} | {start} | {rounds:.1f} | {gradient:.3g} | {accuracy:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Print curves and claims as Markdown, and draw the trends where a folder is told."""
    parser = ArgumentParser(description="TinyFEL's learning claims on digits")
    parser.add_argument("--processes", type=int, help="runs at once (default: as many as there are cores)")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="draw the trends into FOLDER (needs matplotlib)")
    told = parser.parse_args()
    study(told.processes)
    print(table_of_runs(), "\n| claim | difference, 95% interval | verdict |\n|---|---|---|", sep="\n")
    for words, (interval, verdict) in claims().items():
        print(f"| {words} | {interval} | {verdict} |")
    if told.figures:
        figures(told.figures)


if __name__ == "__main__":
    main()
