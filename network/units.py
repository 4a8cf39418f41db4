"""Quantities with units, written and read. Rates are decimal (1 Mbit/s = 10^6 bit/s); only KiB, MiB, GiB are binary.

Every ``parse_*`` takes text with a unit and gives SI; every ``format_*`` gives text that parses back to the same number.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

BITS_PER_BYTE = 8
NS_PER_S = 1_000_000_000

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*([A-Za-zµ/]*)\s*")
_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: its units with their size in SI, and what an error shows as an example."""

    name: str
    units: dict[str, Fraction]
    example: str

    def parse(self, text: object) -> float:
        """SI value of ``text``. Raises ValueError with what was got and what is accepted."""
        if not isinstance(text, str):
            raise ValueError(f"got {text!r}; expected {self.name} with a unit, e.g. {self.example!r}")
        match = _NUMBER.fullmatch(text)
        if match is None or match[2] not in self.units:
            raise ValueError(
                f"got {text!r}; expected {self.name} with a unit, e.g. {self.example!r}{self._hint(match)}"
            )
        return float(Fraction(match[1]) * self.units[match[2]])

    def _hint(self, match: re.Match[str] | None) -> str:
        unit = match[2] if match is not None else ""
        simple = unit.lower().replace("bps", "bit/s").replace("ps", "p/s")
        near = [known for known in self.units if unit and known.lower() == simple]
        known = f'; did you mean "{near[0]}"?' if near else ""
        return known or f" (units: {', '.join(self.units)})"

    def format(self, value: float) -> str:
        """Text that parses back to exactly ``value``, in the largest unit that keeps it short."""
        texts = [f"{float(Fraction(value) / size):.17g} {unit}" for unit, size in self.units.items()]
        texts += [f"{float(Fraction(value) / size)!r} {unit}" for unit, size in self.units.items()]
        texts = [text.replace(".0 ", " ") for text in texts]
        exact = [text for text in texts if self.parse(text) == value]
        return min(exact, key=lambda text: (len(text.split()[0]), len(text)))


def _scaled(prefixes: dict[str, int], unit: str, size: Fraction | int = 1) -> dict[str, Fraction]:
    return {f"{prefix}{unit}": Fraction(scale) * size for prefix, scale in prefixes.items()}


RATE = Quantity("a rate", _scaled(_DECIMAL, "bit/s"), "20 Mbit/s")
SIZE = Quantity("a size", {**_scaled(_DECIMAL, "B"), **_scaled(_BINARY, "B")}, "512 MiB")
COMPUTE = Quantity("a compute rate", _scaled(_DECIMAL, "FLOP/s"), "4 GFLOP/s")
BANDWIDTH = Quantity("a memory bandwidth", _scaled(_DECIMAL, "B/s"), "12.8 GB/s")
DURATION = Quantity(
    "a duration",
    {
        "s": Fraction(1), "ms": Fraction(1, 10**3), "us": Fraction(1, 10**6), "ns": Fraction(1, 10**9),
        "min": Fraction(60), "h": Fraction(3600), "d": Fraction(86400),
    },
    "15 ms",
)  # fmt: skip


def transfer_bits(size_bytes: int) -> int:
    """Bits of so many bytes: the one place where bytes become bits."""
    return size_bytes * BITS_PER_BYTE


def seconds_to_ns(seconds: float) -> int:
    """Integer nanoseconds, rounded half to even."""
    return round(seconds * NS_PER_S)
