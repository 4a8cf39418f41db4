"""FedAvg on the platform beside a plain PyTorch loop, closed forms for time and bytes, and the same hash everywhere."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from actors.inline import Inline
from emulator.learning.evaluation import initial_weights
from emulator.learning.models import ModelSpec
from emulator.learning.random import seed_of, stream
from emulator.learning.sgd import Problem
from emulator.protocols.fedadam import FedAdamSettings, fedadam
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.fedprox import FedProxSettings, fedprox
from emulator.protocols.settings import LocalTraining
from tests.worlds import CNN, DIGITS, MLP, NORMALISE, final_weights, fleet, holdings, plan, play, time_only

SAMPLES = (40, 33, 17, 1, 52)
COMMON: dict[str, Any] = {"rounds": 3, "cohort": 3, "learning_rate": 0.1, "batch_size": 16, "local_epochs": 2}


# ---- an independent loop: plain modules, plain optimiser, nothing of the platform's learning code ------------------------


def plain_model(kind: str) -> nn.Sequential:
    if kind == "mlp":
        return nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU()), nn.Linear(128, 10))

    def block(a: int, b: int, pool: bool) -> nn.Sequential:
        layers = [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))

    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return nn.Sequential(block(1, 16, True), block(16, 32, True), block(32, 64, False), head)


def plain_local(kind: str, weights: dict[str, torch.Tensor], data: Any, seed: int, options: dict[str, Any]) -> Any:
    model = plain_model(kind)
    model.load_state_dict(weights, strict=False)
    model.train()
    optimiser = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=options.get("momentum", 0.0), weight_decay=options.get("weight_decay", 0.0)
    )
    images, labels = data
    generator = np.random.Generator(np.random.PCG64(seed))
    for _ in range(2):
        order = generator.permutation(len(labels))
        for start in range(0, len(labels), 16):
            index = order[start : start + 16]
            inputs = (torch.tensor(images[index], dtype=torch.float32) / 16.0 - 0.3054) / 0.3761
            loss = nn.functional.cross_entropy(model(inputs), torch.tensor(labels[index]))
            if options.get("mu"):
                drift = sum(((p - weights[n]) ** 2).sum() for n, p in model.named_parameters())
                loss = loss + options["mu"] / 2 * drift
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if "num_batches" not in name}


def plain_federation(kind: str, options: dict[str, Any], start: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    bounds = np.cumsum((0, *SAMPLES))
    parts = [slice(a, b) for a, b in pairwise(bounds)]
    weights = start
    adam: dict[str, list[torch.Tensor]] = {
        n: [torch.zeros_like(w), torch.full_like(w, options.get("tau", 0.0) ** 2)] for n, w in start.items()
    }
    for number in (1, 2, 3):
        chosen = sorted(stream(1, "cohort", number).choice(len(SAMPLES), size=3, replace=False).tolist())
        locals_ = []
        for d in chosen:
            data = (DIGITS.x_train[parts[d]], DIGITS.y_train[parts[d]])
            seed = seed_of(1, "batches", f"device-{d:04d}", number)
            locals_.append((SAMPLES[d], plain_local(kind, weights, data, seed, options)))
        total = sum(n for n, _ in locals_)
        mean = {name: sum(n / total * local[name] for n, local in locals_) for name in weights}
        if "tau" in options:
            for name in weights:
                delta = mean[name] - weights[name]
                m, v = adam[name]
                m.mul_(0.9).add_(delta, alpha=0.1)
                v.mul_(0.99).add_(delta**2, alpha=0.01)
                mean[name] = weights[name] + 0.05 * m / (v.sqrt() + options["tau"])
        weights = mean
    return weights


@pytest.mark.parametrize(
    ("kind", "protocol", "settings", "options"),
    [
        ("mlp", fedavg, FedAvgSettings(**COMMON), {}),
        (
            "mlp",
            fedavg,
            FedAvgSettings(**COMMON, momentum=0.9, weight_decay=0.01),
            {"momentum": 0.9, "weight_decay": 0.01},
        ),
        ("mlp", fedprox, FedProxSettings(**COMMON, mu=0.5), {"mu": 0.5}),
        ("mlp", fedadam, FedAdamSettings(**COMMON, server_learning_rate=0.05, tau=0.01), {"tau": 0.01}),
    ],
)
def test_equals_a_plain_loop(kind: str, protocol: Any, settings: LocalTraining, options: dict[str, Any]) -> None:
    blueprint = plan(protocol, settings, fleet(5), samples=SAMPLES, problem=MLP)
    start = initial_weights(seed_of(1, "initial"), model=MLP.model)
    expected = plain_federation(kind, options, start)
    found = final_weights(blueprint)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def test_equals_a_plain_loop_with_batchnorm() -> None:
    # No device ends on a batch of a single sample here: PyTorch itself refuses none of these.
    samples = (40, 34, 18, 20, 52)
    blueprint = plan(fedavg, FedAvgSettings(**COMMON), fleet(5), samples=samples, problem=CNN)
    globals()["SAMPLES"], before = samples, SAMPLES
    try:
        expected = plain_federation("cnn", {}, initial_weights(seed_of(1, "initial"), model=CNN.model))
    finally:
        globals()["SAMPLES"] = before
    found = final_weights(blueprint)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-6, rtol=1e-4, msg=name)


def test_fedprox_without_its_term_is_fedavg_bit_for_bit() -> None:
    plain = play(plan(fedavg, FedAvgSettings(**COMMON), fleet(5), samples=SAMPLES))
    prox = play(plan(fedprox, FedProxSettings(**COMMON, mu=0.0), fleet(5), samples=SAMPLES))
    assert plain.end.weights_sha256 == prox.end.weights_sha256


# ---- closed forms ------------------------------------------------------------------------------------------------------


def test_bytes_equal_the_closed_form() -> None:
    # The MLP has 9,610 float32 weights = 38,440 bytes; 3 rounds x 3 devices, down and up.
    played = play(plan(fedavg, FedAvgSettings(**COMMON), fleet(5), samples=SAMPLES))
    assert sum(event.bytes for event in played.transfers("weights")) == 3 * 3 * 38_440
    assert sum(event.bytes for event in played.transfers("update")) == 3 * 3 * 38_440
    assert sum(row.uplink_bytes for row in played.rounds) == 3 * 3 * 38_440
    assert sum(row.overhead_bytes for row in played.rounds) == 0


def test_virtual_time_of_a_round_without_contention_equals_the_hand_computation() -> None:
    # Two devices of 1 and 2 GFLOP/s, 8 Mbit/s up, 16 Mbit/s down, 10 ms latency + 5 ms of the server; FLOPs alone count.
    # MLP on 40 samples, batches of 16, 16 and 8, one epoch. Forward: 2 * n * (64 * 128 + 128 * 10) FLOPs. Backward: as much
    # for the weights' gradients, and for the inputs' gradients only the second layer's 2 * n * 128 * 10.
    flops = 2 * 40 * (2 * (64 * 128 + 128 * 10) + 128 * 10)
    down, up = 8 * 38_440 / 16e6 + 0.015, 8 * 38_440 / 8e6 + 0.015
    settings = FedAvgSettings(rounds=1, cohort=2, learning_rate=0.1)
    groups = [*fleet(1, latency_s=0.01), *fleet(1, latency_s=0.01, flop_per_s=2e9)]
    played = play(plan(fedavg, settings, groups, link_latency_s=0.005))
    assert played.rounds[0].device_flops == 2 * flops
    ends = [event.end_ns / 1e9 for event in played.transfers("update")]
    assert sorted(ends) == pytest.approx([down + flops / 2e9 + up, down + flops / 1e9 + up], abs=2e-9)
    assert played.end.virtual_ns / 1e9 == pytest.approx(down + flops / 1e9 + up, abs=2e-9)
    assert played.rounds[0].device_seconds == pytest.approx(
        (down + flops / 1e9 + up, down + flops / 2e9 + up), abs=2e-9
    )


# ---- the same everywhere -----------------------------------------------------------------------------------------------


def test_timing_only_gives_the_same_events_without_a_tensor() -> None:
    blueprint = plan(fedavg, FedAvgSettings(**COMMON), fleet(5), samples=SAMPLES)
    trained, timed = play(blueprint), time_only(blueprint)
    assert timed.events == trained.events
    assert timed.end.weights_sha256 is None
    assert [row.end_ns for row in timed.rounds] == [row.end_ns for row in trained.rounds]
    assert all(row.accuracy is None for row in timed.rounds)


def test_twice_in_a_row_is_the_same_and_another_seed_is_not() -> None:
    blueprint = plan(fedavg, FedAvgSettings(**COMMON), fleet(5), samples=SAMPLES)
    first, second = play(blueprint), play(blueprint)
    assert first == second
    other = plan(
        fedavg, FedAvgSettings(**COMMON), fleet(5), samples=SAMPLES, seeds=blueprint.seeds._replace(sampling=2)
    )
    assert play(other).end.weights_sha256 != first.end.weights_sha256


def test_seeds_concern_only_their_own() -> None:
    blueprint = plan(fedavg, FedAvgSettings(**COMMON), fleet(5), samples=SAMPLES)
    other = plan(fedavg, FedAvgSettings(**COMMON), fleet(5), samples=SAMPLES, seeds=blueprint.seeds._replace(model=2))
    first, second = play(blueprint), play(other)
    assert first.end.weights_sha256 != second.end.weights_sha256
    assert first.events == second.events  # the same cohorts, the same times


def test_clients_with_batchnorm_do_not_leak_into_each_other() -> None:
    # The same device trains alone and after another one: its update must be the same to the bit.
    settings = FedAvgSettings(rounds=1, cohort=1, learning_rate=0.1)
    seeds = next(seed for seed in range(20) if stream(seed, "cohort", 1).choice(2, size=1, replace=False)[0] == 1)
    both = plan(fedavg, settings, fleet(2), samples=(40, 40), problem=CNN)
    both = plan(fedavg, settings, fleet(2), samples=(40, 40), problem=CNN, seeds=both.seeds._replace(sampling=seeds))
    executor = Inline(holdings(both))
    alone = play(both, executor)
    again = play(both, executor)  # the executor's process has trained in between
    assert alone.end.weights_sha256 == again.end.weights_sha256
    mixed = plan(fedavg, FedAvgSettings(rounds=1, cohort=2, learning_rate=0.1), fleet(2), samples=(40, 40), problem=CNN)
    assert play(mixed, executor).end.weights_sha256 == play(mixed).end.weights_sha256


def test_every_model_trains_a_round() -> None:
    for name, shape in (("cnn_mnist", DIGITS.shape), ("resnet8", DIGITS.shape)):
        problem = Problem(ModelSpec(name, 10, shape), NORMALISE)
        settings = FedAvgSettings(rounds=1, cohort=2, learning_rate=0.01)
        played = play(plan(fedavg, settings, fleet(2), samples=(20, 1), problem=problem))
        assert played.rounds[0].accuracy is not None


def test_devices_without_data_take_part_and_weigh_nothing() -> None:
    settings = FedAvgSettings(rounds=1, cohort=2, learning_rate=0.1)
    with_empty = play(plan(fedavg, settings, fleet(2), samples=(40, 0)))
    alone = play(plan(fedavg, FedAvgSettings(rounds=1, cohort=1, learning_rate=0.1), fleet(1), samples=(40,)))
    assert with_empty.end.weights_sha256 == alone.end.weights_sha256
    empty = next(event for event in with_empty.events if event.kind == "train" and event.node == "device-0001")
    assert empty.flops == 0
