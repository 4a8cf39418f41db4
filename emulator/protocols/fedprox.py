"""FedProx: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, Algorithm 2."""

from pydantic import Field

from emulator.protocols.settings import LocalTraining


class FedProxSettings(LocalTraining):
    """FedAvg's settings and the weight of the proximal term."""

    mu: float = Field(ge=0, description="weight of the proximal term (mu / 2) ||w - w_t||^2; 0 is FedAvg")


async def fedprox(world: object, settings: object) -> None:
    """Play the protocol."""
