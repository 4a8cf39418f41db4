"""Where two runs' tensor work parts: the first operation that one run's weights have and the other's have not, in words."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from actors.program import Result
from emulator.insight.lineage import Identity, Lineage, Made, plain
from emulator.rows import Event, is_device

LONGEST = 60  # characters of an input in a message


class Side(NamedTuple):
    """A run, and the values (by reference) that are looked at: a report's weights, or a value that was read."""

    lineage: Lineage
    references: Sequence[Any]
    early: Sequence[Event] = ()  # rows that did not end as ``done``


def first_difference(recorded: Side, now: Side) -> str:
    """The first operation that differs: ``round 3, device-0004, train: recorded ...; now ...``.

    A device's own operation is named rather than the server's that follows from it.
    """
    old, new = recorded.lineage.behind(recorded.references), now.lineage.behind(now.references)
    lost, gained = _first(old, new), _first(new, old)
    both = [made for made in (lost, gained) if made is not None]
    if not both:
        return "the weights: the same operations, put together in another way"
    chosen = next((made for made in both if is_device(made.node)), both[0])
    place = f"round {chosen.round}, {chosen.node}, {chosen.step}"
    if chosen is lost:
        return f"{place}: recorded as operation {chosen.op}; now {_instead(chosen, (recorded, now), new, old)}"
    return f"{place}: recorded {_instead(chosen, (now, recorded), old, new)}; now operation {chosen.op}"


def _first(mine: dict[Identity, Made], theirs: dict[Identity, Made]) -> Made | None:
    return next((made for identity, made in mine.items() if identity not in theirs), None)


def _instead(made: Made, sides: tuple[Side, Side], used: dict[Identity, Made], others: dict[Identity, Made]) -> str:
    """What the second run has in the place of an operation of the first; ``used``: what the second's values come from."""
    here, there = sides
    mine = [made for identity, made in used.items() if identity not in others]
    alike = next((other for other in mine if _place(other) == _place(made)), None)
    if alike is not None:
        return f"operation {alike.op} with {_change((here.lineage, made), (there.lineage, alike))}"
    ended = [row for row in there.early if row.round == made.round and made.node in (row.node, row.peer)]
    if made.identity in there.lineage.by_identity:
        late = next((row for row in ended if row.verb == "send"), None)
        why = "" if late is None else f" ({late.kind} {late.cause} at {late.end_ns / 1e9:.6g} s)"
        return f"done, but not in these weights{why}"
    row = next((row for row in ended if row.kind == made.step), next(iter(ended), None))
    return "not done" if row is None else f"{row.kind} {row.cause} at {row.end_ns / 1e9:.6g} s"


def _place(made: Made) -> tuple[int, str, str]:
    return made.round, made.node, made.function


def _change(first: tuple[Lineage, Made], second: tuple[Lineage, Made]) -> str:
    """What is not the same in two calls of a step."""
    (before, made), (after, other) = first, second
    names = dict.fromkeys((*made.settings, *other.settings))
    settings = [name for name in names if plain(made.settings.get(name)) != plain(other.settings.get(name))]
    if settings:
        return "other settings: " + ", ".join(_fields(made, other, settings))
    if len(made.inputs) != len(other.inputs):
        return f"{len(other.inputs)} inputs in place of {len(made.inputs)}"
    pairs = enumerate(zip(made.inputs, other.inputs, strict=True), 1)
    differing = ((number, old, new) for number, (old, new) in pairs if before.of(old) != after.of(new))
    number, old, new = next(differing)
    return f"{_origin(after, new)} as input {number}, in place of {_origin(before, old)}"


def _origin(lineage: Lineage, item: Any) -> str:
    """Where an input came from: who made it, or what it is."""
    if isinstance(item, Result):
        made = lineage.made[item.op]
        return f"{made.node}'s {made.step} of round {made.round}"
    words = repr(item)
    return words if len(words) <= LONGEST else words[:LONGEST] + "..."


def _fields(made: Made, other: Made, names: Iterable[str]) -> list[str]:
    """The settings, or the fields of theirs, that differ: ``sgd.learning_rate 0.05 (other 0.1)``."""
    found = []
    for name in names:
        one, two = made.settings.get(name), other.settings.get(name)
        inner = [key for key in getattr(one, "__dict__", {}) if getattr(one, key) != getattr(two, key, None)]
        if inner:
            found += [f"{name}.{key} {getattr(two, key, None)} in place of {getattr(one, key)}" for key in inner]
        else:
            found.append(f"{name} {two} in place of {one}")
    return found
