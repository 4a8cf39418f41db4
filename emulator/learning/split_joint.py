"""Parallel split learning's step at the server: the minibatches of several devices as one."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from emulator.learning.codecs import Encoded
from emulator.learning.split import Half, Split, code_seed, learn


class Part(NamedTuple):
    """One device's minibatch: its seed and its number."""

    seed: int
    number: int


def back_joint(half: Half, parts: tuple[Part, ...], *values: Encoded | Tensor, split: Split) -> tuple[Half | Encoded, ...]:
    """One step on the concatenated minibatches: the half after its update, and each device's encoded cut gradient.

    ``values`` are smashed data and labels, device by device. The half learns from the mean loss over all samples. A device is
    told the gradient of the mean loss over its own samples: the average of the fronts after one step, weighted by samples, is
    then the front after a step of SGD on the whole minibatch.
    """
    seeds = [code_seed(*part) for part in parts]
    labels = [item for item in values[1::2] if isinstance(item, Tensor)]
    smashed = torch.cat([
        split.smashed.decode(item, seed, split.shape(len(own)))
        for item, seed, own in zip(values[::2], seeds, labels, strict=True)
        if isinstance(item, Encoded)
    ])  # fmt: skip
    new, gradient = learn(half, smashed, lambda out: functional.cross_entropy(out, torch.cat(labels)), split=split)
    own_parts = gradient.split([len(own) for own in labels])
    told = [part * (len(gradient) / len(part)) for part in own_parts]
    return new, *(split.gradient.encode(part, seed) for part, seed in zip(told, seeds, strict=True))
