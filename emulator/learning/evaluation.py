"""The observer's steps: how good the weights are, and where training starts."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from emulator.learning.binding import Weights, bound
from emulator.learning.models import ModelSpec
from emulator.learning.models import initial_weights as draw_weights
from emulator.learning.sgd import Problem
from emulator.learning.shards import Shard


class Score(NamedTuple):
    """Correct answers, summed cross-entropy (nats) and number of samples: scores of parts add up."""

    correct: Tensor
    loss: Tensor
    samples: int


def evaluate(shard: Shard, *parts: Weights, problem: Problem) -> Score:
    """Score of weights, whole or in parts, on ``shard``; BatchNorm uses its running statistics."""
    weights = {name: tensor for part in parts for name, tensor in part.items()}
    with torch.no_grad(), bound(problem.model, weights, training=False) as model:
        logits = model(problem.normalise(shard.images))
        loss = functional.cross_entropy(logits, shard.labels, reduction="sum")
        correct = (logits.argmax(1) == shard.labels).sum()
    return Score(correct, loss, len(shard.labels))


def initial_weights(seed: int, *, model: ModelSpec) -> Weights:
    """The weights that training starts from, drawn from ``seed``. Set-up: it costs no virtual time."""
    return draw_weights(model, torch.Generator().manual_seed(seed))
