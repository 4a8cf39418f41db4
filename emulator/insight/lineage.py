"""What every value of a run was made of: identities of operations that do not depend on the order of their service.

Operation numbers count in order of service, so another network permutes them. An identity is a hash of the step's name, its
settings and its inputs' identities, down to shards, seeds and given weights: values of the same identity hold the same data.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from actors.program import Result, Source
from actors.tape import Op, Tape

Identity = bytes


class Made(NamedTuple):
    """An operation that ended in virtual time: who made it of what, and its identity."""

    identity: Identity
    op: int
    round: int
    node: str
    function: str
    inputs: tuple[Any, ...]
    settings: Mapping[str, Any]

    @property
    def step(self) -> str:
        """The step's name, as the records' ``kind``."""
        return self.function.rpartition(":")[2]


class Lineage:
    """Listens to a tape and keeps what was made, by operation number and by identity."""

    def __init__(self, tape: Tape) -> None:
        self.made: dict[int, Made] = {}
        self.by_identity: dict[Identity, Made] = {}
        self._settings: dict[Any, bytes] = {}
        tape.ended = self._take

    def of(self, item: Any) -> Identity:
        """The identity of a value that is there, by its reference; plain data are their own."""
        if isinstance(item, Result):
            return self.made[item.op].identity + item.output.to_bytes(4, "little")
        if isinstance(item, Source):
            return plain([item.function, item.settings])
        return plain(item)

    def behind(self, references: Iterable[Any]) -> dict[Identity, Made]:
        """All operations that values come from, in the order of service."""
        waiting = [item.op for item in references if isinstance(item, Result)]
        seen: set[int] = set()
        while waiting:
            number = waiting.pop()
            if number not in seen:
                seen.add(number)
                waiting.extend(item.op for item in self.made[number].inputs if isinstance(item, Result))
        return {self.made[number].identity: self.made[number] for number in sorted(seen)}

    def _take(self, op: Op) -> None:
        step = op.step
        digest = blake2b(self._call(step.function, step.settings), digest_size=16)
        for item in step.inputs:
            digest.update(b"|" + self.of(item))
        made = Made(
            digest.digest(), step.op, step.place.round, step.place.node, step.function, step.inputs, step.settings
        )
        self.made[step.op] = self.by_identity[made.identity] = made

    def _call(self, function: str, settings: dict[str, Any]) -> bytes:
        key = (function, *sorted(settings.items()))  # settings are hashable: the tracing's cache needs that, too
        found = self._settings.get(key)
        if found is None:
            found = self._settings[key] = plain([function, sorted(settings.items())])
        return found


def plain(value: Any) -> bytes:
    """Bytes that tell plain data and settings apart, arrays by all their elements; the same for equal ones in a process."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        array = value.numpy() if hasattr(value, "numpy") else value
        return f"{array.dtype} {array.shape} ".encode() + bytes(array.tobytes())
    if isinstance(value, dict):
        return b"{" + b",".join(plain(key) + b":" + plain(item) for key, item in value.items()) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(map(plain, value)) + b"]"
    if isinstance(value, (set, frozenset)):
        return b"<" + b",".join(sorted(map(plain, value))) + b">"
    if is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__.encode() + plain([(item.name, getattr(value, item.name)) for item in fields(value)])
    return repr(value).encode()
