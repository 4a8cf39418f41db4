"""Salient filters on the wire (ADP's variant C, "adp_sparse_upload"): what gates say of filters, and what goes up.

All of it is inferred, ours, in the spirit of arXiv 2106.06921: neither of the released codes sends less than the whole model. A
device scores each filter of a gated layer over its own data (the mean gate, or how often it is kept), sends the round(r C)
highest of each layer without the slices for input channels that it does not send, and everything else whole (BatchNorm, gates,
classifier, layers without gates). The server averages each filter's slices over the devices that sent them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from emulator.learning.aggregation import average
from emulator.learning.binding import Weights, bound
from emulator.learning.mask import coded, decoded
from emulator.learning.meter import unmetered
from emulator.learning.models import ModelSpec, build
from emulator.learning.models.gated import GatedConv
from emulator.learning.models.layers import kept_of
from emulator.learning.sgd import Problem
from emulator.learning.shards import Batches, Plan, Shard
from emulator.learning.tracing import repeat

Scores = dict[str, Tensor]  # by gated layer: float32 [C_out]
Masks = dict[str, Tensor]  # by gated layer: uint8, as it travels


class Gated(NamedTuple):
    """A gated layer: ``source`` is the gated layer that makes its input, None where its input is dense."""

    name: str
    channels: int
    source: str | None


@dataclass(frozen=True)
class Upload:
    """What is sent: the share ``ratio`` of each layer's filters, by ``score``; scores are taken ``batch`` samples at a time."""

    problem: Problem
    ratio: float
    score: Literal["gate", "frequency"] = "gate"
    batch: int = 64

    @property
    def whole(self) -> bool:
        """Whether all filters are sent, so that there is nothing to choose and no mask to send."""
        return all(kept_of(layer.channels, self.ratio) == layer.channels for layer in gated_layers(self.problem.model))

    def lighter(self) -> Iterator[tuple[str, "Upload"]]:
        """Smaller and smaller batches."""
        for words, plan in Plan(self.batch).lighter():
            yield words, Upload(self.problem, self.ratio, self.score, plan.batch_size)


@cache
def gated_layers(model: ModelSpec) -> tuple[Gated, ...]:
    """The gated layers of a model, in order."""
    found: list[Gated] = []
    with unmetered():
        for name, layer in build(model).named_modules():
            if isinstance(layer, GatedConv):
                source = found[-1].name if layer.gated_input else None
                found.append(Gated(name, layer.conv.out_channels, source))
    return tuple(found)


# ---- on the device: which filters its data need ---------------------------------------------------------------------------


class _Scorer:
    """Sums of what the gates say, in a forward pass after another."""

    def __init__(self, how: Upload, model: nn.Sequential, samples: int) -> None:
        self.how = self.key = how
        self.model = model
        self.samples = max(1, samples)
        self.sums: Scores = {}

    def hook(self, name: str) -> Any:
        def seen(layer: GatedConv, inputs: tuple[Tensor]) -> None:
            gates = layer.salience(inputs[0])
            found = (gates > 0).to(gates.dtype) if self.how.score == "frequency" else gates
            self.sums[name].add_(found.sum(0))

        return seen


def _score(scorer: _Scorer, batch: Shard) -> None:
    scorer.model(scorer.how.problem.normalise(batch.images))


def salience(weights: Weights, shard: Shard, *, how: Upload) -> Scores:
    """The mean over the device's samples of each filter's gate (0 where it is not kept), or of its being kept."""
    layers = gated_layers(how.problem.model)
    with torch.no_grad(), bound(how.problem.model, weights, training=False) as model:
        scorer = _Scorer(how, model, len(shard.labels))
        scorer.sums = {layer.name: torch.zeros_like(weights[f"{layer.name}.gate.bias"]) for layer in layers}
        handles = [
            model.get_submodule(layer.name).register_forward_pre_hook(scorer.hook(layer.name)) for layer in layers
        ]
        try:
            repeat(_score, scorer, Batches(shard, 0, Plan(how.batch)))
        finally:
            for handle in handles:
                handle.remove()
    return {name: total / scorer.samples for name, total in scorer.sums.items()}


# ---- on the wire ---------------------------------------------------------------------------------------------------------


def _best(scores: Tensor, count: int) -> Tensor:
    """Places of the largest scores, in order; the earlier one of two that are equal, on any hardware."""
    return scores.sort(descending=True, stable=True).indices[:count].sort().values


def thin(update: Weights, scores: Scores, *, how: Upload) -> tuple[Weights, Masks]:
    """What travels of a device's weights, and which filters those are."""
    layers = gated_layers(how.problem.model)
    chosen = {layer.name: _best(scores[layer.name], kept_of(layer.channels, how.ratio)) for layer in layers}
    sent = dict(update)
    for layer in layers:
        filters = update[f"{layer.name}.conv.weight"].index_select(0, chosen[layer.name])
        sent[f"{layer.name}.conv.weight"] = (
            filters if layer.source is None else filters.index_select(1, chosen[layer.source])
        )
    return sent, {layer.name: coded(chosen[layer.name], layer.channels) for layer in layers}


# ---- at the server -------------------------------------------------------------------------------------------------------


def merge(samples: tuple[int, ...], weights: Weights, *parts: Weights | Masks, how: Upload) -> Weights:
    """``parts``: what the devices sent, then their masks. A filter's slice is the mean, by samples, over those that sent it.

    What nobody sent stays as it is in ``weights``. Where all is sent this is ``average`` to the bit; raises ValueError as it.
    """
    updates, masks = parts[: len(samples)], parts[len(samples) :]
    if how.whole:
        return average(samples, *updates)
    layers = gated_layers(how.problem.model)
    sliced = {f"{layer.name}.conv.weight" for layer in layers}
    new = average(samples, *({name: t for name, t in update.items() if name not in sliced} for update in updates))
    counts = {layer.name: (layer.channels, kept_of(layer.channels, how.ratio)) for layer in layers}
    chosen = [{name: decoded(mask[name], *counts[name]) for name in counts} for mask in masks]
    for layer in layers:
        name = f"{layer.name}.conv.weight"
        slices = [
            (update[name], _places(layer, which, weights[name])) for update, which in zip(updates, chosen, strict=True)
        ]
        new[name] = _mean(samples, weights[name], slices)
    return {name: new[name] for name in weights}


def _places(layer: Gated, chosen: dict[str, Tensor], whole: Tensor) -> tuple[Tensor, Tensor]:
    inputs = torch.arange(whole.shape[1], device=whole.device) if layer.source is None else chosen[layer.source]
    return chosen[layer.name][:, None], inputs


def _mean(samples: tuple[int, ...], whole: Tensor, slices: list[tuple[Tensor, tuple[Tensor, Tensor]]]) -> Tensor:
    total, held = torch.zeros_like(whole), torch.zeros_like(whole)
    for count, (part, where) in zip(samples, slices, strict=True):
        share = count / sum(samples)
        total.index_put_(where, part * share, accumulate=True)
        held.index_put_(where, torch.full_like(part, share), accumulate=True)
    return torch.where(held > 0, total / held, whole)
