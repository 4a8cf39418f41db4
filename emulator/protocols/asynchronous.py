"""Asynchronous training: devices work at their own pace, and a server's loop merges what comes, when its rule says so.

Any rule (``fedasync.py``, ``fedbuff.py``, ``semi_async.py``) goes with any training (``async_training.py``). The server has
``concurrency`` devices at work; who comes or is lost makes room for another one that is there, has data and is not at work,
drawn at random. What has come is merged first, then devices are asked: they get the newest weights. While the server merges,
what comes waits.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, Self

from pydantic import Field

from emulator.protocols.base import Rounds
from emulator.protocols.staleness import SQUARE_ROOT, Staleness
from emulator.protocols.verbs import DeviceLost, Node, Value, World

Parts = tuple[Value, ...]  # what is learned, whole or in halves, at the server
LOOKS = 20  # aggregations a device, at most, in a short run that looks at what every device needs


class Asynchronous(Rounds):
    """What every asynchronous protocol needs."""

    concurrency: int = Field(ge=1, description="devices at work at a time")
    staleness: Staleness = Field(default=SQUARE_ROOT, description="what a late update weighs")

    @property
    def patience(self) -> int:
        """A merge is too small to travel alone: the trainings and merges of half of those at work go together.

        While a lot is played, what was begun before it can go on.
        """
        return self.concurrency

    def everybody(self, devices: int) -> Self:
        """The whole fleet at work."""
        return self.model_copy(update={"rounds": LOOKS * devices, "concurrency": devices})

    def too_many_for(self, fleet: int) -> Iterator[str]:
        """More devices than there are."""
        if self.concurrency > fleet:
            yield f"protocol.concurrency: got {self.concurrency}; expected at most the fleet's {fleet} devices"


class Update(NamedTuple):
    """What a device was given and what it made of it, at the server; ``staleness``: versions since then."""

    device: Node
    given: Value
    made: Value
    staleness: int


class Rule(Protocol):
    """When and how the server merges."""

    @property
    def window_s(self) -> float | None:
        """Virtual seconds after which something is due; None where the number of updates alone decides."""

    @property
    def eager(self) -> bool:
        """Whether others are asked while updates wait to be merged."""

    def due(self, came: int, over: bool) -> int | None:
        """How many of the updates that came are merged now, the oldest first; None: none yet. ``over``: the window is."""

    async def merge(self, world: World, weights: Value, updates: Sequence[Update]) -> Value:
        """The new weights, at the server; played there (``near``), so that nobody's training waits for another's."""


class Training(Protocol):
    """What devices do with the weights."""

    async def start(self) -> Parts:
        """The weights that everybody starts from."""

    async def offer(self, parts: Parts, device: Node) -> Any:
        """These weights, ready to be taken by the device and by all with its cut."""

    async def client(self, device: Node, offered: Any, turn: int) -> Parts:
        """What the device made of them, at the server; ``turn``: how many times it has been asked."""

    def whole(self, parts: Parts) -> Parts:
        """All of a model."""


class Came(NamedTuple):
    """A device's work: of which version, how long it took, what it was given and what it made of it."""

    device: Node
    version: int
    seconds: float
    given: Parts
    made: Parts


class Server:
    """The server's loop. ``out``: devices at work, as they were asked; ``came``: what waits to be merged."""

    def __init__(self, world: World, training: Training, rule: Rule, concurrency: int) -> None:
        self._world, self._training, self._rule = world, training, rule
        self._concurrency = concurrency
        self._version = 0
        self._parts: Parts = ()
        self._offers: dict[int | None, Any] = {}  # of this version, by cut
        self._turns = Counter[str]()
        self._box = world.mailbox()
        self._out: dict[Node, Any] = {}
        self._came: list[Came] = []
        self._asked: list[Node] = []
        self._timer: Any = None
        self._over = False

    async def run(self, rounds: int) -> None:
        """So many aggregations."""
        self._parts = await self._training.start()
        self._open()
        while self._version < rounds:
            await self._next()
            while self._version < rounds and (count := self._rule.due(len(self._came), self._over)) is not None:
                await self._merge(count)

    def _open(self) -> None:
        """The window, if there is one, begins."""
        self._over = False
        if self._rule.window_s is not None:
            self._timer = self._world.spawn(self._ring(self._rule.window_s))

    async def _ring(self, window_s: float) -> None:
        await self._world.wait(window_s)
        self._box.put(None)

    async def _next(self) -> None:
        """Ask those for whom there is room, as soon as they are there, or take what comes; arrivals go first."""
        room = self._concurrency - len(self._out) if self._rule.eager or not self._came else 0
        free = self._world.sample_now(room, busy=self._out) if room else ()
        if free:
            await self._world.wait()  # to the end of this instant
        elif room:
            waits: dict[str, Any] = {"came": self._arrival(), "free": self._world.sample(room, busy=self._out)}
            found = await self._world.gather(waits, first=1)
            if "came" in found:
                await self._take(found["came"])
                return
            free = found["free"]
        if free and not len(self._box):
            for device in free:
                await self._ask(device)
        else:
            await self._take(await self._arrival())

    async def _arrival(self) -> Node | None:
        found: Node | None = await self._box.get()
        return found

    async def _ask(self, device: Node) -> None:
        if device.cut not in self._offers:
            self._offers[device.cut] = await self._training.offer(self._parts, device)
        self._turns[device.name] += 1
        self._asked.append(device)
        self._out[device] = self._world.spawn(self._errand(device, self._offers[device.cut]))

    async def _errand(self, device: Node, offered: Any) -> Came:
        """One device's work. That it is over is put in the box even where the device is lost."""
        version, given, begun, turn = self._version, self._parts, self._world.now, self._turns[device.name]
        try:
            made = await self._training.client(device, offered, turn)
        finally:
            self._box.put(device)
        return Came(device, version, self._world.now - begun, given, made)

    async def _take(self, first: Node | None) -> None:
        """An arrival and all others of its instant, in the order of asking."""
        await self._world.wait()  # to the end of this instant
        here = {first}
        while len(self._box):
            here.add(await self._arrival())
        if None in here:
            self._over = True
            await self._timer
        for device in [device for device in self._out if device in here]:
            with suppress(DeviceLost):
                self._came.append(await self._out.pop(device))

    async def _merge(self, count: int) -> None:
        """A new version of the oldest ``count`` that came; it ends the round."""
        merged, self._came = self._came[:count], self._came[count:]
        stale = [self._version - came.version for came in merged]
        if merged:
            self._parts = await self._merged(merged)
        seconds = {came.device: came.seconds for came in merged}
        del merged
        self._offers.clear()
        self._version += 1
        self._open()
        self._world.took_part(self._asked, seconds)
        self._asked = []
        self._world.report(
            *self._training.whole(self._parts),
            staleness=sum(stale) / len(stale) if stale else 0.0, staleness_max=float(max(stale, default=0)),
            merged=float(len(stale)), in_flight=float(len(self._out)),
        )  # fmt: skip

    async def _merged(self, merged: list[Came]) -> Parts:
        new: list[Value] = []
        for place, weights in enumerate(self._parts):
            updates = [
                Update(came.device, came.given[place], came.made[place], self._version - came.version)
                for came in merged
            ]
            new.append(await self._rule.merge(self._world, weights, updates))
        return tuple(new)
