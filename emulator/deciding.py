"""Decisions on data: what a protocol reads is looked up in tensors, or in the records of a run where no tensor is made."""

from collections.abc import Callable, Iterable, Sequence

from actors.tape import Handle, Tape
from actors.values import Tree, map_tree
from emulator.rows import Decision

ANY_OP = -1  # of a decision that is replayed whatever the number of the operation is that it now comes from
Sight = Callable[[Handle, int, tuple[str, ...]], Tree]  # value, round, devices whose figures it has -> its data


class DecisionMissing(ValueError):
    """Timing alone met a branch on data without a recorded decision: the user must name the run that decided."""


class Looked:
    """The data of a value as numbers and lists, off its tensors. Waits until they are there."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __call__(self, value: Handle, _round: int, _names: tuple[str, ...]) -> Tree:
        return map_tree(lambda leaf: leaf.tolist() if hasattr(leaf, "tolist") else leaf, self._tape.fetch(value))


class Recorded:
    """The data that a recorded run read, in order."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self._reads = iter([decision for decision in decisions if decision.kind == "read"])

    def __call__(self, value: Handle, round: int, names: tuple[str, ...]) -> Tree:
        """Raises DecisionMissing where the next one recorded is none, of another operation or of other devices."""
        told = next(self._reads, None)
        if told is not None and tuple(told.devices) != names:
            raise DecisionMissing(
                f"the protocol decides in round {round} on figures of {_listed(names)}; "
                f"recorded are those of {_listed(told.devices)}"
            )
        if told is None or told.op not in (ANY_OP, value.op or 0):
            raise DecisionMissing(
                f"the protocol decides on data (operation {value.op}, round {round}); "
                "timing alone needs the decisions of a run with the same tape: --decisions RUN"
            )
        return told.value


def _listed(names: Sequence[str], most: int = 3) -> str:
    some = ", ".join(names[:most]) or "no device"
    return some if len(names) <= most else f"{some} and {len(names) - most} more"
