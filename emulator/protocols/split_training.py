"""What the split protocols share: settings, set-up, and one device's minibatches against a back at the server."""

from pydantic import Field

from emulator.learning.codecs import CodecSettings, codec_of
from emulator.learning.codecs.settings import PlainCodec
from emulator.learning.sgd import Problem
from emulator.learning.shards import Plan
from emulator.learning.split import Split, back, begin, end, front, halves, resume, sizes
from emulator.protocols.local_training import start as initial
from emulator.protocols.settings import LocalTraining
from emulator.protocols.verbs import Node, Value, World

PLAIN = PlainCodec(codec="fp32")


class SplitTraining(LocalTraining):
    """Split training: minibatches as in local training, and how what crosses the cut is coded."""

    smashed: CodecSettings = Field(default=PLAIN, description="codec of the smashed data")
    cut_gradient: CodecSettings = Field(default=PLAIN, description="codec of the cut gradient")


def split_of(problem: Problem, settings: SplitTraining) -> Split:
    """The steps' settings, from a scenario's."""
    plan = Plan(settings.batch_size, settings.local_epochs or 1, settings.local_steps)
    return Split(
        problem, plan, settings.learning_rate, settings.momentum, settings.weight_decay,
        codec_of(settings.smashed), codec_of(settings.cut_gradient),
    )  # fmt: skip


async def start(world: World, split: Split) -> tuple[Value, Value]:
    """Front and back that everybody starts from; set-up costs no virtual time."""
    weights = await initial(world, split.problem)
    parts: tuple[Value, Value] = await world.server.compute(halves, weights, split=split)
    return parts


async def minibatches(world: World, device: Node, mine: Value, theirs: Value, split: Split) -> tuple[Value, Value]:
    """A device's minibatches one after another; gives both halves, each where it was."""
    seed = world.seed("batches", device.name, world.round)
    for number, size in enumerate(sizes(split.plan, device.samples)):
        mine, theirs = await minibatch(world, device, (mine, theirs), split, (seed, number, size))
    return mine, theirs


async def minibatch(
    world: World, device: Node, parts: tuple[Value, Value], split: Split, which: tuple[int, int, int]
) -> tuple[Value, Value]:
    """Forward on the device, forward and backward at the server, backward on the device."""
    (mine, theirs), (seed, number, size) = parts, which
    smashed, labels, waiting = await device.compute(front, mine, device.data, seed, number, split=split, size=size)
    up = device.send(smashed, to=world.server, kind="smashed")
    names = device.send(labels, to=world.server, kind="labels")
    theirs, gradient = await world.server.compute(back, theirs, up, names, seed, number, near=device, split=split)
    down = world.server.send(gradient, to=device, kind="cut_gradient")
    return await device.compute(resume, waiting, down), theirs


async def round_of(world: World, device: Node, parts: tuple[Value, Value], split: Split) -> tuple[Value, Value]:
    """A device's round with a back of its own at the server: gives both halves' weights, at the server."""
    mine = await device.compute(
        begin, await world.server.send(parts[0], to=device, kind="weights"), split=split, back=False
    )
    theirs = await world.server.compute(begin, parts[1], near=device, split=split, back=True)
    mine, theirs = await minibatches(world, device, mine, theirs, split)
    update = await device.send(await device.compute(end, mine), to=world.server, kind="update")
    return update, await world.server.compute(end, theirs, near=device)
