"""The device's minibatch of lightweight FedSL: a pruned front, and an update from quantised gradients.

Lightweight FedSL (arXiv 2412.06414) names pruning of the client-side model and quantised gradient updates; by a summary of
it 8 bits were good enough. Ours: rounding is stochastic and unbiased, tensor by tensor (``Stochastic``), a gradient is
quantised before momentum and weight decay, and pruned weights do not change. Quantising saves no time here: profiles tell
of float32 alone.
"""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from emulator.learning.binding import Weights, bound
from emulator.learning.codecs import Encoded, Stochastic
from emulator.learning.front_pruning import Masks, Pruning, channels, pruned_of
from emulator.learning.meter import label, sparse_weights
from emulator.learning.random import seed_of
from emulator.learning.sgd import descend
from emulator.learning.shards import Shard
from emulator.learning.split import Half, Split, blocks, code_seed, detached, minibatch, owned, trained
from emulator.learning.submodel import Kept


@dataclass(frozen=True)
class Lean:
    """How a front is pruned, and to how many ``bits`` its gradients are quantised (32: not at all)."""

    pruning: Pruning
    bits: int = 32

    @property
    def plain(self) -> bool:
        """Whether neither happens."""
        return self.pruning.rate == 0 and self.bits == 32


def lean_front(
    half: Half, shard: Shard, seed: int, number: int, *masks: Masks, lean: Lean, size: int, tell: bool
) -> Generator[tuple[Encoded, Tensor], Encoded, tuple[Half, Weights]]:
    """``split.front`` for a half that was trimmed to ``masks``, if any are given: gives the half after the update.

    And, with ``tell``, the gradients of all weights that took part; by weight those of pruned ones too, at the value 0 that
    they had in the forward pass.

    By weight, sparse kernels are charged the kept share of the whole front in each product and convolution. Ours: how many are
    kept of the front is static, of a layer it is data, so for a layer it is an approximation, exact where all layers keep the
    same share. With ``tell`` the gradients of all weights are needed, and charged in full.
    """
    pruning, split = lean.pruning, lean.pruning.split
    names = trained(split, back=False)
    own, batch = owned(half, names), minibatch(shard, seed, number, split=split, size=size)
    label("data", [shard, batch])
    kept: Masks = dict(*masks)
    by_weight = kept if pruning.by == "weight" else {}
    used = {name: _used(own["weights"][name], by_weight.get(name)) for name in names}
    if by_weight:
        count = sum(part.numel() for part in used.values())
        sparse_weights(used.values(), count - pruned_of(pruning.rate, count), count, gradients=not tell)
    with bound(split.problem.model, own["weights"] | used, training=True, blocks=blocks(split, back=False)) as model:
        smashed = _whole(model(split.problem.normalise(batch.images)), kept if pruning.by == "filter" else {}, split)
    question = [(split.smashed.encode(smashed, code_seed(seed, number)), batch.labels)]
    del batch  # as in ``split.front``
    answer = yield question.pop()
    gradient = split.gradient.decode(answer, code_seed(seed, number), tuple(smashed.shape))
    gradients = dict(zip(names, _gradients(smashed, list(used.values()), gradient), strict=True))
    with torch.no_grad():
        updates = _updates(gradients, by_weight, code_seed(seed, number), lean.bits)
        told = {name: tensor.clone() for name, tensor in gradients.items()} if tell else {}  # updates are used up
        _descend(own, used, updates, by_weight, split)
    return detached(own), told


def _used(weight: Tensor, mask: Tensor | None) -> Tensor:
    """What a weight is in the forward pass: 0 where it is pruned."""
    return weight if mask is None else (weight.detach() * mask).requires_grad_()


def _whole(smashed: Tensor, kept: Kept, split: Split) -> Tensor:
    """Zeros in the channels of the last layer's pruned filters."""
    last = channels(split) if kept else None
    if last is None:
        return smashed
    layer, repeat = last
    chosen = kept[layer.name]
    where = (chosen.unsqueeze(1) * repeat + torch.arange(repeat, device=chosen.device)).reshape(-1)
    return smashed.new_zeros((len(smashed), *split.shape(1)[1:])).index_copy(1, where, smashed)


def _gradients(smashed: Tensor, weights: list[Tensor], gradient: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(smashed, weights, gradient)) if weights else []


def _updates(gradients: Weights, masks: Masks, seed: int, bits: int) -> list[Tensor]:
    """g * m, quantised: zeros stay zeros, as they are the smallest size of a tensor that has any."""
    label("gradients", gradients)
    kept = {name: g * masks[name] if name in masks else g for name, g in gradients.items()}
    if bits == 32:
        return list(kept.values())
    codec = Stochastic(bits)
    return [codec.round_trip(part, seed_of(seed, "gradient", name)) for name, part in kept.items()]


def _descend(own: Half, used: Weights, updates: list[Tensor], masks: Masks, split: Split) -> None:
    """One step of SGD, in place; where a weight is pruned, its value comes back."""
    velocity = [own["velocity"][name] for name in used] if split.momentum else []
    weights = [tensor.detach() for tensor in used.values()]  # those of ``own`` where nothing is pruned
    if weights:
        descend(weights, updates, velocity, split)
    for name, tensor in zip(used, weights, strict=True):
        if name in masks:
            own["weights"][name] = torch.where(masks[name], tensor, own["weights"][name].detach())
