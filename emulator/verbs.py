"""The two verbs, ``compute`` and ``send``, and the nodes that do them.

A verb starts when its inputs are there: a compute waits for its node's processor (first come, first served), a send goes on
the air at once and shares it. It gets its operation number when its service starts, and leaves one row when it ends.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import simpy

from actors.player import failure
from actors.program import Place, StepFailed, path_of
from actors.tape import Handle, Op
from emulator.engine import Engine, Finish
from emulator.learning.meter import Cost, measure
from emulator.rows import KINDS, PAYLOAD, Event
from emulator.tasks import DeviceLost, Future, ProtocolError
from network.attachment import Attachment, Signal
from network.dense import BandFull
from network.topology import Edge
from network.transfer import Transfer, Way


class Prediction(NamedTuple):
    """What a compute would cost on a node: nominal seconds without queueing, FLOPs, bytes touched, peak memory."""

    seconds: float
    flops: int
    bytes: int
    peak_bytes: int


class Channel(NamedTuple):
    """A device's own connection: rates in bit/s when alone on it, one-way latency in seconds to the server.

    In a cell with a radio the rates are those at the mean signal, over the whole band; ``signal`` tells band and signal,
    and ``uplink_on`` what a part of the band would carry.
    """

    uplink_bps: float
    downlink_bps: float
    latency_s: float
    signal: Signal | None = None

    def uplink_on(self, bandwidth_hz: float) -> float:
        """Uplink bit/s on ``bandwidth_hz`` of the band at the mean signal; raises ProtocolError without a radio."""
        if self.signal is None:
            raise ProtocolError("bandwidth can be assigned in cells with a radio only")
        return self.signal.uplink_on(bandwidth_hz)


class Verb(Future):
    """Work asked for by a protocol: waits for its inputs, then for its turn, then takes its time."""

    def __init__(self, node: "Node", inputs: tuple[Any, ...]) -> None:
        super().__init__(node.engine.clock)
        self.node = node
        self.op: int | None = None
        self.queued_ns = self.start_ns = self.clock.now_ns
        self.round = node.engine.round
        self.inputs: tuple[int, ...] = ()
        self._inputs: list[Any] = list(inputs)
        self._missing = 0
        lost = next((end for end in self.ends() if end.lost), None)
        if lost is not None:
            self.break_off(DeviceLost(lost.name))
            return
        for end in self.ends():
            end.under_way[self] = None
        for item in inputs:
            if isinstance(item, Future):
                self._wait_for(item)
        if not self._missing:
            self._ready()

    def ends(self) -> tuple["Node", ...]:
        """The nodes without which this verb cannot go on."""
        return (self.node,)

    def _wait_for(self, future: Future) -> None:
        future.consume()
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
            self.break_off(event.value)
        elif not self._missing:
            self._ready()

    def _ready(self) -> None:
        self._inputs = [item.value if isinstance(item, Future) else item for item in self._inputs]
        failed = next((item for item in self._inputs if isinstance(item, Exception)), None)
        if failed is not None:
            self.break_off(failed)
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

    def __init__(self, node: "Node", call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> None:
        self.function, inputs, self.settings = call
        self.cost: Cost
        self.duration_ns = 0
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
        try:
            specs = tuple(item.spec if isinstance(item, Handle) else item for item in self._inputs)
            self._specs, self.cost = measure(self.function, specs, self.settings)
        except Exception as error:
            self._over("cut off")
            self.node.processor.leave(self)
            self.break_off(StepFailed(failure(function, place, error)))
            return
        self.duration_ns = self.node.duration_ns(self.cost)
        self.op = self.node.engine.number(self)
        self._record(function, place)
        timer = simpy.Timeout(self.clock.env, self.duration_ns)
        assert timer.callbacks is not None
        timer.callbacks.append(self._served)

    def _record(self, function: str, place: Place) -> None:
        assert self.op is not None
        call = (function, tuple(self._inputs), self.settings)
        self._recorded = self.node.engine.tape.record(self.op, self.node.lane, call, (self._specs, place))
        numbers = (item.op for item in self._inputs if isinstance(item, Handle))
        self.inputs = tuple(dict.fromkeys(op for op in numbers if op is not None))
        self._inputs.clear()

    def _served(self, _: simpy.Event) -> None:
        if self.triggered:
            return
        tape, made, specs = self.node.engine.tape, self._recorded, self._specs
        assert made is not None
        self._recorded = None
        self._over("done")
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
        self.node.processor.leave(self)

    def event(self, cause: Finish) -> Event:
        """The compute's row. FLOPs of a compute that was cut off: the share of its time that has passed."""
        flops = self.cost.flops
        if cause != "done" and self.duration_ns:
            flops = flops * (self.clock.now_ns - self.start_ns) // self.duration_ns
        kind = self.function.__name__
        return Event(
            self.op or 0, self.inputs, self.round, self.node.name, None, None, "compute", kind, None, 0, 0,
            flops, self.cost.peak_bytes, self.queued_ns, self.start_ns, self.clock.now_ns, None, cause,
        )  # fmt: skip


