"""ADP's gates around four protocols: bytes, FLOPs and time by what a device can do, and the same rows everywhere."""

from dataclasses import replace
from typing import Any

import pytest

from emulator.learning.models import ModelSpec
from emulator.learning.sgd import Problem
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.fednova import FedNovaSettings, fednova
from emulator.protocols.fedprox import FedProxSettings, fedprox
from emulator.protocols.scaffold import ScaffoldSettings, scaffold
from tests.worlds import CNN, DIGITS, NORMALISE, final_weights, fleet, plan, play, time_only

GATED = Problem(ModelSpec("cnn_gated", 10, DIGITS.shape, keep_ratio=0.5), NORMALISE)
COMMON: dict[str, Any] = {"rounds": 2, "cohort": 3, "learning_rate": 0.05, "momentum": 0.9, "local_epochs": 2}
KINDS: list[Any] = [
    (fedavg, FedAvgSettings(**COMMON)),
    (fedprox, FedProxSettings(**COMMON, mu=0.01)),
    (scaffold, ScaffoldSettings(**COMMON)),
    (fednova, FedNovaSettings(**COMMON)),
]


@pytest.mark.parametrize(("protocol", "settings"), KINDS)
def test_gates_go_with_any_protocol(protocol: Any, settings: Any) -> None:
    blueprint = plan(protocol, settings, fleet(4), problem=GATED)
    played = play(blueprint)
    assert time_only(blueprint).events == played.events
    assert play(blueprint).end.weights_sha256 == played.end.weights_sha256
    assert played.rounds[-1].accuracy is not None


@pytest.mark.parametrize(("protocol", "settings"), KINDS)
def test_bytes_are_those_of_the_weights_and_the_gates(protocol: Any, settings: Any) -> None:
    """Exact: cnn on digits has 24,058 weights, 2,688 of gates and 224 running statistics; four bytes each, either way.

    SCAFFOLD's control variates are of the trained ones: as much again without the statistics.
    """
    played = time_only(plan(protocol, settings, fleet(4), problem=GATED))
    size = 4 * (24_058 + 2_688 + 224) + (4 * (24_058 + 2_688) if protocol is scaffold else 0)
    assert [row.uplink_bytes for row in played.rounds] == [3 * size] * 2
    assert [row.downlink_bytes for row in played.rounds] == [3 * size] * 2


def test_pruning_by_size_sends_a_dense_model() -> None:
    """Exact: variant B's bytes are those of its parent."""
    settings = FedAvgSettings(**COMMON, prune_threshold=0.01)
    pruned, plain = (
        time_only(plan(fedavg, settings, fleet(4), problem=CNN)),
        time_only(plan(fedavg, FedAvgSettings(**COMMON), fleet(4), problem=CNN)),
    )
    assert [row.uplink_bytes for row in pruned.rounds] == [row.uplink_bytes for row in plain.rounds]


def test_only_devices_that_can_skip_channels_save_flops() -> None:
    """Two devices with the same data: 4 epochs x 40 samples, FLOPs alone count at 1 GFLOP/s.

    Training convolutions see r of their input channels, 8 of 16 and 16 of 32 at r = 0.5; their outputs are all needed by
    BatchNorm. Multiply-adds a sample forward: 8*8*16*9 = 9,216; 4*4*32*16*9 = 73,728; 2*2*64*32*9 = 73,728; the last two
    halved. Gates 16 + 512 + 2,048 and the classifier's 640 are dense. Backward: twice, less what the images need.
    """
    convolutions, matrices = (9_216, 73_728, 73_728), 16 + 512 + 2_048 + 640
    dense = 3 * (sum(convolutions) + matrices) - 9_216 - 16
    skipping = dense - 3 * (convolutions[1] + convolutions[2]) // 2
    settings = FedAvgSettings(**COMMON | {"rounds": 1, "cohort": 2})
    groups = [*fleet(1), *fleet(1, dynamic_channels=True)]
    blueprint = plan(fedavg, settings, groups, problem=GATED)
    rows = {row.node: row for row in play(blueprint).events if row.kind == "train"}
    assert rows["device-0000"].flops == 2 * 2 * 40 * dense
    assert rows["device-0001"].flops == 2 * 2 * 40 * skipping
    for row in rows.values():
        assert row.end_ns - row.start_ns == pytest.approx(row.flops, abs=1)  # a nanosecond each


def test_skipping_channels_changes_time_and_not_the_weights() -> None:
    settings = FedAvgSettings(**COMMON)
    runs = [play(plan(fedavg, settings, fleet(3, dynamic_channels=own), problem=GATED)) for own in (False, True)]
    assert runs[0].end.weights_sha256 == runs[1].end.weights_sha256
    assert runs[1].end.virtual_ns < runs[0].end.virtual_ns
    plain = [time_only(plan(fedavg, settings, fleet(3, dynamic_channels=own), problem=CNN)) for own in (False, True)]
    assert plain[0].events == plain[1].events  # without gates there is nothing to skip


def test_the_ratio_is_part_of_the_model() -> None:
    settings = FedAvgSettings(**COMMON)
    other = replace(GATED, model=replace(GATED.model, keep_ratio=1.0))
    found = [final_weights(plan(fedavg, settings, fleet(3), problem=problem)) for problem in (GATED, other)]
    assert found[0].keys() == found[1].keys()
    assert any((found[0][name] != found[1][name]).any() for name in found[0])
