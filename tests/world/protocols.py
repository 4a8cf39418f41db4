"""Protocols and steps that only the tests use; importable, so that Ray's actors find them too."""

import os
from pathlib import Path
from typing import Any

import torch

from emulator.learning.aggregation import average
from emulator.learning.evaluation import initial_weights
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.shards import Plan
from emulator.protocols.base import Settings
from emulator.protocols.round_settings import RoundSettings

Weights = dict[str, torch.Tensor]


class Quiet(Settings):
    """No setting at all."""


class Deadline(RoundSettings):
    """Settings of a FedAvg with a deadline or a number of devices to wait for."""

    within_s: float | None = None
    first: int | None = None


class Marked(RoundSettings):
    """A protocol that sends the process of a device a signal, so many times; files that begin with ``mark`` remember it."""

    mark: str = ""
    signal: int = 9
    victim: int = 0
    times: int = 1


def ones(*, numbers: int) -> Weights:
    return {"w": torch.ones(numbers)}


def double(value: Weights) -> Weights:
    return {"w": value["w"] * 2}


def multiply(value: Weights, other: Weights) -> Weights:
    """[n, n] x [n, n]: 2 n^3 FLOPs."""
    return {"w": value["w"] @ other["w"]}


def square(*, side: int) -> Weights:
    return {"w": torch.ones(side, side)}


def halves(value: Weights) -> tuple[Weights, Weights]:
    first, second = value["w"].chunk(2)
    return {"w": first.clone()}, {"w": second.clone()}


def total(value: Weights) -> torch.Tensor:
    return value["w"].sum()


def fail(value: Weights) -> Weights:
    """Works on shapes and fails on data."""
    if not value["w"].is_meta:
        raise RuntimeError("the step is broken")
    return {"w": value["w"] + 1}


def untraceable(value: Weights) -> Weights:
    """Branches on data, which shapes cannot tell."""
    return value if value["w"].sum().item() > 0 else double(value)


def train_and_die(weights: Weights, shard: Any, seed: int, marks: list[str], number: int, *, sgd: LocalSGD) -> Weights:
    """Trains; the first that finds a mark missing makes it, and gets a signal first."""
    if weights and not next(iter(weights.values())).is_meta:
        for mark in [Path(mark) for mark in marks]:
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), number)
    return train(weights, shard, seed, sgd=sgd)


def sgd_of(problem: Problem, batch_size: int = 16) -> LocalSGD:
    return LocalSGD(problem, Plan(batch_size), 0.1)


async def start(world: Any, problem: Problem) -> Any:
    return await world.server.compute(initial_weights, world.seed("initial"), model=problem.model)


async def client(world: Any, device: Any, weights: Any, sgd: LocalSGD) -> Any:
    weights = await world.server.send(weights, to=device, kind="weights")
    update = await device.compute(train, weights, device.data, world.seed("b", device.name, world.round), sgd=sgd)
    return await device.send(update, to=world.server, kind="update")


async def deadline(world: Any, problem: Problem, settings: Deadline) -> None:
    """FedAvg over all devices that waits for the first few, or until a deadline."""
    weights = await start(world, problem)
    for _ in range(settings.rounds):
        updates = await world.gather(
            {device: client(world, device, weights, sgd_of(problem)) for device in world.devices},
            first=settings.first,
            within_s=settings.within_s,
        )
        samples = tuple(device.samples for device in updates)
        if updates:
            weights = await world.server.compute(average, samples, *updates.values())
        del updates
        world.report(weights)


async def mortal(world: Any, problem: Problem, settings: Marked) -> None:
    """FedAvg over all devices; the first trainings of one of them kill its process."""
    weights = await start(world, problem)

    async def work(device: Any) -> Any:
        here = await world.server.send(weights, to=device, kind="weights")
        seed = world.seed("b", device.name, world.round)
        deaths = settings.times if device == world.devices[settings.victim] else 0
        marks = [f"{settings.mark}{number}" for number in range(deaths)]
        update = await device.compute(
            train_and_die, here, device.data, seed, marks, settings.signal, sgd=sgd_of(problem)
        )
        return await device.send(update, to=world.server, kind="update")

    for _ in range(settings.rounds):
        updates = await world.gather({device: work(device) for device in world.devices})
        weights = await world.server.compute(average, tuple(d.samples for d in updates), *updates.values())
        del updates
        world.report(weights)


async def reading(world: Any, problem: Problem, settings: RoundSettings) -> None:
    """Trains one device more each time the sum of the weights rises: a branch on data."""
    weights = await start(world, problem)
    count, last = 1, -1e9
    for _ in range(settings.rounds):
        some = world.devices[:count]
        updates = await world.gather({device: client(world, device, weights, sgd_of(problem)) for device in some})
        weights = await world.server.compute(average, tuple(d.samples for d in updates), *updates.values())
        del updates
        seen = await world.read(await world.server.compute(checksum, weights))
        count, last = (min(count + 1, len(world.devices)), seen) if seen > last else (count, last)
        world.report(weights, checksum=seen)


def checksum(weights: Weights) -> torch.Tensor:
    return torch.stack([tensor.sum() for tensor in weights.values()]).sum()


async def losing(world: Any, problem: Problem, settings: RoundSettings) -> None:
    """The second device is lost in the middle of the first round."""
    weights = await start(world, problem)
    for _ in range(settings.rounds):
        clients = {
            device: client(world, device, weights, sgd_of(problem)) for device in world.devices if not device.lost
        }
        if world.round == 1:
            world.spawn(lose_later(world))
        updates = await world.gather(clients)
        weights = await world.server.compute(average, tuple(d.samples for d in updates), *updates.values())
        del updates
        world.report(weights)


async def lose_later(world: Any) -> None:
    """Loses the second device when it has trained and uploads."""
    device = world.devices[1]
    there = await world.server.send(await world.server.compute(ones, numbers=1000), to=world.devices[0], kind="control")
    await world.devices[0].send(there, to=world.server, kind="control")
    world.lose(device)


async def asynchronous(world: Any, problem: Problem, settings: RoundSettings) -> None:
    """Devices work at their own pace; the server mixes what comes, one aggregation a round."""
    weights = await start(world, problem)
    box = world.mailbox()
    newest = [weights]

    async def worker(device: Any) -> None:
        while True:
            box.put(await client(world, device, newest[0], sgd_of(problem)))

    for device in world.devices:
        world.spawn(worker(device))
    for _ in range(settings.rounds):
        update = await box.get()
        newest[0] = await world.server.compute(average, (1, 1), newest[0], update)
        del update
        world.report(newest[0])


async def failing(world: Any, problem: Problem, settings: Quiet) -> None:
    weights = await start(world, problem)
    value = await world.server.compute(ones, numbers=3)
    value = await world.server.send(value, to=world.devices[0], kind="weights")
    value = await world.devices[0].compute(fail, value)
    value = await world.devices[0].send(value, to=world.server, kind="update")
    await world.read(await world.server.compute(total, value))
    world.report(weights)


async def idle(world: Any, problem: Problem, settings: Settings) -> None:
    """Waits for a letter that nobody writes."""
    await world.mailbox().get()
