"""TinyFEL's learning claims, on paired seeds: what updating less of a model, or on fewer devices, costs in learning.

Rounds are those of the protocol (``train_suffix``, ``average_layers``) without a clock: rounds are compared, not seconds. Made
smaller than in the paper, which names no data set in its abstract: 1,100 images of digits, ten devices, a small CNN. Sizes,
targets and margins were fixed before the first run with these seeds.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from math import log
from multiprocessing import get_context

import numpy as np
import torch
from torch.nn import functional

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
TARGET, MARGIN = 0.90, 0.02  # of test accuracy
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
        return min(first_reaching(list(enumerate(self.accuracy, start=1)), TARGET), ROUNDS + 1)

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
    """Every suffix on all devices, every selection of the whole model, and the warm pair."""
    yield from (Run(seed, one.first) for one in EVERY)
    yield from (Run(seed, 0, selected) for selected in SELECTIONS if selected != DEVICES)
    yield from (Run(seed, first, warm=True) for first in (0, capped().first))


def capped() -> Suffix:
    """The longest suffix that leaves out the block with most of the activations: the first."""
    return EVERY[-2]


@cache
def study() -> dict[Run, Found]:
    """All runs, two at a time."""
    asked = [run for seed in SEEDS for run in runs(seed)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        return dict(zip(asked, pool.map(played, asked), strict=True))


def slopes(axis: str, what: str) -> list[float]:
    """Least-squares slope, seed by seed, of the logarithm of rounds or gradient over the share that is updated."""
    found = []
    for seed in SEEDS:
        pairs = [(one.ratio, Run(seed, one.first)) for one in EVERY]
        if axis == "selection":
            pairs = [(selected / DEVICES, Run(seed, 0, selected)) for selected in SELECTIONS]
        values = [log(getattr(study()[run], what)) for _, run in pairs]
        found.append(float(np.polyfit([share for share, _ in pairs], values, 1)[0]))
    return found


def claims() -> dict[str, tuple[Interval, Verdict]]:
    """Words, paired differences (of slopes: from zero, downwards) and verdict."""
    warm = [[study()[Run(seed, first, warm=True)].accuracy[-1] for seed in SEEDS] for first in (capped().first, 0)]
    equal = differences(*warm)
    found: dict[str, tuple[Interval, Verdict]] = {
        f"warm start, first block frozen: accuracy within {MARGIN:g} of the whole model": (equal, equal.within(MARGIN))
    }
    for axis in ("ratio", "selection"):
        for what in ("rounds_to_target", "late_gradient"):
            fall = differences([0.0] * len(SEEDS), slopes(axis, what))
            found[f"{what.replace('_', ' ')} falls with {axis}"] = (fall, fall.above(0))
    return found


def main() -> None:
    """Print curves and claims as Markdown."""
    print(
        "| updated | devices | rounds to 0.90 | squared gradient norm, rounds 11-15 | accuracy at 15 |\n|---|---|---|---|---|"
    )
    shown = [(one.ratio, Run(0, one.first)) for one in EVERY]
    shown += [(1.0, Run(0, 0, selected)) for selected in SELECTIONS if selected != DEVICES]
    for ratio, run in shown:
        some = [study()[Run(seed, run.first, run.selected)] for seed in SEEDS]
        rounds, gradient, accuracy = (
            float(np.mean([getattr(one, key) for one in some])) for key in ("rounds_to_target", "late_gradient", "last")
        )
        print(f"| {ratio:.3f} | {run.selected} | {rounds:.1f} | {gradient:.3g} | {accuracy:.3f} |")
    print("\n| claim | difference, 95% interval | verdict |\n|---|---|---|")
    for words, (interval, verdict) in claims().items():
        print(f"| {words} | {interval} | {verdict} |")


if __name__ == "__main__":
    main()
