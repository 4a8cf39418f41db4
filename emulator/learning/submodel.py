"""Sub-networks: a model with fewer neurons in its inner layers, cut out of the weights and put back in their places.

A neuron is a convolution's filter or a fully connected unit, with its bias and BatchNorm entries, and what the next layer
reads of it. The number of kept neurons per layer is static (shapes, and so costs, are known without data); which ones they
are is a value: ``Kept``, sorted positions per layer. The tensors are really smaller: no step needs to know of it.

Ours: where a residual sum needs all channels, only a block's inner ones are cut (HeteroFL cuts all).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from actors.values import Spec
from emulator.learning.binding import Weights
from emulator.learning.meter import unmetered
from emulator.learning.models import ModelSpec, build, weight_specs
from emulator.learning.models.layers import BasicBlock, InvertedResidual, PooledBlock, SeededDropout, kept_of

Kept = dict[str, Tensor]  # layer -> int64 [k], sorted positions of its kept neurons; {}: all of every layer

PASSES = (nn.ReLU, nn.ReLU6, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, SeededDropout)


class Entry(NamedTuple):
    """Where a layer's neurons sit in a weight: along ``dim``, ``repeat`` consecutive positions each (flattened pixels)."""

    weight: str
    dim: int
    repeat: int = 1


@dataclass(frozen=True)
class Layer:
    """``count`` neurons that may be cut. ``name`` is that of the module that makes them, e.g. ``0.0``."""

    name: str
    count: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Submodel:
    """A model of which every inner layer has so many neurons; ``counts`` go by ``layers(model)``."""

    model: ModelSpec
    counts: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is cut."""
        return self.counts == tuple(layer.count for layer in layers(self.model))

    @property
    def neurons(self) -> int:
        """Kept neurons of all inner layers."""
        return sum(self.counts)


def neurons(model: ModelSpec) -> int:
    """Neurons of all inner layers."""
    return sum(layer.count for layer in layers(model))


def submodel(model: ModelSpec, volume: float, shares: Mapping[str, float] | None = None) -> Submodel:
    """The sub-network with a share of ``volume`` of every inner layer, or of ``shares`` in those that it names.

    Raises ValueError for a share outside (0, 1], a layer that the model has not, and a named share that keeps no neuron.
    """
    named = dict(shares or {})
    reason = next(share_findings(model, {"volume": volume}, named), None)
    if reason is not None:
        raise ValueError(f"submodel: {reason}")
    return Submodel(model, tuple(kept_of(layer.count, named.get(layer.name, volume)) for layer in layers(model)))


def share_findings(model: ModelSpec, volumes: Mapping[str, float], shares: Mapping[str, float]) -> Iterator[str]:
    """What is wrong with volumes, by the name of the setting, and with shares of named layers."""
    known = {layer.name: layer.count for layer in layers(model)}
    for name, volume in volumes.items():
        if not 0 < volume <= 1:
            yield f"{name}: got {volume:g}; expected above 0 and at most 1"
    for name, share in shares.items():
        if name not in known:
            yield f'layers: got "{name}"; expected inner layers of {model.name}: {", ".join(known)}'
        elif not 0 < share <= 1:
            yield f"layers.{name}: got {share:g}; expected above 0 and at most 1"
        elif round(share * known[name]) < 1:
            least = 0.5 / known[name]
            yield f"layers.{name}: got {share:g} of {known[name]} neurons, which keeps none; expected more than {least:g}"


@cache
def shape_of(sub: Submodel) -> Spec:
    """The shapes of a sub-network's weights."""
    meta = {name: torch.empty(w.shape, dtype=w.dtype, device="meta") for name, w in weight_specs(sub.model).items()}
    with unmetered():
        return Spec.of(carve(meta, {} if sub.whole else _kept(sub), model=sub.model))


@cache
def kept_shape_of(sub: Submodel) -> Spec:
    """The shapes of the positions that a sub-network keeps."""
    with unmetered():
        return Spec.of(_kept(sub))


def _kept(sub: Submodel) -> Kept:
    counts = zip(layers(sub.model), sub.counts, strict=True)
    return {layer.name: torch.empty(count, dtype=torch.int64, device="meta") for layer, count in counts}


# ---- cutting out and putting back ----------------------------------------------------------------------------------------


def carve(weights: Weights, kept: Kept, *, model: ModelSpec) -> Weights:
    """The weights of the sub-network of the kept neurons. Raises ValueError for a layer without any."""
    where = positions(kept, model)
    return {name: _picked(tensor, where.get(name, {})) for name, tensor in weights.items()}


