"""Makes weights to start from: a scenario's model, trained in one place on the public part of its data.

No device holds a public sample, and none is in the validation split or the test set. Plain SGD with the step of local training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from emulator.learning.evaluation import evaluate, initial_weights
from emulator.learning.random import seed_of
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.shards import Holdings, Normalisation, Plan, Shard, chunk
from emulator.preparation import load_data, split_data
from emulator.reading import ScenarioError
from emulator.scenario import Scenario
from emulator.weight_files import save

Say = Callable[[str], None]


@dataclass(frozen=True)
class Pretraining:
    """How: passes over the public samples, minibatches, and SGD."""

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4


def pretrain(scenario: Scenario, how: Pretraining, out: Path, say: Say) -> float:
    """Train and write the file; gives the accuracy on the test set. Raises ScenarioError without public samples."""
    dataset = load_data(scenario)
    public = split_data(scenario, dataset)[2]
    if not len(public):
        raise ScenarioError("data.public: got 0; expected a share of the training data to pre-train on, e.g. 0.2")
    problem = Problem(scenario.model_spec, Normalisation(dataset.scale, dataset.mean, dataset.std))
    holdings = Holdings(dataset, (public,), public)
    shard, seed = holdings.shard(public), scenario.all_seeds.model
    weights = initial_weights(seed_of(seed, "initial"), model=problem.model)
    sgd = LocalSGD(problem, Plan(how.batch_size), how.learning_rate, how.momentum, how.weight_decay)
    torch.set_num_threads(1)
    for epoch in range(how.epochs):
        weights = train(weights, shard, seed_of(seed, "pretrain", epoch), sgd=sgd)
        say(
            f"epoch {epoch + 1} of {how.epochs}: loss on its {len(public)} samples {_loss(problem, weights, shard):.4f}"
        )
    test = evaluate(chunk(holdings, split="test", start=0, stop=len(dataset.y_test)), weights, problem=problem)
    told = {"data": scenario.data.dataset, "samples": str(len(public)), "epochs": str(how.epochs), "seed": str(seed)}
    save(out, problem.model, weights, told)
    return int(test.correct) / test.samples


def _loss(problem: Problem, weights: dict[str, torch.Tensor], shard: Shard) -> float:
    score = evaluate(shard, weights, problem=problem)
    return float(score.loss) / score.samples
