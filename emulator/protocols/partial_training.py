"""What the protocols of partial training share: a device trains a sub-network, the server puts it back and averages.

A sub-network is cut out at the server, so that the device need not know its mask (``download: sub``), or on the device, which
is sent the whole model and the mask (``download: full``). Upload: the kept neurons alone; the server knows whose they are.
With nothing cut a round is FedAvg's, verb by verb.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from emulator.learning.aggregation import average
from emulator.learning.mask import tell, told
from emulator.learning.models import ModelSpec
from emulator.learning.overlap import overlap
from emulator.learning.picking import Picking, changed, pick, untouched
from emulator.learning.sgd import Problem, train
from emulator.learning.submodel import Submodel, carve, layers, recover, shape_of
from emulator.protocols.local_training import local_sgd
from emulator.protocols.policies.cohorts import Cohorts
from emulator.protocols.policies.figures import OnDevices, whole
from emulator.protocols.settings import LocalTraining
from emulator.protocols.verbs import Node, Value, World


class PartialTraining(LocalTraining):
    """FedAvg's settings, and how sub-networks travel and are averaged. ``aggregation`` H and P: see ``PartialRounds``."""

    whole_work: ClassVar[str | None] = "stragglers train a part of the model instead"
    no_figures: ClassVar[str | None] = None

    aggregation: Literal["H", "P"] = Field(
        default="P", description="H: recovered models weigh by trained neurons; P: each parameter by who trained it"
    )
    download: Literal["sub", "full"] = Field(
        default="sub", description="sent to a device: its sub-network, or the whole model and the mask"
    )


def partial_findings(_: PartialTraining, model: ModelSpec) -> Iterator[str]:
    """Models that have no sub-networks."""
    try:
        layers(model)
    except ValueError as error:
        yield f"model.name: got {model.name}; expected a model with sub-networks ({error})"


class Trained(NamedTuple):
    """A device's part of a round: update, kept neurons ({}: all), skip counters, and how slow it was (1: as predicted)."""

    update: Value
    kept: Value
    skips: Value
    slowness: float
    sub: Submodel


class PartialRounds:
    """Picks neurons, trains devices on them, recovers the rest from the global weights, averages.

    Scheme H (Helios, recalled; n_k inferred): whole models with weights n_k r_k, r_k the trained share of inner neurons.
    Scheme P (inferred for ELFISH; HeteroFL's): each parameter over the devices that trained it.
    """

    def __init__(self, world: World, problem: Problem, settings: PartialTraining, picking: Picking) -> None:
        self.world, self.model, self.settings, self.picking = world, problem.model, settings, picking
        self.sgd = local_sgd(problem, settings)
        self.cohorts = Cohorts(world, settings, figures=OnDevices(world, problem, settings.sampling))
        self.slowness: dict[
            Node, float
        ] = {}  # seconds that devices trained in the last round, in parts of those predicted
        self._skips: dict[str, Value] = {}
        self._fresh: tuple[Value, Value] | None = None  # skip counters and gains of a device that never had a mask

    async def ask(self, weights: Value) -> list[Node]:
        """The round's devices."""
        return await self.cohorts.ask(whole(self.world, weights))

    async def play(self, weights: Value, subs: Mapping[Node, Submodel], turn: int | None = None) -> Value:
        """A round: the new global weights. ``turn`` keys the draw of neurons; None: one draw a device for all rounds."""
        await self._begin(weights, subs)
        trained = await self.cohorts.gather({d: self.client(d, weights, sub, turn) for d, sub in subs.items()})
        self.slowness = {device: part.slowness for device, part in trained.items()}
        return await self._merged(weights, trained)

    async def _begin(self, weights: Value, subs: Mapping[Node, Submodel]) -> None:
        """Nothing is skipped yet; needed once somebody trains less than all."""
        if self._fresh is None and any(not sub.whole for sub in subs.values()):
            self._fresh = await self.world.server.compute(untouched, weights, model=self.model)

    async def client(self, device: Node, weights: Value, sub: Submodel, turn: int | None) -> Trained:
        """One device's round: pick, download, train, upload."""
        world, kept, skips = self.world, {}, None
        if sub.whole:
            held = self.cohorts.held(device)  # it was asked ahead of the round
            here = await world.server.send(weights, to=device, kind="weights") if held is None else held
            del held
        else:
            assert self._fresh is not None
            skipped, seed = self._skips.get(device.name, self._fresh[0]), self._seed(device, turn)
            kept, skips = await world.server.compute(
                pick, skipped, self._fresh[1], seed, near=device, sub=sub, picking=self.picking
            )
            here = await self._portion(device, weights, kept, sub)
        await self.cohorts.received(device, here)
        sgd, seed = self.sgd.part(device.completeness, device.samples), world.seed("batches", device.name, world.round)
        began, expected = world.now, device.predict(train, shape_of(sub), device.data, seed, sgd=sgd).seconds
        update = await device.compute(train, here, device.data, seed, sgd=sgd)
        slowness = (world.now - began) / expected if expected else 1.0
        del here
        return Trained(await device.send(update, to=world.server, kind="update"), kept, skips, slowness, sub)

    def _seed(self, device: Node, turn: int | None) -> int:
        names = () if self.picking.shared else (device.name,)
        return self.world.seed("mask", *names, *(() if turn is None else (turn,)))

    async def _portion(self, device: Node, weights: Value, kept: Value, sub: Submodel) -> Value:
        """The sub-network's weights, on the device."""
        server = self.world.server
        if self.settings.download == "sub":
            part = await server.compute(carve, weights, kept, near=device, model=self.model)
            return await server.send(part, to=device, kind="weights")
        held = self.cohorts.held(device)
        all_of_it = server.send(weights, to=device, kind="weights") if held is None else held
        mask = await server.compute(tell, kept, near=device, sub=sub)
        there = await device.compute(told, server.send(mask, to=device, kind="mask"), sub=sub)
        return await device.compute(carve, all_of_it, there, model=self.model)

    async def _merged(self, weights: Value, trained: Mapping[Node, Trained]) -> Value:
        """The new global weights; those that were, where nobody has any sample."""
        samples, server = tuple(device.samples for device in trained), self.world.server
        parts = list(trained.values())
        for device, part in trained.items():
            if part.sub.whole:
                self._skips.pop(device.name, None)  # all its neurons have been trained
            else:
                self._skips[device.name] = part.skips
        if not sum(samples):
            return weights
        if all(part.sub.whole for part in parts):
            return await server.compute(average, samples, *(part.update for part in parts))
        if self.settings.aggregation == "P":
            given = (*(part.update for part in parts), *(part.kept for part in parts))
            new = await server.compute(overlap, samples, weights, *given, model=self.model)
        else:
            models = [await self._recovered(device, weights, part) for device, part in trained.items()]
            shares = tuple(count * part.sub.neurons for count, part in zip(samples, parts, strict=True))
            new = await server.compute(average, shares, *models)
        await self._note(weights, new)
        return new

    async def _recovered(self, device: Node, weights: Value, part: Trained) -> Value:
        if part.sub.whole:
            return part.update
        return await self.world.server.compute(recover, weights, part.update, part.kept, near=device, model=self.model)

    async def _note(self, before: Value, after: Value) -> None:
        """How much each neuron changed, where that decides who is picked."""
        if self.picking.how == "helios":
            assert self._fresh is not None
            gains = await self.world.server.compute(changed, before, after, model=self.model)
            self._fresh = (self._fresh[0], gains)
