"""A back at the server that several minibatches want at once: first come, first served, and devices that do not wait."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NamedTuple

from pydantic import Field

from emulator.learning.split import Split, back, resume, sizes
from emulator.learning.split_ahead import begin_ahead, end_ahead, forward, update
from emulator.protocols.split_training import SplitTraining
from emulator.protocols.verbs import Mailbox, Node, Value, World


class PipelinedTraining(SplitTraining):
    """Split training whose devices need not wait for each answer."""

    pipeline: int = Field(
        default=1, ge=1, description="minibatches under way on one device; from 2 on gradients are of older weights"
    )


class Batch(NamedTuple):
    """A minibatch at the server: smashed data, labels, seed and number, who is served first of those that come together,
    and where the cut gradient goes.
    """

    smashed: Value
    labels: Value
    seed: int
    number: int
    rank: int
    reply: Mailbox


class Counter:
    """Where devices leave minibatches for a back at the server, and their leave when they have no more."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.box = world.mailbox()

    async def ask(self, smashed: Value, labels: Value, which: tuple[int, int, int]) -> Value:
        """The cut gradient of a minibatch that is on its way, at the server. ``which``: seed, number, rank."""
        reply = self.world.mailbox()
        self.box.put((self.world.now, Batch(await smashed, await labels, *which, reply)))
        return await reply.get()

    def leave(self) -> None:
        """A device has no more minibatches, or is lost."""
        self.box.put(None)


async def serve(counter: Counter, half: Value, split: Split, clients: int, near: Node) -> Value:
    """The server's loop over one back: minibatches in order of arrival; those of one instant by rank, then by number.

    Gives the back when all ``clients`` have left.
    """
    world, waiting = counter.world, list[Any]()
    while clients or waiting:
        if not waiting:
            _take(await counter.box.get(), waiting)
