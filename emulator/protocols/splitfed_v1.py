"""SplitFed v1: Thapa et al., "SplitFed: When Federated Learning Meets Split Learning", AAAI 2022 (arXiv 2004.12088).

Algorithm 1 (SFLV1): devices train in parallel, each against a copy of the back of its own; at the end of a round the fronts
are averaged (by the paper's fed server, here the server) and so are the backs, both weighted by samples.

Not in the paper: groups with cuts of their own; each tensor is then averaged over all devices, in whichever half it was.
"""

from typing import ClassVar, Self

from pydantic import model_validator

from emulator.learning.sgd import Problem
from emulator.learning.split import Split, begin, end
from emulator.protocols.courier import Courier, Offer
from emulator.protocols.policies.cohorts import Cohorts
from emulator.protocols.policies.settings import Deadline
from emulator.protocols.split_counter import Counter, Course, PipelinedTraining, train_alone
from emulator.protocols.split_cuts import at_cut, at_cuts, averaged
from emulator.protocols.split_training import round_of, split_of, start
from emulator.protocols.verbs import Node, Value, World


class SplitFedV1Settings(PipelinedTraining):
    """Settings of SplitFed v1: those of split training, and how many minibatches of a device are under way."""

    whole_work: ClassVar[str | None] = None

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        if self.pipeline > 1 and isinstance(self.ending, Deadline) and self.ending.late == "partial":
            raise ValueError(
                f"ending.late: got partial with pipeline {self.pipeline}; expected cut off, or pipeline 1, as minibatches "
                "under way would be lost"
            )
        return self


async def round_ahead(
    world: World, device: Node, parts: tuple[Offer, Value], course: tuple[Split, int]
) -> tuple[Value, Value]:
    """A device's round with several minibatches under way: gives both halves' weights, at the server."""
    split, depth = course
    errand = parts[0].to(device)
    mine = errand.take()
    copy = world.server.compute(begin, parts[1], near=device, split=split, back=True)
    mine, theirs = await train_alone(device, (mine, copy), Course(split, Counter(world, 1), depth))
    return await errand.bring(mine), await world.server.compute(end, theirs, near=device)


async def splitfed_v1(world: World, problem: Problem, settings: SplitFedV1Settings) -> None:
    """Algorithm 1."""
    split, cohorts = split_of(problem, settings), Cohorts(world, settings)
    courier = Courier(world, settings, cohorts)
    front, back = await start(world, split)
    for _ in range(settings.rounds):
        cohort = await cohorts.ask()
        halves = await at_cuts(world, (front, back), split, cohort)
        parts = {cut: (await courier.offer(mine), theirs) for cut, (mine, theirs) in halves.items()}
        trained = await cohorts.gather(
            {
                device: round_of(world, device, parts[device.cut], at_cut(split, device.cut))
                if settings.pipeline == 1
                else round_ahead(world, device, parts[device.cut], (at_cut(split, device.cut), settings.pipeline))
                for device in cohort
            }
        )
        if any(device.samples for device in trained):
            front, back = await averaged(world, trained, split)
        del trained, parts, halves
        world.report(front, back, **cohorts.metrics)
