"""What the platform itself costs: device-rounds whose step does nothing, with small and large payloads."""

from typing import Any

import torch

from actors.cluster import Cluster
from actors.device import Fleet
from actors.program import path_of
from benchmarks.fleets import no_resources, plan, play_on_ray
from emulator.learning.aggregation import average
from emulator.learning.binding import Weights
from emulator.learning.models import ModelSpec
from emulator.learning.sgd import Problem
from emulator.learning.tracing import warm_up
from emulator.protocols.round_settings import RoundSettings

ROUNDS = 10  # the first ones also pay for shared memory that is touched for the first time
LIMITS_MS = {4: 0.5, 1000: 1.5}


class NoopSettings(RoundSettings):
    """Settings of the idle protocol."""

    kilobytes: int


def payload(*, kilobytes: int) -> Weights:
    """Weights of so many kB."""
    return {"weights": torch.ones(kilobytes * 250)}


def echo(weights: Weights, seed: int) -> Weights:
    """What a device does: nothing."""
    return weights


async def client(world: Any, device: Any, weights: Any) -> Any:
    """Download, do nothing, upload."""
    weights = await world.server.send(weights, to=device, kind="weights")
    update = await device.compute(echo, weights, world.seed("echo", device.name, world.round))
    return await device.send(update, to=world.server, kind="update")


async def idle(world: Any, problem: Problem, settings: NoopSettings) -> None:
    """FedAvg without training."""
    weights = await world.server.compute(payload, kilobytes=settings.kilobytes)
    for _ in range(settings.rounds):
        updates = await world.gather({device: client(world, device, weights) for device in world.devices})
        weights = await world.server.compute(average, (1,) * len(updates), *updates.values())
        del updates
        world.report(weights)


def main(devices: int = 1000) -> bool:
    """Milliseconds per device-round; gives whether the limits were kept."""
    kept = True
    for kilobytes, limit in LIMITS_MS.items():
        settings = NoopSettings(rounds=ROUNDS, cohort=devices, kilobytes=kilobytes)
        blueprint = plan(devices, 1, idle, settings, ModelSpec("mlp", 10, (1, 8, 8)))
        facts: dict[str, dict[str, Any]] = {device.name: {} for device in blueprint.devices}
        with Cluster() as cluster:
            took, outcome = play_on_ray(
                cluster, blueprint, Fleet(facts, path_of(no_resources), (), warm_up=path_of(warm_up))
            )
        each = took / ROUNDS / devices * 1e3
        kept &= each <= limit
        print(
            f"no-op device-round, {kilobytes} kB, {devices} devices: {each:.3f} ms (limit {limit}); "
            f"{outcome.calls} Ray calls for {ROUNDS * devices} device-rounds"
        )
    return kept


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
