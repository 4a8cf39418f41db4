"""How fast a device really goes: slower when hot, and while something else runs on it."""

from collections.abc import Iterator
from typing import NamedTuple

from emulator.devices.presence import Presence
from emulator.devices.profile import Throttling
from network.units import NS_PER_S


class Load(NamedTuple):
    """Other work on a device: while ``idle`` says no, it goes at ``speed`` times its rate."""

    idle: Presence
    speed: float


class Pace:
    """Turns work (nanoseconds at full speed) into virtual time.

    Heat: full speed until ``after_s`` of busy time are used up, then ``speed`` times as fast; idle time gives the busy time
    back in proportion (all of it after ``recovery_s``). While hot and busy nothing is given back.
    """

    def __init__(self, throttling: Throttling | None = None, load: Load | None = None) -> None:
        self._throttling = throttling
        self._load = load
        self._full_ns = throttling.after_s * NS_PER_S if throttling is not None else 0.0
        self._cool_ns = self._full_ns  # busy time left at full speed, as of the last work's end
        self._idle_since_ns = 0

    def end_ns(self, start_ns: int, work_ns: int) -> int:
        """When work that starts then would end; nothing is remembered."""
        left = float(work_ns)
        for begin, end, speed in self._stretches(start_ns):
            if end is None or left <= (end - begin) * speed:
                return max(start_ns, round(begin + left / speed))
            left -= (end - begin) * speed
        raise AssertionError("stretches never end")

    def done_ns(self, start_ns: int, now_ns: int) -> int:
        """How much of the work that started then is done now."""
        done = 0.0
        for begin, end, speed in self._stretches(start_ns):
            stop = now_ns if end is None else min(end, now_ns)
            done += max(0.0, stop - begin) * speed
            if end is None or end >= now_ns:
                break
        return round(done)

    def worked(self, start_ns: int, end_ns: int) -> None:
        """The device was busy from then to then: it is as hot as that made it."""
        self._cool_ns = max(0.0, self._cool_at(start_ns) - (end_ns - start_ns))
        self._idle_since_ns = end_ns

    def _cool_at(self, start_ns: int) -> float:
        if self._throttling is None:
            return 0.0
        recovery = self._throttling.recovery_s * NS_PER_S
        idle = start_ns - self._idle_since_ns
        regained = self._full_ns * idle / recovery if recovery else self._full_ns
        return min(self._full_ns, self._cool_ns + regained)

    def _stretches(self, start_ns: int) -> Iterator[tuple[float, float | None, float]]:
        """(from, to, speed) of stretches of constant speed, while busy from ``start_ns`` on."""
        now, cool = float(start_ns), self._cool_at(start_ns)
        while True:
            speed, change = self._speed(now)
            hot_at: float | None = None
            if self._throttling is not None:
                if cool <= 0:
                    speed *= self._throttling.speed
                else:
                    hot_at = now + cool
            ends = [end for end in (change, hot_at) if end is not None]
            end = min(ends) if ends else None
            yield now, end, speed
            if end is None:
                return
            cool = 0.0 if end == hot_at else cool - (end - now)
            now = end

    def _speed(self, now: float) -> tuple[float, int | None]:
        if self._load is None:
            return 1.0, None
        idle, change = self._load.idle.at(int(now))
        return (1.0 if idle else self._load.speed), change
