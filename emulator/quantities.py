"""Quantities with units as types of scenario fields: text in YAML, SI numbers in Python, the same text out again."""

from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from network.units import DURATION, RATE, Quantity


def _field(quantity: Quantity, *, positive: bool) -> tuple[Any, ...]:
    def read(value: object) -> float:
        number = quantity.parse(value)
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
