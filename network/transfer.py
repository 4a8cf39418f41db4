"""Bytes on their way from one end to the other."""

from collections.abc import Callable
from math import ceil, inf, log
from typing import Protocol

import simpy

from network.cell import Cell
from network.fading import uniform
from network.flow import Flow, Medium, Station
from network.framing import Framing, Wire
from network.units import BITS_PER_BYTE, NS_PER_S, transfer_bits

ERASURE, JITTER = 0xE4A5E, 0x71773  # salts, as in network.cell
PLAIN = Framing()
RAMP_END_BPS = 1e12  # a window that allows more binds nobody


class Traveller(Protocol):
    """A device whose cell or rates change with time: it wants to know of its transfers."""

    def begin(self, transfer: "Transfer") -> None:
        """A transfer sets out."""

    def end(self, transfer: "Transfer") -> None:
        """A transfer is over."""


class Way:
    """One way through the network as it is now: where flows go, and how long a bit takes beside that.

    ``through``: flows go on over the links above their medium. ``latency_ns`` is one way over all hops, ``jitter_ns`` the
    mean of each hop's random delay on top. ``key`` is the device's random key. ``cell`` is None where the cell adds nothing
    of its own: no headers, no connection, no draws, no traces. ``traveller`` is the device if anything about it changes.
    """

    __slots__ = ("cell", "connected", "jitter_ns", "key", "latency_ns", "medium", "station", "through", "traveller",
                 "uplink")  # fmt: skip

    def __init__(self, uplink: bool, through: bool, key: int = 0, traveller: Traveller | None = None) -> None:
        self.uplink = uplink
        self.through = through
        self.key = key
        self.traveller = traveller
        self.connected = False

    def lead(
        self, medium: Medium, station: Station, delays_ns: tuple[int, tuple[int, ...]], cell: Cell | None = None
    ) -> None:
        """Flows go this way from now on."""
        self.medium, self.station, self.cell = medium, station, cell
        self.latency_ns, self.jitter_ns = delays_ns

    @property
    def framing(self) -> Framing:
        """The packets that payloads go into."""
        return PLAIN if self.cell is None else self.cell.plan.framing

    def wire(self, message_bytes: int) -> Wire:
        """What this way adds to a payload now, in messages of so much framing."""
        return Wire(self.framing, message_bytes, self.opening_ns() / NS_PER_S)

    def opening_ns(self) -> int:
        """Round trips before the first bit, of the first transfer or of all, as the cell's connection says."""
        if self.cell is None:
            return 0
        connection = self.cell.plan.connection
        if connection.once and self.connected:
            return 0
        return round(connection.round_trips * 2 * self.latency_ns)


