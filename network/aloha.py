"""LoRa cells: frames sent whenever the duty cycle allows, on a channel drawn at random, lost where they overlap.

This is slotless ALOHA, not fluid sharing: there is nothing to share but luck. A flow is cut into frames; a frame that meets
another one on its channel is lost, and so is the other one; it is sent again after the silence that the duty cycle asks for
and a random wait (confirmed frames; LoRaWAN asks for a random delay before a retransmission). One transmitter sends one
frame at a time: a device all its uplinks, the gateway all downlinks.

Not modelled: capture, imperfect orthogonality of spreading factors, the airtime of acknowledgements, adaptive data rates; the
links above never bind.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

import simpy

from network.fading import uniform
from network.flow import Flow, Station
from network.lora import EU868_DUTY_CYCLE, EU868_PAYLOAD_BYTES, LORAWAN_OVERHEAD_BYTES, LoRa
from network.units import BITS_PER_BYTE, NS_PER_S

CHANNEL, WAIT = 0xC4A77E1, 0x3A17  # salts: what a random number decides


@dataclass(frozen=True)
class LoRaCell:
    """``duty_cycle`` of a device, ``downlink_duty_cycle`` of the gateway (ETSI EN 300 220-2: 10 % in 869.4-869.65 MHz).

    ``channels`` are orthogonal and used alike (EU868: 3 that every network has, 8 in most). ``backoff`` is the longest random
    wait before a frame is sent again, in times on air. ``payload_bytes`` a frame: 0 for the spreading factor's own limit.
    """

    radio: LoRa = field(default_factory=lambda: LoRa(7))
    channels: int = 8
    duty_cycle: float = EU868_DUTY_CYCLE
    downlink_duty_cycle: float = 0.1
    backoff: float = 3.0

    def __post_init__(self) -> None:
        for key, got in (("duty_cycle", self.duty_cycle), ("downlink_duty_cycle", self.downlink_duty_cycle)):
            if not 0 < got <= 1:
                raise ValueError(f"{key}: got {got!r}; expected a share above 0, at most 1")
        if self.channels < 1:
            raise ValueError(f"channels: got {self.channels!r}; expected at least 1")
        if not self.backoff >= 0:
            raise ValueError(f"backoff: got {self.backoff!r}; expected zero or more")

    @property
    def payload_bytes(self) -> int:
        """Payload of a full frame."""
        return EU868_PAYLOAD_BYTES[self.radio.spreading_factor]

    def air_ns(self, payload_bytes: int) -> int:
        """Time on air of a frame with so much payload."""
        return round(self.radio.time_on_air_s(payload_bytes + LORAWAN_OVERHEAD_BYTES) * NS_PER_S)

    def rate_bps(self, uplink: bool) -> float:
        """Payload bit/s that the duty cycle allows when no frame is lost."""
        duty = self.duty_cycle if uplink else self.downlink_duty_cycle
        return self.payload_bytes * BITS_PER_BYTE / (self.air_ns(self.payload_bytes) / NS_PER_S) * duty


class LoRaStation(Station):
    """A station with the key of its channels and waits."""

    __slots__ = ("key",)

    def __init__(self, rate_bps: float, key: int) -> None:
        super().__init__(rate_bps)
        self.key = key


class _Frame:
    """A frame on the air."""

    __slots__ = ("air_ns", "channel", "flow", "lost", "payload_bits")

    def __init__(self, flow: Flow, payload_bits: float, air_ns: int, channel: int) -> None:
        self.flow = flow
        self.payload_bits = payload_bits
        self.air_ns = air_ns
        self.channel = channel
        self.lost = False


class _Transmitter:
    """What sends one frame at a time: its queue of flows, and when the duty cycle lets it send again."""

    def __init__(self, key: int, duty_cycle: float) -> None:
        self.key = key
        self.duty_cycle = duty_cycle
        self.queue: deque[Flow] = deque()
        self.silent_until_ns = 0
        self.busy = False  # a frame is on the air, or its time is set


class AlohaMedium:
    """The air of a LoRa cell, on a SimPy clock of integer nanoseconds. ``frames`` and ``collisions`` count since the start."""

    def __init__(self, env: simpy.Environment, cell: LoRaCell) -> None:
        self.env = env
        self.cell = cell
        self.frames = self.collisions = 0
        self._transmitters: dict[Hashable, _Transmitter] = {}
        self._air: dict[int, list[_Frame]] = {channel: [] for channel in range(cell.channels)}

    def start(self, flow: Flow) -> None:
        """Queue a flow behind its transmitter's others; one without a bit ends at once."""
        if not flow.bits > 0:
            flow.left = 0.0
            flow.on_done()
            return
        flow.medium = self
        sender = self._transmitter(flow)
        sender.queue.append(flow)
        if not sender.busy:
            self._plan(sender, 0)

    def abort(self, flow: Flow) -> None:
        """Forget a flow; a frame of it that is on the air stays there to its end."""
        flow.medium = None
        self._transmitter(flow).queue.remove(flow)

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
            assert isinstance(flow.station, LoRaStation)
            duty = self.cell.duty_cycle if flow.uplink else self.cell.downlink_duty_cycle
            found = self._transmitters[who] = _Transmitter(flow.station.key if flow.uplink else 0, duty)
        return found

    def _plan(self, sender: _Transmitter, wait_ns: int) -> None:
        """Send the next frame once the silence is over, and a wait after it."""
        sender.busy = True
        now = int(self.env.now)
        delay = max(0, sender.silent_until_ns - now) + wait_ns
        if delay:
            simpy.Timeout(self.env, delay).callbacks.append(lambda _: self._send(sender))
        else:
            self._send(sender)

    def _send(self, sender: _Transmitter) -> None:
        if not sender.queue:
            sender.busy = False
            return
        flow, now = sender.queue[0], int(self.env.now)
        payload = min(self.cell.payload_bytes, -(-int(flow.left) // BITS_PER_BYTE))
        channel = int(uniform(sender.key ^ CHANNEL, now) * self.cell.channels)
        frame = _Frame(flow, min(flow.left, float(payload * BITS_PER_BYTE)), self.cell.air_ns(payload), channel)
        others = self._air[channel]
        for other in others:
            other.lost = frame.lost = True
        others.append(frame)
        self.frames += 1
        silence = round(frame.air_ns * (1 / sender.duty_cycle - 1))
        sender.silent_until_ns = now + frame.air_ns + silence
        simpy.Timeout(self.env, frame.air_ns).callbacks.append(lambda _: self._ended(sender, frame))

    def _ended(self, sender: _Transmitter, frame: _Frame) -> None:
        self._air[frame.channel].remove(frame)
        flow, wait_ns = frame.flow, 0
        through = False
        if frame.lost:
            self.collisions += 1
            wait_ns = round(uniform(sender.key ^ WAIT, int(self.env.now)) * self.cell.backoff * frame.air_ns)
        elif flow.medium is self:
            flow.left -= frame.payload_bits
            through = flow.left <= 0
        if through:
            sender.queue.popleft()
            flow.left, flow.medium = 0.0, None
        self._plan(sender, wait_ns)
        if through:
            flow.on_done()
