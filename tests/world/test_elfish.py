"""ELFISH: stragglers, pace and volumes; the published cycle; weights of the aggregation; drift, memory; what is refused."""

from math import inf
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from emulator.blueprint import Blueprint
from emulator.devices.condition import Condition
from emulator.devices.intervals import Intervals
from emulator.devices.pace import Load
from emulator.devices.population import GroupSpec
from emulator.devices.profile_file import load_profile
from emulator.learning.aggregation import average
from emulator.learning.models import ModelSpec, initial_weights
from emulator.learning.random import seed_of
from emulator.learning.sgd import Problem
from emulator.learning.shards import Normalisation
from emulator.learning.submodel import carve, recover, submodel
from emulator.protocols.elfish import ElfishSettings, elfish
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from tests.worlds import CNN, MLP, Played, final_weights, fleet, plan, play, time_only

COMMON: dict[str, Any] = {"rounds": 3, "cohort": 3, "learning_rate": 0.1, "batch_size": 16}
ALEXNET = Problem(ModelSpec("alexnet", 10, (3, 32, 32)), Normalisation(255.0, (0.5,) * 3, (0.5,) * 3))
BOARDS = ("elfish-jetson-nano", "elfish-raspberry-pi", "elfish-deeplens")


def world(groups: list[GroupSpec], problem: Problem = MLP, changes: Any = None, **settings: Any) -> Blueprint:
    """Everybody is asked; 40 samples each."""
    count = sum(group.count for group in groups)
    return plan(
        elfish,
        ElfishSettings(**(COMMON | {"cohort": count} | settings)),
        groups,
        problem=problem,
        **{"samples": (40,) * count, **(changes or {})},
    )


def cycle_s(played: Played) -> list[float]:
    return [(row.end_ns - row.start_ns) / 1e9 for row in played.rounds]


# ---- the published cycle -------------------------------------------------------------------------------------------
#
# 16, 30 and 80 minutes on a Jetson Nano, a Raspberry Pi and an AWS DeepLens: a synchronous cycle takes 80. The median is 30,
# so the DeepLens alone is slower than 1.25 x 30; the pace is the Raspberry Pi's. AlexNet's FLOPs go by p^2 but for its first
# and last layer, so p is near (30 / 80)^0.5 = 0.612 and, at 40 minutes, 0.707.


def boards(**settings: Any) -> Played:
    groups = [GroupSpec(load_profile(name), 1, uplink_bps=inf, downlink_bps=inf, latency_s=0.0) for name in BOARDS]
    rates = {"rounds": 1, "batch_size": 32, "learning_rate": 0.01}
    return time_only(world(groups, ALEXNET, {"samples": (10_000,) * 3}, **(rates | settings)))


@pytest.mark.parametrize(("pace", "minutes", "share"), [(None, 30, 0.612), (1800.0, 30, 0.612), (2400.0, 40, 0.707)])
def test_the_published_cycle(pace: float | None, minutes: float, share: float) -> None:
    """Acceptance check 5: from 80 minutes to 30 at most (2.67x); at T* = 40 twice as fast, the headline."""
    played = boards(pace_s=pace, volume_step=0.001)
    (found,) = played.rounds
    assert cycle_s(played)[0] / 60 <= minutes
    assert cycle_s(played)[0] / 60 == pytest.approx(minutes, rel=0.005)
    assert found.metrics["stragglers"] == 1
    assert found.metrics["least_share"] == pytest.approx(share, abs=0.003)
    assert found.metrics["missed"] == 0


def test_the_volume_is_the_largest_that_keeps_the_pace() -> None:
    """A step of 0.001 more and the cycle is longer than the pace."""
    shares = [boards(pace_s=1800.0, volume=volume).end.virtual_ns / 60e9 for volume in (0.611, 0.612, 0.613)]
    chosen = boards(pace_s=1800.0, volume_step=0.001).end.virtual_ns / 60e9
    assert chosen <= 30
    assert [seconds for seconds in shares if seconds <= 30][-1] <= chosen
    assert boards(pace_s=1800.0, volume=0.62).end.virtual_ns / 60e9 > 30


