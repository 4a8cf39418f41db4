"""Where a Ray cluster is said to be. Asked without Ray, whose own tries take minutes, and whose import takes a second."""

import socket

ANSWER_S = 5.0
EXPECTED = "expected host:port of a Ray cluster, or auto for one on this machine"


class NoCluster(ConnectionError):
    """No Ray cluster answers where one was asked for."""


def require_answer(address: str) -> None:
    """Raises NoCluster where nothing listens. What ``auto`` stands for Ray alone knows."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise NoCluster(f"got {address}; {EXPECTED}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise NoCluster(f"got {address}, where nothing answers ({error}); {EXPECTED}") from error
