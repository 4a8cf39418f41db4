"""Split learning: Gupta & Raskar, "Distributed learning of deep neural network over multiple agents", JNCA 2018.

Devices take turns: each trains the front against the server's back and relays the front to the next one, over the server (the
paper's centralised mode; devices have no link of their own). One round is one turn of each device of the cohort.

Not in the paper: groups with cuts of their own. Blocks change sides between turns; the server's velocity of a block that is
away waits for it, as the device's stays on the device. A device that is lost in its turn takes the turn with it: the next one
goes on from typing import ClassVar

from both halves as they were before.
"""

from typing import ClassVar

from emulator.learning.sgd import Problem
from emulator.learning.split import Split, begin, end
from emulator.learning.split_cuts import give_back, lend
from emulator.protocols.courier import Courier, Offer
from emulator.protocols.split_counter import Counter, Course, PipelinedTraining, train_alone
from emulator.protocols.split_cuts import at_cut
from emulator.protocols.split_training import minibatches, received, split_of, start
from emulator.protocols.verbs import Node, Value, World


class SplitLearningSettings(PipelinedTraining):
    """Settings of sequential split learning: those of split training, and how many minibatches are under way."""

    whole_rounds: ClassVar[str | None] = "devices take turns, and each goes on from the one before"
    own_sampling: ClassVar[str | None] = "turns are drawn from the whole fleet"


async def take_turn(world: World, device: Node, parts: tuple[Offer, Value], split: Split) -> tuple[Value, Value]:
    """One device's turn: gives the front's weights and the back, both at the server."""
    errand = parts[0].to(device)
    which = (split, world.seed("batches", device.name, world.round))
    mine, back = await minibatches(world, device, (await received(device, errand, split), parts[1]), which)
    return await errand.bring(await device.compute(end, mine), kind="weights"), back


async def turn_ahead(
    world: World, device: Node, parts: tuple[Offer, Value], course: tuple[Split, int]
) -> tuple[Value, Value]:
    """The same with several minibatches under way."""
    errand, counter = parts[0].to(device), Counter(world, 1)
    mine = errand.take()
    mine, back = await train_alone(device, (mine, parts[1]), Course(course[0], counter, course[1]))
    return await errand.bring(mine, kind="weights"), back


async def turn_of(
    device: Node, parts: tuple[Value, Value], course: tuple[Split, int, int], courier: Courier
) -> tuple[Value, Value]:
    """A turn at the device's own cut: gives both halves at the fleet's smallest."""
    (split, depth, turn), world = course, courier.world
    own = at_cut(split, device.cut)
    halves = parts if own is split else await world.server.compute(lend, *parts, near=device, split=own)
    offered = (await courier.offer(halves[0], turn=turn), halves[1])
    if depth == 1:
        halves = await take_turn(world, device, offered, own)
    else:
        halves = await turn_ahead(world, device, offered, (own, depth))
    if own is split:
        return halves
    found: tuple[Value, Value] = await world.server.compute(give_back, *halves, parts[1], near=device, split=split)
    return found


async def split_learning(world: World, problem: Problem, settings: SplitLearningSettings) -> None:
    """The label-sharing configuration; optimisers are fresh at the start of a turn on the device, kept at the server."""
    split, courier = split_of(problem, settings), Courier(world, settings)
    front, whole = await start(world, split)
    back = await world.server.compute(begin, whole, split=split, back=True)
    for _ in range(settings.rounds):
        for number, device in enumerate(await world.sample(settings.cohort)):
            taken = turn_of(device, (front, back), (split, settings.pipeline, number), courier)
            turn = await world.gather({device: taken})
            front, back = turn.get(device, (front, back))
        world.report(front, await world.server.compute(end, back))