@pytest.mark.parametrize("compute", ["additive", "roofline"])
def test_a_straggler_of_a_fifth_of_the_speed(compute: str) -> None:
    """Three devices of 10 GFLOP/s and 20 GB/s, one of a fifth of both: at least twice as fast as waiting for it (it is 5.0)."""
    fast = {"compute": compute, "flop_per_s": 1e10, "memory_bandwidth_bytes_per_s": 2e10}
    slow = fast | {"flop_per_s": 2e9, "memory_bandwidth_bytes_per_s": 4e9}
    links = {"uplink_bps": inf, "downlink_bps": inf}
    groups = [*fleet(3, **fast, **links), *fleet(1, **slow, **links)]
    problem = Problem(ModelSpec("alexnet", 10, (3, 32, 32)), ALEXNET.normalise)
    changes = {"samples": (320,) * 4}
    settings = {"rounds": 1, "batch_size": 32, "learning_rate": 0.01}
    soft = time_only(world(groups, problem, changes, **settings))
    everything = time_only(plan(fedavg, FedAvgSettings(cohort=4, **settings), groups, problem=problem, **changes))  # type: ignore[arg-type]
    print(
        compute, cycle_s(everything)[0] / cycle_s(soft)[0], soft.rounds[0].metrics, cycle_s(everything), cycle_s(soft)
    )
    assert cycle_s(everything)[0] / cycle_s(soft)[0] >= 2


# ---- seconds by hand -----------------------------------------------------------------------------------------------

# The MLP with k of 128 neurons on 40 samples, one epoch: 2 x 40 x (2 (64 k + 10 k) + 10 k) FLOPs, 4 (75 k + 10) bytes.


def figures(count: int, flop_per_s: float) -> tuple[float, float, float]:
    """Seconds of the download, the training and the upload."""
    size = 8 * 4 * (75 * count + 10)
    return size / 16e6, 2 * 40 * 158 * count / flop_per_s, size / 8e6


def test_seconds_and_volume_by_hand() -> None:
    """Three devices of 10 MFLOP/s and one of a fifth, with 8 Mbit/s up: T = training + upload (acceptance check 5).

    T of all of 128 neurons: 0.16179 + 0.03844 = 0.20023 s; of the slow one 0.80896 + 0.03844 s. k neurons take it
    0.00632 k + 0.0003 k + 0.00004 s, so k = 30 (0.19864 s) keeps the pace and 31 (0.20526 s) does not.
    """
    groups = [*fleet(3, flop_per_s=1e7), *fleet(1, flop_per_s=2e6)]
    assert sum(figures(30, 2e6)[1:]) < sum(figures(128, 1e7)[1:]) < sum(figures(31, 2e6)[1:])
    played = time_only(world(groups, rounds=1))
    assert played.rounds[0].metrics["pace_s"] == pytest.approx(sum(figures(128, 1e7)[1:]), abs=1e-9)
    assert played.rounds[0].metrics["least_share"] == 30 / 128
    assert played.rounds[0].device_seconds[3] == pytest.approx(sum(figures(30, 2e6)), abs=1e-8)
    assert [row.bytes for row in played.events if row.peer == "device-0003"] == [4 * (75 * 30 + 10)]


def test_the_pace_may_count_the_download() -> None:
    """As above with 16 Mbit/s down: all T = 0.20023 + 0.01922 = 0.21945; k takes 0.00677 k + 0.00006, so k = 32 (0.2167)."""
    played = time_only(world([*fleet(3, flop_per_s=1e7), *fleet(1, flop_per_s=2e6)], rounds=1, pace_counts="both"))
    assert played.rounds[0].metrics["pace_s"] == pytest.approx(sum(figures(128, 1e7)), abs=1e-9)
    assert played.rounds[0].metrics["least_share"] == 32 / 128
    assert played.rounds[0].device_seconds[3] <= played.rounds[0].metrics["pace_s"]


