"""FedProx: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, Algorithm 2.

Devices minimise F_k(w) + (mu / 2) ||w - w_t||^2 by local SGD. Ours, not the paper's: cohorts are drawn uniformly and
averaged by samples, as in FedAvg (the paper samples by n_k / n and averages plainly), so that mu = 0 is FedAvg exactly.
"""

from pydantic import Field

from emulator.learning.sgd import Problem
from emulator.protocols.fedavg import averaging
from emulator.protocols.local_training import local_sgd
from emulator.protocols.settings import CodedTraining, PrunedTraining
from emulator.protocols.verbs import World


class FedProxSettings(CodedTraining, PrunedTraining):
    """FedAvg's settings and the weight of the proximal term."""

    mu: float = Field(ge=0, description="weight of the proximal term (mu / 2) ||w - w_t||^2; 0 is FedAvg")


async def fedprox(world: World, problem: Problem, settings: FedProxSettings) -> None:
    """Algorithm 2."""
    await averaging(world, problem, settings, local_sgd(problem, settings, mu=settings.mu))
