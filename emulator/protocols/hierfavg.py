"""HierFAVG: Liu, Zhang, Song & Letaief, "Client-Edge-Cloud Hierarchical Federated Learning", IEEE ICC 2020.

Algorithm 1. Every edge server averages its devices' weights ``edge_rounds`` (kappa_2) times before the server averages the
edges'; both averages are weighted by samples. An edge waits for all its devices, then sends one update over its backhaul.
"""

from typing import ClassVar

from pydantic import Field

from emulator.learning.aggregation import average
from emulator.learning.sgd import LocalSGD, Problem
from emulator.protocols.courier import Courier, Offer
from emulator.protocols.local_training import client, local_sgd, start
from emulator.protocols.settings import CodedTraining
from emulator.protocols.verbs import Node, Value, World


class HierFavgSettings(CodedTraining):
    """Settings of HierFAVG."""

    whole_rounds: ClassVar[str | None] = "edge servers wait for all their devices"
    own_sampling: ClassVar[str | None] = "the devices of edge servers are drawn from the whole fleet"

    edge_rounds: int = Field(default=1, ge=1, description="averages at the edges before one at the server (kappa_2)")


async def tier(edge: Node, devices: list[Node], offer: Offer, how: tuple[LocalSGD, int]) -> tuple[int, Value]:
    """One edge server's part of a round: gives its samples and, at the server, its weights.

    An edge that nothing came to sends nothing, and keeps what its coding has left out so far.
    """
    (sgd, rounds), courier, errand = how, offer.courier, offer.to(edge)
    world, samples = courier.world, 0
    weights = await errand.take()
    for turn in range(rounds):
        mine = await courier.offer(weights, edge, turn=turn)
        updates = await world.gather({device: client(world, device, mine, sgd) for device in devices})
        counts = tuple(device.samples for device in updates)
        if sum(counts):
            weights = await edge.compute(average, counts, *updates.values())
            samples = sum(counts)
        del updates, mine
    return samples, await errand.bring(weights) if samples else None


async def hierfavg(world: World, problem: Problem, settings: HierFavgSettings) -> None:
    """Algorithm 1, with kappa_1 as the local epochs or steps."""
    weights, courier = await start(world, problem), Courier(world, settings)
    how = (local_sgd(problem, settings), settings.edge_rounds)
    for _ in range(settings.rounds):
        cohort: dict[Node, list[Node]] = {}
        for device in await world.sample(settings.cohort):
            assert device.edge is not None  # the scenario has seen to it
            cohort.setdefault(device.edge, []).append(device)
        offer = await courier.offer(weights)
        parts = await world.gather({edge: tier(edge, devices, offer, how) for edge, devices in cohort.items()})
        came = [part for part in parts.values() if part[0]]
        if came:
            samples = tuple(count for count, _ in came)
            weights = await world.server.compute(average, samples, *(part for _, part in came))
        del parts, came, offer
        world.report(weights)
