"""LoRa cells: frames sent whenever the duty cycle allows, on a channel drawn at random, lost where they overlap.

This is slotless ALOHA (Abramson, "The ALOHA system", AFIPS Fall Joint Computer Conference, 1970), not fluid sharing: there is
nothing to share but luck. A flow is cut into frames; two that overlap on a channel and spreading factor are both lost, and sent
again after the silence that the duty cycle asks for and a random wait (confirmed frames; LoRaWAN 1.0.3, section 7, wants that
wait random and from another sequence for every device). One transmitter sends one frame at a time, first come, first served: a
device all its uplinks, the gateway all downlinks. The gateway has a channel of its own (869.525 MHz, RX2 in EU868): its frames
meet none.

With capture, a frame outlives every other one that is weaker by ``capture_db``: 6 dB by Goursaud & Gorce, "Dedicated networks
for IoT: PHY/MAC state of the art and challenges", EAI Endorsed Transactions on IoT 1(1), 2015, table of co-channel rejection;
and by Bor, Roedig, Voigt & Alonso, "Do LoRa low-power wide-area networks scale?", MSWiM 2016 (LoRaSim), frame by frame as here.

Not modelled: imperfect orthogonality of spreading factors, noise, which preamble a receiver locks on to, the number of its
demodulators, its deafness while it sends, receive windows, acknowledgements (known at once, free of airtime), adaptive data
rates, sub-bands with a duty cycle each; the links above never bind.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil, inf

import simpy

from network.fading import uniform
from network.flow import Flow, Station
from network.lora import EU868_DUTY_CYCLE, EU868_PAYLOAD_BYTES, LORAWAN_OVERHEAD_BYTES, LoRa
from network.timer import LazyTimer
from network.units import BITS_PER_BYTE, NS_PER_S

CHANNEL, WAIT = 0xC4A77E1, 0x3A17  # salts: what a random number decides
GATEWAY = -1  # the channel of all downlinks


@dataclass(frozen=True)
class LoRaCell:
    """``duty_cycle`` of a device, ``downlink_duty_cycle`` of the gateway (ETSI EN 300 220-2: 10 % in 869.4-869.65 MHz).

    ``channels`` are orthogonal and used alike (EU868: 3 that every network has, 8 in most). ``backoff`` is the longest random
    wait before a frame is sent again, in times on air. ``attempts`` at a frame, then its flow fails (LoRaWAN 1.0.3 recommends
    8); None: never. ``capture_db`` by which a frame must be stronger to outlive another one; None: none does. ``factors``:
    spreading factors of devices, by name, where not the cell's own. Payload limits are those for 125 kHz, whatever the
    bandwidth.
    """

    radio: LoRa = field(default_factory=lambda: LoRa(7))
    channels: int = 8
    duty_cycle: float = EU868_DUTY_CYCLE
    downlink_duty_cycle: float = 0.1
    backoff: float = 3.0
    attempts: int | None = None
    capture_db: float | None = None
    factors: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for key, got in (("duty_cycle", self.duty_cycle), ("downlink_duty_cycle", self.downlink_duty_cycle)):
            if not 0 < got <= 1:
                raise ValueError(f"{key}: got {got!r}; expected a share above 0, at most 1")
        if self.channels < 1:
            raise ValueError(f"channels: got {self.channels!r}; expected at least 1")
        if not 0 <= self.backoff < inf:
            raise ValueError(f"backoff: got {self.backoff!r}; expected a finite number, zero or more")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"attempts: got {self.attempts!r}; expected at least 1, or None: as many as it takes")
        if self.capture_db is not None and not 0 < self.capture_db < inf:
            raise ValueError(f"capture_db: got {self.capture_db!r}; expected dB above zero, or None: no capture")
        for name, factor in self.factors.items():
            if factor not in EU868_PAYLOAD_BYTES:
                raise ValueError(f"factors: got {factor!r} for {name}; expected 7 to 12")

    @property
    def payload_bytes(self) -> int:
        """Payload of a full frame at the cell's own spreading factor."""
        return self.limit_bytes(self.radio.spreading_factor)

    def limit_bytes(self, factor: int) -> int:
        """Payload of a full frame at a spreading factor."""
        return EU868_PAYLOAD_BYTES[factor]

    def factor(self, name: str) -> int:
        """A device's spreading factor, both ways."""
        return self.factors.get(name, self.radio.spreading_factor)

    def air_ns(self, payload_bytes: int, factor: int | None = None) -> int:
        """Time on air of a frame with so much payload and LoRaWAN's 13 bytes; at the cell's own factor if none is given."""
        radio = self.radio if factor is None else replace(self.radio, spreading_factor=factor)
        return round(radio.time_on_air_s(payload_bytes + LORAWAN_OVERHEAD_BYTES) * NS_PER_S)

    def rate_bps(self, uplink: bool, factor: int | None = None) -> float:
        """Payload bit/s that the duty cycle allows when no frame is lost."""
        duty = self.duty_cycle if uplink else self.downlink_duty_cycle
        payload = self.limit_bytes(factor or self.radio.spreading_factor)
        return payload * BITS_PER_BYTE / (self.air_ns(payload, factor) / NS_PER_S) * duty


