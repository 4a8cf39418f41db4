"""Federated dropout: Caldas, Konecny, McMahan & Talwalkar, "Expanding the Reach of Federated Learning", 2018.

arXiv 1812.07210, section 3.2, recalled: in every round each device trains a sub-network of randomly drawn units and filters, as
many of every layer for all devices, which the server puts back in their places. Without the paper's compression of the
sub-network. Ours: each parameter is averaged over the devices that trained it (``aggregation: H`` averages recovered models),
and ``shared``: whether the paper draws one sub-network a round or one a device is told differently by those who cite it.
"""

from pydantic import Field

from emulator.learning.picking import Picking
from emulator.learning.sgd import Problem
from emulator.learning.submodel import submodel
from emulator.protocols.local_training import start
from emulator.protocols.partial_training import PartialRounds, PartialTraining
from emulator.protocols.verbs import World


class FederatedDropoutSettings(PartialTraining):
    """Settings of federated dropout."""

    volume: float = Field(gt=0, le=1, description="share of each inner layer's neurons that every device trains")
    shared: bool = Field(default=False, description="whether all devices of a round train the same sub-network")


async def federated_dropout(world: World, problem: Problem, settings: FederatedDropoutSettings) -> None:
    """Rounds of FedAvg on sub-networks drawn anew."""
    weights = await start(world, problem)
    rounds = PartialRounds(world, problem, settings, Picking("random", forces=False, shared=settings.shared))
    sub = submodel(problem.model, settings.volume)
    for _ in range(settings.rounds):
        subs = dict.fromkeys(await rounds.ask(weights), sub)
        weights = await rounds.play(weights, subs, world.round)
        world.report(weights, **rounds.cohorts.metrics)
