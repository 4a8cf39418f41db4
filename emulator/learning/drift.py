"""Against the drift of devices that train alone: SCAFFOLD's control variates and FedNova's normalised average.

Both ask how far a device's gradients were followed: ``length`` is the 1-norm of FedNova's vector a_i, the weights with which
local steps enter the device's change (Wang et al., NeurIPS 2020, section 3 and table 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import fsum
from typing import Literal

import torch
from torch import Tensor, nn

from emulator.learning.aggregation import average
from emulator.learning.binding import Weights, bound, clone
from emulator.learning.meter import label
from emulator.learning.models import ModelSpec
from emulator.learning.sgd import Learner, LocalSGD, follow, learn, slopes, trained
from emulator.learning.shards import Batches, Plan, Shard
from emulator.learning.tracing import repeat


def length(sgd: LocalSGD, steps: int) -> float:
    """||a||_1 of so many steps: how strongly their gradients enter w_t - w, in learning rates. Plain SGD: the steps.

    A gradient's echo is followed through momentum and proximal term: v <- momentum v + mu (w - w_t), w <- w - rate v.
    Momentum p alone gives (n - p (1 - p^n) / (1 - p)) / (1 - p), the proximal term alone (1 - (1 - rate mu)^n) / (rate mu).
    Both at once are not in the paper's table; its definition is kept.
    """
    velocity, moved, total = 1.0, 1.0, 0.0
    for _ in range(steps):
        total += abs(moved)
        velocity = sgd.momentum * velocity - sgd.learning_rate * sgd.mu * moved
        moved += velocity
    return total


# ---- SCAFFOLD: Karimireddy et al., ICML 2020, Algorithm 1 ------------------------------------------------------------------


@dataclass(frozen=True)
class Controlled:
    """A device's step: local SGD along g - c_i + c. ``option`` says how c_i is renewed: 1 or 2 of Algorithm 1, line 12."""

    sgd: LocalSGD
    option: Literal[1, 2] = 2

    def lighter(self) -> Iterator[tuple[str, "Controlled"]]:
        """Smaller and smaller batches."""
        for words, sgd in self.sgd.lighter():
            yield words, replace(self, sgd=sgd)


class Corrected(Learner):
    """A learner whose gradients are corrected by c - c_i."""

    def __init__(self, how: Controlled, received: Weights, own: Weights, model: nn.Sequential) -> None:
        super().__init__(how.sgd, received, own, model)
        self.correction: list[Tensor] = []

    def correct(self, control: Weights, own: list[Tensor]) -> None:
        """Set c - c_i."""
        names = trained(self.sgd.problem.model)
        self.correction = list(torch._foreach_sub([control[name] for name in names], own))
        label("optimiser", self.correction)


def no_control(weights: Weights, *, model: ModelSpec) -> Weights:
    """Control variates of zero, one for each trained weight: Algorithm 1 leaves their start open, the paper's runs use zero."""
    return {name: torch.zeros_like(weights[name]) for name in trained(model)}


def controlled(
    weights: Weights, shard: Shard, seed: int, control: Weights, *own: Weights, how: Controlled
) -> tuple[Weights, Weights, Weights]:
    """Lines 6 to 13: local weights y_i, the device's new c_i, and its change. ``own`` is its c_i; without one it is zero."""
    names, local = trained(how.sgd.problem.model), clone(weights)
    label("weights", [weights, local, control, own])
    label("data", shard)
    before = [own[0][name] if own else torch.zeros_like(weights[name]) for name in names]
    with bound(how.sgd.problem.model, local, training=True) as model:
        learner = Corrected(how, weights, local, model)
        learner.correct(control, before)
        learn(controlled_step, learner, Batches(shard, seed, how.sgd.plan))
    after = _here(weights, shard, seed, how) if how.option == 1 else _along(learner, weights, how, len(shard.labels))
    change = torch._foreach_sub(after, before)
    new = {name: tensor.detach() for name, tensor in local.items()}
    return new, dict(zip(names, after, strict=True)), dict(zip(names, change, strict=True))


def controlled_step(learner: Corrected, batch: Shard) -> None:
    """One minibatch: y <- y - rate (g - c_i + c)."""
    gradients = slopes(learner, batch)
    with torch.no_grad():
        torch._foreach_add_(gradients, learner.correction)
        follow(learner, gradients)


