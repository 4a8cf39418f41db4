"""Local training on a device: minibatch SGD over its shard, as one step."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from emulator.learning.binding import Weights, bound, clone, parameter_names
from emulator.learning.meter import label
from emulator.learning.models import ModelSpec
from emulator.learning.pruning import prune
from emulator.learning.shards import Batches, Normalisation, Plan, Shard
from emulator.learning.tracing import repeat


@dataclass(frozen=True)
class Problem:
    """What is learned: the model, and how stored images enter it."""

    model: ModelSpec
    normalise: Normalisation
    cut: int | None = None  # blocks on the device, where a protocol splits
    given: tuple[str, ...] = ()  # names of the weights that a scenario gives to start from


@dataclass(frozen=True)
class LocalSGD:
    """Settings of local SGD: v <- momentum v + g + weight_decay w; w <- w - learning_rate v (PyTorch's SGD).

    ``mu`` adds FedProx's gradient mu (w - w_t), where w_t are the weights that the device received. ``prune_threshold``:
    after each pass over the data, convolutions' weights that are no larger become zero; 0: none do.
    """

    problem: Problem
    plan: Plan
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    mu: float = 0.0
    prune_threshold: float = 0.0

    def part(self, share: float, samples: int) -> "LocalSGD":
        """The same with the first ``share`` of the minibatches that it would do on a shard of ``samples``."""
        return self if share == 1 else replace(self, plan=self.plan.part(share, samples))

    def first(self, count: int) -> "LocalSGD":
        """The same with its first ``count`` minibatches alone."""
        return replace(self, plan=replace(self.plan, steps=count))

    def lighter(self) -> Iterator[tuple[str, "LocalSGD"]]:
        """Smaller and smaller batches."""
        for words, plan in self.plan.lighter():
            yield words, replace(self, plan=plan)


class Learner:
    """A device's model in training: weights that change in place, and the velocity of momentum."""

    def __init__(self, sgd: LocalSGD, received: Weights, own: Weights, model: nn.Sequential) -> None:
        names = [name for name in trained(sgd.problem.model) if name in own]
        self.sgd = sgd
        self.model = model
        self.weights = [own[name].requires_grad_() for name in names]
        self.anchor = [received[name] for name in names] if sgd.mu else []
        self.velocity = [torch.zeros_like(tensor) for tensor in self.weights] if sgd.momentum else []
        label("optimiser", self.velocity)
        # With the batch's shapes it fixes what one step does.
        self.key: Hashable = (sgd, *(tensor.shape for tensor in self.weights))

    def loss(self, batch: Shard) -> Tensor:
        """The forward pass."""
        inputs = self.sgd.problem.normalise(batch.images)
        return functional.cross_entropy(self.model(inputs), batch.labels)


L = TypeVar("L", bound=Learner)


@cache
def trained(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the trained weights, sorted."""
    return tuple(sorted(parameter_names(spec)))


def train(weights: Weights, shard: Shard, seed: int, *, sgd: LocalSGD) -> Weights:
    """Weights after local training on ``shard``, minibatches drawn from ``seed``. An empty shard changes nothing."""
    own = clone(weights)
    label("weights", [weights, own])
    label("data", shard)
    with bound(sgd.problem.model, own, training=True) as model:
        learn(sgd_step, Learner(sgd, weights, own, model), Batches(shard, seed, sgd.plan))
    return {name: tensor.detach() for name, tensor in own.items()}


def learn(step: Callable[[L, Shard], None], learner: L, batches: Batches) -> None:
    """Step after step over the minibatches; pruned after each pass, where that is asked for."""
    if not learner.sgd.prune_threshold:
        repeat(step, learner, batches)
        return
    for one in batches.passes():
        repeat(step, learner, one)
        prune(learner.weights, learner.sgd.prune_threshold)


def sgd_step(learner: Learner, batch: Shard) -> None:
    """One minibatch: forward, backward, update in place."""
    gradients = slopes(learner, batch)
    with torch.no_grad():
        follow(learner, gradients)


def slopes(learner: Learner, batch: Shard) -> list[Tensor]:
    """Gradients of a minibatch's loss at the learner's weights."""
    gradients = list(torch.autograd.grad(learner.loss(batch), learner.weights))
    label("gradients", gradients)
    return gradients


def follow(learner: Learner, gradients: list[Tensor]) -> None:
    """The learner's step along gradients, which are used up."""
    sgd, weights = learner.sgd, learner.weights
    if sgd.mu:
        torch._foreach_add_(gradients, weights, alpha=sgd.mu)
        torch._foreach_sub_(gradients, learner.anchor, alpha=sgd.mu)
    descend(weights, gradients, learner.velocity, sgd)


class Rates(Protocol):
    """What a step of SGD goes by."""

    @property
    def learning_rate(self) -> float:
        """Step size."""

    @property
    def momentum(self) -> float:
        """Share of the velocity that is kept."""

    @property
    def weight_decay(self) -> float:
        """L2 coefficient."""


def descend(weights: list[Tensor], gradients: list[Tensor], velocity: list[Tensor], rates: Rates) -> None:
    """One step of PyTorch's SGD, in place. ``velocity`` is empty without momentum; ``gradients`` are used up."""
    if rates.weight_decay:
        torch._foreach_add_(gradients, weights, alpha=rates.weight_decay)
    if rates.momentum:
        torch._foreach_mul_(velocity, rates.momentum)
        torch._foreach_add_(velocity, gradients)
        gradients = velocity
    torch._foreach_add_(weights, gradients, alpha=-rates.learning_rate)
