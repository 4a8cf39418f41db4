"""What FedSL's knobs cost in learning: rounds to a target and gradient norms against pruning, bits, dropout, interval and cut.

LeNet on 1,200 images of MNIST (a fifth of them public, to pre-train on), six devices, twelve rounds, plain FedSL unless a
variant says otherwise. LeNet has no BatchNorm, so the norm of the gradient of the mean loss over all devices' data is that of
a function. Seeds, thresholds, rounds and target were fixed before the runs (learning rate and target were chosen with plain
FedSL and seed 100, which is not among those told).

    python -m benchmarks.fedsl_learning [PROCESSES]
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import log, sqrt
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch
from torch.nn import functional

from actors.inline import Inline
from emulator.learning.binding import Weights, bound
from emulator.paired import Interval, Verdict, differences, first_reaching
from emulator.preparation import Prepared, prepare
from emulator.pretraining import Pretraining, pretrain
from emulator.reading import read_scenario
from emulator.rows import Round
from emulator.scenario import Scenario
from emulator.simulation import Simulation

ROOT = Path("results/studies/fedsl")
SEEDS = (1, 2, 3, 4, 5)
TARGET = 0.7
PLAIN = ("protocol.pruning_rate=0", "protocol.gradient_bits=32", "protocol.dropout=0", "protocol.interval=1")
SHOWN = (4, 8, 12)  # rounds after which all intervals have averaged
FRONTS = {1: 156, 2: 2_572, 3: 50_692}  # parameters of LeNet's first blocks

VARIANTS: dict[str, tuple[str, ...]] = {
    "plain": (),
    **{f"weights {rate:g}": (f"protocol.pruning_rate={rate:g}",) for rate in (0.1, 0.3, 0.5, 0.7)},
    **{f"filters {rate:g}": (f"protocol.pruning_rate={rate:g}", "protocol.prune_by=filter") for rate in (0.3, 0.5)},
    **{f"bits {bits}": (f"protocol.gradient_bits={bits}",) for bits in (8, 4, 2)},
    **{f"dropout {p:g}": (f"protocol.dropout={p:g}",) for p in (0.1, 0.3, 0.5)},
    **{f"interval {rounds}": (f"protocol.interval={rounds}",) for rounds in (2, 4)},
    **{f"cut {cut}": (f"model.cut={cut}",) for cut in (1, 3)},
    **{f"cut {cut}, weights 0.5": (f"model.cut={cut}", "protocol.pruning_rate=0.5") for cut in (1, 3)},
    "pre-trained": ("pretrained",),
    "pre-trained, weights 0.5": ("pretrained", "protocol.pruning_rate=0.5"),
}


@dataclass(frozen=True)
class Curve:
    """A run: test accuracy and squared gradient norm after each round, and virtual seconds of the last one."""

    accuracy: list[float]
    norms: list[float]
    virtual_s: float

    @property
    def final(self) -> float:
        """Test accuracy at the end."""
        return self.accuracy[-1]

    @property
    def norm(self) -> float:
        """Mean of the squared norms that are compared."""
        return fmean(self.norms[number - 1] for number in SHOWN)

    @property
    def rounds(self) -> float:
        """Rounds to the target; one more than there were where it was not reached."""
        found = first_reaching([(number, value) for number, value in enumerate(self.accuracy, 1)], TARGET)
        return min(found, len(self.accuracy) + 1)


Curves = Mapping[str, list[Curve]]


# ---- runs ------------------------------------------------------------------------------------------------------------------


def curves(seeds: Sequence[int] = SEEDS, processes: int | None = None) -> dict[str, list[Curve]]:
    """All variants over all seeds; what is there already of the same scenario is not run again."""
    asked = [(variant, seed) for seed in seeds for variant in VARIANTS]
    with ProcessPoolExecutor(processes or os.cpu_count(), get_context("spawn")) as pool:
        found = dict(zip(asked, pool.map(curve, asked), strict=True))
    return {variant: [found[variant, seed] for seed in seeds] for variant in VARIANTS}


def curve(asked: tuple[str, int]) -> Curve:
    """One run, or what is kept of it."""
    scenario = scenario_of(*asked)
    kept = ROOT / asked[0].replace(" ", "-") / f"{asked[1]}.json"
    if kept.exists():
        told = json.loads(kept.read_text())
        if told.pop("scenario_sha256") == scenario.sha256():
            return Curve(**told)
    made = play(prepare(scenario))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"scenario_sha256": scenario.sha256(), **made.__dict__}))
    return made


def scenario_of(variant: str, seed: int) -> Scenario:
    """The scenario of a variant; pre-trained weights are made first, by the same seed."""
    changes = [*PLAIN, "evaluate.every=1", f"seed={seed}"]
    for change in VARIANTS[variant]:
        if change == "pretrained":
            changes.append(f"model.weights={pretrained(seed)}")
        else:
            changes.append(change)
    return read_scenario("fedsl_mnist", changes)


def pretrained(seed: int) -> Path:
    """Weights of ten passes over the public images."""
    path = (ROOT / "pretrained" / f"{seed}.safetensors").resolve()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.safetensors")
        scenario = read_scenario("fedsl_mnist", [*PLAIN, f"seed={seed}"])
        pretrain(scenario, Pretraining(epochs=10, batch_size=20), part, lambda words: None)
        part.replace(path)
    return path


def play(prepared: Prepared) -> Curve:
    """A run in this process."""
    torch.set_num_threads(1)
    simulation = Simulation(prepared.plan, Inline(prepared.holdings()))
    accuracy, norms, end_ns = [], [], 0
    for messages in simulation.messages():
        for message in messages:
            if isinstance(message, Round):
                accuracy.append(message.accuracy or 0.0)
                norms.append(squared_norm(prepared, simulation.weights()))
                end_ns = message.end_ns
    return Curve(accuracy, norms, end_ns / 1e9)


def squared_norm(prepared: Prepared, weights: Weights) -> float:
    """||grad F||^2 of the mean cross-entropy over all devices' data."""
    problem, holdings = prepared.plan.problem, prepared.holdings()
    parts = [holdings.shard(part) for part in holdings.parts if len(part)]
    own = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    with bound(problem.model, own, training=True) as model:
        outputs = model(problem.normalise(torch.cat([part.images for part in parts])))
        loss = functional.cross_entropy(outputs, torch.cat([part.labels for part in parts]))
    return float(sum(gradient.square().sum() for gradient in torch.autograd.grad(loss, list(own.values()))))


