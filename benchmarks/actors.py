"""Two hundred devices as two hundred named, torch-free Ray actors: start-up seconds, memory, and the packed run's hashes."""

import time

import numpy as np
import ray

from actors.cluster import Cluster
from actors.program import path_of
from actors.ray_executor import Fleet
from benchmarks.fleets import plan, play_on_ray
from emulator.learning.meter import warm_up
from emulator.learning.models import ModelSpec
from emulator.preparation import make_holdings
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.simulation import Outcome

DEVICES, SAMPLES = 200, 16


def play(devices_per_actor: int | None) -> Outcome:
    """One run; prints what its actors cost."""
    settings = FedAvgSettings(rounds=2, cohort=DEVICES, learning_rate=0.05)
    blueprint = plan(DEVICES, SAMPLES, fedavg, settings, ModelSpec("mlp", 10, (1, 28, 28)))
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (DEVICES * SAMPLES, 1, 28, 28), dtype=np.uint8)
    labels = generator.integers(0, 10, DEVICES * SAMPLES)
    facts = {"name": "noise", "classes": 10, "shape": (1, 28, 28), "scale": 255.0, "mean": (0.5,), "std": (0.5,)}
    parts = tuple(np.arange(d * SAMPLES, (d + 1) * SAMPLES) for d in range(DEVICES))
    arguments = (facts, images, labels, images[:1], labels[:1], parts, np.zeros(0, np.int64))
    told = {device.name: {"profile": device.profile.name, "samples": SAMPLES} for device in blueprint.devices}
    fleet = Fleet(told, path_of(make_holdings), arguments, devices_per_actor, warm_up=path_of(warm_up))
    with Cluster() as cluster:
        begun = time.perf_counter()
        started = cluster.start(fleet)
        start_s = time.perf_counter() - begun
        _, outcome = play_on_ray(cluster, blueprint, None)
        names = ray.util.list_named_actors(all_namespaces=True)
        devices = [entry["name"] for entry in names if entry["name"].startswith("device-")]
        if devices_per_actor == 1:
            print(ray.get(ray.get_actor("device-0017", namespace=cluster.namespace).describe.remote()))
    print(
        f"{started['actors']} actors ({len(devices)} named devices): {start_s:.1f} s to start, "
        f"{started['bytes'] / 1e9:.2f} GB (shared pages counted once)"
    )
    return outcome


def main() -> bool:
    """Packed, then one actor per device; gives whether weights are the same."""
    packed, single = play(None), play(1)
    print(f"weights: packed {packed.weights_sha256}, one actor per device {single.weights_sha256}")
    return packed.weights_sha256 == single.weights_sha256
