"""Numbers for people: seconds, counts, shares, and the ticks of an axis."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def seconds(value: float | None) -> str:
    """A duration with three digits that count: ``21.9 s``, ``4.20 min``."""
    if value is None or math.isnan(value):
        return "–"
    if value == 0:
        return "0 s"
    for size, unit, least in ((3600.0, "h", 7200.0), (60.0, "min", 180.0), (1.0, "s", 1.0), (1e-3, "ms", 1e-3)):
        if value >= least:
            return f"{digits(value / size)} {unit}"
    return f"{digits(value * 1e6)} µs"


def digits(value: float) -> str:
    """Three digits that count, never in powers of ten below a million."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(places, 6)}f}"


def scaled(value: float, unit: str) -> str:
    """A quantity in the largest decimal unit that leaves 1 or more in front."""
    size, prefix = next((pair for pair in UNITS if abs(value) >= pair[0]), UNITS[-1])
    return f"{digits(value / size)} {prefix}{unit}"


def share(value: float | None) -> str:
    """Of a whole, in per cent."""
    if value is None or math.isnan(value):
        return "–"
    return f"{100 * value:.1f} %" if 0 < abs(value) < 0.1 else f"{100 * value:.0f} %"


def plain(value: float) -> str:
    """A tick's label."""
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:,.10g}"


@dataclass(frozen=True)
class Scale:
    """From values to places: ``low`` is drawn at ``start``, ``high`` at ``stop``."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        if self.log:
            span = math.log(self.high / self.low)
            part = math.log(max(value, self.low) / self.low) / span if span else 0.0
        else:
            part = (value - self.low) / (self.high - self.low) if self.high != self.low else 0.0
        return self.start + part * (self.stop - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values in between."""
        return _decades(self.low, self.high, count) if self.log else steps(self.low, self.high, count)


def steps(low: float, high: float, count: int) -> list[float]:
    """About ``count`` multiples of 1, 2 or 5 times a power of ten, from ``low`` to ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float, count: int) -> list[float]:
    whole = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    sizes: Sequence[int] = (1,) if len(whole) > count else (1, 3) if len(whole) > 2 else (1, 2, 5)
    return [size * power for power in whole for size in sizes if low * 0.999 <= size * power <= high * 1.001]


def axis_of_time(longest_s: float) -> tuple[float, str]:
    """(seconds of a unit, its name) in which an axis up to ``longest_s`` reads well."""
    found = [(size, unit) for size, unit, least in _TIME if longest_s >= least]
    return found[0] if found else (1e-3, "ms")


_TIME = ((3600.0, "h", 7200.0), (60.0, "min", 300.0), (1.0, "s", 0.5))
Label = Callable[[float], str]
