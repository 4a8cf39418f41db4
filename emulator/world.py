"""The world as a protocol sees it: ``server edges devices now sample gather spawn mailbox read report``, keyed seeds."""

from collections.abc import Collection, Coroutine, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from actors.tape import Handle
from actors.values import Tree
from emulator.deciding import Looked, Sight
from emulator.engine import Engine, Totals
from emulator.gathering import Gather, Mailbox
from emulator.learning.random import seed_of, stream
from emulator.nodes import Node
from emulator.protocols.verbs import DeviceLost
from emulator.rows import Decision, Event, is_device
from emulator.tasks import Future, NobodyLeft, OutOfMemory, ProtocolError, Task

K = TypeVar("K")
V = TypeVar("V")


class Seeds(NamedTuple):
    """One seed per concern, so that one can be varied and the others kept."""

    data: int
    fleet: int
    channel: int
    model: int
    sampling: int


class Report(NamedTuple):
    """A round's end as the protocol told it. ``operations`` counts those begun before it."""

    round: int
    time_ns: int
    weights: tuple[Handle, ...]
    metrics: dict[str, float]
    operations: int
    decisions: int
    asked: tuple[str, ...]
    seconds: dict[str, float]
    totals: Totals
    in_flight: dict[int, Event]  # rows of what is under way, as if it were stopped here; only when a stop may need them
    joules: dict[str, float]  # drawn by all devices until then, by kind
    lost: int  # devices lost until then
    watched: dict[str, Handle]  # values that the observer looks at beside the weights


