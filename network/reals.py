"""Numbers and arrays of numbers alike: one type for both, and one check that names the first offender."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Reals = TypeVar("Reals", float, NDArray[np.float64])


def shaped(values: Any, like: Reals) -> Reals:
    """``values`` as a float where ``like`` is one number, else as an array of float64."""
    plain: Any = float(values) if np.ndim(like) == 0 else np.asarray(values, np.float64)
    result: Reals = plain
    return result


def require(what: str, got: Any, fine: Any, expected: str) -> None:
    """Raises ValueError ``what: got X; expected Y`` unless ``fine`` holds, for an array of it everywhere."""
    if np.all(fine):
        return
    bad = got if np.ndim(fine) == 0 else np.asarray(got)[~np.broadcast_to(fine, np.shape(got))].flat[0]
    raise ValueError(f"{what}: got {bad.item() if isinstance(bad, np.generic) else bad!r}; expected {expected}")


def require_positive(what: str, got: Any) -> None:
    """Raises ValueError unless ``got`` is finite and above zero (nan is neither)."""
    require(what, got, np.isfinite(got) & (np.asarray(got) > 0), "finite, above zero")


def require_nonnegative(what: str, got: Any) -> None:
    """Raises ValueError unless ``got`` is finite and zero or more."""
    require(what, got, np.isfinite(got) & (np.asarray(got) >= 0), "finite, zero or more")


def require_finite(what: str, got: Any) -> None:
    """Raises ValueError for nan and inf."""
    require(what, got, np.isfinite(got), "a finite number")