# ---- what they say -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A claim, what was measured of it, and the verdict."""

    words: str
    limit: str
    found: Interval
    verdict: Verdict

    def __str__(self) -> str:
        return f"| {self.words} | {self.limit} | {self.found} | {self.verdict} |"


def points(results: Curves, left: str, right: str) -> Interval:
    """Differences of final test accuracy."""
    return differences([c.final for c in results[left]], [c.final for c in results[right]])


def not_worse(results: Curves, words: str, sides: tuple[str, str], margin: float) -> Row:
    """Whether the left variant is worse than the right one by less than a margin."""
    found = points(results, *sides)
    return Row(words, f"> {-margin:g}", found, found.above(-margin))


def claims(results: Curves) -> list[Row]:
    """The directional claims, thresholds as in the acceptance checks; margins of cut and pre-training are ours."""
    rows = [
        not_worse(results, "8 bits as accurate as 32", ("bits 8", "plain"), 0.01),
        not_worse(results, "weights pruned by 0.1 as accurate as none", ("weights 0.1", "plain"), 0.02),
        not_worse(results, "weights pruned by 0.3 as accurate as none", ("weights 0.3", "plain"), 0.02),
        not_worse(results, "filters pruned by 0.3 as accurate as none", ("filters 0.3", "plain"), 0.02),
    ]
    losses = {
        cut: [a.final - b.final for a, b in zip(results[whole], results[pruned], strict=True)]
        for cut, whole, pruned in ((1, "cut 1", "cut 1, weights 0.5"), (3, "cut 3", "cut 3, weights 0.5"))
    }
    found = differences(losses[3], losses[1])
    rows.append(Row("pruned by 0.5, cut 3 loses as much as cut 1 or more", "> -0.01", found, found.above(-0.01)))
    for words, variant in (("filters pruned by 0.5", "filters 0.5"), ("dropout of 0.5", "dropout 0.5")):
        faster = differences([c.virtual_s for c in results["plain"]], [c.virtual_s for c in results[variant]])
        rows.append(Row(f"{words}: faster rounds than plain FedSL, s", "> 0", faster, faster.above(0)))
    sides = ("plain", "pre-trained"), ("weights 0.5", "pre-trained, weights 0.5")
    for (cold, warm), words in zip(sides, ("plain", "pruned by 0.5"), strict=True):
        saved = differences([c.rounds for c in results[cold]], [c.rounds for c in results[warm]])
        rows.append(Row(f"{words}: pre-trained reaches the target in fewer rounds", "> 0", saved, saved.above(0)))
    return rows


