"""The tape: what is shipped when, what comes back, and what is never run."""

from typing import Any

import torch

from actors.inline import Inline
from actors.program import Place, Program, Result
from actors.tape import Handle, Tape
from actors.values import Spec

HERE = Place("test", 1, 0.0, "test_tape.py:1")
ONE = Spec.of(torch.empty(1))


class Recorder:
    """An inline executor that remembers the programs it was given, and what is kept."""

    name = "inline"
    calls = 0

    def __init__(self) -> None:
        self.inner = Inline(None)
        self.programs: list[Program] = []

    def play(self, programs: list[Program]) -> None:
        self.programs += programs
        self.inner.play(programs)

    def fetch(self, result: Result) -> Any:
        return self.inner.fetch(result)

    def drop(self, result: Result) -> None:
        self.inner.drop(result)

    def kept(self) -> set[Result]:
        return set(self.inner._values)


def make(value: float) -> torch.Tensor:
    return torch.tensor([value])


def add(*terms: torch.Tensor) -> torch.Tensor:
    return torch.stack(terms).sum(0)


class World:
    """A tape and a counter of operations."""

    def __init__(self) -> None:
        self.executor = Recorder()
        self.tape = Tape(self.executor)  # type: ignore[arg-type]
        self.numbers = 0

    def do(self, lane: int, function: Any, *inputs: Any) -> Handle:
        call: Any = (f"tests.actors.test_tape:{function.__name__}", inputs, {})
        op = self.tape.record(self.numbers, lane, call, (ONE, HERE))
        self.numbers += 1
        self.tape.resolve(op)
        return Handle(self.tape, op, 0, ONE, lane)

    def shipped(self) -> list[tuple[int, list[int], list[int]]]:
        """(lane, operations, returned operations) of every program so far."""
        return [
            (program.lane, [step.op for step in program.steps], [result.op for result in program.returns])
            for program in self.executor.programs
        ]


def test_a_lane_is_held_back_until_another_needs_it() -> None:
    world = World()
    a = world.do(1, make, 2.0)
    b = world.do(1, add, a, a)
    assert world.shipped() == []
    c = world.do(-1, add, b, b)
    assert world.shipped() == [(1, [0, 1], [0, 1])]
    assert world.tape.fetch(c).item() == 8.0
    assert world.shipped()[1] == (-1, [2], [2])


def test_what_nobody_refers_to_is_not_returned() -> None:
    world = World()
    a = world.do(1, make, 2.0)
    b = world.do(1, add, a, a)
    del a
    c = world.do(-1, add, b)
    assert world.shipped() == [(1, [0, 1], [1])]
    del b
    world.tape.fetch(c)
    assert world.executor.kept() == {Result(2, 0)}
    del c
    assert world.executor.kept() == set()
    assert world.tape.living == 0


def test_what_nobody_needs_is_never_run() -> None:
    world = World()
    a = world.do(1, make, 1.0)
    b = world.do(1, add, a)
    kept = world.do(1, make, 5.0)
    del a, b  # the second goes first, and with it the first
    assert world.tape.skipped == 2
    assert world.tape.fetch(kept).item() == 5.0
    assert world.shipped() == [(1, [2], [2])]


def test_an_input_lives_as_long_as_what_reads_it() -> None:
    world = World()
    a = world.do(1, make, 3.0)
    b = world.do(2, add, a)  # ships lane 1
    del a
    assert Result(0, 0) in world.executor.kept()
    assert world.tape.fetch(b).item() == 3.0
    assert world.executor.kept() == {Result(1, 0)}


def test_a_cancelled_operation_is_never_played() -> None:
    world = World()
    a = world.do(1, make, 3.0)
    op = world.tape.record(1, 1, ("tests.actors.test_tape:add", (a,), {}), (ONE, HERE))
    world.tape.cancel(op)
    assert world.tape.fetch(a).item() == 3.0
    assert world.shipped() == [(1, [0], [0])]
    assert world.tape.skipped == 1


def test_an_operation_under_way_stays_behind_when_its_lane_ships() -> None:
    world = World()
    a = world.do(1, make, 3.0)
    under_way = world.tape.record(1, 1, ("tests.actors.test_tape:add", (a,), {}), (ONE, HERE))
    world.tape.fetch(a)
    assert world.shipped() == [(1, [0], [0])]
    world.tape.resolve(under_way)
    later = Handle(world.tape, under_way, 0, ONE, 1)
    del a  # still needed by the second operation
    assert world.tape.fetch(later).item() == 3.0
    assert world.shipped()[1] == (1, [1], [1])


def test_specs_are_interned() -> None:
    assert Spec.of({"a": torch.empty(2, 3)}) is Spec.of({"a": torch.zeros(2, 3)})
    assert Spec.of({"a": torch.empty(2, 3)}) is not Spec.of({"b": torch.empty(2, 3)})
    assert Spec.of({"a": torch.empty(2, 3)}).nbytes == 24
