"""The observer's steps: how good the weights are, and where training starts."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from emulator.learning.binding import Weights, bound, part
from emulator.learning.meter import unmetered
from emulator.learning.models import ModelSpec
from emulator.learning.models import initial_weights as draw_weights
from emulator.learning.sgd import Problem
from emulator.learning.shards import Shard

BATCH = 100  # samples at a time where BatchNorm uses the batch's own statistics (EcoFed's authors' test batches)


class Score(NamedTuple):
    """Correct answers, summed cross-entropy (nats) and number of samples: scores of parts add up."""

    correct: Tensor
    loss: Tensor
    samples: int
    labels: Tensor  # int64 [2, classes]: correct answers and samples of each label


def evaluate(shard: Shard, *parts: Weights, problem: Problem) -> Score:
    """Score of weights, whole or in parts, on ``shard``; BatchNorm uses its running statistics."""
    weights = {name: tensor for part in parts for name, tensor in part.items()}
    size = BATCH if problem.model.batch_statistics else max(1, len(shard.labels))
    with torch.no_grad(), bound(problem.model, weights, training=False) as model:
        logits = torch.cat([model(problem.normalise(images)) for images in shard.images.split(size)])
        loss = functional.cross_entropy(logits, shard.labels, reduction="sum")
        right = logits.argmax(1) == shard.labels
        correct = right.sum()
    with unmetered():  # by label is for the records alone: a protocol that looks does not pay for it
        each = functional.one_hot(shard.labels, logits.shape[1])
        labels = torch.stack([(each * right.unsqueeze(1)).sum(0), each.sum(0)])
    return Score(correct, loss, len(shard.labels), labels)


def validated(shard: Shard, *parts: Weights, problem: Problem) -> Tensor:
    """Accuracy and mean cross-entropy (nats) on ``shard``, float32 [2], in batches: what a protocol decides on."""
    batches = zip(shard.images.split(BATCH), shard.labels.split(BATCH), strict=True)
    scores = [evaluate(Shard(images, labels), *parts, problem=problem) for images, labels in batches]
    correct = torch.stack([score.correct for score in scores]).sum()
    loss = torch.stack([score.loss for score in scores]).sum()
    return torch.stack([correct.to(loss.dtype), loss]) / len(shard.labels)


def look(value: Tensor) -> Tensor:
    """One number, as it is."""
    return value


def initial_weights(
    seed: int, given: Weights | None = None, *, model: ModelSpec, blocks: tuple[int, int] | None = None
) -> Weights:
    """The weights that training starts from: drawn from ``seed``, and those that were given (in ``blocks``, if told).

    Set-up: it costs no virtual time.
    """
    own = given or {}
    if blocks is not None:
        own = part(own, *blocks)
    return {**draw_weights(model, torch.Generator().manual_seed(seed)), **own}
