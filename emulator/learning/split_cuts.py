"""One model cut at several places: halves cut again, and averaged tensor by tensor, whichever half a tensor was in.

Every client's front and back make up the whole model between them, so each tensor has one value a client, whatever its cut.
"""

from emulator.learning.aggregation import average
from emulator.learning.auxiliary import HEAD, without_head
from emulator.learning.binding import Weights
from emulator.learning.split import Half, Split, halves


def recut(front: Weights, back: Weights, *, split: Split) -> tuple[Weights, Weights]:
    """Front and back at the split's cut, from those at another, heads left out; nothing is computed."""
    return halves({**without_head(front), **back}, split=split)


def average_whole(samples: tuple[int, ...], *parts: Weights, split: Split) -> tuple[Weights, Weights]:
    """Mean of whole models weighted by ``samples``, cut at the split's cut; heads are left out.

    ``parts``: front and back of each client in turn, each cut anywhere. Raises ValueError without any sample.
    """
    wholes = [{**without_head(front), **back} for front, back in zip(parts[0::2], parts[1::2], strict=True)]
    return halves(average(samples, *wholes), split=split)


def average_head(samples: tuple[int, ...], front: Weights, *taught: Weights) -> Weights:
    """A front, and the mean of the heads of fronts at the same cut."""
    return front | average(samples, *({name: weights[name] for name in HEAD} for weights in taught))


def lend(front: Weights, half: Half, *, split: Split) -> tuple[Weights, Half]:
    """For a turn at a deeper cut: the front of that cut, and what the server learns with meanwhile."""
    front, weights = recut(front, half["weights"], split=split)
    return front, {key: {name: values[name] for name in values if name in weights} for key, values in half.items()} | {
        "weights": weights
    }


def give_back(front: Weights, half: Half, lent: Half, *, split: Split) -> tuple[Weights, Half]:
    """After the turn: both halves at the split's cut. Velocity of what was away is as it was: it stays with its maker."""
    front, weights = recut(front, half["weights"], split=split)
    return front, {key: values | half[key] for key, values in lent.items()} | {"weights": weights}
