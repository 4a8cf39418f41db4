"""FjORD: Horvath et al., "FjORD: Fair and Accurate Federated Learning under heterogeneous targets with Ordered Dropout".

NeurIPS 2021, arXiv 2102.13451, recalled: a device trains sub-networks of the first neurons of every layer, of widths drawn from
those up to its own largest; every parameter is averaged over the devices that trained it. Differences: the paper draws a
width for each minibatch, here a device draws one for each round (so that a round is one step of known shapes); no
self-distillation from the widest to the drawn one; one BatchNorm for all widths. Ours: levels are given as in HeteroFL.
"""

from emulator.learning.picking import Picking
from emulator.learning.sgd import Problem
from emulator.protocols.heterofl import Levels, Widths
from emulator.protocols.local_training import start
from emulator.protocols.partial_training import PartialRounds
from emulator.protocols.verbs import World


class FjORDSettings(Levels):
    """Settings of FjORD: ``levels`` are the widths that may be drawn."""


async def fjord(world: World, problem: Problem, settings: FjORDSettings) -> None:
    """Algorithm 1, with a width for each device and round."""
    weights = await start(world, problem)
    rounds = PartialRounds(world, problem, settings, Picking("ordered"))
    widths = Widths(world, problem, settings, rounds)
    for _ in range(settings.rounds):
        largest = widths.of(await rounds.ask(weights))
        subs = {}
        for device, width in largest.items():
            allowed = [level for level in settings.levels if level <= width]
            subs[device] = widths.at(widths.drawn(allowed, "width", device.name, world.round))
        weights = await rounds.play(weights, subs)
        world.report(
            weights, **widths.pacing.metrics(subs), **rounds.cohorts.metrics
        )  # as planned, before what was seen counts
        widths.pacing.observe(rounds.slowness)
