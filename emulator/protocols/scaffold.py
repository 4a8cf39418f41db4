"""SCAFFOLD: Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020, Algorithm 1.

Devices follow g - c_i + c, where c_i is the device's own control variate and c their mean. x and c come down, the trained
weights and the change of c_i go up; c_i stays in the device's memory. A device that is lost keeps its old c_i, and c knows
nothing of the new one.

Ours, not the paper's: devices send y_i and the server subtracts x (the same bytes); with momentum, option II divides by the
strength of the local steps in place of their number (``learning/drift.py``); BatchNorm's running statistics have no control
variate and take the mean; devices without data are left out. ``weighting: samples`` is FedAvg's, as in the code of
Yu et al. (ADP, arXiv 2106.06921), which wraps this protocol.
"""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from emulator.learning.aggregation import average
from emulator.learning.drift import Controlled, controlled, no_control, scaffold_step
from emulator.learning.sgd import Problem
from emulator.protocols.local_training import local_sgd, sparsity, start
from emulator.protocols.policies.cohorts import Cohorts
from emulator.protocols.policies.figures import OnDevices, whole
from emulator.protocols.settings import PrunedTraining
from emulator.protocols.verbs import Node, Value, World


class ScaffoldSettings(PrunedTraining):
    """FedAvg's settings and those of Algorithm 1."""

    no_figures: ClassVar[str | None] = None

    option: Literal[1, 2] = Field(default=2, description="how c_i is renewed: 1 gradient at x, 2 mean along the way")
    server_learning_rate: float = Field(default=1.0, gt=0, description="eta_g, the server's step size")
    weighting: Literal["uniform", "samples"] = Field(
        default="uniform", description="of the devices' weights: all alike as in the paper, or by samples"
    )

    @model_validator(mode="after")
    def _pruning_is_no_gradient(self) -> Self:
        if self.option == 2 and self.prune_threshold:
            raise ValueError(
                f"prune_threshold: got {self.prune_threshold:g} with option 2; expected option 1, as option 2 would take what "
                "pruning did to the weights for a gradient"
            )
        return self


async def client(
    cohorts: Cohorts, device: Node, state: tuple[Value, Value, tuple[Value, ...]], how: Controlled
) -> tuple[Value, Value, Value]:
    """Lines 5 to 14. ``state``: x, c and the device's c_i. Gives y_i and the change of c_i there, and c_i, which stays here."""
    (weights, control, own), world = state, cohorts.world
    held = cohorts.held(device)  # it was asked ahead of the round
    down = world.server.send(weights, to=device, kind="weights") if held is None else held
    beside = world.server.send(control, to=device, kind="weights")
    await cohorts.received(device, down)
    seed = world.seed("batches", device.name, world.round)
    sgd = how.sgd.part(device.completeness, device.samples)
    trained, kept, change = await device.compute(
        controlled, down, device.data, seed, beside, *own, how=Controlled(sgd, how.option)
    )
    up, along = (
        device.send(trained, to=world.server, kind="update"),
        device.send(change, to=world.server, kind="update"),
    )
    return await up, await along, kept


async def scaffold(world: World, problem: Problem, settings: ScaffoldSettings) -> None:
    """Algorithm 1."""
    how = Controlled(local_sgd(problem, settings), settings.option)
    weights, figures = await start(world, problem), OnDevices(world, problem, settings.sampling)
    cohorts = Cohorts(world, settings, figures=figures)
    control = await world.server.compute(no_control, weights, model=problem.model)
    known, holders = dict[Node, Value](), sum(device.samples > 0 for device in world.devices)
    for _ in range(settings.rounds):
        cohort = [device for device in await cohorts.ask(whole(world, weights)) if device.samples]
        done = await cohorts.gather(
            {d: client(cohorts, d, (weights, control, (known[d],) if d in known else ()), how) for d in cohort}
        )
        if done:
            alike = (1,) * len(done)
            counts = alike if settings.weighting == "uniform" else tuple(device.samples for device in done)
            mean = await world.server.compute(average, counts, *(update for update, _, _ in done.values()))
            change = await world.server.compute(average, alike, *(change for _, change, _ in done.values()))
            both = (settings.server_learning_rate, len(done) / holders)
            weights, control = await world.server.compute(scaffold_step, both, mean, change, weights, control)
            known.update({device: kept for device, (_, _, kept) in done.items()})
            del mean, change
        seen = await sparsity(world, how.sgd, [update for update, _, _ in done.values()])
        del done
        world.report(weights, **seen, **cohorts.metrics)
