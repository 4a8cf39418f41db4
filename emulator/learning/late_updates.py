"""What a server does with updates that come late: each is a difference from the weights that its device was given."""

import torch

from emulator.learning.aggregation import Term, summed
from emulator.learning.binding import Weights
from emulator.learning.coding import STATISTICS


def add_updates(shares: tuple[float, ...], rate: float, weights: Weights, *pairs: Weights) -> Weights:
    """``weights`` and ``rate`` times the sum of the updates, each multiplied by its share; in a fixed tree by position.

    ``pairs``: what each device was given and what it made of it, in turn. ``shares``: 0 or more, 1 at most together.
    BatchNorm's running statistics are no sum of steps (a late difference could take a variance below zero): they move by the
    shares towards what came. Raises ValueError for other shares.
    """
    if min(shares, default=-1.0) < 0 or sum(shares) > 1 + 1e-9:
        raise ValueError(f"add_updates: got shares {shares}; expected one or more from 0, 1 at most together")
    names = [name for name in weights if not name.endswith(STATISTICS)]
    rows = [Term([weights[name] for name in names], 1.0)]
    for share, given, made in zip(shares, pairs[0::2], pairs[1::2], strict=True):
        delta = torch._foreach_sub([made[name] for name in names], [given[name] for name in names])
        rows.append(Term(list(delta), rate * share))
    new = dict(zip(names, summed(rows), strict=True))
    return {name: new.get(name, moved) for name, moved in _moved(shares, weights, pairs[1::2]).items()}


def _moved(shares: tuple[float, ...], weights: Weights, made: tuple[Weights, ...]) -> Weights:
    """Every tensor's name; running statistics moved towards what came, the others as they are."""
    names = [name for name in weights if name.endswith(STATISTICS)]
    rows = [Term([weights[name] for name in names], 1.0 - sum(shares))]
    rows += [Term([one[name] for name in names], share) for share, one in zip(shares, made, strict=True)]
    return {**weights, **dict(zip(names, summed(rows) if names else [], strict=True))}
