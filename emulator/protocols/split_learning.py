"""Split learning: Gupta & Raskar, "Distributed learning of deep neural network over multiple agents", JNCA 2018.

Devices take turns: each trains the front against the server's back and relays the front to the next one, over the server (the
paper's centralised mode; devices have no link of their own). One round is one turn of each device of the cohort.
"""

from emulator.learning.sgd import Problem
from emulator.learning.split import Split, begin, end
from emulator.protocols.split_counter import Counter, Course, PipelinedTraining, train_alone
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


async def split_learning(world: World, problem: Problem, settings: SplitLearningSettings) -> None:
    """The label-sharing configuration; optimisers are fresh at the start of a turn on the device, kept at the server."""
    split = split_of(problem, settings)
    front, whole = await start(world, split)
    back = await world.server.compute(begin, whole, split=split, back=True)
    for _ in range(settings.rounds):
        for device in await world.sample(settings.cohort):
            parts = (front, back)
            taken = (
                take_turn(world, device, parts, split)
                if settings.pipeline == 1
                else turn_ahead(world, device, parts, (split, settings.pipeline))
            )
            turn = await world.gather({device: taken})
            front, back = turn.get(device, (front, back))
        world.report(front, await world.server.compute(end, back))