class Send(Verb):
    """A value on its way to another node."""

    def __init__(self, node: "Node", value: Any, to: "Node", kind: str, bandwidth_hz: float | None) -> None:
        if kind not in KINDS:
            raise ProtocolError(f"send(kind={kind!r}): expected one of {', '.join(sorted(KINDS))}")
        self.peer = to
        self.kind = kind
        self.bandwidth_hz = bandwidth_hz
        self.way = node.way(to)
        self._transfer: Transfer | None = None
        super().__init__(node, (value,))

    def _begin(self) -> None:
        value = self._inputs[0]
        if not isinstance(value, Handle):
            raise ProtocolError(f"{self.line}: only values can be sent; got {type(value).__name__}")
        if value.place is not self.node:
            raise ProtocolError(f"{self.line}: {self.node.name} sends a value that is at {value.place.name}")
        self.start_ns = self.clock.now_ns
        self.inputs = () if value.op is None else (value.op,)
        self.size_bytes = value.nbytes
        engine = self.node.engine
        self.op = engine.number(self)
        transfer = self._transfer = Transfer(engine.clock.env, self.way, self.size_bytes, self._delivered)
        try:
            transfer.go(self.bandwidth_hz)
        except BandFull as error:
            self.end_early(
                "cut off", ProtocolError(f"{self.line}: {self.node.name} sends to {self.peer.name}: {error}")
            )

    def ends(self) -> tuple["Node", ...]:
        """Both."""
        return (self.node, self.peer)

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
        uplink = self.way.uplink
        end = (self.node if uplink else self.peer).attachment
        return Event(
            self.op or 0, self.inputs, self.round, self.node.name, self.peer.name, end.link if end is not None else None,
            "send", self.kind, "uplink" if uplink else "downlink", payload, overhead,
            0, 0, self.queued_ns, self.start_ns, self.clock.now_ns, None, cause,
        )  # fmt: skip


class Processor:
    """One compute at a time, first come, first served."""

    def __init__(self) -> None:
        self._serving: Compute | None = None
        self._queue: deque[Compute] = deque()

    def enter(self, compute: Compute) -> None:
        """Serve now or queue."""
        if self._serving is None:
            self._serving = compute
            compute.serve()
        else:
            self._queue.append(compute)

    def leave(self, compute: Compute) -> None:
        """The compute has ended or was cut off; the next one starts at once."""
        if compute is not self._serving:
            if compute in self._queue:
                self._queue.remove(compute)
            return
        self._serving = self._queue.popleft() if self._queue else None
        if self._serving is not None:
            self._serving.serve()


