"""Rows for the tests of records: a small run, written by hand."""

from emulator.rows import Event, Round
from emulator.simulation import Outcome


def send(op: int, start_s: float, end_s: float, *, up: bool = True, size: int = 1000, cause: str = "done") -> Event:
    node, peer = ("device-0000", "server") if up else ("server", "device-0000")
    return Event(
        op, (op - 1,) if op else (), 1, node, peer, "wifi", "send", "update" if up else "weights",
        "uplink" if up else "downlink", size, 8, 0, 0, round(start_s * 1e9), round(start_s * 1e9), round(end_s * 1e9),
        None, cause,
    )  # fmt: skip


def compute(op: int, start_s: float, end_s: float, *, node: str = "device-0000", flops: int = 5000) -> Event:
    return Event(
        op, (op - 1,) if op else (), 1, node, None, None, "compute", "train", None, 0, 0, flops, 4096,
        round(start_s * 1e9), round(start_s * 1e9), round(end_s * 1e9), None, "done",
    )  # fmt: skip


SMALL = [
    send(0, 0.0, 0.5, up=False),
    compute(1, 0.5, 1.5),
    send(2, 1.5, 2.5, size=700, cause="cut off"),
    compute(3, 2.5, 2.75, node="server", flops=100),
]

ROUND = Round(
    1, 0, 2_750_000_000, ("device-0000", "device-0001"), ("device-0000", "device-0001"), (2.5, 1.0), 700, 1000, 16, 5000,
    100, 0.25, 2.0, 0.5, {"device-0000": 0.75}, {"staleness": 1.5},
)  # fmt: skip
LATER = ROUND._replace(round=2, start_ns=2_750_000_000, end_ns=4_000_000_000, accuracy=0.75, loss=1.0)

OUTCOME = Outcome("done", 4_000_000_000, 2, "abc", 0, 4, 1, 3)
