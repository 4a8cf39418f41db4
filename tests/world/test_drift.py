"""SCAFFOLD and FedNova beside plain PyTorch loops, the lengths of FedNova's vectors by hand, and the same hash everywhere."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from emulator.learning.drift import effective, length, nova_average
from emulator.learning.evaluation import initial_weights
from emulator.learning.random import seed_of, stream
from emulator.learning.sgd import LocalSGD
from emulator.learning.shards import Plan
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.fednova import FedNovaSettings, fednova
from emulator.protocols.scaffold import ScaffoldSettings, scaffold
from tests.worlds import CNN, DIGITS, MLP, final_weights, fleet, plan, play, time_only

SAMPLES = (40, 33, 17, 1, 52)
COMMON: dict[str, Any] = {"rounds": 4, "cohort": 3, "learning_rate": 0.1, "batch_size": 16, "local_epochs": 2}
Weights = dict[str, torch.Tensor]


# ---- an independent loop: a plain module, gradients by autograd, sums one after another ------------------------------------


def images(chosen: Any) -> torch.Tensor:
    return (torch.tensor(chosen, dtype=torch.float32) / 16.0 - 0.3054) / 0.3761


class Plain:
    """A device: its data, its model, and c_i."""

    def __init__(self, part: slice, name: str) -> None:
        self.images, self.labels, self.name = DIGITS.x_train[part], torch.tensor(DIGITS.y_train[part]), name
        self.own: Weights | None = None
        self.model = nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU()), nn.Linear(128, 10))

    def gradient(self, index: Any) -> Weights:
        loss = nn.functional.cross_entropy(self.model(images(self.images[index])), self.labels[index])
        names = [name for name, _ in self.model.named_parameters()]
        return dict(zip(names, torch.autograd.grad(loss, list(self.model.parameters())), strict=True))

    def minibatches(self, number: int) -> list[Any]:
        generator = np.random.Generator(np.random.PCG64(seed_of(1, "batches", self.name, number)))
        orders = [generator.permutation(len(self.labels)) for _ in range(2)]
        return [order[start : start + 16] for order in orders for start in range(0, len(order), 16)]

    def train(self, weights: Weights, number: int, extra: Any, options: dict[str, float]) -> tuple[Weights, int]:
        """Weights after SGD along the gradient plus ``extra`` (a function of the weights), and the steps."""
        self.model.load_state_dict(weights)
        velocity = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
        batches = self.minibatches(number)
        for index in batches:
            found = self.gradient(index)
            with torch.no_grad():
                for name, tensor in self.model.named_parameters():
                    slope = found[name] + extra(name, tensor) + options.get("weight_decay", 0.0) * tensor
                    velocity[name] = options.get("momentum", 0.0) * velocity[name] + slope
                    tensor.sub_(0.1 * velocity[name])
        return {name: tensor.detach().clone() for name, tensor in self.model.named_parameters()}, len(batches)


def plain_fleet() -> list[Plain]:
    bounds = np.cumsum((0, *SAMPLES))
    return [Plain(slice(a, b), f"device-{d:04d}") for d, (a, b) in enumerate(pairwise(bounds))]


def cohort(number: int) -> list[int]:
    return sorted(stream(1, "cohort", number).choice(len(SAMPLES), size=3, replace=False).tolist())


def plain_scaffold(start: Weights, option: Literal[1, 2], options: dict[str, float]) -> Weights:
    fleet_, weights = plain_fleet(), start
    control = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
    decay, rate = options.get("weight_decay", 0.0), options.get("server_learning_rate", 1.0)
    for number in (1, 2, 3, 4):
        moves, changes = [], []
        for device in (fleet_[d] for d in cohort(number)):
            own = device.own or {name: torch.zeros_like(tensor) for name, tensor in start.items()}
            correction = {name: control[name] - own[name] for name in control}
            y, steps = device.train(weights, number, lambda name, _, c=correction: c[name], options)
            if option == 1:
                device.model.load_state_dict(weights)
                slope = device.gradient(np.arange(len(device.labels)))
                new = {name: slope[name] + decay * weights[name] for name in weights}
            else:
                new = {n: own[n] - control[n] + (weights[n] - y[n]) / (steps * 0.1) for n in weights}
            moves.append({name: y[name] - weights[name] for name in weights})
            changes.append({name: new[name] - own[name] for name in weights})
            device.own = new
        weights = {n: weights[n] + rate * sum(m[n] for m in moves) / 3 for n in weights}
        control = {n: control[n] + 3 / 5 * sum(c[n] for c in changes) / 3 for n in weights}
    return weights


def plain_fednova(start: Weights, options: dict[str, float]) -> Weights:
    """As in the paper: a_i written out, d_i = G_i a_i / ||a_i||_1."""
    fleet_, weights = plain_fleet(), start
    p, mu = options.get("momentum", 0.0), options.get("mu", 0.0)
    for number in (1, 2, 3, 4):
        chosen = cohort(number)
        total = sum(SAMPLES[d] for d in chosen)
        far, step = 0.0, {name: torch.zeros_like(tensor) for name, tensor in start.items()}
        for d in chosen:
            y, n = fleet_[d].train(weights, number, lambda name, w, x=weights: mu * (w - x[name]), options)
            ways = [(1 - p**k) / (1 - p) for k in range(1, n + 1)] if p else [(1 - 0.1 * mu) ** k for k in range(n)]
            far += SAMPLES[d] / total * sum(ways)
            for name in step:
                step[name] += SAMPLES[d] / total * (weights[name] - y[name]) / sum(ways)
        weights = {name: weights[name] - far * step[name] for name in weights}
    return weights


def close(found: Weights, expected: Weights) -> None:
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def start() -> Weights:
    return initial_weights(seed_of(1, "initial"), model=MLP.model)


@pytest.mark.parametrize("option", [1, 2])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.01, "server_learning_rate": 0.5}])
def test_scaffold_equals_a_plain_loop(option: Literal[1, 2], options: dict[str, Any]) -> None:
    settings = ScaffoldSettings(**COMMON, option=option, **options)
    close(final_weights(plan(scaffold, settings, fleet(5), samples=SAMPLES)), plain_scaffold(start(), option, options))


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"mu": 0.5}, {"weight_decay": 0.01}])
def test_fednova_equals_a_plain_loop(options: dict[str, Any]) -> None:
    settings = FedNovaSettings(**COMMON, **options)
    close(final_weights(plan(fednova, settings, fleet(5), samples=SAMPLES)), plain_fednova(start(), options))


# ---- identities ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [MLP, CNN])
def test_fednova_with_equal_steps_is_fedavg_bit_for_bit(problem: Any) -> None:
    common: dict[str, Any] = {"rounds": 3, "cohort": 3, "learning_rate": 0.1, "local_steps": 3}
    nova = play(plan(fednova, FedNovaSettings(**common), fleet(5), samples=(40, 33, 17, 20, 52), problem=problem))
    plain = play(plan(fedavg, FedAvgSettings(**common), fleet(5), samples=(40, 33, 17, 20, 52), problem=problem))
    assert nova.end.weights_sha256 == plain.end.weights_sha256


@pytest.mark.parametrize("problem", [MLP, CNN])
def test_the_first_round_of_scaffold_by_samples_is_fedavg_bit_for_bit(problem: Any) -> None:
    # All control variates are zero: g - 0 + 0. With momentum too.
    common: dict[str, Any] = COMMON | {"rounds": 1, "momentum": 0.5}
    controlled = play(plan(scaffold, ScaffoldSettings(**common, weighting="samples"), fleet(5), problem=problem))
    plain = play(plan(fedavg, FedAvgSettings(**common), fleet(5), problem=problem))
    assert controlled.end.weights_sha256 == plain.end.weights_sha256


def test_one_device_is_never_corrected() -> None:
    # N = 1: c is its own c_i, so c - c_i = 0 but for rounding.
    common: dict[str, Any] = {"rounds": 3, "cohort": 1, "learning_rate": 0.1}
    found = final_weights(plan(scaffold, ScaffoldSettings(**common), fleet(1)))
    close(found, final_weights(plan(fedavg, FedAvgSettings(**common), fleet(1))))


# ---- theory: the lengths of FedNova's vectors -----------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 40])
def test_lengths_are_those_of_the_papers_table(steps: int) -> None:
    # Momentum p: (n - p (1 - p^n) / (1 - p)) / (1 - p). Proximal term, a = rate mu: (1 - (1 - a)^n) / a.
    sgd = LocalSGD(MLP, Plan(16), 0.1)
    assert length(sgd, steps) == steps
    closed = (steps - 0.9 * (1 - 0.9**steps) / 0.1) / 0.1
    assert length(replace(sgd, momentum=0.9), steps) == pytest.approx(closed, rel=1e-12)
    assert length(replace(sgd, mu=2.0), steps) == pytest.approx((1 - 0.8**steps) / 0.2, rel=1e-12)


def test_a_length_with_momentum_and_proximal_term_by_hand() -> None:
    # rate mu = 0.5, p = 0.5. A gradient's echo in w: 1; then v = 0.5 - 0.5 = 0, so 1; then v = 0 - 0.5, so 0.5: 2.5 in all.
    assert length(LocalSGD(MLP, Plan(16), 0.1, 0.5, 0.0, 5.0), 3) == 2.5


def test_how_far_the_server_goes() -> None:
    # 10 samples with 4 steps and 30 with 8: (40 + 240) / 40 = 7.
    assert effective((10, 30), (4.0, 8.0)) == 7.0
    settings: dict[str, Any] = {"rounds": 1, "cohort": 2, "learning_rate": 0.1, "momentum": 0.9, "batch_size": 10}
    by_length = final_weights(plan(fednova, FedNovaSettings(**settings), fleet(2), samples=(10, 30)))
    by_steps = final_weights(plan(fednova, FedNovaSettings(**settings, tau_eff="steps"), fleet(2), samples=(10, 30)))
    # Lengths: 1 for one step; three steps (3 - 0.9 (1 - 0.729) / 0.1) / 0.1 = 5.61. Weighted 4.4575; steps 2.5.
    name = "0.1.weight"
    ratio = (by_steps[name] - start()[name]).norm() / (by_length[name] - start()[name]).norm()
    assert ratio.item() == pytest.approx(2.5 / 4.4575, rel=1e-4)


def test_fednova_leaves_batchnorms_statistics_to_the_mean() -> None:
    """By hand: lengths 1 and 3, 10 and 30 samples. Weights go (10 + 10) / 40 * 2.5 = 1.25 of the way: beyond the mean.

    With shares of 10 and 10 their mean is 0.1; the statistics' is 0.75 * 0.2 = 0.15.
    """
    old = initial_weights(1, model=CNN.model)
    new = [{name: torch.full_like(tensor, value) for name, tensor in old.items()} for value in (0.0, 0.2)]
    found = nova_average(2.5, (10, 30), (1.0, 3.0), old, *new, model=CNN.model)
    assert found["0.1.running_var"][0].item() == pytest.approx(0.15)
    assert found["0.1.weight"][0].item() == pytest.approx(1 - 1.25 * (1 - 0.1))


# ---- bytes, memory, odd devices ---------------------------------------------------------------------------------------------


def test_control_variates_travel_and_stay() -> None:
    # 9,610 float32 weights, all trained: 38,440 bytes; twice that either way.
    played = play(plan(scaffold, ScaffoldSettings(**COMMON), fleet(5), samples=SAMPLES))
    assert sum(event.bytes for event in played.transfers("weights")) == 4 * 3 * 2 * 38_440
    assert sum(event.bytes for event in played.transfers("update")) == 4 * 3 * 2 * 38_440
    assert sum(row.overhead_bytes for row in played.rounds) == 0
    train = [event for event in played.events if event.kind == "controlled" and event.node == "device-0004"]
    assert train[1].peak_memory_bytes >= train[0].peak_memory_bytes  # from then on the device has a c_i of its own


def test_batchnorms_statistics_have_no_control_variate() -> None:
    # cnn on digits: 24,058 trained numbers, 2 (16 + 32 + 64) = 224 running statistics.
    played = play(plan(scaffold, ScaffoldSettings(**COMMON, option=1), fleet(5), samples=SAMPLES, problem=CNN))
    assert {event.bytes for event in played.transfers("weights")} == {4 * 24_058, 4 * (24_058 + 224)}


@pytest.mark.parametrize(
    ("protocol", "settings"), [(scaffold, ScaffoldSettings(**COMMON)), (fednova, FedNovaSettings(**COMMON))]
)
def test_devices_without_data_and_the_clock_alone(protocol: Any, settings: Any) -> None:
    blueprint = plan(protocol, settings, fleet(5), samples=(40, 0, 17, 0, 0))
    played = play(blueprint)
    assert time_only(blueprint).events == played.events
    assert all(torch.isfinite(tensor).all() for tensor in final_weights(blueprint).values())
