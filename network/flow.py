"""Flows and the stations that send or receive them: what every medium shares out."""

from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from network.units import BITS_PER_BYTE


class Station:
    """A device's end on a medium, in one direction.

    ``rate_bps`` is what the station's radio or wire reaches alone on the medium (bit/s); ``weight`` its share where
    sharing is weighted. ``flows`` are those in flight: they divide the station's rate among them.
    """

    __slots__ = ("flows", "rate_bps", "solo", "weight")

    def __init__(self, rate_bps: float, weight: float = 1.0) -> None:
        if not rate_bps > 0:
            raise ValueError(f"rate_bps: got {rate_bps!r}; expected a rate in bit/s above zero")
        if not weight > 0:
            raise ValueError(f"weight: got {weight!r}; expected a number above zero")
        self.rate_bps = rate_bps
        self.weight = weight
        self.flows: list[Flow] = []
        self.solo: Any = None  # the medium's own: where a single plain flow of this station belongs


class RadioStation(Station):
    """A station with a radio: its mean signal-to-noise ratio (linear, over the whole band) and the key of its fading."""

    __slots__ = ("key", "snr")

    def __init__(self, rate_bps: float, snr: float, key: int, weight: float = 1.0) -> None:
        super().__init__(rate_bps, weight)
        if not snr > 0:
            raise ValueError(f"snr: got {snr!r}; expected a linear ratio above zero")
        self.snr = snr
        self.key = key & (2**64 - 1)


class Flow:
    """``bits`` on a medium. ``on_done`` is called in the instant in which the last one leaves.

    ``uplink`` tells the direction; ``through`` whether the flow goes on over the links above the medium.
    ``medium`` is None once the flow has ended or was aborted. The other fields are the medium's own.
    """

    plain = True  # neither a limit nor a rate of its own
    cap_bps = inf  # a limit of its own
    own_bps: float | None = None  # stands for the station's rate, where a transfer has drawn its own
    gain = 1.0  # on the station's signal, likewise
    bandwidth_hz: float | None = None
    medium: "Medium | None" = None
    group: Any = None
    tag = phi = load = 0.0
    slot = -1

    def __init__(
        self, station: Station, bits: float, on_done: Callable[[], None], uplink: bool = True, through: bool = True
    ) -> None:
        self.station = station
        self.bits = bits
        self.on_done = on_done
        self.uplink = uplink
        self.through = through
        self.left = bits  # as of the medium's last look; a medium that ends or drops the flow leaves the truth here

    def limit_to(self, cap_bps: float) -> None:
        """Set a limit of its own (bit/s); on a medium, that is the medium's to do."""
        self.cap_bps, self.plain = cap_bps, False

    def draw(self, gain: float, own_bps: float) -> None:
        """This flow has drawn its own gain, and so its own rate (bit/s), before it starts."""
        self.gain, self.own_bps, self.plain = gain, own_bps, False

    def abort(self) -> None:
        """Leave the medium at once: ``on_done`` is never called, and the others speed up from this instant."""
        if self.medium is not None:
            self.medium.abort(self)

    def left_bits(self) -> float:
        """Bits that have not left yet."""
        return self.left if self.medium is None else self.medium.left_bits(self)

    def sent_bytes(self) -> int:
        """Whole bytes that have left by now."""
        return int(self.bits - self.left_bits()) // BITS_PER_BYTE


class Medium(Protocol):
    """What flows are put on: a cell's air, a wire, a queue."""

    def start(self, flow: Flow) -> None:
        """Put a flow on the medium now."""

    def abort(self, flow: Flow) -> None:
        """Take it off."""

    def left_bits(self, flow: Flow) -> float:
        """Bits of a flow on this medium that have not left yet."""

    def recap(self, flow: Flow, cap_bps: float) -> None:
        """A flow's own limit changes now (bit/s; inf: none)."""

    def rerate(self, station: Station, rate_bps: float) -> None:
        """A station's own rate changes now (bit/s)."""
