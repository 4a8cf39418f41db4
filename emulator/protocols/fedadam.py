"""FedAdam: Reddi et al., "Adaptive Federated Optimization", ICLR 2021, Algorithm 2 (FedAdam)."""

from pydantic import Field

from emulator.protocols.settings import LocalTraining


class FedAdamSettings(LocalTraining):
    """FedAvg's settings and those of the server's Adam step (names of the paper)."""

    server_learning_rate: float = Field(default=0.01, gt=0, description="eta, the server's step size")
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.99, ge=0, lt=1)
    tau: float = Field(default=1e-3, gt=0, description="degree of adaptivity, added to the root")


async def fedadam(world: object, settings: object) -> None:
    """Play the protocol."""
