"""Equal parts of the band for those that take part: a baseline, and where the search for better ones begins."""

import numpy as np

from emulator.learning.assignment.domain import Assignment, Floats, Infeasible, Table, Whole


def equal(table: Table, *, everybody: bool) -> Assignment:
    """For each number of devices that take part (or all that can), those of largest q u in time; the best number."""
    can = int(table.allowed.any(axis=1).sum())
    numbers = [can] if everybody else range(1, can + 1)
    found = [one for number in numbers if (one := _equal_of(table, number)) is not None]
    if not found:
        raise Infeasible(
            f"bandwidth: equal parts of {table.band.bandwidth_hz:.6g} Hz meet the energy caps for no selection"
        )
    return min(found, key=lambda one: one.latency_s)


def _equal_of(table: Table, number: int) -> Assignment | None:
    part = table.band.bandwidth_hz / number
    seconds = table.seconds_on(np.full(len(table.candidates), part))
    times = np.unique(seconds[np.isfinite(seconds)])
    low, high = 0, len(times)
    while low < high:
        middle = (low + high) // 2
        if _in_time(table, seconds, float(times[middle]), number) is None:
            low = middle + 1
        else:
            high = middle
    pick = _in_time(table, seconds, float(times[low]), number) if low < len(times) else None
    if pick is None:
        return None
    taking = pick > 0
    parts = np.where(taking & ~table.fixed[:, 0], part, 0.0)
    latency = float(seconds[taking, pick[taking] - 1].max())
    return Assignment(told(pick), tuple(parts.tolist()), latency, (latency,))


def _in_time(table: Table, seconds: Floats, latency_s: float, number: int) -> Whole | None:
    """The ``number`` devices that do most by then; None where that is too little."""
    mass = np.where(seconds <= latency_s, table.mass, -1.0)
    most, option = mass.max(axis=1), mass.argmax(axis=1) + 1
    first = np.argsort(-most, kind="stable")[:number]
    if most[first].min() < 0 or most[first].sum() < table.band.required * (1 - 1e-12):
        return None
    pick = np.zeros(len(most), np.intp)
    pick[first] = option[first]
    return pick


def told(pick: Whole) -> tuple[int | None, ...]:
    """Choices by their numbers; None where a device rests."""
    return tuple(None if option == 0 else int(option) - 1 for option in pick)
