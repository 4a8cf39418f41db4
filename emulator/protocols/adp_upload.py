"""ADP's variant C ("adp_sparse_upload"): FedAvg on a gated model whose devices send only the filters that their data need.

Inferred, ours: arXiv 2106.06921 tells of less communication, and neither of the codes released for it sends less than the whole
model in a round (``learning/salience.py``). The model comes down whole; up go the salient filters, all that is no filter, and
a mask that says which filters those are. With ``upload_ratio: 1`` this is FedAvg.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from emulator.learning.models import MODELS, ModelSpec
from emulator.learning.salience import Upload, merge, salience, thin
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.protocols.local_training import local_sgd, start
from emulator.protocols.policies.cohorts import Cohorts
from emulator.protocols.policies.figures import OnDevices, whole
from emulator.protocols.settings import LocalTraining
from emulator.protocols.verbs import Node, Value, World


class AdpUploadSettings(LocalTraining):
    """FedAvg's settings, and which filters travel."""

    no_figures: ClassVar[str | None] = None

    upload_ratio: float = Field(default=0.7, gt=0, le=1, description="share of each gated layer's filters that go up")
    salience: Literal["gate", "frequency"] = Field(
        default="gate", description="a filter's score on the device's data: its mean gate, or how often it is kept"
    )


async def client(cohorts: Cohorts, device: Node, weights: Value, how: tuple[LocalSGD, Upload]) -> tuple[Value, ...]:
    """One device's round: download, train, score, upload; gives filters and mask at the server, or all without a mask."""
    (sgd, upload), world, held = how, cohorts.world, cohorts.held(device)
    sgd = sgd.part(device.completeness, device.samples)
    weights = await world.server.send(weights, to=device, kind="weights") if held is None else held
    del held
    await cohorts.received(device, weights)
    seed = world.seed("batches", device.name, world.round)
    trained = await device.compute(train, weights, device.data, seed, sgd=sgd)
    if upload.whole:
        return (await device.send(trained, to=world.server, kind="update"),)
    scores = await device.compute(salience, trained, device.data, how=upload)
    sent, mask = await device.compute(thin, trained, scores, how=upload)
    up, which = device.send(sent, to=world.server, kind="update"), device.send(mask, to=world.server, kind="mask")
    return await up, await which


def upload_findings(_: AdpUploadSettings, model: ModelSpec) -> Iterator[str]:
    """Filters are chosen by gates: a model without has none to choose by."""
    if not MODELS[model.name].gated:
        gated = ", ".join(name for name, info in MODELS.items() if info.gated)
        got = f"got {model.name}, which has no gates"
        yield f"model.name: {got}; expected one of {gated}, as adp_upload sends filters by their gates"


async def adp_upload(world: World, problem: Problem, settings: AdpUploadSettings) -> None:
    """FedAvg's rounds, with an average by filter."""
    sgd = local_sgd(problem, settings)
    upload = replace(Upload(problem, settings.upload_ratio, settings.salience), batch=settings.batch_size)
    weights, figures = await start(world, problem), OnDevices(world, problem, settings.sampling)
    cohorts = Cohorts(world, settings, figures=figures)
    for _ in range(settings.rounds):
        cohort = await cohorts.ask(whole(world, weights))
        done = await cohorts.gather({device: client(cohorts, device, weights, (sgd, upload)) for device in cohort})
        samples = tuple(device.samples for device in done)
        if sum(samples):
            parts = [part[0] for part in done.values()] + [mask for part in done.values() for mask in part[1:]]
            weights = await world.server.compute(merge, samples, weights, *parts, how=upload)
            del parts
        del done
        world.report(weights, **cohorts.metrics)
