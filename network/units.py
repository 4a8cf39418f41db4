"""Quantities with units, written and read. Rates are decimal (1 Mbit/s = 10^6 bit/s); only KiB, MiB, GiB are binary.

Every ``parse_*`` takes text with a unit and gives SI; every ``format_*`` gives text that parses back to exactly that.
Arithmetic between text and number is exact (fractions), so that a quantity is rounded once, to the nearest float.
"""

import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

BITS_PER_BYTE = 8
NS_PER_S = 1_000_000_000

# Three digits of exponent reach beyond every float; more would let one short text ask for gigabytes of digits.
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?|\.[0-9]+)\s*([A-Za-zµμ/]*)\s*", re.ASCII)
_LONGEST = 64
_LARGEST = Fraction(sys.float_info.max)
_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

# How people write units, in small letters, and how they are written here. Only used to suggest, never to accept.
_SPELLINGS = (
    (r"[µμ]s|usecs?", "us"),
    (r"msecs?", "ms"),
    (r"secs?|seconds?", "s"),
    (r"mins|minutes?", "min"),
    (r"hrs?|hours?", "h"),
    (r"days?", "d"),
    (r"(.?i?)bytes?", r"\1b"),
    (r"(.?)flops", r"\1flop/s"),
    (r"(.?)(?:bps|b/s|bits/s|bit/sec)", r"\1bit/s"),
    (r"watts?", "w"),
    (r"joules?", "j"),
)


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: its units with their size in SI, and what an error shows as an example."""

    name: str
    units: Mapping[str, Fraction]
    example: str

    def parse(self, text: object) -> float:
        """SI value of ``text``, rounded once. Raises ValueError with what was got, what is accepted and an example."""
        try:
            return float(self.exact(text))
        except OverflowError:
            raise ValueError(f"{self._expected(text)} (too large)") from None

    def exact(self, text: object) -> Fraction:
        """SI value of ``text`` with no rounding at all. Raises ValueError as ``parse`` does."""
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise ValueError(self._expected(text))
        match = _NUMBER.fullmatch(text)
        if match is None or match[2] not in self.units:
            raise ValueError(self._expected(text) + self._hint("" if match is None else match[2]))
        return Fraction(match[1]) * self.units[match[2]]

    def format(self, value: float) -> str:
        """The shortest text that parses back to exactly ``value``. Raises ValueError for negative, nan and inf."""
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"got {value!r}; expected {self.name} that is finite and not negative")
        texts = [text for text in self._texts(Fraction(value)) if self._reads_as(text, value)]
        return min(texts, key=_plainness)

    def _reads_as(self, text: str, value: float) -> bool:
        exact = self.exact(text) if len(text) <= _LONGEST else _LARGEST + 1
        return exact == value if isinstance(value, int) else exact <= _LARGEST and float(exact) == value

    def _texts(self, value: Fraction) -> Iterator[str]:
        """``value`` in every unit: as a whole number, and as the nearest float in 17 and in the fewest digits."""
        for unit, size in self.units.items():
            number = value / size
            if number.denominator == 1:
                yield f"{number.numerator} {unit}"
            if number <= _LARGEST:
                yield f"{float(number):.17g} {unit}"
                yield f"{float(number)!r} {unit}".replace(".0 ", " ")

    def _expected(self, text: object) -> str:
        got = f'"{text[:_LONGEST]}"' if isinstance(text, str) else repr(text)
        return f'got {got}; expected {self.name} with a unit, e.g. "{self.example}"'

    def _hint(self, unit: str) -> str:
        spelled = unit.lower()
        for pattern, here in _SPELLINGS:
            spelled = re.sub(f"^(?:{pattern})$", here, spelled)
        spellings = {spelled, spelled.replace("bit/s", "b/s")} - {""}
        near = [f'"{known}"' for known in self.units if known.lower() in spellings]
        if not near:
            return f" (units: {', '.join(self.units)})"
        # A capital B means bytes: whoever writes MB/s for a rate is eight times off when told "Mbit/s" alone.
        eight = "B" in unit and "bit" not in unit.lower() and "bit" in near[0]
        return f"; did you mean {' or '.join(near)}?" + (f" (1 byte = {BITS_PER_BYTE} bit)" if eight else "")


def _plainness(text: str) -> tuple[int, bool, int]:
    """Few digits first, then a number from 1 to 1000, then a short unit: "18.88 Mbit/s", not "18880 kbit/s"."""
    number = text.split()[0]
    return len(number), not 1 <= float(number) < 1000, len(text)


def _scaled(prefixes: dict[str, int], unit: str, size: Fraction | int = 1) -> dict[str, Fraction]:
    return {f"{prefix}{unit}": Fraction(scale) * size for prefix, scale in prefixes.items()}


RATE = Quantity("a rate", _scaled(_DECIMAL, "bit/s"), "20 Mbit/s")
SIZE = Quantity("a size", {**_scaled(_DECIMAL, "B"), **_scaled(_BINARY, "B")}, "512 MiB")
COMPUTE = Quantity("a compute rate", _scaled(_DECIMAL, "FLOP/s"), "4 GFLOP/s")
BANDWIDTH = Quantity("a memory bandwidth", _scaled(_DECIMAL, "B/s"), "12.8 GB/s")
POWER = Quantity("a power", {"W": Fraction(1), "mW": Fraction(1, 10**3), "kW": Fraction(10**3)}, "2.5 W")
ENERGY = Quantity(
    "an energy",
    {
        "J": Fraction(1), "mJ": Fraction(1, 10**3), "kJ": Fraction(10**3), "MJ": Fraction(10**6),
        "Wh": Fraction(3600), "mWh": Fraction(36, 10), "kWh": Fraction(3600 * 10**3),
    },
    "10 Wh",
)  # fmt: skip
DURATION = Quantity(
    "a duration",
    {
        "s": Fraction(1), "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6), "ns": Fraction(1, 10**9),
        "min": Fraction(60), "h": Fraction(3600), "d": Fraction(86400),
    },
    "15 ms",
)  # fmt: skip
LENGTH = Quantity(
    "a length", {"m": Fraction(1), "km": Fraction(1000), "cm": Fraction(1, 100)}, "250 m"
)  # fmt: skip
FREQUENCY = Quantity("a frequency", _scaled(_DECIMAL, "Hz"), "20 MHz")
SPEED = Quantity("a speed", {"m/s": Fraction(1), "km/h": Fraction(10, 36)}, "1.5 m/s")


def parse_rate(text: object) -> float:
    """Bit/s of ``"20 Mbit/s"``. Raises ValueError, as every ``parse_*`` does, for all but a number and a known unit."""
    return RATE.parse(text)


def format_rate(rate_bps: float) -> str:
    """Text of a rate in bit/s."""
    return RATE.format(rate_bps)


def parse_duration(text: object) -> float:
    """Seconds of ``"15 ms"``."""
    return DURATION.parse(text)


def format_duration(duration_s: float) -> str:
    """Text of a duration in s."""
    return DURATION.format(duration_s)


def parse_size(text: object) -> int:
    """Bytes of ``"512 MiB"``. Raises ValueError for a part of a byte, too."""
    size = SIZE.exact(text)
    if size.denominator != 1:
        raise ValueError(f'got "{text}"; expected a whole number of bytes, e.g. "{SIZE.example}"')
    return size.numerator


def format_size(size_bytes: int) -> str:
    """Text of a size in bytes."""
    return SIZE.format(size_bytes)


def parse_flops(text: object) -> float:
    """FLOP/s of ``"4 GFLOP/s"``."""
    return COMPUTE.parse(text)


def format_flops(flop_per_s: float) -> str:
    """Text of a compute rate in FLOP/s."""
    return COMPUTE.format(flop_per_s)


def parse_bandwidth(text: object) -> float:
    """Byte/s of ``"12.8 GB/s"``."""
    return BANDWIDTH.parse(text)


def format_bandwidth(bytes_per_s: float) -> str:
    """Text of a memory bandwidth in byte/s."""
    return BANDWIDTH.format(bytes_per_s)


def parse_power(text: object) -> float:
    """Watts of ``"2.5 W"``."""
    return POWER.parse(text)


def format_power(power_w: float) -> str:
    """Text of a power in W."""
    return POWER.format(power_w)


def parse_energy(text: object) -> float:
    """Joules of ``"10 Wh"``."""
    return ENERGY.parse(text)


def format_energy(energy_j: float) -> str:
    """Text of an energy in J."""
    return ENERGY.format(energy_j)


def transfer_bits(size_bytes: int) -> int:
    """Bits of so many bytes: the one place where bytes become bits."""
    return size_bytes * BITS_PER_BYTE


def seconds_to_ns(seconds: float) -> int:
    """Integer nanoseconds, rounded half to even. Raises ValueError for negative, nan and inf."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"got {seconds!r} s; expected a duration that is finite and not negative")
    return round(seconds * NS_PER_S)


def ns_to_seconds(duration_ns: int) -> float:
    """Seconds of so many nanoseconds: the nearest float."""
    return duration_ns / NS_PER_S
