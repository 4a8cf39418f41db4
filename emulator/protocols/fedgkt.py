"""FedGKT: He, Annavaram & Avestimehr, "Group Knowledge Transfer: Federated Learning of Large CNNs at the Edge", NeurIPS 2020.

Algorithm 1 (arXiv 2007.14513): ClientTrain trains a device's own feature extractor and classifier, with the server's logits
for its samples as a second teacher, then sends features, labels and logits; ServerExecute trains the server's model on all of
them, device by device, and its logits go back. Nobody's weights are averaged. As in the authors' code (FedML, fedgkt): features
are extracted with BatchNorm in evaluation, and the server's logits are those of its last epoch's forward passes.

Inferred: logits travel as labels, and go back when the device takes part again (Algorithm 1 hands them to ClientTrain); the
extractor and classifier to start from are sent on the first occasion; devices' optimisers are fresh in each round. The report
is of the server's model behind the front of the first device of the cohort, as every device has a front of its own.
"""

from typing import NamedTuple

from pydantic import Field

from emulator.learning.auxiliary import with_head, without_head
from emulator.learning.distillation import Transfer, extract, study, teach
from emulator.learning.sgd import Problem
from emulator.learning.split import begin, end
from emulator.protocols.policies.cohorts import Cohorts
from emulator.protocols.split_training import OwnFronts, split_of, start, upward
from emulator.protocols.verbs import Node, Value, World


class FedGKTSettings(OwnFronts):
    """Settings of FedGKT; the defaults of ``alpha`` and ``temperature`` are EcoFed's authors' for this baseline."""

    server_epochs: int = Field(default=1, ge=1, description="E_s: the server's passes over what came in a round")
    alpha: float = Field(
        default=1.0, ge=0, description="weight of the server's logits on the device, of labels at the server"
    )
    temperature: float = Field(default=3.0, gt=0, description="T, by which logits are divided where they teach")


class Lesson(NamedTuple):
    """What a device's round leaves: its weights and its front, there; features, labels, logits, codec's seed at the server."""

    weights: Value
    front: Value
    smashed: Value
    labels: Value
    logits: Value
    seed: int


async def client(world: World, device: Node, known: tuple[Value, tuple[Value, ...]], transfer: Transfer) -> Lesson:
    """ClientTrain. ``known``: the device's weights, where they are, and the server's logits if there are any."""
    weights, told = known
    seed = world.seed("features", device.name, world.round)
    teacher = [world.server.send(logits, to=device, kind="labels") for logits in told]
    if not told:
        weights = world.server.send(weights, to=device, kind="weights")
    weights = await device.compute(study, weights, device.data, *teacher, transfer=transfer)
    smashed, labels, logits = await device.compute(extract, weights, device.data, seed, transfer=transfer)
    up, names = upward(world, device, smashed, labels)
    own = device.send(logits, to=world.server, kind="labels")
    front = await device.compute(without_head, weights)
    return Lesson(weights, front, await up, await names, await own, seed)


async def lead(
    world: World, back: Value, lessons: dict[Node, Lesson], transfer: Transfer
) -> tuple[Value, dict[Node, Value]]:
    """One epoch of ServerExecute: gives the back, and its logits for each device's samples."""
    told = {}
    for device, (_, _, *sent) in lessons.items():
        back, told[device] = await world.server.compute(teach, back, *sent, near=world.server, transfer=transfer)
    return back, told


async def fedgkt(world: World, problem: Problem, settings: FedGKTSettings) -> None:
    """Algorithm 1, ServerExecute."""
    split = split_of(problem, settings)
    transfer = Transfer(split, settings.alpha, settings.temperature)
    front, whole = await start(world, split)
    first = await world.server.compute(with_head, front, world.seed("initial", "head"), split=split)
    back = await world.server.compute(begin, whole, split=split, back=True)
    known: dict[Node, tuple[Value, tuple[Value, ...]]] = {}
    cohorts = Cohorts(world, settings)
    for _ in range(settings.rounds):
        cohort = await cohorts.ask()
        lessons = await cohorts.gather(
            {device: client(world, device, known.get(device, (first, ())), transfer) for device in cohort}
        )
        for _ in range(settings.server_epochs):
            back, told = await lead(world, back, lessons, transfer)
            known.update({device: (lessons[device].weights, (told[device],)) for device in lessons})
        front = next((lesson.front for lesson in lessons.values()), front)
        del lessons
        world.report(front, await world.server.compute(end, back), **cohorts.metrics)
