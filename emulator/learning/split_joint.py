"""Parallel split learning's step at the server: the minibatches of several devices as one."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from emulator.learning.binding import bound
from emulator.learning.codecs import Encoded
from emulator.learning.split import Half, Split, blocks, code_seed, detached, owned, step, trained


class Part(NamedTuple):
    """One device's minibatch: its seed and its number."""

    seed: int
    number: int


def back_joint(
    half: Half, parts: tuple[Part, ...], *values: Encoded | Tensor, split: Split
) -> tuple[Half | Encoded, ...]:
    """One step on the concatenated minibatches: the half after its update, and each device's encoded cut gradient.

    ``values`` are smashed data and labels, device by device. The half learns from the mean loss over all samples. A device is
    told the gradient of the mean loss over its own samples: the average of the fronts after one step, weighted by samples, is
    then the front after a step of SGD on the whole minibatch.
    """
    names, seeds = trained(split, back=True), [code_seed(*part) for part in parts]
    labels = [item for item in values[1::2] if isinstance(item, Tensor)]
    smashed = _joined(values[::2], labels, seeds, split)
    own = owned(half, names)
    with bound(split.problem.model, own["weights"], training=True, blocks=blocks(split, back=True)) as model:
        loss = functional.cross_entropy(model(smashed), torch.cat(labels))
    gradient, *gradients = torch.autograd.grad(loss, [smashed, *(own["weights"][name] for name in names)])
    step(own, names, gradients, split)
    told = [part * (len(gradient) / len(part)) for part in gradient.split([len(part) for part in labels])]
    return detached(own), *(split.gradient.encode(part, seed) for part, seed in zip(told, seeds, strict=True))


def _joined(coded: tuple[Encoded | Tensor, ...], labels: list[Tensor], seeds: list[int], split: Split) -> Tensor:
    """All smashed data as one tensor."""
    decoded = [
        split.smashed.decode(item, seed, split.shape(len(own)))
        for item, own, seed in zip(coded, labels, seeds, strict=True)
        if isinstance(item, Encoded)
    ]
    return torch.cat(decoded).requires_grad_()
