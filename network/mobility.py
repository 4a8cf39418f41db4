"""Where a device is at an instant: a pure function of its key and the time, whoever asks.

Positions are metres on a plane.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import cos, hypot, pi, sin, sqrt
from pathlib import Path
from typing import Protocol

from network.columns import read_columns
from network.fading import uniform

Position = tuple[float, float]


class Place(Protocol):
    """Where a device is."""

    def at(self, time_s: float) -> Position:
        """(x, y) in metres."""


@dataclass(frozen=True)
class Fixed:
    """A device that stays."""

    x: float
    y: float

    def at(self, time_s: float) -> Position:
        """The same place."""
        return self.x, self.y


@dataclass(frozen=True)
class Area:
    """A disc around (x, y); places are uniform on the part that is ``nearest`` to ``radius`` metres from the middle."""

    x: float
    y: float
    radius: float
    nearest: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.nearest <= self.radius:
            raise ValueError(f"nearest: got {self.nearest} m of a radius of {self.radius} m; expected 0 to the radius")

    def place(self, key: int, number: int) -> Position:
        """The key's place of that number."""
        inner, outer = self.nearest**2, self.radius**2
        distance = sqrt(inner + (outer - inner) * uniform(key, 3 * number))
        angle = 2 * pi * uniform(key, 3 * number + 1)
        return self.x + distance * cos(angle), self.y + distance * sin(angle)


class RandomWaypoint:
    """Walk straight to a uniform place of the area at a uniform speed, wait, and walk on (Johnson & Maltz, 1996).

    Speeds in m/s, ``pause_s`` in s. The slowest speed must be above zero, or devices slow down for ever (Yoon, Liu &
    Noble, "Random waypoint considered harmful", INFOCOM 2003).
    """

    def __init__(self, key: int, area: Area, slowest: float, fastest: float, pause_s: float = 0.0) -> None:
        if not 0 < slowest <= fastest:
            raise ValueError(f"speed: got {slowest} to {fastest} m/s; expected 0 < slowest <= fastest")
        if not pause_s >= 0:
            raise ValueError(f"pause_s: got {pause_s}; expected seconds, zero or more")
        self._key, self._area, self._speeds, self._pause_s = key, area, (slowest, fastest), pause_s
        self._starts = [0.0]  # of each leg, in s
        self._places = [area.place(key, 0)]

    def at(self, time_s: float) -> Position:
        """Where it is; legs are worked out as far as needed, once."""
        while self._starts[-1] <= time_s:
            self._walk()
        leg = bisect_right(self._starts, time_s) - 1
        (x, y), (to_x, to_y) = self._places[leg], self._places[leg + 1]
        walking = self._starts[leg + 1] - self._starts[leg] - self._pause_s
        share = min(1.0, (time_s - self._starts[leg]) / walking) if walking > 0 else 1.0
        return x + share * (to_x - x), y + share * (to_y - y)

    def _walk(self) -> None:
        leg = len(self._starts)
        (x, y), (to_x, to_y) = self._places[-1], self._area.place(self._key, leg)
        slowest, fastest = self._speeds
        speed = slowest + (fastest - slowest) * uniform(self._key, 3 * leg + 2)
        self._starts.append(self._starts[-1] + max(hypot(to_x - x, to_y - y) / speed, 1e-9) + self._pause_s)
        self._places.append((to_x, to_y))


class Track:
    """Positions at given times, straight lines between them; before the first and after the last it stands still."""

    def __init__(self, times_s: tuple[float, ...], places: tuple[Position, ...]) -> None:
        if not times_s or len(times_s) != len(places):
            raise ValueError(f"track: got {len(times_s)} times and {len(places)} places; expected one of each a row")
        if times_s[0] < 0 or any(b <= a for a, b in pairwise(times_s)):
            raise ValueError("track: got times that do not ascend from zero or later")
        self._times, self._places = times_s, places

    def at(self, time_s: float) -> Position:
        """Where it is."""
        index = bisect_right(self._times, time_s)
        if index == 0 or index == len(self._times):
            return self._places[max(0, index - 1)]
        before, after = self._times[index - 1], self._times[index]
        share = (time_s - before) / (after - before)
        (x, y), (to_x, to_y) = self._places[index - 1], self._places[index]
        return x + share * (to_x - x), y + share * (to_y - y)


def read_track(path: Path) -> Track:
    """A track from a file of ``seconds,x,y`` lines (metres). Raises ColumnError with file and line."""
    rows = read_columns(path, ("seconds", "x", "y"))
    return Track(tuple(row[0] for row in rows), tuple((row[1], row[2]) for row in rows))