class LoRaStation(Station):
    """A station with the key of its channels and waits, and its spreading factor (None: the cell's own).

    ``snr`` (linear) decides who is captured; a station without one never is. ``frames`` and ``lost`` ones, and ``air_ns``
    on the air, count since the start, a frame under way in full.
    """

    __slots__ = ("air_ns", "factor", "frames", "key", "lost", "snr")

    def __init__(self, rate_bps: float, key: int, factor: int | None = None, snr: float | None = None) -> None:
        super().__init__(rate_bps)
        if factor is not None and factor not in EU868_PAYLOAD_BYTES:
            raise ValueError(f"factor: got {factor!r}; expected 7 to 12, or None: the cell's own")
        if snr is not None and not snr > 0:
            raise ValueError(f"snr: got {snr!r}; expected a linear ratio above zero")
        self.key = key
        self.factor = factor
        self.snr = snr
        self.frames = self.lost = self.air_ns = 0


class Undelivered(RuntimeError):
    """A frame was lost as often as it may be sent."""


class _Frame:
    """A frame on the air, from ``start_ns`` up to but not including ``end_ns``, and those it has ``met`` there."""

    __slots__ = ("end_ns", "met", "payload_bits", "place", "start_ns", "station")

    def __init__(
        self, station: LoRaStation, payload_bits: float, place: tuple[int, int], start_ns: int, air_ns: int
    ) -> None:
        self.station = station
        self.payload_bits = payload_bits
        self.place = place  # channel and spreading factor
        self.start_ns = start_ns
        self.end_ns = start_ns + air_ns
        self.met: list[_Frame] = []

    def overlaps(self, other: "_Frame") -> bool:
        """Whether both were on the air at once for any time: the ends of frames that were cut short are known by then."""
        return max(self.start_ns, other.start_ns) < min(self.end_ns, other.end_ns)


class _Transmitter:
    """What sends one frame at a time: its queue of flows, the frame on the air, and when it may send again.

    Its timer stands at the end of the frame on the air, or else at the start of the next one.
    """

    __slots__ = ("duty_cycle", "frame", "queue", "silent_until_ns", "timer", "tries")

    def __init__(self, duty_cycle: float) -> None:
        self.duty_cycle = duty_cycle
        self.queue: deque[Flow] = deque()
        self.frame: _Frame | None = None
        self.silent_until_ns = 0
        self.tries = 0  # at the frame that is next
        self.timer: LazyTimer

    def fall_silent(self, now_ns: int) -> _Frame:
        """Off the air now, until the duty cycle is kept: T (1/d - 1), rounded up."""
        frame, self.frame = self.frame, None
        assert frame is not None
        self.silent_until_ns = now_ns + ceil((now_ns - frame.start_ns) * (1 / self.duty_cycle - 1))
        return frame


