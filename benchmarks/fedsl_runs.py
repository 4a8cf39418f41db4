"""The runs of FedSL's study: every knob alone, all of them together, and what the paper compares with.

LeNet on 1,200 images of MNIST (a fifth of them public, to pre-train on), six devices, twelve rounds, plain FedSL unless a
variant says otherwise. LeNet has no BatchNorm, so the norm of the gradient of the mean loss over all devices' data is that of
a function. Learning rate, minibatches and target were chosen with plain FedSL and the seeds 100 and 101, which are not told.
"""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch
from torch.nn import functional

from actors.inline import Inline
from emulator.learning.binding import Weights, bound
from emulator.paired import first_reaching
from emulator.preparation import Prepared, prepare
from emulator.pretraining import Pretraining, pretrain
from emulator.reading import read_scenario
from emulator.rows import Round
from emulator.scenario import Scenario
from emulator.simulation import Simulation

ROOT = Path("results/studies/fedsl")
SEEDS = tuple(range(21, 26))
TARGET = 0.8
RATES = ("protocol.batch_size=10", "protocol.learning_rate=0.05")
PLAIN = (
    "protocol.pruning_rate=0", "protocol.gradient_bits=32", "protocol.dropout=0", "protocol.interval=1",
    "evaluate.every=1", "evaluate.samples=1000", *RATES,
)  # fmt: skip
OTHERS = "rounds: 12, cohort: 6, batch_size: 10, learning_rate: 0.05, momentum: 0.5"
LEAN = (
    "protocol.pruning_rate=0.3", "protocol.prune_by=filter", "protocol.gradient_bits=8", "protocol.dropout=0.3",
    "protocol.interval=2",
)  # fmt: skip
SHOWN = (4, 8, 12)  # rounds after which all intervals have averaged: of these are the gradients
LAST = 4  # rounds whose accuracies are averaged

VARIANTS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "fedavg": (f"protocol={{name: fedavg, {OTHERS}}}", "model.cut=null"),
    "split learning": (f"protocol={{name: split_learning, {OTHERS}}}",),
    "lightweight": LEAN,
    **{f"weights {rate:g}": (f"protocol.pruning_rate={rate:g}",) for rate in (0.1, 0.3, 0.5, 0.7)},
    **{f"filters {rate:g}": (f"protocol.pruning_rate={rate:g}", "protocol.prune_by=filter") for rate in (0.3, 0.5)},
    **{f"bits {bits}": (f"protocol.gradient_bits={bits}",) for bits in (8, 4, 2)},
    **{f"dropout {p:g}": (f"protocol.dropout={p:g}",) for p in (0.1, 0.3, 0.5)},
    **{f"interval {rounds}": (f"protocol.interval={rounds}",) for rounds in (2, 4)},
    **{f"cut {cut}, weights 0.5": (f"model.cut={cut}", "protocol.pruning_rate=0.5") for cut in (1, 3)},
    "pre-trained": ("pretrained",),
    "pre-trained, weights 0.5": ("pretrained", "protocol.pruning_rate=0.5"),
    "pre-trained, lightweight": ("pretrained", *LEAN),
}


@dataclass(frozen=True)
class Curve:
    """A run: test accuracy after each round, squared gradient norms after those shown, and virtual seconds of the last one."""

    accuracy: list[float]
    norms: list[float]
    virtual_s: float

    @property
    def late(self) -> float:
        """Test accuracy, mean over the last rounds."""
        return fmean(self.accuracy[-LAST:])

    @property
    def norm(self) -> float:
        """Mean of the squared norms."""
        return fmean(self.norms)

    @property
    def rounds(self) -> float:
        """Rounds to the target; one more than there were where it was not reached."""
        found = first_reaching([(number, value) for number, value in enumerate(self.accuracy, 1)], TARGET)
        return min(found, len(self.accuracy) + 1)


Curves = Mapping[str, list[Curve]]


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
    changes = [*PLAIN, f"seed={seed}"]
    for change in VARIANTS[variant]:
        if change == "pretrained":
            changes.append(f"model.weights={pretrained(seed)}")
        else:
            changes.append(change)
    return read_scenario("fedsl_mnist", changes)


def pretrained(seed: int) -> Path:
    """Weights of ten passes over the public images. The path is a relative one: a scenario's hash has it."""
    path = ROOT / "pretrained" / f"{seed}.safetensors"
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
                if message.round in SHOWN:
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
