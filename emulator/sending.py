"""``send``: a value on its way to another node, and what the device's radio draws meanwhile."""

from typing import Any

from actors.tape import Handle
from emulator.devices.energy import Supply
from emulator.engine import Finish
from emulator.rows import KINDS, PAYLOAD, RIDING, Event
from emulator.tasks import ProtocolError
from emulator.verbs import Host, Verb
from network.band import BandFull
from network.transfer import Transfer


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
        if (self.kind, self._direction) not in RIDING:
            transfer.message_bytes = engine.network.plan.message_bytes
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

    @property
    def _use(self) -> str:
        """What that radio does."""
        return "send" if self.way.uplink else "receive"

    @property
    def _direction(self) -> str:
        return "uplink" if self.way.uplink else "downlink"

    def _tuned(self, on: bool) -> None:
        """The flow goes on the air, or leaves it."""
        supply, kind = self._supply, self._use
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
        return self._energy_j + supply.joules_since(self._use, self._mark)

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
        end = (self.node if self.way.uplink else self.peer).attachment
        return Event(
            self.op or 0, self.inputs, self.round, self.node.name, self.peer.name, end.link if end is not None else None,
            "send", self.kind, self._direction, payload, overhead,
            0, 0, self.queued_ns, self.start_ns, self.clock.now_ns, self._joules(), cause,
        )  # fmt: skip
