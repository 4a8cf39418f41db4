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
from emulator.nodes import Machine, Node
from emulator.protocols.settings import Settings
from emulator.rows import SERVER
from emulator.tasks import Clock
from emulator.wiring import Wiring
from emulator.world import Seeds, World
from network.plan import Access
from network.topology import Network


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
    wiring: Wiring
    observation: Observation


def build_world(plan: Blueprint, executor: Executor) -> tuple[Engine, World]:
    """The clock, the network and the nodes of a blueprint. Raises OutOfReach for a device that its cell cannot serve."""
    clock = Clock()
    network = Network(clock.env, plan.wiring.plan)
    engine = Engine(clock, executor, network)
    server = Node(engine, SERVER, -1, Machine(plan.server, None, _speed(plan.server, 1.0)))
    edges = tuple(
        Node(engine, f"edge-{site}", -2 - index, Machine(profile, network.edge(site), _speed(profile, 1.0)))
        for index, (site, profile) in enumerate(plan.wiring.edges)
    )
    devices = tuple(
        _device(engine, device, access, samples, plan.problem)
        for device, access, samples in zip(plan.devices, plan.wiring.accesses, plan.samples, strict=True)
    )
    return engine, World(engine, server, devices, plan.seeds, edges)


def _device(engine: Engine, device: Device, access: Access, samples: int, problem: Problem) -> Node:
    attachment = engine.network.attach(access)
    node = Node(
        engine, device.name, device.index, Machine(device.profile, attachment, _speed(device.profile, device.slowdown))
    )
    spec = shard_spec(samples, problem.model.shape)
    node.give(Handle(engine.tape, shard_source(device.index), 0, spec, node), samples)
    return node


def _speed(profile: Profile, slowdown: float) -> Callable[[Cost], float]:
    def duration(cost: Cost) -> float:
        return float(seconds(cost.ops, profile, slowdown))

    return duration
