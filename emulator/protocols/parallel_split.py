"""Parallel split learning: Jeon & Kim, "Privacy-Sensitive Parallel Split Learning", ICOIN 2020, pages 7-9.

From its abstract: devices train side by side with one back; a node's minibatch size goes by its share of the data; the layers
that nodes have are synchronised during the training, so that all end with the same model.

Inferred: the server takes the minibatches of all devices as one; fronts are averaged by samples at the end of a round, so that
with ``local_steps: 1`` a round is one step of SGD on the whole minibatch. The n-th step waits for all devices that are still
there and have an n-th minibatch.
"""

from dataclasses import replace
from typing import ClassVar, NamedTuple

from pydantic import Field

from emulator.learning.aggregation import average
from emulator.learning.sgd import Problem
from emulator.learning.split import Split, begin, end, front, resume, sizes
from emulator.learning.split_joint import Part, back_joint
from emulator.protocols.courier import Courier, Errand
from emulator.protocols.policies.cohorts import Cohorts
from emulator.protocols.split_training import SplitTraining, split_of, start, upward
from emulator.protocols.verbs import Mailbox, Node, Value, World


class Batch(NamedTuple):
    """A device's minibatch at the server: smashed data and labels, what it is, and where its answer goes."""

    values: tuple[Value, Value]
    part: Part
    reply: Mailbox


class ParallelSplitSettings(SplitTraining):
    """Settings of parallel split learning."""

    whole_rounds: ClassVar[str | None] = "every step takes a minibatch of every device"

    batch_size: int = Field(
        default=16, ge=1, description="samples per minibatch of the whole cohort, shared by data held"
    )


def share(split: Split, device: Node, samples: int) -> Split:
    """The steps' settings on a device that holds its part of ``samples``: as many minibatches a pass as the cohort has."""
    minibatches = -(-samples // split.plan.batch_size)
    return replace(split, plan=replace(split.plan, batch_size=max(1, -(-device.samples // minibatches))))


async def client(world: World, device: Node, errand: Errand, desk: tuple[Mailbox, Split]) -> Value:
    """A device's round: gives the front's weights, at the server."""
    (box, split), seed = desk, world.seed("batches", device.name, world.round)
    try:
        mine = errand.take()
        mine = await device.compute(begin, mine, split=split, back=False)
        for number, size in enumerate(sizes(split.plan, device.samples)):
            smashed, labels, waiting = await device.compute(
                front, mine, device.data, seed, number, split=split, size=size
            )
            up, names = upward(world, device, smashed, labels)
            reply = world.mailbox()
            box.put((device, Batch((await up, await names), Part(seed, number), reply)))
            gradient = world.server.send(await reply.get(), to=device, kind="cut_gradient")
            mine = await device.compute(resume, waiting, gradient)
    finally:
        box.put((device, None))
    return await errand.bring(await device.compute(end, mine))


async def serve(world: World, back: Value, desk: tuple[Mailbox, Split], due: dict[Node, int]) -> Value:
    """The server's loop: gives the back when all are through. ``due``: minibatches that each device still has to bring."""
    box, here = desk[0], dict[Node, Batch]()
    while due := {device: count for device, count in due.items() if count}:
        device, batch = await box.get()
        if batch is not None:
            here[device] = batch
        elif device in due:  # lost
            due[device] = 0
            here.pop(device, None)
        if here and all(device in here for device, count in due.items() if count):
            back = await joint(world, back, [here[device] for device in due if device in here], desk[1])
            due = {device: count - (device in here) for device, count in due.items()}
            here.clear()
    return back


async def joint(world: World, back: Value, batches: list[Batch], split: Split) -> Value:
    """One step of the server on all minibatches that are there."""
    values, parts = [value for batch in batches for value in batch.values], tuple(batch.part for batch in batches)
    back, *gradients = await world.server.compute(back_joint, back, parts, *values, near=world.server, split=split)
    for batch, gradient in zip(batches, gradients, strict=True):
        batch.reply.put(gradient)
    return back


async def parallel_split(world: World, problem: Problem, settings: ParallelSplitSettings) -> None:
    """Rounds of synchronous steps."""
    split, courier = split_of(problem, settings), Courier(world, settings)
    cohorts = Cohorts(world, settings)
    weights, whole = await start(world, split)
    back = await world.server.compute(begin, whole, split=split, back=True)
    for _ in range(settings.rounds):
        cohort, box = await cohorts.ask(), world.mailbox()
        offer = await courier.offer(weights)
        total = max(1, sum(device.samples for device in cohort))
        shares = {device: share(split, device, total) for device in cohort}
        taken = {device: sizes(own.plan, device.samples) for device, own in shares.items()}
        due = {device: len(own) for device, own in taken.items()}
        serving = world.spawn(serve(world, back, (box, split), due))
        fronts = await cohorts.gather(
            {device: client(world, device, offer.to(device), (box, own)) for device, own in shares.items()}
        )
        back, samples = await serving, tuple(sum(taken[device]) for device in fronts)
        if sum(samples):
            weights = await world.server.compute(average, samples, *fronts.values())
        del fronts, serving, offer
        world.report(weights, await world.server.compute(end, back), **cohorts.metrics)
