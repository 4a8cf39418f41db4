"""SplitFed v1: Thapa et al., "SplitFed: When Federated Learning Meets Split Learning", AAAI 2022 (arXiv 2004.12088).

Algorithm 1 (SFLV1): devices train in parallel, each against a copy of the back of its own; at the end of a round the fronts
are averaged (by the paper's fed server, here the server) and so are the backs, both weighted by samples.
"""

from emulator.learning.aggregation import average
from emulator.learning.sgd import Problem
from emulator.protocols.split_training import SplitTraining, round_of, split_of, start
from emulator.protocols.verbs import World


class SplitFedV1Settings(SplitTraining):
    """Settings of SplitFed v1: those of split training."""


async def splitfed_v1(world: World, problem: Problem, settings: SplitFedV1Settings) -> None:
    """Algorithm 1."""
    split = split_of(problem, settings)
    front, back = await start(world, split)
    for _ in range(settings.rounds):
        cohort = await world.sample(settings.cohort)
        trained = await world.gather({device: round_of(world, device, (front, back), split) for device in cohort})
        samples = tuple(device.samples for device in trained)
        if sum(samples):
            front = await world.server.compute(average, samples, *(mine for mine, _ in trained.values()))
            back = await world.server.compute(average, samples, *(theirs for _, theirs in trained.values()))
        del trained
        world.report(front, back)
