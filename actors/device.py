"""The device actors. ``DeviceActor`` stands for one device and needs no torch; ``DeviceHost`` packs many into a process.

Both are restarted by Ray when they die, and their calls are tried again: programs are pure, so the results are the same.
This module must not import torch at its top: two hundred ``DeviceActor`` processes would not fit a small machine.
"""

import asyncio
import pickle
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError

from actors.watchdog import Pulse

HEALING = {"max_restarts": -1, "max_task_retries": 3}  # a program that kills its actor each time ends as an error


class TensorWorker:
    """Plays programs in a process of its own. ``setup`` names a function that gives what sources draw on."""

    def __init__(self, setup: str, *arguments: Any) -> None:
        from actors.worker import WorkerPlayer

        self._player = WorkerPlayer(setup, arguments)

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
                return await made
            return tuple(await asyncio.gather(*made)) if returns else ()
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
        """End its process; Ray starts it again."""
        ray.kill(self._actor, no_restart=False)


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


WATCHED: dict[str, Any] = {"concurrency_groups": {"watch": 1}}

remote_worker = ray.remote(num_cpus=0, **WATCHED, **HEALING)(TensorWorker)
remote_host = ray.remote(num_cpus=0, **WATCHED, **HEALING)(DeviceHost)
remote_device = ray.remote(num_cpus=0, **HEALING)(DeviceActor)
