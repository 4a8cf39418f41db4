"""The two verbs, ``compute`` and ``send``.

A verb starts when its inputs are there: a compute waits for its node's processor (first come, first served), a send goes on
the air at once and shares it. It gets its operation number when its service starts, and leaves one row when it ends.
"""

from typing import Any, Protocol

import simpy

from actors.player import failure
from actors.program import Place, StepFailed, path_of
from actors.tape import Handle, Op
from emulator.devices.energy import Supply
from emulator.devices.pace import Pace
from emulator.engine import Engine, Finish
from emulator.learning.meter import Cost
from emulator.learning.tracing import measure
from emulator.memory import Call, Shelf, refusal
from emulator.processors import Processor
from emulator.rows import KINDS, PAYLOAD, Event
from emulator.tasks import DeviceLost, Future, OutOfMemory, ProtocolError
from network.attachment import Attachment
from network.band import BandFull
from network.topology import Edge
from network.transfer import Transfer, Way


class Host(Protocol):
    """A node, as its verbs see it."""

    engine: Engine
    name: str
    lane: int
    lost: bool
    under_way: dict["Verb", None]
    profile: Any
    shelf: Shelf | None
    pace: Pace | None
    supply: Supply | None

    @property
    def processor(self) -> Processor: ...
    @property
    def attachment(self) -> Attachment | Edge | None: ...
    def duration_ns(self, cost: Cost) -> int: ...
    def end_ns(self, start_ns: int, work_ns: int) -> int: ...
    def done_ns(self, start_ns: int) -> int: ...
    def way(self, to: Any) -> Way: ...


class Verb(Future):
    """Work asked for by a protocol: waits for its inputs, then for its turn, then takes its time."""

    def __init__(self, node: Host, inputs: tuple[Any, ...]) -> None:
        super().__init__(node.engine.clock)
        self.node = node
        self.op: int | None = None
        self.queued_ns = self.start_ns = self.clock.now_ns
        self.round = node.engine.round
        self.inputs: tuple[int, ...] = ()
        self._inputs: list[Any] = list(inputs)
        self._missing = 0
        waited_for = [item for item in inputs if isinstance(item, Future)]
        for future in waited_for:
            future.consume()
        lost = next((end for end in self.ends() if end.lost), None)
        if lost is not None:
            self._give_up(DeviceLost(lost.name))
            return
        for end in self.ends():
            end.under_way[self] = None
        for future in waited_for:
            self._wait_for(future)
        if not self._missing:
            self._ready()

    def ends(self) -> tuple[Host, ...]:
        """The nodes without which this verb cannot go on."""
        return (self.node,)

    def _give_up(self, error: Exception) -> None:
        """It never starts."""
        self._inputs.clear()
        for end in self.ends():
            end.under_way.pop(self, None)
        self.break_off(error)

    def _wait_for(self, future: Future) -> None:
        if future.processed:
            return
        self._missing += 1
        assert future.callbacks is not None
        future.callbacks.append(self._arrived)

    def _arrived(self, event: simpy.Event) -> None:
        self._missing -= 1
        if self.triggered:
            return
        if isinstance(event.value, Exception):
            self._give_up(event.value)
        elif not self._missing:
            self._ready()

    def _ready(self) -> None:
        self._inputs = [item.value if isinstance(item, Future) else item for item in self._inputs]
        failed = next((item for item in self._inputs if isinstance(item, Exception)), None)
        if failed is not None:
            self._give_up(failed)
        else:
            self._begin()

    def _begin(self) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        """Give back what the verb occupies."""
        raise NotImplementedError

    def event(self, cause: Finish) -> Event:
        """The verb's row: what it did by now."""
        raise NotImplementedError

    def _over(self, how: Finish) -> None:
        """The service ends now: leave the row, forget the inputs."""
        self.node.engine.ended(self.op, how)
        self._inputs.clear()
        for end in self.ends():
            end.under_way.pop(self, None)

    def end_early(self, how: Finish, error: Exception | None) -> None:
        """Cut the work off where it is: what was done stays in the rows, the rest never happens."""
        if self.triggered:
            return
        self._over(how)
        self._leave()
        if error is not None:
            self.break_off(error)

    def cancel(self) -> None:
        """Somebody else decided that this is not needed."""
        self.end_early("cut off", None)
        super().cancel()


