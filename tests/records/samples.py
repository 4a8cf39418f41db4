"""A tiny run worked out by hand: two devices, two rounds, one upload cut off.

Round 1 (0 to 3 s): the server sends 100 B of weights to slow and fast (op 0, 1: 0 to 0.5 s); they train (op 2: fast
0.5-1 s, 10 FLOP, 64 B; op 3: slow 0.5-2.5 s, 30 FLOP, 96 B); both upload 100 B (op 4: fast 1-1.5 s; op 5: slow
2.5-3 s); the server averages (op 6: 3-3.25 s, 4 FLOP). Round 2 (3.25 to 4 s): fast asks something (op 7: control, 8 B
of overhead), and slow's upload is cut off at 4 s after 25 of its bytes (op 8).
"""

from pathlib import Path
from typing import Any

from emulator.records import Header
from emulator.roll import Member
from emulator.rows import Decision, Event, Round

S = 1_000_000_000  # nanoseconds


def transfer(op: int, device: str, kind: str, span: tuple[float, float], **changed: Any) -> Event:
    """A send between a device and the server; weights go down, all else goes up."""
    down = kind == "weights"
    ends = ("server", device) if down else (device, "server")
    start, end = (round(second * S) for second in span)
    row = Event(
        op, (), 1, *ends, "wifi", "send", kind, "downlink" if down else "uplink", 100, 0, 0, 0, start, start, end, None,
        "done",
    )  # fmt: skip
    return row._replace(**changed)


def compute(op: int, node: str, kind: str, span: tuple[float, float], **changed: Any) -> Event:
    """A compute on a node."""
    start, end = (round(second * S) for second in span)
    row = Event(
        op, (), 1, node, None, None, "compute", kind, None, 0, 0, 0, 0, start, start, end, None, "done"
    )  # fmt: skip
    return row._replace(**changed)


EVENTS = [
    transfer(0, "slow", "weights", (0, 0.5)),
    transfer(1, "fast", "weights", (0, 0.5)),
    compute(2, "fast", "train", (0.5, 1), flops=10, peak_memory_bytes=64, energy_j=1.5),
    compute(3, "slow", "train", (0.5, 2.5), flops=30, peak_memory_bytes=96, energy_j=2.0),
    transfer(4, "fast", "update", (1, 1.5), inputs=(2,)),
    transfer(5, "slow", "update", (2.5, 3), inputs=(3,)),
    compute(6, "server", "average", (3, 3.25), inputs=(2, 3), flops=4, peak_memory_bytes=999, energy_j=50.0),
    transfer(7, "fast", "control", (3.25, 3.5), round=2, bytes=0, overhead_bytes=8),
    transfer(8, "slow", "update", (3.25, 4), round=2, bytes=25, inputs=(3,), cause="cut off", queued_ns=3 * S),
]
FIRST = Round(
    1, 0, 3250 * S // 1000, ("slow", "fast"), ("slow", "fast"), (3.0, 1.5), 200, 200, 0, 40, 4, 0.5, 1.25, 0.4,
    {"slow": 0.3, "fast": 0.7}, {}, {"idle": 1.0, "compute": 3.5, "send": 0.25, "receive": 0.25},
)  # fmt: skip
SECOND = Round(
    2,
    FIRST.end_ns,
    4 * S,
    ("slow", "fast"),
    ("fast",),
    (0.25,),
    25,
    0,
    8,
    0,
    0,
    0.9,
    0.5,
    0.8,
    None,
    {"drift": 0.125},
    {"idle": 1.5, "compute": 3.5, "send": 0.5, "receive": 0.25},
)
READ = Decision(0, "read", 5, 1, 3 * S, [0.1, 1e-300, float("inf")])
STOP = Decision(1, "stop", 9, 2, 4 * S, 0.8)


def header(target: float | None = 0.75) -> Header:
    """The header of the tiny run."""
    versions: dict[str, str | None] = dict.fromkeys(("version", "commit", "python", "torch", "ray", "cpu"), "x")
    return Header(
        "tiny", "fedavg", 7, "inline", 2, "name: tiny\n", "0123456789abcdef" * 4, target, False,
        {"slow": "home", "fast": "home"},
        (Member("slow", "board", "home", 10), Member("fast", "phone", None, 30)),
        {"seed": 7, "devices": [{"count": 2, "cell": None}]},
        versions | {"numpy": "x", "instruction_set": "x"},
    )  # fmt: skip


def lines(path: Path) -> list[str]:
    """The lines of a text file."""
    return path.read_text(encoding="utf-8").splitlines()
