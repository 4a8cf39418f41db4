"""A run's plan in plain, picklable terms: who the devices are, what they hold, what is learned and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass

from actors.program import Executor
from actors.tape import Handle
from emulator.devices.population import Device
from emulator.devices.processor import seconds
from emulator.devices.profile import Profile
from emulator.engine import Engine
from emulator.learning.meter import Cost
from emulator.learning.sgd import Problem
from emulator.learning.shards import shard_source, shard_spec
from emulator.protocols.settings import Settings
from emulator.rows import SERVER
from emulator.tasks import Clock
from emulator.verbs import Machine, Node
from emulator.world import Seeds, World
from network.star import Access, Attachment, Star


@dataclass(frozen=True)
class Observation:
    """What the observer does: evaluate every so many rounds, on so many samples, and stop when told to."""

    every: int
    test_samples: int
    validation_samples: int
    per_device: bool
    accuracy: float | None = None
    virtual_time_s: float | None = None
    ahead: int = 2


@dataclass(frozen=True)
class Blueprint:
    """Everything the clock needs to know. ``samples[d]`` is how many samples device d holds.

    ``protocol`` is the module path of ``async def protocol(world, problem, settings)``.
    """

    protocol: str
    settings: Settings
    problem: Problem
    seeds: Seeds
    devices: tuple[Device, ...]
    samples: tuple[int, ...]
    server: Profile
    link_bps: float
    link_latency_s: float
    observation: Observation


def build_world(plan: Blueprint, executor: Executor) -> tuple[Engine, World]:
    """The clock, the network and the nodes of a blueprint."""
    clock = Clock()
    star = Star(clock.env, plan.link_bps, round(plan.link_latency_s * 1e9))
    engine = Engine(clock, executor, star)
    server = Node(engine, SERVER, -1, Machine(plan.server, None, _speed(plan.server, 1.0)))
    devices = tuple(
        _device(engine, device, samples, plan.problem)
        for device, samples in zip(plan.devices, plan.samples, strict=True)
    )
    return engine, World(engine, server, devices, plan.seeds)


def _device(engine: Engine, device: Device, samples: int, problem: Problem) -> Node:
    link = device.cell or f"{device.profile.name} link"
    access = Access(link, device.uplink_bps, device.downlink_bps, round(device.latency_s * 1e9))
    machine = Machine(device.profile, Attachment(access), _speed(device.profile, device.slowdown))
    node = Node(engine, device.name, device.index, machine)
    spec = shard_spec(samples, problem.model.shape)
    node.give(Handle(engine.tape, shard_source(device.index), 0, spec, node), samples)
    return node


def _speed(profile: Profile, slowdown: float) -> Callable[[Cost], float]:
    def duration(cost: Cost) -> float:
        return float(seconds(cost.ops, profile, slowdown))

    return duration
