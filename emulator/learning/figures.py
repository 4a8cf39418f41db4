"""One number that tells how weights do on a device's own data: what policies choose devices by."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from emulator.learning.binding import Weights, bound
from emulator.learning.evaluation import BATCH
from emulator.learning.frozen import Buffer
from emulator.learning.sgd import Problem
from emulator.learning.shards import Shard
from emulator.learning.split import Split, blocks, code_seed

LARGEST = torch.finfo(torch.float32).max


class Figure(NamedTuple):
    """Mean loss (nats), root of the mean squared loss, or share of correct answers; of all samples or of so many drawn."""

    of: Literal["loss", "rms", "accuracy"]
    samples: int | None = None


def figure(weights: Weights, shard: Shard, seed: int, *, problem: Problem, wanted: Figure) -> Tensor:
    """The figure of weights on a shard, float32 []; samples are drawn from ``seed``. BatchNorm as in evaluation."""
    drawn = shard if wanted.samples is None else _drawn(shard, seed, wanted.samples)
    with torch.no_grad(), bound(problem.model, weights, training=False) as model:
        batches = zip(drawn.images.split(BATCH), drawn.labels.split(BATCH), strict=True)
        each = [_each(model(problem.normalise(images)), labels, wanted) for images, labels in batches]
    return _mean(each, wanted)


def stored_figure(back: Weights, buffer: Buffer, *, split: Split, wanted: Figure) -> Tensor:
    """The same at the server, of what a device once sent: smashed data in a replay buffer, through the back."""
    with (
        torch.no_grad(),
        bound(split.problem.model, back, training=False, blocks=blocks(split, back=True)) as layers,
    ):
        each = []
        for number, (smashed, labels) in enumerate(zip(buffer.smashed, buffer.labels, strict=True)):
            values = split.smashed.decode(smashed, code_seed(buffer.seed, number), split.shape(len(labels)))
            each.append(_each(layers(values), labels, wanted))
    return _mean(each, wanted)


def together(*numbers: Tensor) -> Tensor:
    """Numbers as one value, to be read at once."""
    return torch.stack(numbers)


def _drawn(shard: Shard, seed: int, count: int) -> Shard:
    # NumPy draws: that is the loader's work, as in training
    samples = len(shard.labels)
    generator = np.random.Generator(np.random.PCG64(seed))
    chosen = torch.from_numpy(generator.permutation(samples)[:count])
    return Shard(shard.images[chosen], shard.labels[chosen])


def _each(logits: Tensor, labels: Tensor, wanted: Figure) -> Tensor:
    if wanted.of == "accuracy":
        return (logits.argmax(1) == labels).to(torch.float32)
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses.square() if wanted.of == "rms" else losses


def _mean(each: list[Tensor], wanted: Figure) -> Tensor:
    mean = torch.cat(each).mean()
    # a loss that is no number any more is a large one
    return torch.nan_to_num(mean.sqrt() if wanted.of == "rms" else mean, nan=LARGEST, posinf=LARGEST)
