"""Devices around one server: each has its own uplink, downlink and latency; all share the server's link.

A transfer's bits flow through both links at once (pipelined: the rate is the smaller share), and arrive one latency later.
Uplink and downlink are separate (full duplex), each of the full rate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import simpy

from network.link import Flow, Port, SharedLink


@dataclass(frozen=True, slots=True)
class Access:
    """A device's own connection. Rates in bit/s, one-way latency in ns; ``name`` is the cell's, for the records."""

    name: str
    uplink_bps: float
    downlink_bps: float
    latency_ns: int


class Attachment:
    """An ``Access`` in use: the ports that its flows share."""

    __slots__ = ("access", "downlink", "uplink")

    def __init__(self, access: Access) -> None:
        self.access = access
        self.uplink = Port(access.uplink_bps)
        self.downlink = Port(access.downlink_bps)


class Transfer:
    """Bytes on their way. ``abort`` takes them off the air at once; ``sent_bytes`` tells how many have left so far."""

    __slots__ = ("_flow", "_link", "_on_arrival", "size_bytes")

    def __init__(self, link: SharedLink, port: Port, size_bytes: int, on_arrival: Callable[[], None]) -> None:
        self.size_bytes = size_bytes
        self._link = link
        self._on_arrival: Callable[[], None] | None = on_arrival
        self._flow: Flow = link.start(port, size_bytes)

    def travel(self, latency_ns: int) -> None:
        """Let the last bit arrive ``latency_ns`` after it left."""

        def left(_: simpy.Event) -> None:
            if latency_ns:
                self._then(simpy.Timeout(self._link.env, latency_ns), lambda _: self._arrive())
            else:
                self._arrive()

        self._then(self._flow.done, left)

    def abort(self) -> None:
        """Leave the link now; nothing arrives."""
        self._on_arrival = None
        self._link.abort(self._flow)

    def sent_bytes(self) -> int:
        """Whole bytes that have left the sender."""
        return self._link.sent_bytes(self._flow)

    def _arrive(self) -> None:
        if self._on_arrival is not None:
            self._on_arrival()

    @staticmethod
    def _then(event: simpy.Event, callback: Callable[[simpy.Event], None]) -> None:
        assert event.callbacks is not None
        event.callbacks.append(callback)


class Star:
    """The server's link (``rate_bps`` each way, ``inf``: unlimited; ``latency_ns`` one way) and what hangs on it."""

    def __init__(self, env: simpy.Environment, rate_bps: float = inf, latency_ns: int = 0) -> None:
        self._up = SharedLink(env, rate_bps)
        self._down = SharedLink(env, rate_bps)
        self.latency_ns = latency_ns

    def uplink(self, device: Attachment, size_bytes: int, on_arrival: Callable[[], None]) -> Transfer:
        """Send ``size_bytes`` from a device to the server; ``on_arrival`` is called when the last one is there."""
        return self._send(self._up, device.uplink, device.access, (size_bytes, on_arrival))

    def downlink(self, device: Attachment, size_bytes: int, on_arrival: Callable[[], None]) -> Transfer:
        """Send ``size_bytes`` from the server to a device."""
        return self._send(self._down, device.downlink, device.access, (size_bytes, on_arrival))

    def _send(self, link: SharedLink, port: Port, access: Access, what: tuple[int, Callable[[], None]]) -> Transfer:
        transfer = Transfer(link, port, *what)
        transfer.travel(access.latency_ns + self.latency_ns)
        return transfer
