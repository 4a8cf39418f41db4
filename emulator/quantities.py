"""Quantities with units as types of scenario fields: text in YAML, SI numbers in Python, the same text out again."""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from network.units import DURATION, FREQUENCY, LENGTH, RATE, SIZE, SPEED, Quantity, parse_size


def _field(quantity: Quantity, *, positive: bool) -> tuple[Any, ...]:
    def read(value: object) -> float:
        number = parse_size(value) if quantity is SIZE else quantity.parse(value)
        if positive and number == 0:
            raise ValueError(f"got {value!r}; expected {quantity.name} above zero, e.g. {quantity.example!r}")
        return number

    units = "|".join(quantity.units)
    schema = {
        "type": "string",
        "pattern": rf"^\s*([0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|\.[0-9]+)\s*({units})\s*$",
        "examples": [quantity.example],
    }
    return BeforeValidator(read), PlainSerializer(quantity.format), WithJsonSchema(schema)


Rate = Annotated[float, *_field(RATE, positive=True)]
Duration = Annotated[float, *_field(DURATION, positive=False)]
PositiveDuration = Annotated[float, *_field(DURATION, positive=True)]
PositiveLength = Annotated[float, *_field(LENGTH, positive=True)]
Length = Annotated[float, *_field(LENGTH, positive=False)]
Frequency = Annotated[float, *_field(FREQUENCY, positive=True)]
Size = Annotated[int, *_field(SIZE, positive=False)]
Speed = Annotated[float, *_field(SPEED, positive=True)]


def _decibels(unit: str, example: str) -> tuple[Any, ...]:
    """Numbers on a logarithmic scale, which may be negative: ``"23 dBm"``, ``"-3 dB"``."""
    pattern = rf"\s*(-?[0-9]+(?:\.[0-9]*)?)\s*{unit}\s*"

    def read(value: object) -> float:
        match = re.fullmatch(pattern, value, re.ASCII) if isinstance(value, str) and len(value) < 64 else None
        if match is None or not math.isfinite(float(match[1])):
            raise ValueError(f'got {value!r}; expected a level in {unit}, e.g. "{example}"')
        return float(match[1])

    def write(value: float) -> str:
        return f"{value!r} {unit}".replace(".0 ", " ")

    schema = {"type": "string", "pattern": f"^{pattern}$", "examples": [example]}
    return BeforeValidator(read), PlainSerializer(write), WithJsonSchema(schema)


Decibels = Annotated[float, *_decibels("dB", "8 dB")]
PowerLevel = Annotated[float, *_decibels("dBm", "23 dBm")]
