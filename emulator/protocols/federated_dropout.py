"""Federated dropout: Caldas, Konecny, McMahan & Talwalkar, "Expanding the Reach of Federated Learning", 2018.

arXiv 1812.07210, section 3.2, recalled: in every round each device trains a sub-network of randomly drawn units and filters, as
many of every layer for all devices, which the server puts back in their places. Without the paper's compression of the
sub-network. Ours: each parameter is averaged over the devices that trained it (``aggregation: H`` averages recovered models).
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


async def federated_dropout(world: World, problem: Problem, settings: FederatedDropoutSettings) -> None:
    """Rounds of FedAvg on sub-networks drawn anew."""
    weights = await start(world, problem)
    rounds = PartialRounds(world, problem, settings, Picking("random", forces=False))
    sub = submodel(problem.model, settings.volume)
    for _ in range(settings.rounds):
        subs = dict.fromkeys(await world.sample(settings.cohort), sub)
        weights = await rounds.play(weights, subs, world.round)
        world.report(weights)