class Compute(Verb):
    """A step on a node's processor."""

    def __init__(self, node: Host, call: Call, near: int | None = None) -> None:
        self.function, inputs, self.settings = call
        self._near = near
        self.cost: Cost
        self.work_ns = 0
        self.memory_bytes = 0
        self._mark = 0.0
        self._recorded: Op | None = None
        super().__init__(node, inputs)

    def _begin(self) -> None:
        for item in self._inputs:
            if isinstance(item, Handle) and item.place is not self.node:
                raise ProtocolError(
                    f"{self.line}: {self.node.name} computes on a value that is at {item.place.name}; send it first"
                )
        self.node.processor.enter(self)

    def serve(self) -> None:
        """The processor is free: the work starts now."""
        self.start_ns = self.clock.now_ns
        place = Place(self.node.name, self.round, self.start_ns / 1e9, self.line)
        function = path_of(self.function)
        if any(isinstance(item, Handle) and item.answered for item in self._inputs):
            self._refuse(
                ProtocolError(f"{self.line}: {self.node.name} answers a step a second time; expected one answer")
            )
            return
        try:
            specs = tuple(item.spec if isinstance(item, Handle) else item for item in self._inputs)
            self._specs, self.cost = measure(self.function, specs, self.settings)
        except Exception as error:
            self._refuse(StepFailed(failure(function, place, error)))
            return
        if not self._fits(specs):
            return
        self.work_ns = self.node.duration_ns(self.cost)
        self.op = self.node.engine.number(self)
        self._record(function, place)
        if self.node.supply is not None:
            self._mark = self.node.supply.begin("compute")
        self.node.processor.run(self)

    def _refuse(self, error: Exception) -> None:
        self._over("cut off")
        self.node.processor.leave(self)
        self.break_off(error)

    def _fits(self, specs: tuple[Any, ...]) -> bool:
        """Whether the step fits the node's memory beside what is there; if not, it never starts."""
        node = self.node
        beside = node.shelf.beside(self._inputs) if node.shelf is not None else 0
        self.memory_bytes = self.cost.peak_bytes + beside
        if node.shelf is None:
            return True
        call = (self.function, specs, self.settings)
        node.shelf.need(self.memory_bytes, beside, call)
        if self.memory_bytes <= node.profile.free_memory_bytes:
            return True
        error = OutOfMemory(node.name, refusal(call, self.memory_bytes, beside, node.profile.free_memory_bytes))
        self._refuse(error)
        node.engine.out_of_memory(node, error)
        return False

    def _record(self, function: str, place: Place) -> None:
        assert self.op is not None
        call = (function, tuple(self._inputs), self.settings)
        self._recorded = self.node.engine.tape.record(self.op, self._lane(), call, (self._specs, place))
        numbers = (item.op for item in self._inputs if isinstance(item, Handle))
        self.inputs = tuple(dict.fromkeys(op for op in numbers if op is not None))
        self._inputs.clear()

    def _lane(self) -> int:
        """Where it is played: the node's own lane; a server's step on the data of one device alone, beside those data."""
        if self.node.lane >= 0:
            return self.node.lane
        if self._near is not None:
            return self._near
        origins = (item.origin for item in self._inputs if isinstance(item, Handle))
        lanes = {origin.lane for origin in origins if isinstance(origin, Op) and origin.lane >= 0}
        return lanes.pop() if len(lanes) == 1 else self.node.lane

    def served(self) -> None:
        """The work is done."""
        if self.triggered:
            return
        tape, made, specs = self.node.engine.tape, self._recorded, self._specs
        assert made is not None
        self._recorded = None
        self._over("done")
        self._rest()
        tape.resolve(made)
        if isinstance(specs, tuple):
            self.finish(tuple(Handle(tape, made, index, spec, self.node) for index, spec in enumerate(specs)))
        else:
            self.finish(Handle(tape, made, 0, specs, self.node))
        self.node.processor.leave(self)

    def _leave(self) -> None:
        if self._recorded is not None:
            self.node.engine.tape.cancel(self._recorded)
            self._recorded = None
            self._rest()
        self.node.processor.leave(self)

    def _rest(self) -> None:
        """The node's processor is idle from now on, or at the next compute."""
        if self.node.supply is not None:
            self.node.supply.end("compute")
        if self.node.pace is not None:
            self.node.pace.worked(self.start_ns, self.clock.now_ns)

    def event(self, cause: Finish) -> Event:
        """The compute's row. FLOPs of a compute that was cut off: the share of its work that was done."""
        flops, supply = self.cost.flops, self.node.supply
        if cause != "done" and self.work_ns:
            done_ns = self.node.processor.done_ns(self)
            flops = (
                flops
                * min(self.node.done_ns(self.start_ns) if done_ns is None else done_ns, self.work_ns)
                // self.work_ns
            )
        kind = self.function.__name__
        energy = None if supply is None else supply.joules_since("compute", self._mark)
        return Event(
            self.op or 0, self.inputs, self.round, self.node.name, None, None, "compute", kind, None, 0, 0,
            flops, self.memory_bytes, self.queued_ns, self.start_ns, self.clock.now_ns, energy, cause,
        )  # fmt: skip


