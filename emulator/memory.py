"""A device's memory: what lies there between operations, and steps that do not fit."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from actors.tape import Handle
from emulator.learning.meter import Cost
from emulator.learning.tracing import measure
from network.units import SIZE

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


@runtime_checkable
class Lighter(Protocol):
    """A step's settings that know how the step would need less memory."""

    def lighter(self) -> Iterator[tuple[str, Any]]:
        """Settings that need less and less, each with the words for it, e.g. ``batch_size 8``."""


class Shelf:
    """Values on one node: the bytes of those that something still refers to, each counted once."""

    def __init__(self) -> None:
        self.bytes = 0
        self.most_bytes = 0  # what the largest step so far needed, that step, and what lay beside it
        self.largest: Call | None = None
        self.beside_largest = 0
        self._counts: dict[tuple[int, int], int] = {}

    def note(self, handle: Handle, change: int) -> None:
        """A handle came (1) or went (-1)."""
        key = (id(handle.origin), handle.index)
        count = self._counts.get(key, 0) + change
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]
        if (count == 1 and change == 1) or not count:
            self.bytes += change * handle.nbytes

    def need(self, needed: int, beside: int, call: Call) -> None:
        """A step needs so much, what lies beside it included."""
        if needed > self.most_bytes:
            self.most_bytes, self.beside_largest, self.largest = needed, beside, call

    def beside(self, inputs: Sequence[Any]) -> int:
        """Bytes of what is here and is none of the inputs, which a step's own peak already counts."""
        own = {(id(item.origin), item.index): item.nbytes for item in inputs if isinstance(item, Handle)}
        return self.bytes - sum(size for key, size in own.items() if key in self._counts)


def refusal(call: Call, needed: int, beside: int, free: int) -> str:
    """What is said of a step that does not fit: what it needs, what there is, and what would fit."""
    words = f"{call[0].__name__} needs {rounded(needed)}"
    if beside:
        words += f" ({rounded(beside)} of it for what else is there)"
    return f"{words}; {rounded(free)} are free; {_advice(call, free - beside)}"


def _advice(call: Call, room: int) -> str:
    function, specs, settings = call
    tried = None
    for key, value in settings.items():
        for words, other in value.lighter() if isinstance(value, Lighter) else ():
            cost: Cost = measure(function, specs, {**settings, key: other})[1]
            if cost.peak_bytes <= room:
                return f"{words} would fit"
            tried = words
    return f"not even {tried} would fit" if tried is not None else "nothing smaller is known"


def rounded(size: int) -> str:
    """Rounded for people: three digits, binary units."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return SIZE.format(size)