def test_who_is_a_straggler() -> None:
    speeds = (1e9, 1e9, 8.5e8, 5e8, 1e8)
    groups = [group for speed in speeds for group in fleet(1, flop_per_s=speed, uplink_bps=inf)]

    def told(**settings: Any) -> dict[str, float]:
        return time_only(world(groups, rounds=1, **settings)).rounds[0].metrics

    unit = 2 * 40 * 158 * 128 / 1e9
    assert told()["stragglers"] == 2  # median 1.18 units: above 1.47 are 2 and 10
    assert told()["pace_s"] == pytest.approx(unit / 0.85, abs=1e-9)
    assert told(threshold=2.0)["stragglers"] == 1
    assert told(slowest=1)["pace_s"] == pytest.approx(unit / 0.5, abs=1e-9)
    assert told(slowest=9)["stragglers"] == 3  # the fastest sets the pace; the other fast one is as fast
    assert told(pace_s=unit * 1.01)["stragglers"] == 3
    assert told(pace_s=unit / 100) == {"pace_s": unit / 100, "stragglers": 5, "least_share": 26 / 128, "missed": 5}


def test_memory_limits_the_volume() -> None:
    """A device as fast as the others whose memory holds a part of the model in training alone."""
    problem = Problem(ModelSpec("cnn_mnist", 10, (1, 8, 8)), MLP.normalise)
    small = {"memory_bytes": 2_000_000}
    played = time_only(world([*fleet(2), *fleet(1, **small)], problem, rounds=1))
    assert played.end.status == "done"
    most = max(row.peak_memory_bytes for row in played.events if row.node == "device-0002")
    assert 1_800_000 < most <= 2_000_000
    assert played.rounds[0].metrics["stragglers"] == 1
    # Cut on the device, the whole and the part lie there together.
    told = time_only(world([*fleet(2), *fleet(1, memory_bytes=3_000_000)], problem, rounds=1, download="full"))
    assert max(row.peak_memory_bytes for row in told.events if row.node == "device-0002") <= 3_000_000


def test_volumes_follow_a_drifting_speed() -> None:
    """From 0.5 s on the third device has other work and a quarter of its speed: the next cycles give it less to do."""
    busy = Condition(load=Load(Intervals(None, ((0.0, 0.5),)), 0.25))
    changes = {"conditions": (Condition(), Condition(), busy)}
    played = time_only(world(fleet(3, flop_per_s=1e7), MLP, changes, rounds=12))
    shares = [row.metrics["least_share"] for row in played.rounds]
    assert shares[0] == 1.0
    # A quarter of the speed: 4 x 0.001264 k + 0.0003 k seconds; 0.16179 + 0.03844 of the others allow k = 37.
    assert shares[-1] == pytest.approx(37 / 128, abs=1.5 / 128)
    assert cycle_s(played)[-1] <= cycle_s(played)[0] * 1.05
    assert max(cycle_s(played)) > 2 * cycle_s(played)[-1]
    steady = time_only(world([*fleet(2), *fleet(1, flop_per_s=2e8)], rounds=6))
    assert len({row.metrics["least_share"] for row in steady.rounds}) == 1


# ---- aggregation ---------------------------------------------------------------------------------------------------


def test_weights_of_the_aggregation() -> None:
    """Acceptance check 4, exact: D equal and trained shares (1, 1, 1/2) weigh 0.4, 0.4, 0.2: 0.4 + 0.8 + 1 = 2.2."""
    neurons = (128, 128, submodel(MLP.model, 0.5).neurons)
    updates = [{"w": torch.tensor([value], dtype=torch.float64)} for value in (1.0, 2.0, 5.0)]
    assert average(tuple(40 * count for count in neurons), *updates)["w"].item() == pytest.approx(2.2, abs=1e-12)


