"""Lightweight FedSL: Zhang, Ni & Wang, arXiv 2412.06414, 2024.

"Federated Split Learning with Model Pruning and Gradient Quantization in Wireless Networks". Its abstract names the parts:
federated split learning (devices in parallel, each with the front of the model), dynamic pruning of the client-side model,
quantised gradient updates, random dropout of the activations at the cut. A summary of the paper adds: pruned is what
contributes least to the loss, fronts are aggregated every I rounds, and the experiments are of VGG-19 on CIFAR-10.

Inferred, and ours: the formulas (``front_pruning``, ``lean_front``), backs averaged every round as in SplitFed v1 or one
shared back, a cohort that stays for I rounds, fresh optimisers each round, averages weighted by samples. With every knob
off a round is SplitFed v1's, verb by verb. Between two aggregations the newest whole model is the last one.
"""

from emulator.learning.sgd import Problem
from emulator.learning.split import begin, end
from emulator.protocols.fedsl_settings import FedSLSettings as FedSLSettings
from emulator.protocols.lean_rounds import Rounds
from emulator.protocols.split_training import start
from emulator.protocols.verbs import World


async def fedsl(world: World, problem: Problem, settings: FedSLSettings) -> None:
    """Rounds of split training, fronts averaged every ``interval`` of them."""
    split = settings.split(problem)
    front, back = newest = await start(world, split)
    rounds, shared = Rounds(world, settings, split), settings.backs == "shared"
    if shared:
        back = await world.server.compute(begin, back, split=split, back=True)
    for number in range(1, settings.rounds + 1):
        closing = number % settings.interval == 0
        front, back = await (rounds.play_joined if shared else rounds.play)((front, back), closing=closing)
        if closing:
            newest = (front, await world.server.compute(end, back) if shared else back)
        world.report(*newest)