def _along(learner: Corrected, received: Weights, how: Controlled, samples: int) -> list[Tensor]:
    """Option II: c_i - c + (x - y_i) / (K rate), the mean gradient along the way. Ours: with momentum K is ``length``."""
    far = how.sgd.learning_rate * length(how.sgd, how.sgd.plan.batches(samples))
    start = [received[name] for name in trained(how.sgd.problem.model)]
    with torch.no_grad():
        after = list(torch._foreach_sub(start, learner.weights))
        torch._foreach_div_(after, far or 1.0)
        torch._foreach_sub_(after, learner.correction)
    return after


class Slope(Learner):
    """A learner that adds gradients up and stays where it is."""

    def __init__(self, sgd: LocalSGD, at: Weights, model: nn.Sequential, samples: int) -> None:
        super().__init__(sgd, at, at, model)
        self.samples = samples
        self.mean = [torch.zeros_like(tensor) for tensor in self.weights]


def _here(received: Weights, shard: Shard, seed: int, how: Controlled) -> list[Tensor]:
    """Option I: the gradient of all the device's data at the weights that it received, weight decay included."""
    sgd = replace(how.sgd, plan=Plan(how.sgd.plan.batch_size), momentum=0.0, mu=0.0)
    at = clone(received)  # BatchNorm's running statistics move even where nothing is learned
    with bound(sgd.problem.model, at, training=True) as model:
        slope = Slope(sgd, at, model, max(1, len(shard.labels)))
        repeat(slope_step, slope, Batches(shard, seed, sgd.plan))
    with torch.no_grad():
        if sgd.weight_decay:
            torch._foreach_add_(slope.mean, slope.weights, alpha=sgd.weight_decay)
    return slope.mean


def slope_step(slope: Slope, batch: Shard) -> None:
    """One minibatch's part of the mean gradient."""
    gradients = slopes(slope, batch)
    with torch.no_grad():
        torch._foreach_add_(slope.mean, gradients, alpha=len(batch.labels) / slope.samples)


def scaffold_step(
    both: tuple[float, float], mean: Weights, change: Weights, weights: Weights, control: Weights
) -> tuple[Weights, Weights]:
    """Lines 16 and 17: x + rate (mean of y_i - x) and c + |S| / N (mean change of c_i); ``both``: rate and |S| / N.

    Buffers (what has no control variate) take the mean.
    """
    rate, share = both
    new = {name: torch.lerp(weights[name], mean[name], rate) if name in control else mean[name] for name in mean}
    return new, {name: control[name] + share * change[name] for name in control}


# ---- FedNova: Wang et al., NeurIPS 2020, equation 9 ------------------------------------------------------------------------


def effective(samples: tuple[int, ...], counts: tuple[float, ...]) -> float:
    """tau_eff = sum p_i counts_i, with p_i = n_i / n."""
    return fsum(n * count for n, count in zip(samples, counts, strict=True)) / (sum(samples) or 1)


def nova_average(
    far: float,
    samples: tuple[int, ...],
    lengths: tuple[float, ...],
    weights: Weights,
    *updates: Weights,
    model: ModelSpec,
) -> Weights:
    """x - far sum p_i (x - y_i) / ||a_i||_1, where far is tau_eff, p_i is n_i / n and ``lengths`` are the ||a_i||_1.

    Written as a mean of the y_i by p_i / ||a_i||_1, and a way from x towards it: where all devices went equally far, this is
    FedAvg to the bit. Buffers take the mean by samples, as a variance must not go beyond it. Raises ValueError as ``average``.
    """
    longest = max(lengths)
    shares = tuple(n * (longest / own) if n else 0.0 for n, own in zip(samples, lengths, strict=True))
    names, reach = trained(model), far / longest * fsum(shares) / sum(samples)
    mean = average(shares, *({name: update[name] for name in names} for update in updates))
    buffers = [name for name in weights if name not in names]
    rest = average(samples, *({name: update[name] for name in buffers} for update in updates)) if buffers else {}
    return {name: torch.lerp(weights[name], mean[name], reach) if name in names else rest[name] for name in weights}
