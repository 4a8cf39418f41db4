"""What devices train in asynchronous protocols: all of the model, its front against a back of their own, or nothing at all.

Full: FedAvg's client. Split: SplitFed v1's (Thapa et al., AAAI 2022), a copy of the back for each device at the server.
Frozen: EcoFed's (Wu et al., IEEE TPDS 2024): the front stays as it was set up ahead of the run, free of time; devices send
coded smashed data, the server learns from them, and nothing comes back. That they are merged asynchronously is ours.
"""

from pydantic import Field

from emulator.learning.codecs import CodecSettings
from emulator.learning.codecs.settings import PlainCodec
from emulator.learning.sgd import Problem
from emulator.learning.split import end, halves
from emulator.learning.split_cuts import recut
from emulator.protocols.asynchronous import Parts, Training
from emulator.protocols.courier import Courier, Offer
from emulator.protocols.ecofed import taught
from emulator.protocols.local_training import client, local_sgd, start
from emulator.protocols.settings import CodedWork
from emulator.protocols.split_cuts import at_cut, at_cuts
from emulator.protocols.split_training import OwnFrontsWork, SplitWork, round_of, split_of
from emulator.protocols.split_training import start as start_split
from emulator.protocols.verbs import Node, Value, World


class FrozenWork(OwnFrontsWork):
    """Settings of training behind a frozen front."""

    smashed: CodecSettings = Field(default=PlainCodec(codec="int8"), description="codec of the smashed data")

    @property
    def one_cut(self) -> str | None:
        """Fronts of other cuts would hold blocks that the server goes on learning."""
        return "the server learns one back behind fronts that are all alike"


class Full:
    """All of the model on the device. ``mu``: a proximal term's weight."""

    def __init__(self, world: World, problem: Problem, settings: CodedWork, mu: float = 0.0) -> None:
        self._world, self._problem = world, problem
        self._courier, self._sgd = Courier(world, settings), local_sgd(problem, settings, mu=mu)

    async def start(self) -> Parts:
        """The whole model."""
        return (await start(self._world, self._problem),)

    async def offer(self, parts: Parts, device: Node) -> Offer:
        """Encoded once for all."""
        return await self._courier.offer(parts[0])

    async def client(self, device: Node, offered: Offer, turn: int) -> Parts:
        """Download, train, upload."""
        return (await client(self._world, device, offered._replace(names=(turn,)), self._sgd),)

    def whole(self, parts: Parts) -> Parts:
        """As it is."""
        return parts


class Halved:
    """The front on the device, a copy of the back for it at the server. The server's halves are at the fleet's smallest cut."""

    def __init__(self, world: World, problem: Problem, settings: SplitWork) -> None:
        self._world = world
        self._courier, self._split = Courier(world, settings), split_of(problem, settings)

    async def start(self) -> Parts:
        """Front and back."""
        return await start_split(self._world, self._split)

    async def offer(self, parts: Parts, device: Node) -> tuple[Offer, Value]:
        """Both halves at the device's cut."""
        front, back = (await at_cuts(self._world, (parts[0], parts[1]), self._split, [device]))[device.cut]
        return await self._courier.offer(front), back

    async def client(self, device: Node, offered: tuple[Offer, Value], turn: int) -> Parts:
        """Minibatch by minibatch; then both halves at the server's cut."""
        mine, theirs = offered[0]._replace(names=(turn,)), offered[1]
        both = await round_of(self._world, device, (mine, theirs), at_cut(self._split, device.cut))
        if device.cut == self._split.cut:
            return both
        again: tuple[Value, Value] = await self._world.server.compute(recut, *both, near=device, split=self._split)
        return again

    def whole(self, parts: Parts) -> Parts:
        """Both halves."""
        return parts


class Frozen:
    """A front that only runs; the back is what is learned."""

    def __init__(self, world: World, problem: Problem, settings: FrozenWork) -> None:
        self._world, self._problem = world, problem
        self._split = split_of(problem, settings)
        self._front: Value = None

    async def start(self) -> Parts:
        """The back; of given weights the front's are used, as in EcoFed by default."""
        weights = await start(self._world, self._problem, blocks=(0, self._split.cut))
        self._front, back = await self._world.server.compute(halves, weights, split=self._split)
        return (back,)

    async def offer(self, parts: Parts, device: Node) -> Value:
        """The back of which a copy learns from the device's data."""
        return parts[0]

    async def client(self, device: Node, offered: Value, turn: int) -> Parts:
        """The copy after the device's minibatches."""
        seed = self._world.seed("batches", device.name, turn)
        copy = await taught(self._world, device, (self._front.at(device), offered), (self._split, seed))
        return (await self._world.server.compute(end, copy, near=device),)

    def whole(self, parts: Parts) -> Parts:
        """With the front."""
        return (self._front, *parts)


def training_of(world: World, problem: Problem, settings: CodedWork, mu: float = 0.0) -> Training:
    """What these settings are of."""
    if isinstance(settings, FrozenWork):
        return Frozen(world, problem, settings)
    if isinstance(settings, SplitWork):
        return Halved(world, problem, settings)
    return Full(world, problem, settings, mu)
