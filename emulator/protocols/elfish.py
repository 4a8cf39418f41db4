"""ELFISH: Xu, Yang, Xiong, Yang & Chen, "ELFISH: Resource-Aware Federated Learning on Heterogeneous Edge Devices".

arXiv 1912.01684, 2019. Abstract and introduction say: profile each device, let stragglers train a part of the neurons, another
one in every cycle, recover the masked ones, and weigh partly trained models by their contribution. The rules and formulas are
recalled of its successor Helios (later versions of that number, DAC 2021) or inferred, as each setting tells.
"""

from collections.abc import Iterator
from functools import partial
from math import floor
from typing import Literal, Self

from pydantic import Field, model_validator

from emulator.learning.models import ModelSpec
from emulator.learning.picking import Picking
from emulator.learning.sgd import Problem
from emulator.learning.submodel import share_findings, submodel
from emulator.protocols.local_training import start
from emulator.protocols.pacing import Paced, Pacing
from emulator.protocols.partial_training import PartialRounds, partial_findings
from emulator.protocols.verbs import World


class ElfishSettings(Paced):
    """Settings of ELFISH. Selection helios, its top share and the skip limit: recalled; other names and defaults: inferred."""

    aggregation: Literal["H", "P"] = Field(default="H", description="H: recovered models, by neurons; P: by parameter")
    selection: Literal["random", "round_robin", "helios", "fixed"] = Field(
        default="helios", description="which neurons: drawn, in turns, the most changed and drawn ones, always the same"
    )
    top_share: float = Field(
        default=0.1, ge=0, lt=1, description="Ps, share of the kept that is the most changed (helios)"
    )
    skip_limit: int | None = Field(default=None, ge=1, description="C_max, cycles; default ceil(n / k) of the layer")
    volume: float | None = Field(default=None, gt=0, le=1, description="of every straggler; default: by the pace")
    least_volume: float = Field(default=0.2, gt=0, le=1, description="p_min, the guard")
    volume_step: float = Field(default=0.005, gt=0, le=0.5, description="volumes are searched in such steps")
    layers: dict[str, float] = Field(default={}, description="keep ratios of named layers, in place of the volume")

    @model_validator(mode="after")
    def _selection_looks_at_them(self) -> Self:
        if self.selection != "helios":
            self.require_default(("top_share",), f"selection: {self.selection}")
        if self.selection in ("round_robin", "fixed"):
            self.require_default(("skip_limit",), f"selection: {self.selection}")
        return self

    @property
    def picking(self) -> Picking:
        """How neurons are picked."""
        how = "random" if self.selection == "fixed" else self.selection
        return Picking(how, self.top_share, self.skip_limit, forces=self.selection != "fixed")

    @property
    def volumes(self) -> list[float]:
        """Those to search, from the guard on."""
        count = floor((1 - self.least_volume) / self.volume_step + 1e-9)
        return [1.0, *(round(self.least_volume + number * self.volume_step, 9) for number in range(count))]


def elfish_findings(settings: ElfishSettings, model: ModelSpec) -> Iterator[str]:
    """What is wrong: a model without sub-networks, a volume below the guard, layers that it has not or that would be empty."""
    unfit = list(partial_findings(settings, model))
    if unfit:
        yield from unfit
        return
    if settings.volume is not None and settings.volume < settings.least_volume:
        yield f"protocol.volume: got {settings.volume:g}; expected at least least_volume, {settings.least_volume:g}"
    yield from (f"protocol.{words}" for words in share_findings(model, {}, settings.layers))


async def elfish(world: World, problem: Problem, settings: ElfishSettings) -> None:
    """The cycle: pace, volumes, soft-training, recovery and aggregation."""
    weights = await start(world, problem)
    rounds = PartialRounds(world, problem, settings, settings.picking)
    at = partial(submodel, problem.model, shares=settings.layers)
    pacing = Pacing(settings, rounds.sgd, at, settings.volumes)
    for _ in range(settings.rounds):
        subs = pacing.subs(await rounds.ask(weights), settings.volume)
        weights = await rounds.play(weights, subs, None if settings.selection == "fixed" else world.round)
        world.report(
            weights, **pacing.metrics(subs), **rounds.cohorts.metrics
        )  # as planned, before what was seen counts
        pacing.observe(rounds.slowness)
