"""One back at the server for many minibatches, first come, first served; and devices that need not wait for each answer."""

from collections import Counter as Counting
from collections import deque
from heapq import heappop, heappush
from typing import NamedTuple

from pydantic import Field

from emulator.learning.split import Split, back, resume, sizes
from emulator.learning.split_ahead import begin_ahead, end_ahead, forward, update
from emulator.protocols.split_training import SplitTraining, upward
from emulator.protocols.verbs import Mailbox, Node, Value, World


class PipelinedTraining(SplitTraining):
    """Split training whose devices may send a minibatch before the one before is answered."""

    pipeline: int = Field(
        default=1, ge=1, description="minibatches under way on one device; from 2 on gradients are of older weights"
    )


class Batch(NamedTuple):
    """A minibatch at the server; ``rank``: whose turn it is when several come at once; ``reply``: where its answer goes."""

    smashed: Value
    labels: Value
    seed: int
    number: int
    rank: int
    reply: Mailbox


class Counter:
    """Where ``clients`` devices bring minibatches to one back, and take leave.

    Minibatches are served in order of arrival, those of one instant by rank; one device's in their own order, as on a
    connection. What has arrived is served, even if its device is lost meanwhile.
    """

    def __init__(self, world: World, clients: int) -> None:
        self.world = world
        self._clients = clients
        self._box = world.mailbox()
        self._waiting: list[tuple[float, int, int, Batch]] = []
        self._early: dict[tuple[int, int], Batch] = {}  # those that have overtaken another on the air wait here
        self._due = Counting[int]()  # by rank: the next number

    async def ask(self, device: Node, sent: tuple[Value, Value], which: tuple[int, int, int]) -> Value:
        """The cut gradient, on the device, of a minibatch on its way to the server. ``which``: seed, number and rank."""
        batch = Batch(await sent[0], await sent[1], *which, self.world.mailbox())
        self._box.put(batch)
        return await self.world.server.send(await batch.reply.get(), to=device, kind="cut_gradient")

    def leave(self) -> None:
        """A device has no more minibatches, or is lost."""
        self._box.put(None)

    async def serve(self, half: Value, split: Split, near: Node) -> Value:
        """The server's loop: gives the back when all have left. ``near``: beside whose work it is played."""
        while (batch := await self._next()) is not None:
            half, gradient = await self.world.server.compute(
                back, half, batch.smashed, batch.labels, batch.seed, batch.number, near=near, split=split
            )
            batch.reply.put(gradient)
        return half

    async def _next(self) -> Batch | None:
        while self._clients or self._waiting:
            if not self._waiting:
                self._take(await self._box.get())
            await self.world.wait()  # to the end of this instant: who else has come in it
            while len(self._box):
                self._take(await self._box.get())
            if self._waiting:
                return heappop(self._waiting)[-1]
        return None

    def _take(self, batch: Batch | None) -> None:
        if batch is None:
            self._clients -= 1
            return
        rank = batch.rank
        self._early[rank, batch.number] = batch
        while (following := self._early.pop((rank, self._due[rank]), None)) is not None:
            self._due[rank] += 1
            heappush(self._waiting, (self.world.now, rank, following.number, following))


class Course(NamedTuple):
    """How a device trains against a counter: ``depth`` minibatches at a time, and its rank there."""

    split: Split
    counter: Counter
    depth: int
    rank: int = 0


async def train_ahead(device: Node, weights: Value, course: Course) -> Value:
    """A device's minibatches, up to ``depth`` of them under way; gives the front's weights, and takes leave."""
    split, counter, under = course.split, course.counter, deque[tuple[Value, Value]]()
    seed = counter.world.seed("batches", device.name, counter.world.round)
    try:
        mine, seen = await device.compute(begin_ahead, weights, split=split)
        for number, size in enumerate(sizes(split.plan, device.samples)):
            if len(under) == course.depth:
                mine = await _answered(device, mine, under.popleft(), split)
            smashed, labels, seen, waiting = await device.compute(
                forward, mine, seen, device.data, seed, number, split=split, size=size
            )
            sent = upward(counter.world, device, smashed, labels)
            under.append((waiting, counter.world.spawn(counter.ask(device, sent, (seed, number, course.rank)))))
        while under:
            mine = await _answered(device, mine, under.popleft(), split)
    finally:
        counter.leave()
    return await device.compute(end_ahead, mine, seen)


async def _answered(device: Node, mine: Value, entry: tuple[Value, Value], split: Split) -> Value:
    """The front after the oldest minibatch's backward pass and update."""
    waiting, gradient = entry
    return await device.compute(update, mine, device.compute(resume, waiting, gradient), split=split)


async def train_alone(device: Node, parts: tuple[Value, Value], course: Course) -> tuple[Value, Value]:
    """The same against a back that serves this device alone; gives the front's weights, there, and the back."""
    serving = course.counter.world.spawn(course.counter.serve(parts[1], course.split, device))
    return await train_ahead(device, parts[0], course), await serving
