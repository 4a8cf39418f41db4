"""The device actors. ``DeviceActor`` stands for one device and needs no torch; ``DeviceHost`` packs many into a process.

Both are restarted by Ray when they die, and their calls are tried again: programs are pure, so the results are the same.
This module must not import torch at its top: two hundred ``DeviceActor`` processes would not fit a small machine.
"""

import asyncio
import pickle
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.notes import Notes
from actors.watchdog import PATIENCE_S, Pulse

START_S = 120.0  # what a start may take on a busy machine
# Until the cluster has noticed that a node is gone (15 s, where connections are refused), a call to it is lost every two
# seconds. A call that ends its process each time is given up sooner (``notes``).
HEALING = {"max_restarts": -1, "max_task_retries": 20}


class TensorWorker:
    """Plays programs in a process of its own. ``setup`` names a function that gives what sources draw on."""

    def __init__(self, setup: str, *arguments: Any) -> None:
        from actors.worker import WorkerPlayer

        notes = Notes(Path(gettempdir()), ray.get_runtime_context().get_actor_id())
        self._player = WorkerPlayer(setup, arguments, notes)

    def play(self, payload: bytes, *arguments: Any) -> Any:
        """Play pickled programs on packed arguments; gives their packed returns, in order."""
        return self._player.play(payload, arguments)

    @ray.method(concurrency_group="watch", max_task_retries=0)
    def pulse(self) -> tuple[int, int]:
        """Calls begun and ended; answered beside a program that is being played."""
        return self._player.begun, self._player.ended

    def memory_bytes(self) -> int:
        """Memory of this process (see ``resident_bytes``)."""
        return resident_bytes()


class DeviceHost(TensorWorker):
    """A packed device actor: serves many devices and plays their programs itself."""

    def __init__(self, devices: dict[str, dict[str, Any]], setup: str, *arguments: Any) -> None:
        super().__init__(setup, *arguments)
        self._devices = devices

    def describe(self, device: str) -> dict[str, Any]:
        """Profile, cell and data of one of its devices; raises KeyError for another."""
        return {"device": device, "placement": "packed", **self._devices[device]}


class DeviceActor:
    """One emulated device: its profile, cell, data and state. Its programs run on a ``TensorWorker`` of its node."""

    def __init__(self, device: str, facts: dict[str, Any], worker: Any) -> None:
        self._device = device
        self._facts = facts
        self._worker = worker
        self._programs = self._ended = 0
        self._round = 0

    async def play(self, payload: bytes, references: list[Any], returns: int, round: int) -> Any:
        """Hand a program on, arguments by reference; gives its packed returns."""
        self._programs += 1
        self._round = round
        made = self._worker.play.options(num_returns=returns).remote(payload, *references)
        try:
            if returns == 1:
                return _passed_on(await made)
            return tuple(map(_passed_on, await asyncio.gather(*made))) if returns else ()
        finally:
            self._ended += 1

    @ray.method(max_task_retries=0)
    async def pulse(self) -> tuple[int, int]:
        """Calls begun and ended."""
        return self._programs, self._ended

    async def describe(self) -> dict[str, Any]:
        """Profile, cell, data, and what this device has done so far."""
        state = {"programs": self._programs, "last_round": self._round}
        return {"device": self._device, "placement": "one actor per device", **self._facts, "state": state}

    async def memory_bytes(self) -> int:
        """Memory of this process (see ``resident_bytes``)."""
        return resident_bytes()


def _passed_on(packed: list[tuple[bytes, list[Any]]]) -> list[tuple[bytes, list[pickle.PickleBuffer]]]:
    """Packed values that came from another actor, to be sent again: the buffers that Ray gives cannot be."""
    return [(header, [pickle.PickleBuffer(buffer) for buffer in buffers]) for header, buffers in packed]


