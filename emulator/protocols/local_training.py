"""What the FedAvg family shares: a cohort downloads the weights, trains on its own data and uploads the result."""

from emulator.learning.evaluation import initial_weights
from emulator.learning.pruning import mean_sparsity
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.shards import Plan
from emulator.protocols.courier import Offer
from emulator.protocols.settings import LocalWork, PrunedTraining
from emulator.protocols.verbs import Node, Value, World


def local_sgd(problem: Problem, settings: LocalWork, *, mu: float = 0.0) -> LocalSGD:
    """The device's step, from a scenario's settings."""
    plan = Plan(settings.batch_size, settings.local_epochs or 1, settings.local_steps)
    threshold = settings.prune_threshold if isinstance(settings, PrunedTraining) else 0.0
    return LocalSGD(problem, plan, settings.learning_rate, settings.momentum, settings.weight_decay, mu, threshold)


async def sparsity(world: World, sgd: LocalSGD, updates: list[Value]) -> dict[str, Value]:
    """What a round tells of pruning: the mean share of zeros in the convolutions of what came; nothing without pruning."""
    if not sgd.prune_threshold or not updates:
        return {}
    return {"sparsity": await world.server.compute(mean_sparsity, *updates)}


async def start(world: World, problem: Problem, *, blocks: tuple[int, int] | None = None) -> Value:
    """The weights that everybody starts from: those given (in ``blocks``, if told), the rest drawn; free of time."""
    given = (world.server.data,) if problem.given else ()
    return await world.server.compute(
        initial_weights, world.seed("initial"), *given, model=problem.model, blocks=blocks
    )


async def client(world: World, device: Node, offer: Offer, sgd: LocalSGD) -> Value:
    """One device's round: download, train, upload; from and to the server, or its edge server in one of several turns."""
    errand = offer.to(device)
    weights = await errand.take()
    seed, sgd = world.seed("batches", device.name, *offer.names), sgd.part(device.completeness, device.samples)
    update = await device.compute(train, weights, device.data, seed, sgd=sgd)
    return await errand.bring(update)


async def cohort_updates(world: World, offer: Offer, sgd: LocalSGD, count: int) -> tuple[tuple[int, ...], list[Value]]:
    """Updates of the devices that survived the round, and how many samples each trained on."""
    cohort = await world.sample(count)
    updates = await world.gather({device: client(world, device, offer, sgd) for device in cohort})
    return tuple(device.samples for device in updates), list(updates.values())
