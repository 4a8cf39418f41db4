"""What the server does with the devices' updates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from emulator.learning.binding import Weights
from emulator.learning.models import ModelSpec
from emulator.learning.sgd import trained
from emulator.learning.tracing import repeat

FAN_IN = 16  # updates are summed in a fixed tree of this width, so that a sum never depends on who computed it


def average(samples: tuple[float, ...], *updates: Weights) -> Weights:
    """Mean of ``updates`` weighted by ``samples`` (FedAvg: n_k / n), summed in a fixed tree by position.

    Raises ValueError without any sample.
    """
    total = sum(samples)
    if total <= 0:
        raise ValueError(f"average: got {len(updates)} updates of {total} samples; expected at least one sample")
    names = list(updates[0])
    rows = [Term([update[name] for name in names], n / total) for update, n in zip(updates, samples, strict=True)]
    return dict(zip(names, summed(rows), strict=True))


def mixed(share: float, weights: Weights, update: Weights) -> Weights:
    """(1 - share) of the weights and ``share`` of an update, in one pass over both."""
    names = list(weights)
    new = torch._foreach_lerp([weights[name] for name in names], [update[name] for name in names], share)
    return dict(zip(names, new, strict=True))


class Term(NamedTuple):
    """Tensors, and what they are multiplied by in a sum."""

    tensors: list[torch.Tensor]
    factor: float


class _Terms:
    """Terms of one shape, for ``repeat``: whatever their number, one of them is traced."""

    def __init__(self, terms: list[Term]) -> None:
        self._terms = terms

    def __iter__(self) -> Iterator[Term]:
        return iter(self._terms)

    def distinct(self) -> Iterator[tuple[Callable[[], Term], int]]:
        """One term, and how many there are."""
        if self._terms:
            yield partial(Term, self._terms[0].tensors, 0.5), len(self._terms)


class _Sum:
    """A sum in progress. Its ``key`` is constant: the terms' shapes say all."""

    key = "sum"

    def __init__(self, first: Term) -> None:
        self.total = list(torch._foreach_mul(first.tensors, first.factor))


def summed(rows: list[Term]) -> list[torch.Tensor]:
    """Terms, each multiplied by its factor, summed in a fixed tree by position."""
    while len(rows) > 1 or rows[0].factor != 1.0:
        rows = [Term(_weighted_sum(rows[i : i + FAN_IN]), 1.0) for i in range(0, len(rows), FAN_IN)]
    return rows[0].tensors


def _add(state: _Sum, term: Term) -> None:
    torch._foreach_add_(state.total, term.tensors, alpha=term.factor)


def _weighted_sum(terms: list[Term]) -> list[torch.Tensor]:
    """Sum of terms, in order, each multiplied by its factor."""
    state = _Sum(terms[0])
    repeat(_add, state, _Terms(terms[1:]))
    return state.total


@dataclass(frozen=True)
class Adam:
    """Settings of the server's Adam step, with the names of Reddi et al. 2021, Algorithm 2."""

    model: ModelSpec
    eta: float
    beta1: float
    beta2: float
    tau: float


def adam_state(weights: Weights, *, adam: Adam) -> tuple[Weights, Weights]:
    """First and second moments at the start: m = 0 and v = tau^2 (the paper asks for v_{-1} >= tau^2)."""
    names = trained(adam.model)
    first = {name: torch.zeros_like(weights[name]) for name in names}
    return first, {name: torch.full_like(weights[name], adam.tau**2) for name in names}


def adam_step(
    weights: Weights, mean: Weights, first: Weights, second: Weights, *, adam: Adam
) -> tuple[Weights, Weights, Weights]:
    """New weights and moments, from delta = mean - weights as the pseudo-gradient; buffers take the mean."""
    new, m, v = dict(mean), {}, {}
    for name in trained(adam.model):
        delta = mean[name] - weights[name]
        m[name] = first[name] * adam.beta1 + delta * (1 - adam.beta1)
        v[name] = second[name] * adam.beta2 + delta.square() * (1 - adam.beta2)
        new[name] = weights[name] + adam.eta * m[name] / (v[name].sqrt() + adam.tau)
    return new, m, v