class AlohaMedium:
    """The air of a LoRa cell, on a SimPy clock of integer nanoseconds. ``frames`` and ``collisions`` count since the start.

    A flow with a frame that was lost in the last of its attempts leaves the medium, unfinished, and ``on_failed`` is called;
    without it Undelivered is raised, out of the clock's ``run``.
    """

    def __init__(self, env: simpy.Environment, cell: LoRaCell, on_failed: Callable[[Flow], None] | None = None) -> None:
        self.env = env
        self.cell = cell
        self.frames = self.collisions = 0
        self._on_failed = on_failed
        self._stronger = None if cell.capture_db is None else 10 ** (cell.capture_db / 10)
        self._transmitters: dict[Hashable, _Transmitter] = {}
        self._air_ns = cache(cell.air_ns)  # as good as constant: there are few lengths
        self._air: defaultdict[tuple[int, int], list[_Frame]] = defaultdict(list)

    def start(self, flow: Flow) -> None:
        """Queue a flow behind its transmitter's others; one without a bit ends at once."""
        if not flow.bits > 0:
            flow.left = 0.0
            flow.on_done()
            return
        flow.medium = self
        sender = self._transmitter(flow)
        sender.queue.append(flow)
        if len(sender.queue) == 1:
            self._plan(sender)

    def abort(self, flow: Flow) -> None:
        """Forget a flow. A frame of it that is on the air is cut short: nobody gets it, nor what it has hit so far."""
        flow.medium = None
        sender, now = self._transmitter(flow), int(self.env.now)
        first = sender.queue[0] is flow
        sender.queue.remove(flow)
        if not first:
            return
        if sender.frame is not None:
            frame = sender.fall_silent(now)
            self._air[frame.place].remove(frame)
            frame.station.air_ns -= frame.end_ns - now
            frame.end_ns = now
            frame.met.clear()
        sender.tries = 0
        sender.timer.set(inf)
        self._plan(sender)

    def left_bits(self, flow: Flow) -> float:
        """Bits that no frame has brought through yet."""
        return flow.left

    def recap(self, flow: Flow, cap_bps: float) -> None:
        """Frames have no rate to limit."""
        raise TypeError("a LoRa flow has no rate of its own to limit")

    def rerate(self, station: Station, rate_bps: float) -> None:
        """Frames have no rate to change."""
        raise TypeError("a LoRa station's rate follows from its spreading factor")

    def _transmitter(self, flow: Flow) -> _Transmitter:
        who: Hashable = flow.station if flow.uplink else None  # the gateway sends all downlinks
        found = self._transmitters.get(who)
        if found is None:
            sender = found = _Transmitter(self.cell.duty_cycle if flow.uplink else self.cell.downlink_duty_cycle)
            sender.timer = LazyTimer(self.env, lambda: self._on_time(sender))
            self._transmitters[who] = sender
        return found

    def _on_time(self, sender: _Transmitter) -> None:
        if sender.frame is not None:
            self._ended(sender)
        else:
            self._send(sender)

    def _plan(self, sender: _Transmitter, wait_ns: int = 0) -> None:
        """Send the next frame, if there is one, once the silence is over, and a wait after it."""
        if not sender.queue:
            return
        now = int(self.env.now)
        due = max(sender.silent_until_ns, now) + wait_ns
        if due > now:
            sender.timer.set(due)
        else:
            self._send(sender)

    def _send(self, sender: _Transmitter) -> None:
        flow, now = sender.queue[0], int(self.env.now)
        station = flow.station
        assert isinstance(station, LoRaStation)
        factor = station.factor or self.cell.radio.spreading_factor
        payload = min(self.cell.limit_bytes(factor), ceil(flow.left / BITS_PER_BYTE))
        channel = int(uniform(station.key ^ CHANNEL, now) * self.cell.channels) if flow.uplink else GATEWAY
        bits = min(flow.left, float(payload * BITS_PER_BYTE))
        frame = _Frame(station, bits, (channel, factor), now, self._air_ns(payload, factor))
        others = self._air[frame.place]
        for other in others:
            frame.met.append(other)
            other.met.append(frame)
        others.append(frame)
        self.frames += 1
        station.frames += 1
        station.air_ns += frame.end_ns - now
        sender.frame = frame
        sender.tries += 1
        sender.timer.set(frame.end_ns)

    def _outlives(self, frame: _Frame, other: _Frame) -> bool:
        """Whether a frame is captured in spite of another one."""
        own, its = frame.station.snr, other.station.snr
        return self._stronger is not None and own is not None and its is not None and own >= its * self._stronger

    def _ended(self, sender: _Transmitter) -> None:
        frame, flow = sender.fall_silent(int(self.env.now)), sender.queue[0]
        self._air[frame.place].remove(frame)
        lost = any(frame.overlaps(other) and not self._outlives(frame, other) for other in frame.met)
        frame.met.clear()  # a frame that was met holds this one
        if lost:
            self._lost(sender, frame, flow)
            return
        sender.tries = 0
        flow.left -= frame.payload_bits
        through = not flow.left > 0
        if through:
            sender.queue.popleft()
            flow.left, flow.medium = 0.0, None
        self._plan(sender)
        if through:
            flow.on_done()

    def _lost(self, sender: _Transmitter, frame: _Frame, flow: Flow) -> None:
        """Send a frame again, after a wait that follows from its sender and when it began; or give its flow up."""
        self.collisions += 1
        frame.station.lost += 1
        if self.cell.attempts is None or sender.tries < self.cell.attempts:
            air_ns = frame.end_ns - frame.start_ns
            draw = uniform(frame.station.key ^ WAIT, frame.start_ns)
            self._plan(sender, round(draw * self.cell.backoff * air_ns))
            return
        sender.queue.popleft()
        sender.tries, flow.medium = 0, None
        self._plan(sender)
        if self._on_failed is None:
            left, whole = flow.left / BITS_PER_BYTE, flow.bits / BITS_PER_BYTE
            raise Undelivered(
                f"attempts: a LoRa frame was lost {self.cell.attempts} times, the last one sent at "
                f"{frame.start_ns / NS_PER_S:.3f} s, with {left:.0f} of {whole:.0f} bytes left; "
                "expected more attempts, more channels or fewer devices at once"
            )
        self._on_failed(flow)
