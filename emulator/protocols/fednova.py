"""FedNova: Wang et al., "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization", NeurIPS 2020.

Devices train as in FedAvg or FedProx; the server takes each device's change divided by ||a_i||_1 (how strongly its local steps
count: their number, for plain SGD), averages by samples, and goes as far as the devices did on average, tau_eff (equation 9).
Momentum and proximal term are in a_i as in the paper. Both at once are not in the paper's table; its definition is kept.

Ours, not the paper's: devices send their weights and the server divides (the same bytes; it knows how many minibatches each
did, as it knows their samples); BatchNorm's running statistics take the mean by samples; the server's own momentum of the
authors' experiments is not built.
"""

from typing import Literal

from pydantic import Field

from emulator.learning.drift import effective, length, nova_average
from emulator.learning.sgd import LocalSGD, Problem
from emulator.protocols.courier import Courier
from emulator.protocols.local_training import client, local_sgd, start
from emulator.protocols.settings import CodedTraining
from emulator.protocols.verbs import Node, World


class FedNovaSettings(CodedTraining):
    """FedAvg's settings, the proximal term, and how far the server goes."""

    mu: float = Field(default=0.0, ge=0, description="weight of the proximal term (mu / 2) ||w - w_t||^2")
    tau_eff: Literal["lengths", "steps"] = Field(
        default="lengths", description="how far the server goes: the mean of ||a_i||_1, or of the local steps"
    )


def work(sgd: LocalSGD, device: Node) -> tuple[float, int]:
    """||a_i||_1 and the number of minibatches of a device in this round."""
    sgd = sgd.part(device.completeness, device.samples)
    steps = sgd.plan.batches(device.samples)
    return length(sgd, steps), steps


async def fednova(world: World, problem: Problem, settings: FedNovaSettings) -> None:
    """Equation 9, round after round."""
    sgd = local_sgd(problem, settings, mu=settings.mu)
    weights, courier = await start(world, problem), Courier(world, settings)
    for _ in range(settings.rounds):
        cohort = {device: work(sgd, device) for device in await world.sample(settings.cohort)}
        offer = await courier.offer(weights)
        updates = await world.gather({device: client(world, device, offer, sgd) for device in cohort})
        samples = tuple(device.samples for device in updates)
        if sum(samples):
            lengths = tuple(cohort[device][0] for device in updates)
            counts = lengths if settings.tau_eff == "lengths" else tuple(float(cohort[device][1]) for device in updates)
            far = effective(samples, counts)
            weights = await world.server.compute(
                nova_average, far, samples, lengths, weights, *updates.values(), model=problem.model
            )
        del updates
        world.report(weights)