class Send(Verb):
    """A value on its way to another node."""

    def __init__(self, node: Host, value: Any, to: Host, kind: str, bandwidth_hz: float | None) -> None:
        if kind not in KINDS:
            raise ProtocolError(f"send(kind={kind!r}): expected one of {', '.join(sorted(KINDS))}")
        self.peer = to
        self.kind = kind
        self.bandwidth_hz = bandwidth_hz
        self.way = node.way(to)
        self.coded_bytes = 0
        self._transfer: Transfer | None = None
        self._energy_j = 0.0
        self._mark: float | None = None  # while its flow is on the air
        super().__init__(node, (value,))

    def _begin(self) -> None:
        value = self._inputs[0]
        if not isinstance(value, Handle):
            raise ProtocolError(f"{self.line}: only values can be sent; got {type(value).__name__}")
        if value.spec.pause is not None:
            raise ProtocolError(f"{self.line}: {self.node.name} sends a step that waits; only values can be sent")
        if value.place is not self.node:
            raise ProtocolError(f"{self.line}: {self.node.name} sends a value that is at {value.place.name}")
        self.start_ns = self.clock.now_ns
        self.inputs = () if value.op is None else (value.op,)
        self.size_bytes = value.nbytes
        self.coded_bytes = value.spec.overhead_bytes
        engine = self.node.engine
        self.op = engine.number(self)
        transfer = self._transfer = Transfer(engine.clock.env, self.way, self.size_bytes, self._delivered)
        if self._supply is not None:
            transfer.radio = self._tuned
        try:
            transfer.go(self.bandwidth_hz)
        except BandFull as error:
            self.end_early(
                "cut off", ProtocolError(f"{self.line}: {self.node.name} sends to {self.peer.name}: {error}")
            )

    def ends(self) -> tuple[Host, ...]:
        """Both."""
        return (self.node, self.peer)

    @property
    def _supply(self) -> Supply | None:
        """Whose radio it is: the device's, at either end."""
        return (self.node if self.way.uplink else self.peer).supply

    def _tuned(self, on: bool) -> None:
        """The flow goes on the air, or leaves it."""
        supply, kind = self._supply, "send" if self.way.uplink else "receive"
        assert supply is not None
        if on:
            self._mark = supply.begin(kind)
        elif self._mark is not None:
            self._energy_j += supply.joules_since(kind, self._mark)
            self._mark = None
            supply.end(kind)

    def _joules(self) -> float | None:
        supply = self._supply
        if supply is None or self._mark is None:
            return None if supply is None else self._energy_j
        return self._energy_j + supply.joules_since("send" if self.way.uplink else "receive", self._mark)

    def _delivered(self) -> None:
        value: Handle = self._inputs[0]
        self._over("done")
        self._transfer = None
        self.finish(value.at(self.peer))

    def _leave(self) -> None:
        if self._transfer is not None:
            self._transfer.abort()
            self._transfer = None

    def event(self, cause: Finish) -> Event:
        """The transfer's row. Bytes of a transfer that was cut off: those that had left the sender."""
        payload, overhead = self._transfer.moved() if self._transfer is not None else (0, 0)
        if self.kind not in PAYLOAD:
            payload, overhead = 0, payload + overhead
        elif self.coded_bytes:
            scales = payload * self.coded_bytes // self.size_bytes  # of a transfer that was cut off: their share
            payload, overhead = payload - scales, overhead + scales
        uplink = self.way.uplink
        end = (self.node if uplink else self.peer).attachment
        return Event(
            self.op or 0, self.inputs, self.round, self.node.name, self.peer.name, end.link if end is not None else None,
            "send", self.kind, "uplink" if uplink else "downlink", payload, overhead,
            0, 0, self.queued_ns, self.start_ns, self.clock.now_ns, self._joules(), cause,
        )  # fmt: skip
