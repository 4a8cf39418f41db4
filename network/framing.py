"""What travels besides the payload: headers of packets, the opening of a connection, TCP's slow start."""

from dataclasses import dataclass
from typing import NamedTuple

from network.units import transfer_bits


@dataclass(frozen=True)
class Framing:
    """Every packet carries up to ``payload_bytes`` behind ``header_bytes`` of headers (0: nothing is added).

    TCP over IPv4 on Ethernet, for one: 1,448 bytes of payload, 20 + 32 of TCP and IP (with timestamps, RFC 7323) and 38
    of Ethernet (14 header, 4 check sequence, 8 preamble, 12 gap; IEEE 802.3). Raises ValueError for a payload below 1.
    """

    payload_bytes: int = 1448
    header_bytes: int = 0

    def __post_init__(self) -> None:
        if self.payload_bytes < 1:
            raise ValueError(f"payload_bytes: got {self.payload_bytes}; expected at least 1")
        if self.header_bytes < 0:
            raise ValueError(f"header_bytes: got {self.header_bytes}; expected zero or more")

    def overhead_bytes(self, size_bytes: int, message_bytes: int = 0) -> int:
        """Bytes beside so many payload bytes: a message's own framing, and the headers of the packets that both go into."""
        packets = -(-(size_bytes + message_bytes) // self.payload_bytes)
        return message_bytes + packets * self.header_bytes


class Wire(NamedTuple):
    """What one way adds to a payload: framing of packets and of the message, and seconds before the first bit."""

    framing: Framing = Framing()
    message_bytes: int = 0
    opening_s: float = 0.0

    def bytes(self, payload_bytes: int) -> int:
        """All that goes over for a payload."""
        return payload_bytes + self.framing.overhead_bytes(payload_bytes, self.message_bytes)


@dataclass(frozen=True)
class Connection:
    """Round trips before the first bit of a transfer, and TCP's slow start.

    ``round_trips``: 1 for TCP's handshake (RFC 9293), 2 with TLS 1.3 on it (RFC 8446). ``once``: only a device's first
    transfer pays, the connection stays open. ``initial_window_bytes`` above 0: the rate may not exceed a window per
    round trip; the window doubles every round trip until it no longer binds (RFC 5681; RFC 6928: ten segments).
    Loss and congestion avoidance are not modelled.
    """

    round_trips: float = 0.0
    once: bool = True
    initial_window_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.round_trips <= 100:
            raise ValueError(f"round_trips: got {self.round_trips}; expected 0 to 100")
        if self.initial_window_bytes < 0:
            raise ValueError(f"initial_window_bytes: got {self.initial_window_bytes}; expected zero or more")

    def asks(self) -> bool:
        """Whether it costs anything at all."""
        return self.round_trips > 0 or self.initial_window_bytes > 0

    def window_bps(self, rounds: int, round_trip_s: float) -> float:
        """Bit/s that the window allows after so many round trips."""
        return transfer_bits(self.initial_window_bytes) * 2.0**rounds / round_trip_s
