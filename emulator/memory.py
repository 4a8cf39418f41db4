"""A device's memory: what lies there between operations, and steps that do not fit."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from actors.tape import Handle
from emulator.learning.meter import Cost, measure
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

    def beside(self, inputs: Sequence[Any]) -> int:
        """Bytes of what is here and is none of the inputs, which a step's own peak already counts."""
        own = {(id(item.origin), item.index): item.nbytes for item in inputs if isinstance(item, Handle)}
        return self.bytes - sum(size for key, size in own.items() if key in self._counts)


def refusal(call: Call, needed: int, beside: int, free: int) -> str:
    """What is said of a step that does not fit: what it needs, what there is, and what would fit."""
    function, specs, settings = call
    words = f"{function.__name__} needs {_size(needed)}"
    if beside:
        words += f" ({_size(beside)} of it for what else is there)"
    fitting = next(_fitting((function, specs, settings), free - beside), None)
    return f"{words}; {_size(free)} are free; {fitting or 'nothing smaller is known that'} would fit"


def _fitting(call: Call, room: int) -> Iterator[str]:
    function, specs, settings = call
    for key, value in settings.items():
        if isinstance(value, Lighter):
            for words, other in value.lighter():
                cost: Cost = measure(function, specs, {**settings, key: other})[1]
                if cost.peak_bytes <= room:
                    yield words
                    break


def _size(size: int) -> str:
    """Rounded for people: three digits, binary units."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return SIZE.format(size)
