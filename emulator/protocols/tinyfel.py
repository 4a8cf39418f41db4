"""TinyFEL: Chen et al., "TinyFEL: Communication, Computation, and Memory Efficient Tiny Federated Edge Learning via Model
Sparse Update", IEEE IoT-J 12(7), 2025, DOI 10.1109/JIOT.2024.3499375.

What the abstract says: backpropagation stops early on devices, only updated layers are sent, and update ratios, device
selection and resources are assigned together for the least latency under a convergence requirement. What is inferred
(ours): all formulas (``emulator/learning/assignment``), suffixes of blocks, averages block by block (``suffix.py``), downlinks
of what has changed since a device last had it, and that devices keep their frozen blocks.
"""

from emulator.learning.aggregation import average
from emulator.learning.models import summary
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.suffix import average_layers, joined, layers, train_suffix
from emulator.protocols.assigning import Share, assign
from emulator.protocols.local_training import local_sgd, start
from emulator.protocols.tinyfel_settings import TinyFELSettings
from emulator.protocols.verbs import Node, Value, World

__all__ = ["TinyFELSettings", "tinyfel"]


class Versions:
    """The round in which each block last changed, and which frozen blocks of which version devices still have."""

    def __init__(self, blocks: int) -> None:
        self.current = [0] * blocks
        self.held: dict[str, tuple[Value, list[int]]] = {}

    def missing(self, device: Node) -> tuple[int, ...]:
        """Blocks that a device has not, or only in an older version."""
        _, had = self.held.get(device.name, (None, []))
        return tuple(b for b, version in enumerate(self.current) if b >= len(had) or had[b] != version)

    def changed(self, first: int, round_: int) -> None:
        """The blocks from ``first`` on have."""
        self.current[first:] = [round_] * (len(self.current) - first)


async def client(world: World, device: Node, share: Share, parts: tuple[Value, Versions], sgd: LocalSGD) -> Value:
    """A device's round: download what has changed, train its last blocks, upload those."""
    piece, versions = parts
    kept, had = versions.held.pop(device.name, (None, list[int]()))
    piece = await world.server.send(piece, to=device, kind="weights", bandwidth_hz=share.downlink_hz)
    if kept is not None:
        piece = await device.compute(joined, kept, piece, spec=sgd.problem.model)
    kept, had, seed = None, list(versions.current), world.seed("batches", device.name, world.round)
    sgd = sgd.part(device.completeness, device.samples)
    if share.first == 0:
        piece = await device.compute(train, piece, device.data, seed, sgd=sgd)
    else:
        piece, kept = await device.compute(train_suffix, piece, device.data, seed, sgd=sgd, first=share.first)
    update = await device.send(piece, to=world.server, kind="update", bandwidth_hz=share.uplink_hz)
    if kept is not None:
        versions.held[device.name] = kept, had[: share.first]
    return update


async def pieces(world: World, weights: Value, shares: dict[Node, Share], versions: Versions) -> dict[Node, Value]:
    """What each device is sent: the blocks that it is missing."""
    wanted = {device: versions.missing(device) for device in shares}
    made = {tuple(range(len(versions.current))): weights}
    for blocks in wanted.values():
        if blocks not in made:
            made[blocks] = await world.server.compute(layers, weights, blocks=blocks)
    return {device: made[blocks] for device, blocks in wanted.items()}


async def tinyfel(world: World, problem: Problem, settings: TinyFELSettings) -> None:
    """Assign, train, average what was updated. A round that nobody survives leaves the weights as they are."""
    sgd, weights = local_sgd(problem, settings), await start(world, problem)
    versions = Versions(len(summary(problem.model)))
    for _ in range(settings.rounds):
        cohort = await world.sample(settings.cohort)
        shares, told = assign(world, cohort, (weights, sgd), settings, versions.missing)
        sent = await pieces(world, weights, shares, versions)
        clients = {
            device: client(world, device, share, (sent[device], versions), sgd) for device, share in shares.items()
        }
        del sent
        updates = await world.gather(clients)
        samples = tuple(device.samples for device in updates)
        if sum(samples) and not any(shares[device].first for device in updates):
            weights = await world.server.compute(average, samples, *updates.values())
        elif sum(samples):
            weights = await world.server.compute(average_layers, samples, weights, *updates.values())
        if sum(samples):
            versions.changed(min(shares[device].first for device in updates if device.samples), world.round)
        del updates, clients
        world.report(weights, **told)