def test_recovered_models_average_to_diluted_steps() -> None:
    """Acceptance check 4, scheme H: sum of alpha_k w^_k = w + sum of alpha_k m_k Delta_k."""
    weights = initial_weights(CNN.model, torch.Generator().manual_seed(0))
    sub = submodel(CNN.model, 0.5)
    kept = {"0.0": torch.arange(0, 16, 2), "1.0": torch.arange(16), "2.0": torch.arange(32, 64)}
    step = {name: torch.full_like(tensor, 0.1) for name, tensor in weights.items()}
    part = {name: tensor + 0.1 for name, tensor in carve(weights, kept, model=CNN.model).items()}
    full = {name: tensor + 0.3 for name, tensor in weights.items()}
    shares = (10 * sub.neurons, 30 * 112)
    found = average(shares, recover(weights, part, kept, model=CNN.model), full)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    masked = recover(zeros, carve(step, kept, model=CNN.model), kept, model=CNN.model)
    a, b = (share / sum(shares) for share in shares)
    for name, tensor in weights.items():
        torch.testing.assert_close(found[name], tensor + a * masked[name] + b * 0.3, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("aggregation", ["H", "P"])
def test_masked_neurons_keep_the_global_values(aggregation: str) -> None:
    """Acceptance check 3: every device has the same fixed mask of 64 neurons (one device), so 64 never change.

    Weight decay moves all that is trained, dead neurons too.
    """
    settings = {
        "selection": "fixed",
        "volume": 0.5,
        "pace_s": 1e-6,
        "rounds": 2,
        "aggregation": aggregation,
        "weight_decay": 0.01,
    }
    found = final_weights(world(fleet(1), **settings))  # type: ignore[arg-type]
    start = initial_weights(MLP.model, torch.Generator().manual_seed(seed_of(1, "initial")))
    same = (found["0.1.weight"] == start["0.1.weight"]).all(1) & (found["0.1.bias"] == start["0.1.bias"])
    assert int(same.sum()) == 64
    assert (found["1.weight"][:, same] == start["1.weight"][:, same]).all()
    assert (found["1.weight"][:, ~same] != start["1.weight"][:, ~same]).any(0).all()


@pytest.mark.parametrize(("selection", "cycles"), [("round_robin", 2), ("helios", 6), ("random", 6)])
def test_no_neuron_is_starved(selection: str, cycles: int) -> None:
    """Acceptance check 1 in a run: at one half round-robin trains all in 2 cycles, drawn masks with C_max = 2 in C_max + 4."""
    settings = {"selection": selection, "volume": 0.5, "pace_s": 1e-6, "rounds": cycles, "weight_decay": 0.01}
    found = final_weights(world(fleet(1), **settings))  # type: ignore[arg-type]
    start = initial_weights(MLP.model, torch.Generator().manual_seed(seed_of(1, "initial")))
    assert ((found["0.1.weight"] != start["0.1.weight"]).any(1) | (found["0.1.bias"] != start["0.1.bias"])).all()


# ---- identity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "settings"),
    [
        *(
            (MLP, settings)
            for settings in ({}, {"aggregation": "P"}, {"download": "full"}, {"selection": "round_robin"})
        ),
        *((CNN, settings) for settings in ({}, {"aggregation": "P", "download": "full", "selection": "round_robin"})),
    ],
)
def test_without_stragglers_it_is_fedavg_to_the_bit(problem: Problem, settings: dict[str, Any]) -> None:
    """Acceptance check 3: weights, events, times."""
    common = COMMON | {"momentum": 0.5, "local_epochs": 2}
    changes: dict[str, Any] = {"samples": (40, 33, 17, 1, 52), "problem": problem}
    plain = play(plan(fedavg, FedAvgSettings(**common), fleet(5), **changes))
    soft = play(plan(elfish, ElfishSettings(**common, threshold=1e3, **settings), fleet(5), **changes))
    assert soft.end.weights_sha256 == plain.end.weights_sha256
    assert soft.events == plain.events
    volume: dict[str, Any] = {"pace_s": 1e-6, "volume": 1.0}
    whole = play(plan(elfish, ElfishSettings(**common, **volume, **settings), fleet(5), **changes))
    assert whole.end.weights_sha256 == plain.end.weights_sha256
    assert whole.events == plain.events


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"volume": 0.0}, "greater than 0"),
        ({"volume": 1.5}, "less than or equal to 1"),
        ({"least_volume": 0.0}, "greater than 0"),
        ({"selection": "first"}, "round_robin"),
        ({"top_share": 1.0}, "less than 1"),
        (
            {"top_share": 0.2, "selection": "random"},
            "top_share: got 0.2; expected 0.1, the default, as it has no effect with selection: random",
        ),
        ({"top_share": 0.2, "selection": "fixed"}, "no effect with selection: fixed"),
        ({"skip_limit": 3, "selection": "round_robin"}, "skip_limit: got 3; expected none, as it has no effect with"),
        ({"skip_limit": 3, "selection": "fixed"}, "skip_limit: got 3; expected none"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ElfishSettings(**COMMON, **settings)
