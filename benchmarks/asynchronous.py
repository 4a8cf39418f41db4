"""Asynchronous updates on Ray beside as many synchronous ones: the same devices, data and trainings, another server.

A time window merges what comes: one is taken in which FedBuff merges once, and its runs are compared update by update.

All protocols take turns on the same actors, after a run of each that is not counted, and a ratio is of one turn: how fast a
machine is may change from one second to the next. ``python -m benchmarks.asynchronous 3`` takes three turns instead of nine.

The models are those of the scenarios, and an MLP with as many samples as 100 devices have of MNIST, and with a tenth of those.
That last one trains for 2 to 3 ms, hardly more than what the calls to Ray take that come with it: FedAsync, with new weights
after each training, is told there and not held to the limit.
"""

import os
import sys
from bisect import bisect_left
from dataclasses import replace
from itertools import accumulate
from statistics import median
from typing import Any, NamedTuple

from actors.cluster import Cluster
from actors.inline import TimingOnly
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
from emulator.protocols.semi_async import SemiAsyncSettings, semi_async
from emulator.rows import Round
from emulator.run import simulate
from emulator.wiring import plain

DEVICES, BATCH, ROUNDS, BUFFER = 50, 16, 6, 10
UPDATES = DEVICES * ROUNDS
LIMIT = 1.2
TURNS = 9
RULES = ("fedasync", "fedbuff", "semi_async")


class Work(NamedTuple):
    """A model, the samples of each device, and the rules that are held to the limit."""

    model: str
    samples: int
    held: tuple[str, ...] = RULES

    def __str__(self) -> str:
        return f"{self.model} on {self.samples} samples"


WORKS = (Work("cnn", 64), Work("lenet", 64), Work("mlp", 600), Work("mlp", 64, held=("fedbuff", "semi_async")))


def world(work: Work, protocol: object, settings: Settings) -> Blueprint:
    """Devices of many speeds, and slow beside the server: they come in the order of their speeds, not of a queue before it."""
    blueprint = plan(DEVICES, work.samples, protocol, settings, ModelSpec(work.model, 10, (1, 28, 28)))
    groups = [GroupSpec(load_profile("raspberry-pi-4"), DEVICES, slowdown=Spread("uniform", low=10.0, high=60.0))]
    devices = draw(groups, lambda *names: stream(0, *names))
    return replace(blueprint, devices=devices, wiring=replace(blueprint.wiring, accesses=plain(devices)))


class Todo(NamedTuple):
    """A run, and how many updates there are in it."""

    blueprint: Blueprint
    updates: int = UPDATES


def worlds(work: Work) -> dict[str, Todo]:
    """As many updates in each, but for the window's last."""
    common: dict[str, Any] = {"learning_rate": 0.05, "batch_size": BATCH}
    busy: dict[str, Any] = {"concurrency": DEVICES, **common}
    buffered = world(work, fedbuff, FedBuffSettings(rounds=UPDATES // BUFFER, buffer=BUFFER, **busy))
    return {
        "fedavg": Todo(world(work, fedavg, FedAvgSettings(rounds=ROUNDS, cohort=DEVICES, **common))),
        "fedasync": Todo(world(work, fedasync, FedAsyncSettings(rounds=UPDATES, **busy))),
        "fedbuff": Todo(buffered),
        "semi_async": windows(work, rows(buffered)[-1].end_ns / 1e9 * BUFFER / UPDATES, busy),
    }


def windows(work: Work, window_s: float, busy: dict[str, Any]) -> Todo:
    """As many windows as it takes for as many updates."""
    settings = SemiAsyncSettings(rounds=UPDATES, window_s=window_s, **busy)
    merged = list(accumulate(int(row.metrics["merged"]) for row in rows(world(work, semi_async, settings))))
    rounds = bisect_left(merged, UPDATES) + 1
    return Todo(world(work, semi_async, settings.model_copy(update={"rounds": rounds})), merged[rounds - 1])


def rows(blueprint: Blueprint) -> list[Round]:
    """A run's rounds, on the clock alone."""
    told = simulate(TimingOnly(), blueprint, None)
    return [message for messages in told for message in messages if isinstance(message, Round)]


def turns(todo: dict[str, Todo], processes: int, count: int) -> list[dict[str, tuple[float, int]]]:
    """Of each turn, wall seconds an update and Ray calls of one run of each."""
    with Cluster() as cluster:
        cluster.start(noise_fleet(todo["fedavg"].blueprint, -(-DEVICES // processes)))
        found = [{name: seconds(cluster, todo[name]) for name in todo} for _ in range(count + 1)]
    return found[1:]  # in the first, steps are traced and processes warm up


def seconds(cluster: Cluster, todo: Todo) -> tuple[float, int]:
    """Wall seconds an update and Ray calls of a run."""
    wall_s, outcome = play_on_ray(cluster, todo.blueprint, None)
    return wall_s / todo.updates, outcome.calls


def main(count: int = TURNS) -> bool:
    """Median ratios of so many turns; gives whether the limit was kept where it is held to."""
    even()
    processes, kept = os.cpu_count() or 1, True
    print(f"{UPDATES} updates of {DEVICES} devices in minibatches of {BATCH}; {processes} processes")
    for work in WORKS:
        todo = worlds(work)
        runs = turns(todo, processes, count)
        base_s, base_calls = median(run["fedavg"][0] for run in runs), runs[0]["fedavg"][1]
        for name in RULES:
            ratios = sorted(run[name][0] / run["fedavg"][0] for run in runs)
            kept &= name not in work.held or median(ratios) <= LIMIT
            limit = f"{'limit' if name in work.held else 'not held to'} {LIMIT}"
            told_s, calls = median(run[name][0] for run in runs), runs[0][name][1]
            print(
                f"{name} beside fedavg, {work}: {median(ratios):.2f}x ({limit}; turns {ratios[0]:.2f} to {ratios[-1]:.2f}); "
                f"ms an update {told_s * 1e3:.2f}/{base_s * 1e3:.2f}; calls {calls}/{base_calls}; {todo[name].updates} updates",
                flush=True,
            )
    return kept


if __name__ == "__main__":
    raise SystemExit(0 if main(*[int(argument) for argument in sys.argv[1:]]) else 1)
