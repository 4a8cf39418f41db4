"""Plays a tape on Ray: programs of one actor travel together, arguments by reference, results owned by the aggregator."""

from dataclasses import dataclass, field
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.device import dumps, remote_device, remote_host, remote_worker
from actors.program import Program, Result
from actors.values import Tree, unpack

CPU = torch.device("cpu")
PROGRAMS_PER_CALL = 32  # enough that the call itself costs little, few enough that results flow while others still run


@dataclass(frozen=True)
class Fleet:
    """Which actors to start. ``facts`` tells of each device, in lane order; ``setup`` gives the players' resources.

    ``devices_per_actor``: None for one host a core, 1 for a torch-free actor each, or a number.
    """

    facts: dict[str, dict[str, Any]]
    setup: str
    arguments: tuple[Any, ...]
    devices_per_actor: int | None = None
    gpus_per_actor: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)


class RayPending:
    """Observations under way on Ray."""

    def __init__(self, references: list[Any]) -> None:
        self._references = references

    def ready(self) -> bool:
        """Whether all are there."""
        done, _ = ray.wait(self._references, num_returns=len(self._references), timeout=0)
        return len(done) == len(self._references)

    def results(self) -> list[Tree]:
        """One value per program; blocks."""
        return [unpack(packed, CPU) for packed in ray.get(self._references)]


class RayExecutor:
    """Ships programs to actors. Lane d >= 0 is device d's; lane -1 is the server's, which ``server`` plays."""

    name = "ray"

    def __init__(self, fleet: Fleet, server: Any) -> None:
        self.calls = 0
        self._references: dict[Result, Any] = {}
        self._server = server
        nodes = [node for node in ray.nodes() if node["Alive"]]
        shared = [ray.put(argument) for argument in fleet.arguments]
        if fleet.devices_per_actor == 1:
            self._hosts = _workers(fleet, nodes, shared)
            self._devices = _devices(fleet, nodes, self._hosts)
        else:
            self._hosts = _hosts(fleet, nodes, shared)
            self._devices = []
        self._keep = shared  # the actors' restarts need them again

    def wait_until_ready(self, timeout_s: float = 600.0) -> dict[str, int]:
        """Wait for every actor; gives the processes' resident bytes. Raises ``GetTimeoutError`` when some stay pending."""
        ray.get([host.memory_bytes.remote() for host in self._hosts], timeout=timeout_s)
        memory = ray.get([actor.memory_bytes.remote() for actor in (*self._devices, *self._hosts)], timeout=timeout_s)
        return {"actors": len(memory), "bytes": sum(memory)}

    def play(self, programs: list[Program]) -> None:
        """Send programs to their actors; returns at once."""
        direct: dict[int, list[Program]] = {}
        for program in programs:
            if program.lane < 0:
                self._call(self._server, [program])
            elif self._devices:
                self._call_device(program)
            else:
                direct.setdefault(program.lane % len(self._hosts), []).append(program)
        for host, mine in direct.items():
            for start in range(0, len(mine), PROGRAMS_PER_CALL):
                self._call(self._hosts[host], mine[start : start + PROGRAMS_PER_CALL])

    def _call(self, actor: Any, programs: list[Program]) -> list[Any]:
        names = list(dict.fromkeys(name for program in programs for name in program.arguments))
        returns = [name for program in programs for name in program.returns]
        made = actor.play.options(num_returns=len(returns)).remote(
            dumps((programs, names)), *[self._references[name] for name in names]
        )
        self.calls += 1
        references = [made] if len(returns) == 1 else list(made or [])
        self._references.update(zip(returns, references, strict=True))
        return references

    def _call_device(self, program: Program) -> None:
        actor = self._devices[program.lane]
        references = [self._references[name] for name in program.arguments]
        returns = len(program.returns)
        made = actor.play.options(num_returns=returns).remote(
            dumps(([program], list(program.arguments))), references, returns, program.steps[-1].place.round
        )
        self.calls += 1
        self._references.update(zip(program.returns, [made] if returns == 1 else made or [], strict=True))

    def fetch(self, result: Result) -> Tree:
        """The data of a returned result; blocks."""
        return unpack(ray.get(self._references[result]), CPU)

    def drop(self, result: Result) -> None:
        """Let Ray free a result."""
        self._references.pop(result, None)

    def observe(self, programs: list[Program]) -> RayPending:
        """Run programs beside the tape, spread over the hosts; every program gives one value."""
        spread: dict[int, list[int]] = {}
        for order in range(len(programs)):
            spread.setdefault(order % len(self._hosts), []).append(order)
        found: dict[int, Any] = {}
        for host, orders in spread.items():
            kept = dict(self._references)
            references = self._call(self._hosts[host], [programs[order] for order in orders])
            self._references = kept
            found.update(zip(orders, references, strict=True))
        return RayPending([found[order] for order in range(len(programs))])

    def close(self) -> None:
        """End the actors."""
        self._references.clear()
        for actor in (*self._devices, *self._hosts):
            ray.kill(actor)


def _on(node: dict[str, Any]) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)


def _cores(node: dict[str, Any]) -> int:
    return max(1, int(node["Resources"].get("CPU", 1)))


def _gpus(fleet: Fleet, node: dict[str, Any]) -> dict[str, Any]:
    """A share of a GPU where the node has one; the setting asks for it, the machine decides."""
    return {"num_gpus": fleet.gpus_per_actor} if fleet.gpus_per_actor and node["Resources"].get("GPU") else {}


def _hosts(fleet: Fleet, nodes: list[dict[str, Any]], shared: list[Any]) -> list[Any]:
    """Packed actors: lane d lives on host d modulo their number."""
    if fleet.devices_per_actor is None:
        places = [node for node in nodes for _ in range(_cores(node))]
    else:
        places = [nodes[i % len(nodes)] for i in range(-(-len(fleet.facts) // fleet.devices_per_actor))]
    places = places[: len(fleet.facts)]
    hosts = []
    for number, node in enumerate(places):
        mine = {name: facts for lane, (name, facts) in enumerate(fleet.facts.items()) if lane % len(places) == number}
        options = {"name": f"devices-{number:04d}", "scheduling_strategy": _on(node), **_gpus(fleet, node)}
        hosts.append(remote_host.options(**options, **fleet.options).remote(mine, fleet.setup, *shared))
    return hosts


def _workers(fleet: Fleet, nodes: list[dict[str, Any]], shared: list[Any]) -> list[Any]:
    return [
        remote_worker.options(
            name=f"worker-{number}-{core}", scheduling_strategy=_on(node), **_gpus(fleet, node), **fleet.options
        ).remote(fleet.setup, *shared)
        for number, node in enumerate(nodes)
        for core in range(_cores(node))
    ]


def _devices(fleet: Fleet, nodes: list[dict[str, Any]], workers: list[Any]) -> list[Any]:
    """One named actor per device, on the node of the worker that runs its programs."""
    owners = [node for node in nodes for _ in range(_cores(node))]
    actors = []
    for lane, (name, facts) in enumerate(fleet.facts.items()):
        place = lane % len(workers)
        options = {"name": name, "scheduling_strategy": _on(owners[place]), **fleet.options}
        actors.append(remote_device.options(**options).remote(name, facts, workers[place]))
    return actors
