"""FedAvg: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017, Algorithm 1."""

from emulator.protocols.settings import LocalTraining


class FedAvgSettings(LocalTraining):
    """Settings of FedAvg: exactly those of local training."""


async def fedavg(world: object, settings: object) -> None:
    """Play the protocol."""
