"""The emulation tax: training on the platform beside a bare PyTorch loop doing the same steps on as many processes."""

import os
from multiprocessing import get_context
from statistics import median

from actors.cluster import Cluster
from benchmarks.bare import worker
from benchmarks.fleets import noise_fleet, plan, play_on_ray
from emulator.learning.models import ModelSpec
from emulator.protocols.fedavg import FedAvgSettings, fedavg

DEVICES, SAMPLES, BATCH, ROUNDS = 50, 64, 16, 5
LIMIT = 1.25
REPEATS = 3


def bare_seconds(kind: str, processes: int) -> float:
    """Wall seconds of the slowest of so many processes, each with its share of the devices."""
    context = get_context("spawn")
    pipes, started = [], []
    for number in range(processes):
        here, there = context.Pipe()
        share = len(range(number, DEVICES, processes))
        started.append(context.Process(target=worker, args=(there, (kind, share, SAMPLES, BATCH), ROUNDS)))
        started[-1].start()
        pipes.append(here)
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send("go")
    seconds = [float(pipe.recv()) for pipe in pipes]
    for process in started:
        process.join()
    return max(seconds)


def platform_seconds(kind: str, processes: int) -> float:
    """Wall seconds from the first verb until the last weights are there."""
    settings = FedAvgSettings(rounds=ROUNDS, cohort=DEVICES, learning_rate=0.05, batch_size=BATCH)
    blueprint = plan(DEVICES, SAMPLES, fedavg, settings, ModelSpec(kind, 10, (1, 28, 28)))
    with Cluster() as cluster:
        return play_on_ray(cluster, blueprint, noise_fleet(blueprint, -(-DEVICES // processes)))[0]


def main() -> bool:
    """Median ratio of interleaved repeats; gives whether the limit was kept for the CNN (the MLP is reported)."""
    processes = os.cpu_count() or 1
    kept = True
    for kind, limit in (("cnn", LIMIT), ("mlp", None)):
        pairs = [(platform_seconds(kind, processes), bare_seconds(kind, processes)) for _ in range(REPEATS)]
        ratio = median(ours / bare for ours, bare in pairs)
        kept &= limit is None or ratio <= limit
        seconds = ", ".join(f"{ours:.2f}/{bare:.2f}" for ours, bare in pairs)
        print(
            f"emulation tax, {kind}, {processes} processes: {ratio:.2f}x (limit {limit or 'none'}); seconds {seconds}"
        )
    return kept