class World:
    """What a protocol may use. Handed to it as its first argument."""

    def __init__(
        self, engine: Engine, server: Node, devices: tuple[Node, ...], seeds: Seeds, edges: tuple[Node, ...] = ()
    ) -> None:
        self.server = server
        self.devices = devices
        self.edges = edges
        self.decisions: list[Decision] = []
        self.sight: Sight = Looked(engine.tape)  # what a read sees
        self.reports: list[Report] = []
        self.lost: set[str] = set()  # devices that went while at work, or for good
        self.gone: set[str] = set()  # for good
        self.away: set[str] = set()  # not there now
        self.left_out: set[str] = set()  # drawn as if they were there, and lost at once
        self._return: Future | None = None
        self.may_stop = False  # whether the observer may end the run at a report
        engine.edges.update((edge.attachment.site, edge) for edge in edges if edge.attachment is not None)
        self._validation: Handle | None = None
        self._engine = engine
        self._seeds = seeds
        self._asked: dict[str, None] = {}
        self._seconds: dict[str, float] = {}
        self._draws = 0  # of this round, among those that were not busy

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._engine.clock.now_ns / 1e9

    @property
    def round(self) -> int:
        """The round under way, counted from 1; ``report`` ends it."""
        return self._engine.round

    @property
    def validation(self) -> Handle:
        """The validation split, at the server: what decisions look at. Raises ProtocolError where none is held out."""
        if self._validation is None:
            raise ProtocolError("validation: got no sample held out; expected evaluate.validation above 0")
        return self._validation

    def hold_out(self, validation: Handle) -> None:
        """Put the validation split at the server."""
        self._validation = validation

    def seed(self, *names: str | int) -> int:
        """A seed keyed by who and what, never by the order of asking. ``initial`` draws on the model's seed."""
        if names and names[0] == "initial":
            return seed_of(self._seeds.model, *names)
        return seed_of(self._seeds.sampling, *names)

    async def sample(self, count: int, *, busy: Collection[Node] | None = None) -> list[Node]:
        """``count`` devices drawn without replacement for this round, in fleet order; all there are, if fewer are there.

        While none is there it waits until one comes back; if none ever will, the run ends. ``busy``: devices that are at
        work and are not drawn, nor are those without data, who would be back at once, again and again; every such draw of
        a round is another one (the first as without). Where none but busy ones will ever be there it gives nobody.
        """
        while not self._free(busy):
            if all(device.name in self.gone for device in self._drawn(busy)):
                if busy:
                    return []
                raise NobodyLeft
            self._return = Future(self._engine.clock)
            await self._return
        return self.sample_now(count, busy=busy)

    def sample_now(self, count: int, *, busy: Collection[Node] | None = None) -> list[Node]:
        """As ``sample``, of those that are there now: without a wait, and nobody where nobody is there."""
        free = self._free(busy)
        if not free:
            return free
        draw = self._draws
        self._draws += busy is not None
        if count >= len(free):
            return free
        generator = stream(self._seeds.sampling, "cohort", self.round, *((draw,) if draw else ()))
        chosen = generator.choice(len(free), size=count, replace=False)
        return [free[index] for index in sorted(chosen.tolist())]

    def _free(self, busy: Collection[Node] | None) -> list[Node]:
        return [device for device in self._drawn(busy) if device.name not in self.away]

    def _drawn(self, busy: Collection[Node] | None) -> Iterable[Node]:
        """Devices to draw from when they are there. Who fills gaps would draw one left out for ever."""
        if busy is None:
            return self.devices
        idle = [device for device in self.devices if device not in busy]
        return [device for device in idle if device.samples > 0 and device.name not in self.left_out]

    def leave_out(self, device: Node) -> None:
        """Let a device be drawn as it would be, and be lost at once: what is drawn for the others stays as it is."""
        self.left_out.add(device.name)
        device.lost = True

    def gather(
        self, clients: Mapping[K, Coroutine[Any, Any, V]], *, first: int | None = None, within_s: float | None = None
    ) -> Gather[K, V]:
        """Run clients side by side; ``await`` gives ``{key: result}`` of those that count (see ``Gather``)."""
        if first is not None and first < 1:
            raise ProtocolError(f"gather(first={first}): expected at least 1")
        if within_s is not None and not within_s >= 0:
            raise ProtocolError(f"gather(within_s={within_s}): expected seconds from now, at least 0")
        found = Gather(self._engine.clock, clients, first=first, within_s=within_s)
        found.watch = self._watch
        return found

    async def wait(self, seconds: float = 0.0) -> None:
        """So many virtual seconds; it ends last of all that happens in that instant (0: in this one)."""
        if not seconds >= 0:
            raise ProtocolError(f"wait({seconds}): expected seconds from now, at least 0")
        clock = self._engine.clock
        if seconds or not clock.quiet():
            over = Future(clock)
            clock.late(lambda: _go_on(over), clock.now_ns + round(seconds * 1e9))
            await over

    def _watch(self, asked: list[Any], seconds: dict[Any, float]) -> None:
        self._asked.update((node.name, None) for node in asked if _told(node))
        for node, value in seconds.items():
            if _told(node):  # in several turns of a round: their sum
                self._seconds[node.name] = self._seconds.get(node.name, 0.0) + value

    def not_asked(self, devices: Iterable[Node]) -> None:
        """Of those whom ``gather`` was given in this round these were never begun: records do not tell of them."""
        for device in devices:
            self._asked.pop(device.name, None)

    def spawn(self, client: Coroutine[Any, Any, V]) -> Task:
        """Start a client and go on. It belongs to the task that spawned it; if it fails unawaited, the run fails."""
        return Task(self._engine.clock, client, detached=True)

    def mailbox(self) -> Mailbox[Any]:
        """A queue between clients and a server loop."""
        return Mailbox(self._engine.clock)

    async def read(self, value: Handle, *, of: Collection[Node] = ()) -> Tree:
        """The data of a value that is at the server, to branch on: numbers and lists. It is logged as a decision.

        ``of``: devices whose numbers these are, one each; recorded ones of others are then not taken for theirs.
        """
        if value.place is not self.server:
            raise ProtocolError(f"read takes values at the server; this one is at {value.place.name}")
        names = tuple(node.name for node in of)
        seen = self.sight(value, self.round, names)
        now_ns, number = self._engine.clock.now_ns, len(self.decisions)
        self.decisions.append(Decision(number, "read", value.op or 0, self.round, now_ns, seen, names))
        return seen

    def took_part(self, asked: Iterable[Node], finished: Mapping[Node, float]) -> None:
        """Devices asked in this round, and those whose work was kept, with seconds from the asking, for the records.

        Asynchronous protocols tell it; who was asked by ``gather`` is known without.
        """
        self._asked.update((device.name, None) for device in asked)
        self._seconds.update((device.name, seconds) for device, seconds in finished.items())

    def report(self, *weights: Handle, **metrics: float | Handle) -> None:
        """End the round with these weights, whole or in parts; the observer evaluates them off the clock, wherever they are.

        ``metrics`` go to the records; a value (one number) among them is looked at off the clock, in rounds that are evaluated.
        """
        engine = self._engine
        watched = {name: metric for name, metric in metrics.items() if isinstance(metric, Handle)}
        told = {name: metric for name, metric in metrics.items() if not isinstance(metric, Handle)}
        engine.tape.owe((*weights, *watched.values()))
        in_flight = {row.op: row for row in engine.in_flight()} if self.may_stop else {}
        self.reports.append(
            Report(
                engine.round,
                engine.clock.now_ns,
                weights,
                told,
                engine.numbers,
                len(self.decisions),
                tuple(self._asked),
                self._seconds,
                engine.totals,
                in_flight,
                engine.ledger.joules(),
                len(self.lost),
                watched,
            )
        )
        self._asked, self._seconds, self._draws, engine.totals = {}, {}, 0, Totals()
        engine.round += 1

    def lose(self, device: Node, *, for_good: bool = False) -> None:
        """A device is gone: what it does or what is on its way to it ends now with ``DeviceLost``."""
        device.lost = True
        self.away.add(device.name)
        if device.under_way or for_good:
            self.lost.add(device.name)
        if for_good:
            self.gone.add(device.name)
        for verb in reversed(list(device.under_way)):  # those in the queue first, or they would be served
            verb.end_early("lost", DeviceLost(device.name))
        if len(self.gone) == len(self.devices):
            self._wake()

    def come_back(self, device: Node) -> None:
        """A device is there again, unless it is gone for good."""
        if device.name not in self.gone:
            self.away.discard(device.name)
            device.lost = device.name in self.left_out
            self._wake()

    def run_empty(self, device: Node) -> None:
        """A device's battery is empty."""
        if device.supply is not None:
            device.supply.off()
        self.lose(device, for_good=True)

    def exclude(self, device: Node, _: OutOfMemory) -> None:
        """A device does without a step that does not fit, and so does the run without the device."""
        self.lose(device, for_good=True)

    def _wake(self) -> None:
        """Whoever waits for a device goes on when all that come back in this instant are there."""
        waiting, self._return = self._return, None
        if waiting is not None:
            self._engine.clock.late(lambda: _go_on(waiting))


def _go_on(waiting: Future) -> None:
    if not waiting.triggered:  # nor cut off
        waiting.finish(None)


def _told(node: object) -> bool:
    """Whether records tell of a gathered client: devices, not edge servers."""
    return isinstance(node, Node) and is_device(node.name)
