"""When a device is there: on and off by chance, with the day, as a file tells, or not while its cell is out.

Presence is a function of virtual time and of a key, never of who asks and when: two policies meet the same absences. Each
kind has ``at(time_ns) -> (there?, when to look again)``; the second is None when nothing changes any more.
"""

from bisect import bisect_right
from math import log
from statistics import NormalDist
from typing import Protocol

from network.fading import uniform
from network.units import NS_PER_S, seconds_to_ns


class Presence(Protocol):
    """Whether a device is there."""

    def at(self, time_ns: int) -> tuple[bool, int | None]:
        """(there at that instant?, the later instant at which that may change, or None for never again)."""


class Markov:
    """On and off by turns, each for an exponential time: a two-state Markov chain, from its steady state on.

    It is on for mean_on / (mean_on + mean_off) of the time. Times are drawn by counter from ``key``, so they do not depend
    on how often anybody looks. Raises ValueError for means that are not above zero.
    """

    def __init__(self, key: int, mean_on_s: float, mean_off_s: float) -> None:
        if not (mean_on_s > 0 and mean_off_s > 0):
            raise ValueError(f"got mean times on {mean_on_s!r} s, off {mean_off_s!r} s; expected both above zero")
        self.key = key
        self.means_ns = (mean_off_s * NS_PER_S, mean_on_s * NS_PER_S)
        self.first = uniform(key, 0) < mean_on_s / (mean_on_s + mean_off_s)
        self._changes_ns: list[int] = [0]  # the state alternates at each

    def at(self, time_ns: int) -> tuple[bool, int | None]:
        """The state, and its end."""
        changes = self._changes_ns
        while changes[-1] <= time_ns:
            state = self.first ^ (len(changes) % 2 == 0)
            stay = -self.means_ns[state] * log(uniform(self.key, len(changes)))
            changes.append(changes[-1] + max(1, round(stay)))
        passed = bisect_right(changes, time_ns)
        return self.first ^ (passed % 2 == 0), changes[passed]


class Diurnal:
    """There once a period (a day), from about ``start_s`` on for about ``length_s``, as phones are on their chargers.

    Both ends are moved by a normal with standard deviation ``spread_s``, drawn for each day; moves are cut so that days
    stay apart and each has some time. Raises ValueError where length is not above zero and below the period.
    """

    def __init__(self, key: int, period_s: float, window_s: tuple[float, float], spread_s: float = 0.0) -> None:
        start_s, length_s = window_s
        if not 0 < length_s < period_s:
            raise ValueError(
                f"got a length of {length_s!r} s in a period of {period_s!r} s; expected less than the period"
            )
        self.key = key
        self.period_ns = seconds_to_ns(period_s)
        self.start_ns, self.length_ns = seconds_to_ns(start_s % period_s), seconds_to_ns(length_s)
        self.spread_ns = spread_s * NS_PER_S
        self._most_ns = min(self.length_ns, self.period_ns - self.length_ns) / 2 - 1

    def at(self, time_ns: int) -> tuple[bool, int | None]:
        """Look at the window of the day before, of this day and of the next."""
        day = (time_ns - self.start_ns) // self.period_ns
        for number in (day, day + 1):
            start, end = self.window(number)
            if time_ns < start:
                return False, start
            if time_ns < end:
                return True, end
        return False, self.window(day + 2)[0]

    def window(self, day: int) -> tuple[int, int]:
        """(start, end) of that day's window in ns; day 0 is the first that starts at or after zero."""
        start = day * self.period_ns + self.start_ns
        return start + self._move(2 * day), start + self.length_ns + self._move(2 * day + 1)

    def _move(self, counter: int) -> int:
        if not self.spread_ns:
            return 0
        drawn = self.spread_ns * NormalDist().inv_cdf(uniform(self.key, counter))
        return round(max(-self._most_ns, min(self._most_ns, drawn)))


class Both:
    """There while two presences are: a device's own, and its cell's."""

    def __init__(self, one: Presence, other: Presence) -> None:
        self.one = one
        self.other = other

    def at(self, time_ns: int) -> tuple[bool, int | None]:
        """Both states; look again when either may change. Where one is over, so are both."""
        (one, first), (other, second) = self.one.at(time_ns), self.other.at(time_ns)
        if (not one and first is None) or (not other and second is None):
            return False, None
        times = [then for then in (first, second) if then is not None]
        return one and other, min(times) if times else None
