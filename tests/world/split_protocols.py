"""Split protocols for tests: one that ships at every turn; a device lost between its passes; one that dies there; misuse."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from emulator.learning.aggregation import average
from emulator.learning.sgd import Problem
from emulator.learning.split import Half, Split, back, begin, end, front, resume, sizes
from emulator.protocols.courier import Courier
from emulator.protocols.split_training import SplitTraining, received, round_of, split_of, start

LOSS_NS = 20_000_000


class Marked(SplitTraining):
    """``mark`` is the file that remembers that an actor was killed."""

    mark: str = ""


async def alternating(world: Any, problem: Problem, settings: SplitTraining) -> None:
    """All devices have a minibatch under way against one back at the server, which serves them by turns.

    The back was with another device before, so its lane is shipped while steps wait: borders between their passes.
    """
    split = split_of(problem, settings)
    first, whole = await start(world, split)
    theirs = await world.server.compute(begin, whole, split=split, back=True)
    for _ in range(settings.rounds):
        mine, offer = {}, await Courier(world, settings).offer(first)
        for device in world.devices:
            mine[device] = await received(device, offer.to(device), split)
        for number in range(len(sizes(split.plan, world.devices[0].samples))):
            theirs = await everybody(world, mine, theirs, split, number)
        fronts = [
            await d.send(await d.compute(end, mine.pop(d)), to=world.server, kind="update") for d in world.devices
        ]
        first = await world.server.compute(average, tuple(d.samples for d in world.devices), *fronts)
        del fronts, offer
        world.report(first, await world.server.compute(end, theirs))


async def everybody(world: Any, mine: dict[Any, Any], theirs: Any, split: Split, number: int) -> Any:
    """One minibatch of every device: all forward, then one after another at the server, and back."""
    asked, seeds = {}, {d: world.seed("batches", d.name, world.round) for d in world.devices}
    for device in world.devices:
        size = sizes(split.plan, device.samples)[number]
        asked[device] = await device.compute(
            front, mine[device], device.data, seeds[device], number, split=split, size=size
        )
    for device in world.devices:
        smashed, labels, waiting = asked.pop(device)
        up = device.send(smashed, to=world.server, kind="smashed")
        names = device.send(labels, to=world.server, kind="labels")
        theirs, gradient = await world.server.compute(back, theirs, up, names, seeds[device], number, split=split)
        down = world.server.send(gradient, to=device, kind="cut_gradient")
        mine[device] = await device.compute(resume, waiting, down)
    return theirs


async def losing(world: Any, problem: Problem, settings: SplitTraining) -> None:
    """SplitFed v1 over all devices; the second one is lost at ``LOSS_NS``, for good."""
    split = split_of(problem, settings)
    parts = await start(world, split)
    timer = world._engine.clock.at(LOSS_NS)
    timer.callbacks.append(lambda _: world.lose(world.devices[1], for_good=True))
    for _ in range(settings.rounds):
        there = [device for device in world.devices if not device.lost]
        offered = (await Courier(world, settings).offer(parts[0]), parts[1])
        trained = await world.gather({device: round_of(world, device, offered, split) for device in there})
        samples = tuple(device.samples for device in trained)
        parts = (
            await world.server.compute(average, samples, *(mine for mine, _ in trained.values())),
            await world.server.compute(average, samples, *(theirs for _, theirs in trained.values())),
        )
        del trained, offered
        world.report(*parts)


def mortal_front(
    half: Half, shard: Any, seed: int, number: int, mark: str, *, split: Split, size: int
) -> Generator[Any, Any, Half]:
    """The device's step; the first process that comes to its second minibatch dies between the two passes."""
    step = front(half, shard, seed, number, split=split, size=size)
    question = [next(step)]
    real = not question[0][1].is_meta
    answer = yield question.pop()
    if real and number == 1:
        try:
            Path(mark).touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os._exit(1)
    try:
        step.send(answer)
    except StopIteration as stop:
        made: Half = stop.value
        return made
    raise RuntimeError


async def mortal(world: Any, problem: Problem, settings: Marked) -> None:
    """SplitFed v1 over all devices with a step that kills its process once."""
    split = split_of(problem, settings)
    first, whole = await start(world, split)

    async def work(device: Any) -> Any:
        seed = world.seed("batches", device.name, world.round)
        mine = await received(device, (await Courier(world, settings).offer(first)).to(device), split)
        theirs = await world.server.compute(begin, whole, near=device, split=split, back=True)
        for number, size in enumerate(sizes(split.plan, device.samples)):
            smashed, labels, waiting = await device.compute(
                mortal_front, mine, device.data, seed, number, settings.mark, split=split, size=size
            )
            up = device.send(smashed, to=world.server, kind="smashed")
            names = device.send(labels, to=world.server, kind="labels")
            theirs, gradient = await world.server.compute(
                back, theirs, up, names, seed, number, near=device, split=split
            )
            mine = await device.compute(resume, waiting, world.server.send(gradient, to=device, kind="cut_gradient"))
        update = await device.send(await device.compute(end, mine), to=world.server, kind="update")
        return update, await world.server.compute(end, theirs, near=device)

    for _ in range(settings.rounds):
        trained = await world.gather({device: work(device) for device in world.devices})
        samples = tuple(device.samples for device in trained)
        first = await world.server.compute(average, samples, *(mine for mine, _ in trained.values()))
        whole = await world.server.compute(average, samples, *(theirs for _, theirs in trained.values()))
        del trained
        world.report(first, whole)


async def misused(world: Any, problem: Problem, settings: Marked) -> None:
    """Sends a step that waits (``mark`` is send), or answers it twice (answer), or twice at once (both)."""
    split = split_of(problem, settings)
    first, whole = await start(world, split)
    device = world.devices[0]
    mine = await device.compute(
        begin, await world.server.send(first, to=device, kind="weights"), split=split, back=False
    )
    smashed, labels, waiting = await device.compute(front, mine, device.data, 1, 0, split=split, size=4)
    if settings.mark == "send":
        await device.send(waiting, to=world.server, kind="control")
    up = [await device.send(value, to=world.server, kind="smashed") for value in (smashed, labels)]
    theirs = await world.server.compute(begin, whole, split=split, back=True)
    _, gradient = await world.server.compute(back, theirs, *up, 1, 0, split=split)
    down = await world.server.send(gradient, to=device, kind="cut_gradient")
    answers = [device.compute(resume, waiting, down) for _ in range(2 if settings.mark == "both" else 1)]
    for answer in answers:
        await answer
    await device.compute(resume, waiting, down)
