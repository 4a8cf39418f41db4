"""A run's plan in plain, picklable terms: who the devices are, what they hold, what is learned and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from actors.program import Executor, Source, path_of
from actors.tape import Handle
from actors.values import Leaf, Spec
from emulator.attendance import attend
from emulator.devices.condition import Condition
from emulator.devices.energy import Battery, Supply
from emulator.devices.pace import Pace
from emulator.devices.population import Device
from emulator.devices.processor import seconds
from emulator.devices.profile import Profile
from emulator.engine import Engine
from emulator.learning.meter import Cost
from emulator.learning.models import weight_specs
from emulator.learning.sgd import Problem
from emulator.learning.shards import chunk, given_weights, shard_source, shard_spec
from emulator.nodes import Machine, Node
from emulator.processors import Discipline
from emulator.protocols.base import Settings
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
    conditions: tuple[Condition, ...] = ()  # of each device; none at all: always there, on a full battery
    on_out_of_memory: Literal["fail", "exclude"] = "fail"
    discipline: Discipline = "fifo"  # how clients share the server's processor


def build_world(plan: Blueprint, executor: Executor) -> tuple[Engine, World]:
    """The clock, the network and the nodes of a blueprint. Raises OutOfReach for a device that its cell cannot serve."""
    clock = Clock()
    network = Network(clock.env, plan.wiring.plan)
    engine = Engine(clock, executor, network, plan.settings.patience)
    server = Node(engine, SERVER, -1, Machine(plan.server, None, _speed(plan.server, 1.0), discipline=plan.discipline))
    edges = tuple(
        Node(engine, f"edge-{site}", -2 - index, Machine(profile, network.edge(site), _speed(profile, 1.0)))
        for index, (site, profile) in enumerate(plan.wiring.edges)
    )
    conditions = plan.conditions or (Condition(),) * len(plan.devices)
    devices = tuple(
        _device(engine, (device, condition), access, (samples, plan.problem))
        for device, condition, access, samples in zip(
            plan.devices, conditions, plan.wiring.accesses, plan.samples, strict=True
        )
    )
    world = World(engine, server, devices, plan.seeds, edges)
    if plan.on_out_of_memory == "exclude":
        engine.out_of_memory = world.exclude
    for node, condition in zip(devices, conditions, strict=True):
        _furnish(world, node, condition)
    held_out = plan.observation.validation_samples
    if held_out:
        source = Source(path_of(chunk), (("split", "validation"), ("start", 0), ("stop", held_out)))
        world.hold_out(Handle(engine.tape, source, 0, shard_spec(held_out, plan.problem.model.shape), server))
    if plan.problem.given:
        specs = weight_specs(plan.problem.model)
        kept = {name: Leaf(specs[name].shape, specs[name].dtype) for name in plan.problem.given}
        server.give(Handle(engine.tape, Source(path_of(given_weights)), 0, Spec.of(kept), server), 0)
    return engine, world


def _furnish(world: World, node: Node, condition: Condition) -> None:
    """A battery, if the device is not on mains; and its comings and goings."""
    clock, supply = node.engine.clock, node.supply
    if supply is not None and node.profile.battery_j is not None:

        def empty() -> None:
            clock.late(lambda: world.run_empty(node))

        supply.power_from(Battery(clock.env, node.profile.battery_j * condition.charge, empty))
    if condition.presence is not None:
        attend(world, clock, node, condition.presence)


def _device(engine: Engine, drawn: tuple[Device, Condition], access: Access, data: tuple[int, Problem]) -> Node:
    (device, condition), (samples, problem) = drawn, data
    profile, attachment, cut = device.profile, engine.network.attach(access), problem.cut
    if device.cut is not None:
        if cut is None or device.cut < cut:
            raise ValueError(f"{device.name}: got a cut of {device.cut}; expected {cut} or more, the fleet's smallest")
        cut = device.cut
    pace = Pace(profile.throttling, condition.load) if profile.throttling or condition.load else None
    supply = Supply(engine.clock.env, profile, engine.ledger) if profile.idle_w is not None else None
    machine = Machine(
        profile, attachment, _speed(profile, device.slowdown), True, pace, supply, condition.completeness.of, cut=cut
    )
    node = Node(engine, device.name, device.index, machine)
    spec = shard_spec(samples, problem.model.shape)
    node.give(Handle(engine.tape, shard_source(device.index), 0, spec, node), samples)
    return node


def _speed(profile: Profile, slowdown: float) -> Callable[[Cost], float]:
    def duration(cost: Cost) -> float:
        return float(seconds(cost.on(*profile.kernels), profile, slowdown))

    return duration