class Watched:
    """A device actor, host or worker as the watchdog sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __str__(self) -> str:
        return str(self._actor)

    def pulse(self, timeout_s: float) -> Pulse | None:
        """Its pulse; None for one that Ray knows to be dead or starting. Raises TimeoutError."""
        try:
            return Pulse(*ray.get(self._actor.pulse.remote(), timeout=timeout_s))
        except RayActorError:  # pulses are not tried again, so that this is told at once
            return None

    def restart(self) -> None:
        """End its process; Ray starts it again. Gives it time to: one that is starting has no pulse either.

        A pulse that is asked for while the old process is ending may go to that one and wait for ever: others are asked for.
        """
        ray.kill(self._actor, no_restart=False)
        for _ in range(round(START_S)):
            if ray.wait([self._actor.pulse.options(max_task_retries=3).remote()], timeout=1.0)[0]:
                return


def resident_bytes() -> int:
    """Memory of the calling process in bytes, pages shared with others counted by their share (Linux; 0 elsewhere)."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def dumps(programs: Any) -> bytes:
    """Programs as bytes that pass through a torch-free actor unopened."""
    return pickle.dumps(programs, protocol=5)


# In order, a pulse that is asked for would wait behind a call that waits for its arguments, and a sound actor seem dead.
WATCHED: dict[str, Any] = {"concurrency_groups": {"watch": 1}, "allow_out_of_order_execution": True}

remote_worker = ray.remote(num_cpus=0, **WATCHED, **HEALING)(TensorWorker)
remote_host = ray.remote(num_cpus=0, **WATCHED, **HEALING)(DeviceHost)
remote_device = ray.remote(num_cpus=0, **HEALING)(DeviceActor)


@dataclass(frozen=True)
class Fleet:
    """Which actors to start. ``facts`` tells of each device, in lane order; ``setup`` gives the players' resources.

    ``warm_up`` names a function that the aggregator calls while the device actors start.
    ``devices_per_actor``: None for one host a core, 1 for a torch-free actor each, or a number.
    """

    facts: dict[str, dict[str, Any]]
    setup: str
    arguments: tuple[Any, ...]
    devices_per_actor: int | None = None
    gpus_per_actor: float = 0.0
    warm_up: str | None = None
    namespace: str | None = None
    patience_s: float = PATIENCE_S  # how long a result is waited for before the actors are looked after


class Actors:
    """The actors of a fleet, started; they may play several runs, one after another.

    ``hosts`` play programs; ``devices`` hand them on, where every device has an actor of its own.
    """

    def __init__(self, fleet: Fleet) -> None:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        shared = [ray.put(argument) for argument in fleet.arguments]
        self._keep = shared  # the actors' restarts need them again
        self.patience_s = fleet.patience_s
        self.devices: list[Any] = []
        if fleet.devices_per_actor == 1:
            self.hosts = _workers(fleet, nodes, shared)
            self.devices = _devices(fleet, nodes, self.hosts)
        else:
            self.hosts = _hosts(fleet, nodes, shared)

    def wait_until_ready(self, timeout_s: float = 600.0) -> dict[str, int]:
        """Wait for every actor; gives the processes' resident bytes. Raises ``GetTimeoutError`` when some stay pending."""
        ray.get([host.memory_bytes.remote() for host in self.hosts], timeout=timeout_s)
        memory = ray.get([actor.memory_bytes.remote() for actor in (*self.devices, *self.hosts)], timeout=timeout_s)
        return {"actors": len(memory), "bytes": sum(memory)}


def on(node: str) -> dict[str, Any]:
    """Options of an actor that belongs on the node with this id, and goes to another one when that is lost.

    The byte of memory is what makes it so: an actor that asks for nothing Ray puts anywhere, whatever node is preferred
    (ray-project/ray, pull request 25360, sees to nodes that are required alone).
    """
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True), "memory": 1}


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
        options = {"name": f"devices-{number:04d}", "namespace": fleet.namespace, **on(node["NodeID"])}
        hosts.append(remote_host.options(**options, **_gpus(fleet, node)).remote(mine, fleet.setup, *shared))
    return hosts


def _workers(fleet: Fleet, nodes: list[dict[str, Any]], shared: list[Any]) -> list[Any]:
    return [
        remote_worker.options(
            name=f"worker-{number}-{core}",
            namespace=fleet.namespace,
            **on(node["NodeID"]),
            **_gpus(fleet, node),
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
        options = {"name": name, "namespace": fleet.namespace, **on(owners[place]["NodeID"])}
        actors.append(remote_device.options(**options).remote(name, facts, workers[place]))
    return actors
