"""SplitFed v2: Thapa et al., "SplitFed: When Federated Learning Meets Split Learning", AAAI 2022 (arXiv 2004.12088).

Algorithm 2 (SFLV2): the server has one back; it goes through the devices' smashed data one after another, in an order that
is drawn at random, and is updated by each; the devices' fronts run in parallel and are averaged at the end of a round.

Not in the paper, which has no clock: the back takes minibatches as they arrive at the server; the drawn order decides among
those that arrive in the same instant. Its optimiser is never fresh; those of the devices are, in every round.
"""

from typing import ClassVar

from emulator.learning.aggregation import average
from emulator.learning.random import choose
from emulator.learning.sgd import Problem
from emulator.learning.split import begin, end
from emulator.protocols.courier import Courier, Offer
from emulator.protocols.policies.cohorts import Cohorts
from emulator.protocols.split_counter import Counter, Course, PipelinedTraining, train_ahead
from emulator.protocols.split_training import split_of, start
from emulator.protocols.verbs import Node, Value, World


class SplitFedV2Settings(PipelinedTraining):
    """Settings of SplitFed v2: those of split training, and how many minibatches of a device are under way."""

    whole_rounds: ClassVar[str | None] = "the one back has learned from every device already"


async def client(device: Node, offer: Offer, course: Course) -> Value:
    """ClientUpdate: gives the front's weights, at the server."""
    errand = offer.to(device)
    mine = await train_ahead(device, errand.take(), course)
    return await errand.bring(mine)


async def splitfed_v2(world: World, problem: Problem, settings: SplitFedV2Settings) -> None:
    """Algorithm 2."""
    split, courier = split_of(problem, settings), Courier(world, settings)
    cohorts = Cohorts(world, settings)
    front, whole = await start(world, split)
    back = await world.server.compute(begin, whole, split=split, back=True)
    for _ in range(settings.rounds):
        cohort = await cohorts.ask()
        offer = await courier.offer(front)
        ranks = choose(world.seed("order", world.round), len(cohort), len(cohort))
        counter = Counter(world, len(cohort))
        serving = world.spawn(counter.serve(back, split, world.server))
        courses = [Course(split, counter, settings.pipeline, rank) for rank in ranks]
        fronts = await cohorts.gather(
            {device: client(device, offer, course) for device, course in zip(cohort, courses, strict=True)}
        )
        back, samples = await serving, tuple(device.samples for device in fronts)
        if sum(samples):
            front = await world.server.compute(average, samples, *fronts.values())
        del fronts, serving, offer
        world.report(front, await world.server.compute(end, back), **cohorts.metrics)
