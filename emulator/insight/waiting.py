"""Who waits: per round and device the time at work and the time waited; stragglers, utilisation, fairness of participation.

A device is at work while it computes or one of its transfers is under way, and waits for the rest of a round that it takes part
in: for its turn, for the server, for slower devices. Its round time goes from the first thing that it was asked for to the end
of the last one. Fairness is Jain's index, (sum x)^2 / (n sum x^2), from 1/n (one device does all) to 1 (all do as much): Jain,
Chiu & Hawe, "A quantitative measure of fairness and discrimination", DEC-TR-301, 1984.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from emulator.insight.critical_path import Window
from emulator.insight.history import devices_of
from emulator.rows import SERVER, Event


class Part(NamedTuple):
    """A device's part in a round, in seconds. ``busy_s``: at work, what overlaps counted once; ``waiting_s``: the rest of it.

    ``time_s`` is its round time. ``queue_s``: from the asking for computes to their start, their inputs there or not.
    ``outcome`` is how its last operation ended (``done``, ``cut off``, ``lost``, ``stopped``), or ``under way`` after it.
    """

    round: int
    device: str
    time_s: float
    compute_s: float
    uplink_s: float
    downlink_s: float
    queue_s: float
    busy_s: float
    waiting_s: float
    outcome: str


class Participation(NamedTuple):
    """A device over the run: rounds in which it was asked, and those in which its work was done; its share of all such
    rounds beside its share of the data (None where the data are not at hand); shares of the run's time at work, computing.
    """

    device: str
    asked: int
    done: int
    share: float
    data_share: float | None
    busy: float
    computing: float


def parts(rows: Sequence[Event], windows: Sequence[Window]) -> list[Part]:
    """All devices' parts, round by round, by name."""
    mine: dict[tuple[int, str], list[Event]] = defaultdict(list)
    starts, ends = [window.start_ns for window in windows], [window.end_ns for window in windows]
    place = {window.round: index for index, window in enumerate(windows)}
    for row in rows:
        inside = set(range(bisect_right(ends, row.start_ns), bisect_left(starts, row.end_ns)))
        for index in inside | ({place[row.round]} if row.round in place else set()):
            for device in devices_of(row):
                mine[index, device].append(row)
    return [_part(windows[index], device, mine[index, device]) for index, device in sorted(mine)]


def _part(window: Window, device: str, rows: list[Event]) -> Part:
    computes = [row for row in rows if row.verb == "compute"]
    began = max(window.start_ns, min(row.queued_ns for row in rows))
    ended = min(window.end_ns, max(row.end_ns for row in rows))
    busy = covered(rows, window)
    last = max(rows, key=lambda row: (row.end_ns, row.op))
    queues = (min(row.start_ns, window.end_ns) - max(row.queued_ns, window.start_ns) for row in computes)
    up, down = (covered((row for row in rows if row.direction == way), window) for way in ("uplink", "downlink"))
    return Part(
        window.round,
        device,
        time_s=max(0, ended - began) / 1e9,
        compute_s=covered(computes, window) / 1e9,
        uplink_s=up / 1e9,
        downlink_s=down / 1e9,
        queue_s=sum(max(0, queue) for queue in queues) / 1e9,
        busy_s=busy / 1e9,
        waiting_s=(window.end_ns - window.start_ns - busy) / 1e9,
        outcome=last.cause if last.end_ns <= window.end_ns else "under way",
    )


def covered(rows: Iterable[Event], window: Window) -> int:
    """Nanoseconds of a window in which any of these was in service."""
    total, reached = 0, window.start_ns
    for start, end in sorted((row.start_ns, row.end_ns) for row in rows):
        end = min(end, window.end_ns)
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def straggler_index(found: Iterable[Part]) -> float | None:
    """Round time of the slowest device that was done over the median of all that were; None without any."""
    times = [part.time_s for part in found if part.outcome == "done"]
    middle = median(times) if times else 0.0
    return max(times) / middle if middle else None


def server_share(rows: Sequence[Event], whole: Window) -> float:
    """Share of a run's time in which the server computes."""
    length = whole.end_ns - whole.start_ns
    return (
        covered((row for row in rows if row.node == SERVER and row.verb == "compute"), whole) / length if length else 0
    )


def jain(counts: Sequence[float]) -> float | None:
    """Jain's index; None of nothing."""
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else None


def participation(found: Sequence[Part], samples: Mapping[str, int | None], length_s: float) -> list[Participation]:
    """Every device of the fleet; ``samples`` of each (None: not known), ``length_s`` of the run."""
    asked, done = Counter(part.device for part in found), Counter(_done(found))
    busy, computing = defaultdict[str, float](float), defaultdict[str, float](float)
    for part in found:
        busy[part.device] += part.busy_s
        computing[part.device] += part.compute_s
    rounds, data = sum(done.values()) or 1, sum(number or 0 for number in samples.values())
    length = length_s or 1.0
    return [
        Participation(
            name, asked[name], done[name], done[name] / rounds, None if number is None else number / (data or 1),
            busy[name] / length, computing[name] / length,
        )
        for name, number in samples.items()
    ]  # fmt: skip


def _done(found: Iterable[Part]) -> Iterable[str]:
    return (part.device for part in found if part.outcome == "done")
