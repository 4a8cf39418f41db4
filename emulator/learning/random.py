"""Randomness keyed by who and what, never by the order of execution. No global generator is used anywhere."""

from collections.abc import Sequence
from hashlib import sha256
from math import log1p
from operator import index

import numpy as np


def seed_of(seed: int, *names: str | int) -> int:
    """A 63-bit seed for ``names`` under ``seed``: the same names give the same number in every process.

    It is the top 63 bits of the SHA-256 of ``int:SEED``, then ``str:NAME`` or ``int:NAME`` for each name, joined by
    the unit separator (0x1f). A separator inside a name is escaped, so different names never share a text.
    Raises TypeError for a name that is neither text nor a whole number.
    """
    text = "\x1f".join(_encoded(name) for name in (seed, *names))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator of its own for ``names`` under ``seed`` (PCG64). Raises as ``seed_of``."""
    return np.random.Generator(np.random.PCG64(seed_of(seed, *names)))


def choose(seed: int, count: int, of: int, *, again: bool = False) -> list[int]:
    """``count`` numbers below ``of``, drawn from ``seed``: each once at most, or with replacement."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return [int(number) for number in generator.choice(of, size=count, replace=again)]


def choose_by(seed: int, count: int, weights: Sequence[float]) -> list[int]:
    """``count`` indices into ``weights``, one after another, each as likely as its weight among those that are left.

    Those of weight 0 come when there are no others. The largest log(u) / w (Efraimidis & Spirakis, IPL 97, 2006).
    """
    draws = np.random.Generator(np.random.PCG64(seed)).random(len(weights))
    keys = [(weight > 0, log1p(-draw) / (weight or 1.0)) for draw, weight in zip(draws, weights, strict=True)]
    return sorted(range(len(weights)), key=lambda number: keys[number], reverse=True)[:count]


def lognormal(seed: int, sigma: float) -> float:
    """A factor with median 1 and ``sigma`` of its logarithm, drawn from ``seed``."""
    return float(np.random.Generator(np.random.PCG64(seed)).lognormal(sigma=sigma))


def _encoded(name: str | int) -> str:
    if isinstance(name, str):
        return "str:" + name.replace("\x1b", "\x1b0").replace("\x1f", "\x1b1")
    try:
        return f"int:{index(name)}"  # a NumPy integer counts as the number that it is
    except TypeError:
        raise TypeError(f"seed name: got {name!r} ({type(name).__name__}); expected str or int") from None