class Node:
    """A device or the server, as a protocol sees it: ``compute``, ``send``, ``predict``, ``profile``, ``channel``.

    ``data`` is the handle of a device's own shard and ``samples`` their number; ``lane`` is its place on the tape.
    """

    def __init__(self, engine: Engine, name: str, lane: int, machine: "Machine") -> None:
        self.engine = engine
        self.name = name
        self.lane = lane
        self.profile = machine.profile
        self.processor = Processor()
        self.under_way: dict[Verb, None] = {}
        self.samples = 0
        self._data: Handle | None = None
        self._machine = machine
        self._durations: dict[Cost, int] = {}
        self.lost = False

    def __repr__(self) -> str:
        return self.name

    @property
    def data(self) -> Handle:
        """This device's own training data (a shard); raises ProtocolError for the server, which has none."""
        if self._data is None:
            raise ProtocolError(f"{self.name} has no data of its own")
        return self._data

    def give(self, data: Handle, samples: int) -> None:
        """Put a shard of ``samples`` on this device."""
        self._data, self.samples = data, samples

    def compute(self, step: Callable[..., Any], *inputs: Any, **settings: Any) -> Compute:
        """Run ``step(*inputs, **settings)`` here: real tensor work, and virtual seconds from its measured cost.

        ``inputs`` are values at this node, verbs that will give one, or plain data (seeds, numbers); ``settings`` are
        static and hashable. Gives one value, or a tuple of values where the step returns a tuple.
        """
        return Compute(self, (step, inputs, settings))

    def send(self, value: Any, *, to: "Node", kind: str, bandwidth_hz: float | None = None) -> Send:
        """Send a value that is here to another node: virtual seconds from its real bytes. Gives the value there.

        ``bandwidth_hz``: what the protocol gives this transfer of a cell whose band is ``assigned``.
        """
        return Send(self, value, to, kind, bandwidth_hz)

    def predict(self, step: Callable[..., Any], *inputs: Any, **settings: Any) -> Prediction:
        """What ``compute`` would cost here, nominally: no queue, no future draw. Costs no virtual time."""
        specs = tuple(item.spec if isinstance(item, Handle) else item for item in inputs)
        _, cost = measure(step, specs, settings)
        return Prediction(self.duration_ns(cost) / 1e9, cost.flops, cost.bytes, cost.peak_bytes)

    def channel(self) -> Channel:
        """This device's own connection as it is now; raises ProtocolError for the server."""
        attachment = self._machine.attachment
        if not isinstance(attachment, Attachment):
            raise ProtocolError(f"{self.name} has no channel of its own; ask a device")
        downlink, uplink = attachment.rates()
        return Channel(uplink, downlink, attachment.latency_ns() / 1e9, attachment.signal())

    def duration_ns(self, cost: Cost) -> int:
        """Nanoseconds that a compute of this cost takes here."""
        found = self._durations.get(cost)
        if found is None:
            found = self._durations[cost] = round(self._machine.seconds(cost) * 1e9)
        return found

    @property
    def attachment(self) -> Attachment | Edge | None:
        """Where a device or an edge server hangs on the network; None for the server."""
        return self._machine.attachment

    @property
    def edge(self) -> "Node | None":
        """The edge server at the site of this device's cell; None where there is none."""
        attachment = self._machine.attachment
        return self.engine.edges.get(attachment.site) if isinstance(attachment, Attachment) else None

    def way(self, to: "Node") -> Way:
        """The way from here to another node; raises ProtocolError where the network has none."""
        here, there = self.attachment, to.attachment
        if there is None and here is not None:
            return here.to_server
        if here is None and there is not None:
            return there.from_server
        if isinstance(here, Attachment) and isinstance(there, Edge) and here.site == there.site:
            return here.to_edge
        if isinstance(here, Edge) and isinstance(there, Attachment) and here.site == there.site:
            return there.from_edge
        raise ProtocolError(
            f"{self.name} cannot send to {to.name}: the network joins devices to the server, and devices and the server to "
            "the edge of the devices' site"
        )


class Machine(NamedTuple):
    """What a node runs on: its profile, its connection, and how long a cost takes."""

    profile: Any
    attachment: Attachment | Edge | None
    seconds: Callable[[Cost], float]
