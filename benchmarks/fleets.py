"""Fleets and plans that the benchmarks share: no data set is needed."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from actors.cluster import Cluster
from actors.device import Fleet
from actors.program import path_of
from emulator.blueprint import Blueprint, Observation
from emulator.devices.population import GroupSpec, draw
from emulator.devices.profile_file import load_profile
from emulator.learning.models import ModelSpec
from emulator.learning.random import stream
from emulator.learning.sgd import Problem
from emulator.learning.shards import Normalisation
from emulator.learning.tracing import warm_up
from emulator.preparation import make_holdings
from emulator.protocols.base import Settings
from emulator.run import simulate
from emulator.simulation import Message, Outcome
from emulator.wiring import Wiring, plain
from emulator.world import Seeds
from network.plan import NetworkPlan


def plan(devices: int, samples: int, protocol: object, settings: Settings, model: ModelSpec) -> Blueprint:
    """A blueprint of equal devices around an unlimited server link; nothing is evaluated."""
    fleet = draw([GroupSpec(load_profile("raspberry-pi-4"), devices)], lambda *names: stream(0, *names))
    problem = Problem(model, Normalisation(255.0, (0.5,), (0.5,)))
    return Blueprint(
        path_of(protocol), settings, problem, Seeds(0, 0, 0, 0, 0), fleet, (samples,) * devices,
        load_profile("edge-server"), Wiring(NetworkPlan(), plain(fleet)), Observation(1, 0, 0, False),
    )  # fmt: skip


def split_plan(devices: int, samples: int, protocol: object, settings: Settings, cut: int = 1) -> Blueprint:
    """The same for split training of the CNN."""
    blueprint = plan(devices, samples, protocol, settings, ModelSpec("cnn", 10, (1, 28, 28)))
    return replace(blueprint, problem=replace(blueprint.problem, cut=cut))


def noise_fleet(blueprint: Blueprint, devices_per_actor: int | None) -> Fleet:
    """Actors whose devices hold random 28x28 images, as many as the blueprint says."""
    total = sum(blueprint.samples)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (total, 1, 28, 28), dtype=np.uint8)
    labels = generator.integers(0, 10, total)
    facts = {"name": "noise", "classes": 10, "shape": (1, 28, 28), "scale": 255.0, "mean": (0.5,), "std": (0.5,)}
    parts = tuple(np.split(np.arange(total), np.cumsum(blueprint.samples)[:-1]))
    arguments = (facts, images, labels, images[:1], labels[:1], parts, np.zeros(0, np.int64))
    told = {device.name: {"profile": device.profile.name} for device in blueprint.devices}
    return Fleet(told, path_of(make_holdings), arguments, devices_per_actor, warm_up=path_of(warm_up))


def no_resources(*, device: str) -> None:
    """Actors without data."""


def play_on_ray(cluster: Cluster, blueprint: Blueprint, fleet: Fleet | None) -> tuple[float, Outcome]:
    """Host seconds from the first verb until the last weights are there, and the outcome. Actors are started before."""
    if fleet is not None:
        cluster.start(fleet)
    begun = time.perf_counter()
    found: list[Outcome] = []
    stream_of: Iterator[list[Message]] = cluster.play(path_of(simulate), blueprint, None)
    for messages in stream_of:
        found += [message for message in messages if isinstance(message, Outcome)]
    return time.perf_counter() - begun, found[0]
