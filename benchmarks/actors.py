"""Two hundred devices as two hundred named, torch-free Ray actors: start-up seconds, memory, and the packed run's hashes."""

import time

import ray

from actors.cluster import Cluster
from benchmarks.fleets import noise_fleet, plan, play_on_ray
from emulator.learning.models import ModelSpec
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.simulation import Outcome

DEVICES, SAMPLES = 200, 16


def play(devices_per_actor: int | None) -> Outcome:
    """One run; prints what its actors cost."""
    settings = FedAvgSettings(rounds=2, cohort=DEVICES, learning_rate=0.05)
    blueprint = plan(DEVICES, SAMPLES, fedavg, settings, ModelSpec("mlp", 10, (1, 28, 28)))
    fleet = noise_fleet(blueprint, devices_per_actor)
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