@dataclass(frozen=True)
class Trend:
    """Squared gradient norms against what the bound has of a knob; the slope of each seed's least-squares line."""

    words: str
    at: tuple[tuple[float, str], ...]  # where on the axis a variant is

    def row(self, results: Curves) -> Row:
        """Whether the slope is above 0."""
        places = [place for place, _ in self.at]
        slopes = [
            _slope(places, [results[variant][seed].norm for _, variant in self.at])
            for seed in range(len(results[self.at[0][1]]))
        ]
        found = differences(slopes, [0.0] * len(slopes))
        return Row(self.words, "slope > 0", found, found.above(0))


TRENDS = (
    Trend("pruning rate", ((0, "plain"), *((rate, f"weights {rate:g}") for rate in (0.1, 0.3, 0.5, 0.7)))),
    Trend("bits, 1 / (2^b - 1)^2", ((0, "plain"), *((1 / (2**bits - 1) ** 2, f"bits {bits}") for bits in (8, 4, 2)))),
    Trend("dropout, p / (1 - p)", ((0, "plain"), *((p / (1 - p), f"dropout {p:g}") for p in (0.1, 0.3, 0.5)))),
    Trend("interval, I^2 - 1", ((0, "plain"), (3, "interval 2"), (15, "interval 4"))),
    Trend(
        "cut at a pruning rate of 0.5, ln of the front's parameters",
        (
            (log(FRONTS[1]), "cut 1, weights 0.5"),
            (log(FRONTS[2]), "weights 0.5"),
            (log(FRONTS[3]), "cut 3, weights 0.5"),
        ),
    ),
)


def _slope(places: Sequence[float], values: Sequence[float]) -> float:
    middle, mean = fmean(places), fmean(values)
    up = sum((x - middle) * (y - mean) for x, y in zip(places, values, strict=True))
    return up / sum((x - middle) ** 2 for x in places)


def table(results: Curves) -> str:
    """Every variant: means over seeds, and half the 95 % interval of the accuracy's difference from plain FedSL."""
    lines = ["| variant | accuracy | rounds to target | squared gradient norm | virtual s |", "|---|---|---|---|---|"]
    column: tuple[Callable[[Curve], float], ...] = (
        lambda c: c.final,
        lambda c: c.rounds,
        lambda c: c.norm,
        lambda c: c.virtual_s,
    )
    for variant, runs in results.items():
        means = [fmean(map(of, runs)) for of in column]
        spread = sqrt(fmean((c.final - means[0]) ** 2 for c in runs))
        lines.append(
            f"| {variant} | {means[0]:.3f} (sd {spread:.3f}) | {means[1]:.1f} | {means[2]:.3g} | {means[3]:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    results = curves(processes=int(sys.argv[1]) if len(sys.argv) > 1 else None)
    head = "| claim | threshold | difference, 95% interval | verdict |\n|---|---|---|---|"
    print(table(results), head, *claims(results), sep="\n")
    print("\n| squared gradient norm against | threshold | slope, 95% interval | verdict |\n|---|---|---|---|")
    print(*(trend.row(results) for trend in TRENDS), sep="\n")


if __name__ == "__main__":
    main()
