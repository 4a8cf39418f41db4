"""What the server does with the devices' updates."""

from dataclasses import dataclass

import torch

from emulator.learning.binding import Weights
from emulator.learning.models import ModelSpec
from emulator.learning.sgd import trained

FAN_IN = 16  # updates are summed in a fixed tree of this width, so that a sum never depends on who computed it


def average(samples: tuple[int, ...], *updates: Weights) -> Weights:
    """Mean of ``updates`` weighted by ``samples`` (FedAvg: n_k / n), summed in a fixed tree by position.

    Raises ValueError without any sample.
    """
    total = sum(samples)
    if total <= 0:
        raise ValueError(f"average: got {len(updates)} updates of {total} samples; expected at least one sample")
    names = list(updates[0])
    rows = [[update[name] for name in names] for update in updates]
    sums = [
        _weighted_sum(rows[start : start + FAN_IN], [n / total for n in samples[start : start + FAN_IN]])
        for start in range(0, len(rows), FAN_IN)
    ]
    while len(sums) > 1:
        sums = [_weighted_sum(sums[i : i + FAN_IN], None) for i in range(0, len(sums), FAN_IN)]
    return dict(zip(names, sums[0], strict=True))


def _weighted_sum(rows: list[list[torch.Tensor]], factors: list[float] | None) -> list[torch.Tensor]:
    """Sum of rows of tensors, in order; each multiplied by its factor first, when given."""
    if factors is None:
        total = [tensor.clone() for tensor in rows[0]]
        for row in rows[1:]:
            torch._foreach_add_(total, row)
        return total
    total = list(torch._foreach_mul(rows[0], factors[0]))
    for row, factor in zip(rows[1:], factors[1:], strict=True):
        torch._foreach_add_(total, row, alpha=factor)
    return total


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
