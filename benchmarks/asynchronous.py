"""Asynchronous updates on Ray beside as many synchronous ones: the same devices, data and trainings, another server.

``python -m benchmarks.asynchronous 1`` repeats once instead of three times.
"""

import os
import sys
from dataclasses import replace
from statistics import median
from typing import Any

from actors.cluster import Cluster
from benchmarks.fleets import noise_fleet, plan, play_on_ray
from benchmarks.split_speed import even
from emulator.blueprint import Blueprint
from emulator.devices.population import GroupSpec, draw
from emulator.devices.profile_file import load_profile
from emulator.devices.spread import Spread
from emulator.learning.models import ModelSpec
from emulator.learning.random import stream
from emulator.protocols.base import Settings
from emulator.protocols.fedasync import FedAsyncSettings, fedasync
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.fedbuff import FedBuffSettings, fedbuff
from emulator.wiring import plain

DEVICES, SAMPLES, BATCH, ROUNDS, BUFFER = 50, 64, 16, 6, 10
UPDATES = DEVICES * ROUNDS
LIMIT = 1.2
ABOVE = ("mlp", "fedasync")  # known to be above the limit, and told: 3 ms of training, and new weights after each
REPEATS = 3


def world(kind: str, protocol: object, settings: Settings) -> Blueprint:
    """Devices of many speeds, so that arrivals are spread over time."""
    blueprint = plan(DEVICES, SAMPLES, protocol, settings, ModelSpec(kind, 10, (1, 28, 28)))
    groups = [GroupSpec(load_profile("raspberry-pi-4"), DEVICES, slowdown=Spread("lognormal", sigma=0.5))]
    devices = draw(groups, lambda *names: stream(0, *names))
    return replace(blueprint, devices=devices, wiring=replace(blueprint.wiring, accesses=plain(devices)))


def worlds(kind: str) -> dict[str, Blueprint]:
    """As many updates in each."""
    common: dict[str, Any] = {"learning_rate": 0.05, "batch_size": BATCH}
    busy: dict[str, Any] = {"concurrency": DEVICES, **common}
    return {
        "fedavg": world(kind, fedavg, FedAvgSettings(rounds=ROUNDS, cohort=DEVICES, **common)),
        "fedasync": world(kind, fedasync, FedAsyncSettings(rounds=UPDATES, **busy)),
        "fedbuff": world(kind, fedbuff, FedBuffSettings(rounds=UPDATES // BUFFER, buffer=BUFFER, **busy)),
    }


def seconds(kind: str, processes: int) -> dict[str, tuple[float, int]]:
    """Wall seconds and Ray calls of one run of each, on the same actors."""
    found, todo = {}, worlds(kind)
    with Cluster() as cluster:
        fleet = noise_fleet(todo["fedavg"], -(-DEVICES // processes))
        play_on_ray(cluster, todo["fedavg"], fleet)  # steps are traced, processes warm
        for name, blueprint in todo.items():
            wall_s, outcome = play_on_ray(cluster, blueprint, None)
            found[name] = (wall_s, outcome.calls)
    return found


def main(repeats: int = REPEATS) -> bool:
    """Median ratios; gives whether the limit was kept, but for what is known to be above it."""
    even()
    processes, kept = os.cpu_count() or 1, True
    print(f"{UPDATES} updates of {DEVICES} devices, {SAMPLES} samples in minibatches of {BATCH}; {processes} processes")
    for kind in ("cnn", "mlp"):
        runs = [seconds(kind, processes) for _ in range(repeats)]
        for name in ("fedasync", "fedbuff"):
            ratio = median(run[name][0] / run["fedavg"][0] for run in runs)
            known = (kind, name) == ABOVE
            kept &= known or ratio <= LIMIT
            told = ", ".join(f"{run[name][0]:.2f}/{run['fedavg'][0]:.2f}" for run in runs)
            calls = f"calls {runs[0][name][1]}/{runs[0]['fedavg'][1]}"
            limit = f"{'not held to ' if known else 'limit '}{LIMIT}"
            print(f"{name} beside fedavg, {kind}: {ratio:.2f}x ({limit}); seconds {told}; {calls}")
    return kept


if __name__ == "__main__":
    raise SystemExit(0 if main(*[int(argument) for argument in sys.argv[1:]]) else 1)
