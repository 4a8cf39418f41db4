"""Local losses: Han et al., "Accelerating Federated Learning with Split Learning on Locally Generated Losses", ICML 2021
workshop on federated learning; with the head of EcoFed's baseline LGL (one fully connected layer, in its authors' code).

The front learns from the loss of an auxiliary head on the device, the server's copy of the back from the smashed data; no
gradient crosses the network. Front and head, and the server's copies, are averaged at the end of a round.

Inferred: averages are weighted by samples; smashed data leave before the backward pass, and a device starts on a minibatch
when fewer than ``pipeline`` of its minibatches are on the air. Nothing is ever stale here: no answer is waited for.

Not in the paper: groups with cuts of their own. Fronts and backs are averaged tensor by tensor over all devices; a head
belongs to its cut (elsewhere its data have another shape or meaning) and is averaged over the devices of that cut.
"""

from collections import deque

from pydantic import Field

from emulator.learning.auxiliary import begin_local, front_local, with_head, without_head
from emulator.learning.frozen import learn
from emulator.learning.sgd import Problem
from emulator.learning.split import Split, begin, end, resume, sizes
from emulator.learning.split_cuts import average_head
from emulator.protocols.courier import Courier, Offer
from emulator.protocols.policies.cohorts import Cohorts
from emulator.protocols.split_cuts import Halves, at_cut, at_cuts, averaged, averaged_whole
from emulator.protocols.split_training import OneWay, split_of, start, upward
from emulator.protocols.verbs import Node, Value, World


class LocalLossSettings(OneWay):
    """Settings of local-loss split training."""

    pipeline: int = Field(default=1, ge=1, description="minibatches of one device that may be on the air at once")


async def client(
    world: World, device: Node, parts: tuple[Offer, Value], course: tuple[Split, int]
) -> tuple[Value, Value]:
    """A device's round: gives front with head, and the server's copy of the back, all at the server."""
    (split, depth), seed = course, world.seed("batches", device.name, world.round)
    air = deque[tuple[Value, Value]]()
    errand = parts[0].to(device)
    mine = errand.take()
    mine = await device.compute(begin_local, mine, split=split)
    copy = world.server.compute(begin, parts[1], near=device, split=split, back=True)
    for number, size in enumerate(sizes(split.plan, device.samples)):
        if len(air) == depth:
            for part in air.popleft():
                await part
        smashed, labels, waiting = await device.compute(
            front_local, mine, device.data, seed, number, split=split, size=size
        )
        air.append(upward(world, device, smashed, labels))
        copy = world.server.compute(learn, copy, *air[-1], seed, number, near=device, split=split)
        mine = await device.compute(resume, waiting, labels)
    update = await errand.bring(await device.compute(end, mine))
    return update, await world.server.compute(end, copy, near=device)


Fronts = dict[int | None, Value]  # with their heads, by cut


async def renewed(world: World, trained: dict[Node, Halves], fronts: Fronts, split: Split) -> tuple[Fronts, Value]:
    """Fronts with heads and the back after a round."""
    if len(fronts) == 1:
        front, back = await averaged(world, trained, split)
        return {split.cut: front}, back
    samples = tuple(device.samples for device in trained)
    parts = await averaged_whole(world, samples, list(trained.values()), split)
    found = Fronts()
    for cut, (front, _) in (await at_cuts(world, parts, split, world.devices)).items():
        taught = [(device.samples, mine) for device, (mine, _) in trained.items() if device.cut == cut]
        if not any(count for count, _ in taught):
            taught = [(1, fronts[cut])]
        counts, heads = zip(*taught, strict=True)
        found[cut] = await world.server.compute(average_head, counts, front, *heads)
    return found, parts[1]


async def local_loss(world: World, problem: Problem, settings: LocalLossSettings) -> None:
    """Rounds of the paper's parallel training of fronts and backs."""
    split, seed = split_of(problem, settings), world.seed("initial", "head")
    cohorts = Cohorts(world, settings)
    courier = Courier(world, settings, cohorts)
    front, back = await start(world, split)
    fronts = {
        cut: await world.server.compute(with_head, own, seed, split=at_cut(split, cut))
        for cut, (own, _) in (await at_cuts(world, (front, back), split, world.devices)).items()
    }
    del front
    for _ in range(settings.rounds):
        cohort = await cohorts.ask()
        halves = await at_cuts(world, (fronts[split.cut], back), split, cohort)
        parts = {cut: (await courier.offer(fronts[cut]), theirs) for cut, (_, theirs) in halves.items()}
        trained = await cohorts.gather(
            {
                device: client(
                    world, device, parts[device.cut], (at_cut(split, device.cut), settings.pipeline)
                )
                for device in cohort
            }
        )  # fmt: skip
        if any(device.samples for device in trained):
            fronts, back = await renewed(world, trained, fronts, split)
        del trained, parts, halves
        world.report(await world.server.compute(without_head, fronts[split.cut]), back, **cohorts.metrics)