class Transfer:
    """A payload under way. ``abort`` takes it off the air at once; ``moved`` tells what has left the sender so far.

    ``on_arrival`` is called when the last bit is there. A transfer of a device that is handed over goes on in the new
    cell with what is left of it.
    """

    message_bytes = 0  # its own framing, whatever the cell adds for packets; set before it sets out
    overhead_bytes = 0
    _cell: Cell | None = None
    _flow: Flow | None = None
    _resent_bytes = 0
    _bandwidth_hz: float | None = None
    radio: Callable[[bool], None] | None = None  # is told when the flow goes on the air and when it leaves it

    def __init__(self, env: simpy.Environment, way: Way, size_bytes: int, on_arrival: Callable[[], None]) -> None:
        self.size_bytes = size_bytes
        self._env = env
        self._way = way
        self._on_arrival: Callable[[], None] | None = on_arrival
        self._left_bits = float(size_bytes * BITS_PER_BYTE)

    def go(self, bandwidth_hz: float | None = None) -> "Transfer":
        """Set out now; gives the transfer itself. ``bandwidth_hz``: what a cell that assigns its band gives it."""
        way = self._way
        if way.traveller is not None:
            way.traveller.begin(self)
        self.overhead_bytes = way.framing.overhead_bytes(self.size_bytes, self.message_bytes)
        self._left_bits += transfer_bits(self.overhead_bytes)
        cell = way.cell
        if cell is None:
            self._put(Flow(way.station, self._left_bits, self._sent, way.uplink, way.through))
            return self
        self._cell = cell
        cell.begin()
        self._bandwidth_hz = bandwidth_hz
        self._after(way.opening_ns(), self._start)
        return self

    def abort(self) -> None:
        """Leave the network now; nothing arrives."""
        if self._on_arrival is None:
            return
        self._on_arrival = None
        if self._flow is not None:
            self._flow.abort()
            self._drop(self._flow.left)
        self._over()
        self.radio = None

    def moved(self) -> tuple[int, int]:
        """(payload, overhead) whole bytes that have left the sender by now; what was sent again is overhead."""
        wire = self.size_bytes + self.overhead_bytes
        left = self._left_bits if self._flow is None else self._flow.left_bits()
        sent = wire - ceil(left / BITS_PER_BYTE) if left > 0 else wire
        payload = sent * self.size_bytes // wire if wire else 0
        return payload, sent - payload + self._resent_bytes

    def move(self, gap_ns: int) -> None:
        """The way leads over another cell now: go on there with what is left, after a gap. What has left is on its way."""
        if self._cell is not None:
            self._cell.end()
        self._cell = self._way.cell
        if self._cell is not None:
            self._cell.begin()
        flow = self._flow
        if flow is not None and flow.medium is not None:
            flow.abort()
            self._drop(flow.left)
            self._after(gap_ns, self._start)

    def _start(self) -> None:
        """Put the flow on the air, as soon as there is a signal."""
        if self._on_arrival is None or self._flow is not None:
            return
        way, cell = self._way, self._cell
        flow = Flow(way.station, self._left_bits, self._sent, way.uplink, way.through)
        if cell is not None:
            flow.bandwidth_hz = self._bandwidth_hz
            wait_ns = cell.tune(flow)
            if wait_ns:
                self._after(wait_ns, self._start)
                return
            if cell.plan.connection.initial_window_bytes and way.latency_ns:
                self._widen(flow, 0)
        self._put(flow)

    def _put(self, flow: Flow) -> None:
        self._flow = flow
        if self.radio is not None:
            self.radio(True)
        self._way.medium.start(flow)

    def _widen(self, flow: Flow, round_trips: int) -> None:
        """TCP's slow start: a window a round trip, doubled every round trip."""
        assert self._cell is not None
        round_trip_ns = 2 * self._way.latency_ns
        allowed = self._cell.plan.connection.window_bps(round_trips, round_trip_ns / NS_PER_S)
        if round_trips == 0:
            flow.limit_to(allowed)
        elif flow.medium is None:
            return
        else:
            flow.medium.recap(flow, allowed if allowed < RAMP_END_BPS else inf)
        if allowed < RAMP_END_BPS:
            self._after(round_trip_ns, lambda: self._widen(flow, round_trips + 1))

    def _sent(self) -> None:
        """The last bit has left."""
        if self._on_arrival is None:
            return
        way = self._way
        self._drop(0.0)
        latency_ns = way.latency_ns
        if self._cell is not None:
            if self._failed(self._cell.plan.loss):
                return
            way.connected = True
        if way.jitter_ns:
            latency_ns += self._jitter()
        if latency_ns:
            simpy.Timeout(self._env, latency_ns).callbacks.append(self._arrive)
        else:
            self._arrive()

    def _jitter(self) -> int:
        key, now = self._way.key ^ JITTER, int(self._env.now)
        return sum(round(-mean * log(uniform(key ^ hop, now))) for hop, mean in enumerate(self._way.jitter_ns))

    def _failed(self, loss: float) -> bool:
        """Whether this attempt was lost; then all of it is sent again."""
        if not loss or uniform(self._way.key ^ ERASURE, int(self._env.now)) >= loss:
            return False
        self._resent_bytes += self.size_bytes + self.overhead_bytes
        self._drop(float(transfer_bits(self.size_bytes + self.overhead_bytes)))
        self._start()
        return True

    def _arrive(self, _: simpy.Event | None = None) -> None:
        on_arrival, self._on_arrival = self._on_arrival, None
        self.radio = None
        if on_arrival is not None:
            self._over()
            on_arrival()

    def _drop(self, left_bits: float) -> None:
        """The flow is no more. Nothing may hold it: it holds this transfer, and a ring waits for the collector."""
        if self._flow is not None and self.radio is not None:
            self.radio(False)
        self._left_bits, self._flow = left_bits, None

    def _over(self) -> None:
        if self._cell is not None:
            self._cell.end()
        if self._way.traveller is not None:
            self._way.traveller.end(self)

    def _after(self, delay_ns: int, then: Callable[[], None]) -> None:
        if not delay_ns:
            then()
            return
        timeout = simpy.Timeout(self._env, delay_ns)
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: then())