def recover(weights: Weights, update: Weights, kept: Kept, *, model: ModelSpec) -> Weights:
    """``weights`` with a trained sub-network in its place: what was masked takes the values of ``weights``."""
    where = positions(kept, model)
    return {name: _placed(tensor, update[name], where.get(name, {})) for name, tensor in weights.items()}


def positions(kept: Kept, model: ModelSpec) -> dict[str, dict[int, Tensor]]:
    """The kept positions along each cut dimension of each weight. Raises ValueError for a layer without any."""
    found: dict[str, dict[int, Tensor]] = {}
    for layer in layers(model):
        if layer.name not in kept:
            continue
        chosen = kept[layer.name]
        if not len(chosen):
            raise ValueError(f"mask: got no neuron of layer {layer.name}; expected 1 to {layer.count} of them")
        spread: dict[int, Tensor] = {1: chosen}
        for weight, dim, repeat in layer.entries:
            if repeat not in spread:
                spread[repeat] = (chosen.unsqueeze(1) * repeat + torch.arange(repeat, device=chosen.device)).reshape(-1)
            found.setdefault(weight, {})[dim] = spread[repeat]
    return found


def _picked(tensor: Tensor, where: dict[int, Tensor]) -> Tensor:
    for dim, index in where.items():
        tensor = tensor.index_select(dim, index)
    return tensor


def _placed(whole: Tensor, part: Tensor, where: dict[int, Tensor]) -> Tensor:
    if not where:
        return part
    if len(where) == 1:
        ((dim, index),) = where.items()
        return whole.index_copy(dim, index, part)
    rows = whole.index_select(0, where[0]).index_copy_(1, where[1], part)
    return whole.index_copy(0, where[0], rows)


# ---- which layers can be cut ---------------------------------------------------------------------------------------------


@dataclass
class _Walk:
    """Follows the channels through a model; ``open`` are the neurons that made them, if those may be cut."""

    found: list[Layer] = field(default_factory=list)
    open: Layer | None = None

    def add(self, *entries: Entry) -> None:
        if self.open is not None:
            self.open = Layer(self.open.name, self.open.count, self.open.entries + entries)

    def read(self, weight: str, columns: int) -> None:
        """A layer reads the open neurons: they can be cut, as nothing else does."""
        if self.open is not None:
            self.add(Entry(weight, 1, columns // self.open.count))
            self.found.append(self.open)
            self.open = None

    def make(self, name: str, module: nn.Conv2d | nn.Linear) -> None:
        held = [Entry(f"{name}.{key}", 0) for key, _ in module.named_parameters()]
        self.open = Layer(name, module.weight.shape[0], tuple(held))


@cache
def layers(model: ModelSpec) -> tuple[Layer, ...]:
    """The layers whose neurons may be cut: all that another layer reads, the output layer excluded.

    Raises ValueError for a layer of a kind that is not known here.
    """
    walk = _Walk()
    with unmetered():
        _follow(walk, "", build(model))
    return tuple(walk.found)


def _follow(walk: _Walk, name: str, module: nn.Module) -> None:
    if isinstance(module, (BasicBlock, PooledBlock, InvertedResidual)):
        walk.open = None  # the sum needs all channels, before and after
        inner = "conv" if isinstance(module, InvertedResidual) else "residual"
        _follow(walk, f"{name}.{inner}", getattr(module, inner))
        walk.open = None
    elif isinstance(module, nn.Sequential):
        for key, part in module.named_children():
            _follow(walk, f"{name}.{key}" if name else key, part)
    elif isinstance(module, nn.Conv2d) and module.groups > 1:
        _follow_depthwise(walk, name, module)
    elif isinstance(module, (nn.Conv2d, nn.Linear)):
        walk.read(f"{name}.weight", module.weight.shape[1])
        walk.make(name, module)
    elif isinstance(module, nn.BatchNorm2d):
        walk.add(*(Entry(f"{name}.{key}", 0) for key in ("weight", "bias", "running_mean", "running_var")))
    elif not isinstance(module, PASSES):
        raise ValueError(
            f"submodel: got a {type(module).__name__} (layer {name}); expected convolutions, fully connected layers, "
            "BatchNorm, pooling, ReLU, dropout and the residual blocks of this platform"
        )


def _follow_depthwise(walk: _Walk, name: str, module: nn.Conv2d) -> None:
    """Each channel goes through on its own: its filter belongs to the neuron that made it."""
    if not module.groups == module.in_channels == module.out_channels:
        got = f"{module.in_channels} to {module.out_channels} channels in {module.groups} groups"
        raise ValueError(f"submodel: layer {name}: got {got}; expected one group, or one for each channel")
    walk.add(*(Entry(f"{name}.{key}", 0) for key, _ in module.named_parameters()))
