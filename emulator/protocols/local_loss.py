"""Local losses: Han et al., "Accelerating Federated Learning with Split Learning on Locally Generated Losses", ICML 2021
workshop on federated learning; with the head of EcoFed's baseline LGL (one fully connected layer, in its authors' code).

The front learns from the loss of an auxiliary head on the device, the server's copy of the back from the smashed data; no
gradient crosses the network. Front and head, and the server's copies, are averaged at the end of a round.

Inferred: averages are weighted by samples; smashed data leave before the backward pass, and a device starts on a minibatch
when fewer than ``pipeline`` of its minibatches are on the air. Nothing is ever stale here: no answer is waited for.
"""

from collections import deque

from pydantic import Field

from emulator.learning.aggregation import average
from emulator.learning.auxiliary import begin_local, front_local, with_head, without_head
from emulator.learning.frozen import learn
from emulator.learning.sgd import Problem
from emulator.learning.split import Split, begin, end, resume, sizes
from emulator.protocols.split_training import OneWay, split_of, start
from emulator.protocols.verbs import Node, Value, World


class LocalLossSettings(OneWay):
    """Settings of local-loss split training."""

    pipeline: int = Field(default=1, ge=1, description="minibatches of one device that may be on the air at once")


async def client(
    world: World, device: Node, parts: tuple[Value, Value], course: tuple[Split, int]
) -> tuple[Value, Value]:
    """A device's round: gives front with head, and the server's copy of the back, all at the server."""
    (split, depth), seed, air = course, world.seed("batches", device.name, world.round), deque[Value]()
    mine = world.server.send(parts[0], to=device, kind="weights")
    mine = await device.compute(begin_local, mine, split=split)
    copy = world.server.compute(begin, parts[1], near=device, split=split, back=True)
    for number, size in enumerate(sizes(split.plan, device.samples)):
        while len(air) >= 2 * depth:
            await air.popleft()
        smashed, labels, waiting = await device.compute(
            front_local, mine, device.data, seed, number, split=split, size=size
        )
        up = device.send(smashed, to=world.server, kind="smashed")
        names = device.send(labels, to=world.server, kind="labels")
        air += [up, names]
        copy = world.server.compute(learn, copy, up, names, seed, number, near=device, split=split)
        mine = await device.compute(resume, waiting, labels)
    update = await device.send(await device.compute(end, mine), to=world.server, kind="update")
    return update, await world.server.compute(end, copy, near=device)


async def local_loss(world: World, problem: Problem, settings: LocalLossSettings) -> None:
    """Rounds of the paper's parallel training of fronts and backs."""
    split = split_of(problem, settings)
    front, back = await start(world, split)
    front = await world.server.compute(with_head, front, world.seed("initial", "head"), split=split)
    for _ in range(settings.rounds):
        cohort = await world.sample(settings.cohort)
        course = (split, settings.pipeline)
        trained = await world.gather({device: client(world, device, (front, back), course) for device in cohort})
        samples = tuple(device.samples for device in trained)
        if sum(samples):
            front = await world.server.compute(average, samples, *(mine for mine, _ in trained.values()))
            back = await world.server.compute(average, samples, *(copy for _, copy in trained.values()))
        del trained
        world.report(await world.server.compute(without_head, front), back)
