"""Numbers from comma-separated text whose first column is time."""

import csv
from collections.abc import Sequence
from math import isfinite
from pathlib import Path


class ColumnError(ValueError):
    """A file of numbers is broken; the message names file, line, what was got and what is accepted."""


def read_columns(path: Path, names: Sequence[str]) -> list[tuple[float, ...]]:
    """Rows of as many numbers as there are ``names``; the first one, seconds, ascends from zero or later.

    A first line of words is skipped, as are blank lines.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ColumnError(f"{path}: cannot be read: {error}") from None
    found: list[tuple[float, ...]] = []
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not row or (number == 1 and not _number(row[0])):
            continue
        where = f"{path}: line {number}"
        if len(row) != len(names) or not all(map(_number, row)):
            raise ColumnError(f"{where}: got {','.join(row)!r}; expected {len(names)} numbers: {','.join(names)}")
        values = tuple(float(cell) for cell in row)
        if values[0] < 0:
            raise ColumnError(f"{where}: got a time of {values[0]:g}; expected zero or more")
        if found and values[0] <= found[-1][0]:
            raise ColumnError(f"{where}: got {values[0]:g} s after {found[-1][0]:g} s; expected a later time")
        found.append(values)
    if not found:
        raise ColumnError(f"{path}: got no rows; expected lines of {','.join(names)}")
    return found


def _number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
