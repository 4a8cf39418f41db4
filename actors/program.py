"""What is played: operations that name their step by module path, and programs of them that travel as one call."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import GEN_CLOSED, getgeneratorstate
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from actors.values import Tree


class Travels:
    """A dataclass of several slots that is pickled as a call of itself: dataclasses' own way takes twice as long."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        kind: Any = type(self)
        return kind, _slots_of(kind)(self)


@cache
def _slots_of(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    first, *others = kind.__slots__
    return attrgetter(first, *others)


@dataclass(frozen=True, slots=True)
class Source(Travels):
    """A value that is made where it is used: ``function(resources, **settings)``, e.g. a device's data shard.

    ``function`` is ``package.module:name``. A source costs no virtual time and no bytes; the player keeps nothing of it.
    """

    function: str
    settings: tuple[tuple[str, Any], ...] = ()


class Result(NamedTuple):
    """Output number ``output`` of operation ``op``."""

    op: int
    output: int


OBSERVED = Result(-1, 0)  # what an observation gives; never on the tape


class Place(NamedTuple):
    """Where the verb came from, for the message when it fails: device, round, virtual seconds, protocol line."""

    node: str
    round: int
    time_s: float
    line: str


@dataclass(frozen=True, slots=True)
class Step(Travels):
    """One operation of a program. ``inputs``: a ``Result``, a ``Source`` or plain data; ``outputs``: how many values."""

    op: int
    function: str
    inputs: tuple[Any, ...]
    settings: dict[str, Any]
    outputs: int | None  # None: the step gives one value; n: a tuple of n values
    place: Place


@dataclass(frozen=True, slots=True)
class Program(Travels):
    """Steps of one lane, in order: needs ``arguments`` (results of earlier programs), gives back ``returns``.

    ``sizes`` are the bytes of each return.
    """

    lane: int
    steps: tuple[Step, ...]
    arguments: tuple[Result, ...]
    returns: tuple[Result, ...]
    sizes: tuple[int, ...]


class Paused:
    """A step that waits for an answer. It never leaves its process: where it is missing, the step is played again."""

    def __init__(self, generator: Generator[Any, Any, Tree]) -> None:
        self.generator = generator


def resume(paused: Paused, answer: Tree) -> Tree:
    """Give a waiting step its answer; the step's result. Raises RuntimeError for a step that has had one, or asks again."""
    if getgeneratorstate(paused.generator) == GEN_CLOSED:
        raise RuntimeError("a step may be answered once only; this one has had its answer")
    try:
        paused.generator.send(answer)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a step may wait for one answer only")


class Pending(Protocol):
    """An observation under way: off the tape, off the clock."""

    def ready(self) -> bool:
        """Whether ``results`` would return at once."""

    def results(self) -> list[Tree]:
        """One value per program; blocks. Raises what the steps raised."""


class Executor(Protocol):
    """How a tape is played. ``play`` may return before the work is done; ``fetch`` and ``results`` wait."""

    name: str
    calls: int  # Ray calls so far; 0 where there are none

    def play(self, programs: list[Program]) -> None:
        """Run programs whose arguments were played before; keep what they return."""

    def fetch(self, result: Result) -> Tree:
        """The data of a returned result. Blocks."""

    def drop(self, result: Result) -> None:
        """Nobody will ask for this result again."""

    def observe(self, programs: list[Program]) -> Pending:
        """Run programs beside the tape; nothing of them is kept."""

    def completion(self, result: Result) -> Pending:
        """Tells when a returned result is there; its ``results`` are empty."""

    def close(self) -> None:
        """Let go of everything."""


class StepFailed(Exception):
    """A step raised. The message names step, device, round, virtual time and the protocol line that asked for it."""


@cache
def resolve(path: str) -> Any:
    """The function that ``package.module:name`` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@cache
def path_of(function: Any) -> str:
    """``package.module:name`` of a top-level function; raises ValueError for anything else."""
    if "." in function.__qualname__ or function.__module__ == "__main__":
        raise ValueError(f"a step must be a top-level function of an importable module; got {function!r}")
    return f"{function.__module__}:{function.__qualname__}"
