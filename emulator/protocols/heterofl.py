"""HeteroFL: Diao, Ding & Tarokh, "HeteroFL: Computation and Communication Efficient Federated Learning", ICLR 2021.

arXiv 2010.01264, recalled: nested sub-networks of fixed widths, the first neurons of every layer; every parameter is averaged
over the devices that have it. Left out of the paper: the scaler behind each layer, BatchNorm without running statistics (sBN),
and the loss masked by a device's classes. Ours: the average weighs by samples, residual blocks are narrow inside only, and
which device has which level: the largest that keeps the pace and fits (``assignment: pace``), or drawn once (``drawn``).
"""

from functools import partial
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from emulator.learning.picking import Picking
from emulator.learning.random import choose
from emulator.learning.sgd import Problem
from emulator.learning.submodel import Submodel, submodel
from emulator.protocols.local_training import start
from emulator.protocols.pacing import Paced, Pacing
from emulator.protocols.partial_training import PartialRounds
from emulator.protocols.verbs import Node, World

Level = Annotated[float, Field(gt=0, le=1)]


class Levels(Paced):
    """Widths, and who has which."""

    levels: list[Level] = Field(
        default=[1.0, 0.5, 0.25, 0.125, 0.0625], min_length=1, description="shares of the neurons of every inner layer"
    )
    assignment: Literal["pace", "drawn"] = Field(
        default="pace", description="a device's level: the largest at which it keeps the pace and fits, or drawn once"
    )

    @model_validator(mode="after")
    def _pace_decides(self) -> Self:
        if self.assignment == "drawn":
            self.require_default(tuple(Paced.__annotations__), "assignment: drawn")
        return self


class HeteroFLSettings(Levels):
    """Settings of HeteroFL."""


class Widths:
    """The level of each device."""

    def __init__(self, world: World, problem: Problem, settings: Levels, rounds: PartialRounds) -> None:
        self.world, self.settings = world, settings
        self.at = partial(submodel, problem.model)
        self.pacing = Pacing(settings, rounds.sgd, self.at, settings.levels)

    def of(self, cohort: list[Node]) -> dict[Node, float]:
        """The largest width that each device may train."""
        if self.settings.assignment == "pace":
            slow = set(self.pacing.stragglers(cohort))
            return {
                device: self.pacing.volume(device) if device in slow else max(self.settings.levels) for device in cohort
            }
        return {device: self.drawn(self.settings.levels, "level", device.name) for device in cohort}

    def drawn(self, levels: list[float], *names: str | int) -> float:
        """One of some levels, each as likely."""
        return levels[choose(self.world.seed(*names), 1, len(levels))[0]]

    def subs(self, cohort: list[Node]) -> dict[Node, Submodel]:
        """The sub-network of each device."""
        return {device: self.at(width) for device, width in self.of(cohort).items()}


async def heterofl(world: World, problem: Problem, settings: HeteroFLSettings) -> None:
    """Algorithm 1 without its scaler."""
    weights = await start(world, problem)
    rounds = PartialRounds(world, problem, settings, Picking("ordered"))
    widths = Widths(world, problem, settings, rounds)
    for _ in range(settings.rounds):
        subs = widths.subs(await rounds.ask(weights))
        weights = await rounds.play(weights, subs)
        world.report(
            weights, **widths.pacing.metrics(subs), **rounds.cohorts.metrics
        )  # as planned, before what was seen counts
        widths.pacing.observe(rounds.slowness)
