"""Local training of a model of which single weights are pruned: ``sgd.train`` under unstructured masks.

A pruned weight is zero throughout: in the forward pass, in the gradient and in the result. Which weights those are is data,
how many of each tensor is static (the shapes of ``kept``, as ``mask.largest`` makes them), so the charge on devices with
``sparse_kernels`` is exact layer by layer. ``mask.thin`` and ``thick`` take such weights over the network.
"""

from collections.abc import Hashable

import torch
from torch import nn

from emulator.learning.binding import Weights, bound, clone
from emulator.learning.mask import flags
from emulator.learning.meter import label, sparse_weights
from emulator.learning.sgd import Learner, LocalSGD, follow, learn, slopes, trained
from emulator.learning.shards import Batches, Shard
from emulator.learning.submodel import Kept


class MaskedLearner(Learner):
    """A learner of which only ``kept`` weights take part; those of tensors that it does not name do all."""

    def __init__(self, sgd: LocalSGD, parts: tuple[Weights, Weights], model: nn.Sequential, kept: Kept) -> None:
        super().__init__(sgd, *parts, model)
        names = [name for name in trained(sgd.problem.model) if name in parts[1]]
        masks = flags(parts[1], kept)
        self.masks = [masks.get(name) for name in names]
        counts = tuple([(name, len(kept[name])) for name in names if name in kept])
        self.key: Hashable = (self.key, counts)
        for name, count in counts:
            sparse_weights([parts[1][name]], count, parts[1][name].numel())


def train_masked(weights: Weights, kept: Kept, shard: Shard, seed: int, *, sgd: LocalSGD) -> Weights:
    """Weights after local training of those that ``kept`` names, by positions in each tensor; the others of it are 0.

    Tensors without positions are trained whole. Raises ValueError for positions of a tensor that is not trained.
    """
    unknown = sorted(kept.keys() - set(trained(sgd.problem.model)))
    if unknown:
        raise ValueError(f"masks: got positions of {unknown[0]}; expected trained weights of {sgd.problem.model.name}")
    own = masked(weights, kept)
    received = clone(own) if sgd.mu else own
    label("weights", [weights, own])
    label("data", shard)
    with bound(sgd.problem.model, own, training=True) as model:
        learn(masked_step, MaskedLearner(sgd, (received, own), model, kept), Batches(shard, seed, sgd.plan))
    return {name: tensor.detach() for name, tensor in own.items()}


def masked(weights: Weights, kept: Kept) -> Weights:
    """Copies with zeros where ``kept`` has no position."""
    masks = flags(weights, kept)
    return {name: tensor * masks[name] if name in masks else tensor.clone() for name, tensor in weights.items()}


def masked_step(learner: MaskedLearner, batch: Shard) -> None:
    """One minibatch: forward, backward, update in place, of kept weights alone."""
    gradients = slopes(learner, batch)
    with torch.no_grad():
        for gradient, mask in zip(gradients, learner.masks, strict=True):
            if mask is not None:
                gradient.mul_(mask)
        follow(learner, gradients)
