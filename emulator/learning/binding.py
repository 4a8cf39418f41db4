"""Puts weights into a model without copying the model: one empty module per thread and model, bound for a while."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from emulator.learning.meter import unmetered
from emulator.learning.models import ModelSpec, build

Weights = dict[str, Tensor]  # parameter and buffer name -> tensor; BatchNorm's running statistics are weights too
Slots = dict[
    str, tuple[dict[str, Any], str]
]  # weight -> the dictionary of its module that holds it, and its name there

_LOCAL = threading.local()  # the clock traces while the server's lane trains: each thread binds modules of its own


def _skeleton(spec: ModelSpec, blocks: tuple[int, int] | None) -> tuple[nn.Sequential, Slots]:
    """The model without data, or some of its blocks, and where each weight goes: made once, as a split binds every batch."""
    known: dict[Any, tuple[nn.Sequential, Slots]] = _LOCAL.__dict__.setdefault("skeletons", {})
    found = known.get((spec, blocks))
    if found is None:
        found = known[spec, blocks] = _whole(spec) if blocks is None else _some(*_skeleton(spec, None), blocks)
    return found


def _some(whole: nn.Sequential, slots: Slots, blocks: tuple[int, int]) -> tuple[nn.Sequential, Slots]:
    start, stop = blocks
    return nn.Sequential(*list(whole)[start:stop]), {
        name: slot for name, slot in slots.items() if start <= block_of(name) < stop
    }


def _whole(spec: ModelSpec) -> tuple[nn.Sequential, Slots]:
    with unmetered():
        model = build(spec)
    slots: Slots = {}
    for prefix, module in model.named_modules():
        for holder in (module._parameters, module._buffers):
            for name, tensor in holder.items():
                if tensor is not None:
                    slots[f"{prefix}.{name}"] = (holder, name)
    return model, slots


def parameter_names(spec: ModelSpec) -> frozenset[str]:
    """Names of the weights that are trained; the others are buffers."""
    with unmetered():
        return frozenset(name for name, _ in build(spec).named_parameters())


def block_of(name: str) -> int:
    """The number of the block that a weight belongs to."""
    return int(name.split(".", 1)[0])


def part(weights: Weights, start: int, stop: int) -> Weights:
    """The weights of blocks ``start:stop``."""
    return {name: tensor for name, tensor in weights.items() if start <= block_of(name) < stop}


@contextmanager
def bound(
    spec: ModelSpec, weights: Weights, *, training: bool, blocks: tuple[int, int] | None = None
) -> Iterator[nn.Sequential]:
    """The model of ``spec`` with these very tensors inside, for the length of the block; or some of its blocks.

    Raises ValueError when the names do not match. In training, BatchNorm changes the bound running statistics in place:
    bind copies.
    """
    model, slots = _skeleton(spec, blocks)
    if slots.keys() != weights.keys():
        wrong = sorted(slots.keys() ^ weights.keys())
        raise ValueError(f"weights of {spec.name}: missing or unexpected names {wrong[:5]}")
    empty = {name: holder[key] for name, (holder, key) in slots.items()}
    for name, (holder, key) in slots.items():
        holder[key] = weights[name]
    if any(block.training is not training for block in model):  # a walk over all modules, else spared
        model.train(training)
    try:
        yield model
    finally:
        for name, (holder, key) in slots.items():
            holder[key] = empty[name]


def clone(weights: Weights) -> Weights:
    """Copies that may be changed in place."""
    return {name: tensor.clone() for name, tensor in weights.items()}


def zeros_like(weights: Weights) -> Weights:
    """Zeros of the same names and shapes."""
    return {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
