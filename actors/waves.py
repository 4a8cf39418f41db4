"""In which order operations of several lanes leave: in waves, a lane's operations after all that they need."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar


class Laned(Protocol):
    """An operation of a lane."""

    @property
    def lane(self) -> int:
        """Whose order it is in."""


One = TypeVar("One", bound=Laned)


def waves(ops: Iterable[One], needs: Callable[[One], Sequence[One]]) -> list[list[list[One]]]:
    """Waves of lanes of operations. ``ops`` come in order of recording; ``needs`` tells what among them one waits for."""
    number: dict[One, int] = {}
    reached: dict[int, int] = {}  # lane -> its last wave
    found: list[dict[int, list[One]]] = []
    for op in ops:
        before = [number[source] + (source.lane != op.lane) for source in needs(op)]
        wave = number[op] = reached[op.lane] = max([reached.get(op.lane, 0), *before])
        found.extend({} for _ in range(len(found), wave + 1))
        found[wave].setdefault(op.lane, []).append(op)
    return [list(wave.values()) for wave in found]
