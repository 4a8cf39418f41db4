"""The first round on the clock alone, before a run: what it would take, and whether it can be planned at all."""

from dataclasses import replace

from actors.inline import TimingOnly
from emulator.blueprint import Blueprint
from emulator.protocols.base import Rounds
from emulator.rows import Round
from emulator.simulation import Simulation


def first_round(plan: Blueprint, settings: Rounds) -> Round:
    """Raises DecisionMissing where the protocol decides on data, and Unmet where it cannot be planned."""
    watched = replace(plan.observation, accuracy=None, virtual_time_s=None)
    one = replace(plan, settings=settings.model_copy(update={"rounds": 1}), observation=watched)
    messages = (row for rows in Simulation(one, TimingOnly()).messages() for row in rows)
    return next(row for row in messages if isinstance(row, Round))


def rehearse(plan: Blueprint) -> None:
    """Try the first round of a protocol whose plans may fail. Raises Unmet."""
    if isinstance(plan.settings, Rounds) and plan.settings.plans:
        first_round(plan, plan.settings)
