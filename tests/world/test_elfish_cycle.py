"""ELFISH's motivating figure (arXiv 1912.01684, introduction): AlexNet on CIFAR-10, cycles of 16, 30 and 80 minutes.

They are those of a Jetson Nano, a Raspberry Pi and an AWS DeepLens; a synchronous cycle takes 80: the slowest sets it.
"""

from math import inf

import pytest

from emulator.devices.population import GroupSpec
from emulator.devices.profile_file import load_profile
from emulator.learning.models import ModelSpec
from emulator.learning.sgd import Problem
from emulator.learning.shards import Normalisation
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from tests.worlds import plan, time_only

MINUTES = {"elfish-jetson-nano": 16, "elfish-raspberry-pi": 30, "elfish-deeplens": 80}
ALEXNET = Problem(ModelSpec("alexnet", 10, (3, 32, 32)), Normalisation(255.0, (0.5,) * 3, (0.5,) * 3))


def test_a_synchronous_cycle_takes_as_long_as_the_slowest_board() -> None:
    groups = [GroupSpec(load_profile(name), 1, uplink_bps=inf, downlink_bps=inf, latency_s=0.0) for name in MINUTES]
    settings = FedAvgSettings(rounds=2, cohort=3, local_epochs=1, batch_size=32, learning_rate=0.01)
    played = time_only(plan(fedavg, settings, groups, problem=ALEXNET, samples=(10_000,) * 3))
    seconds = [(row.end_ns - row.start_ns) / 1e9 for row in played.events if row.kind == "train"]
    assert [second / 60 for second in sorted(seconds)] == pytest.approx(sorted(2 * list(MINUTES.values())), rel=1e-3)
    for row in played.rounds:
        assert (row.end_ns - row.start_ns) / 60e9 == pytest.approx(80, rel=1e-3)
        assert max(zip(row.device_seconds, row.finished, strict=True))[1] == "device-0002"  # the DeepLens
