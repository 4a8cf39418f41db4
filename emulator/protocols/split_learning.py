"""Split learning: Gupta & Raskar, "Distributed learning of deep neural network over multiple agents", JNCA 2018.

Devices take turns: each trains the front against the server's back and relays the front to the next one, over the server (the
paper's centralised mode; devices have no link of their own). One round is one turn of each device of the cohort.

Not in the paper: groups with cuts of their own. Blocks change sides between turns; the server's velocity of a block that is
away waits for it, as the device's stays on the device.
"""

from emulator.learning.sgd import Problem
from emulator.learning.split import Split, begin, end
from emulator.learning.split_cuts import give_back, lend
from emulator.protocols.split_counter import Counter, Course, PipelinedTraining, train_alone
from emulator.protocols.split_cuts import at_cut
from emulator.protocols.split_training import minibatches, received, split_of, start
from emulator.protocols.verbs import Node, Value, World


class SplitLearningSettings(PipelinedTraining):
    """Settings of sequential split learning: those of split training, and how many minibatches are under way."""


async def take_turn(world: World, device: Node, parts: tuple[Value, Value], split: Split) -> tuple[Value, Value]:
    """One device's turn: gives the front's weights and the back, both at the server."""
    mine, back = await minibatches(world, device, await received(world, device, parts[0], split), parts[1], split)
    return await device.send(await device.compute(end, mine), to=world.server, kind="weights"), back


async def turn_ahead(
    world: World, device: Node, parts: tuple[Value, Value], course: tuple[Split, int]
) -> tuple[Value, Value]:
    """The same with several minibatches under way."""
    mine, counter = world.server.send(parts[0], to=device, kind="weights"), Counter(world, 1)
    mine, back = await train_alone(device, (mine, parts[1]), Course(course[0], counter, course[1]))
    return await device.send(mine, to=world.server, kind="weights"), back


async def turn_of(
    world: World, device: Node, parts: tuple[Value, Value], course: tuple[Split, int]
) -> tuple[Value, Value]:
    """A turn at the device's own cut: gives both halves at the fleet's smallest."""
    split, depth = course
    own = at_cut(split, device.cut)
    halves = parts if own is split else await world.server.compute(lend, *parts, near=device, split=own)
    if depth == 1:
        halves = await take_turn(world, device, halves, own)
    else:
        halves = await turn_ahead(world, device, halves, (own, depth))
    if own is split:
        return halves
    found: tuple[Value, Value] = await world.server.compute(give_back, *halves, parts[1], near=device, split=split)
    return found


async def split_learning(world: World, problem: Problem, settings: SplitLearningSettings) -> None:
    """The label-sharing configuration; optimisers are fresh at the start of a turn on the device, kept at the server."""
    split = split_of(problem, settings)
    front, whole = await start(world, split)
    back = await world.server.compute(begin, whole, split=split, back=True)
    for _ in range(settings.rounds):
        for device in await world.sample(settings.cohort):
            taken = turn_of(world, device, (front, back), (split, settings.pipeline))
            turn = await world.gather({device: taken})
            front, back = turn.get(device, (front, back))
        world.report(front, await world.server.compute(end, back))
