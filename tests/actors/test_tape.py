"""The tape: what is shipped when, what comes back, and what is never run."""

from collections.abc import Generator
from random import Random
from typing import Any

import pytest
import torch

from actors.inline import Inline
from actors.program import Place, Program, Result
from actors.tape import Handle, Tape
from actors.values import Pause, Spec

HERE = Place("test", 1, 0.0, "test_tape.py:1")
ONE = Spec.of(torch.empty(1))
WAITS = Spec.of(Pause("tests.actors.test_tape:asking", (), (), 4))


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


def asking(value: torch.Tensor) -> Generator[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Asks with ten times the value; its result is the value and the answer."""
    answer = yield value * 10
    return value + answer


class World:
    """A tape and a counter of operations."""

    def __init__(self, patience: int = 0) -> None:
        self.executor = Recorder()
        self.tape = Tape(self.executor, patience)  # type: ignore[arg-type]
        self.numbers = 0

    def do(self, lane: int, function: Any, *inputs: Any) -> Handle:
        call: Any = (f"tests.actors.test_tape:{function.__name__}", inputs, {})
        op = self.tape.record(self.numbers, lane, call, (ONE, HERE))
        self.numbers += 1
        self.tape.resolve(op)
        return Handle(self.tape, op, 0, ONE, lane)

    def ask(self, lane: int, value: Handle) -> tuple[Handle, Handle]:
        """A step that waits: its question, and the step itself."""
        call: Any = ("tests.actors.test_tape:asking", (value,), {})
        op = self.tape.record(self.numbers, lane, call, ((ONE, WAITS), HERE))
        self.numbers += 1
        self.tape.resolve(op)
        return Handle(self.tape, op, 0, ONE, lane), Handle(self.tape, op, 1, WAITS, lane)

    def answer(self, lane: int, waiting: Handle, answer: Handle) -> Handle:
        call: Any = ("actors.program:resume", (waiting, answer), {})
        op = self.tape.record(self.numbers, lane, call, (ONE, HERE))
        self.numbers += 1
        self.tape.resolve(op)
        return Handle(self.tape, op, 0, ONE, lane)

    def clean(self) -> bool:
        """Whether nothing is left: no handle, no kept result, no operation."""
        return not (self.tape.living or self.executor.kept() or self.tape._ops or any(self.tape._held.values()))

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


def test_needs_are_collected_up_to_patience() -> None:
    """Three results may be owed: before a fourth is, their lanes go at once, and not the sums that nobody asked for yet."""
    world = World(patience=3)
    total = world.do(-1, make, 0.0)
    for lane in range(4):
        assert not world.executor.programs
        total = world.do(-1, add, total, world.do(lane, make, float(lane)))
    assert [program.lane for program in world.executor.programs] == [0, 1, 2]
    assert world.tape.fetch(total) == 6.0
    assert [program.lane for program in world.executor.programs] == [0, 1, 2, -1, 3, -1]


def test_a_few_that_would_wait_for_others_go_the_next_time() -> None:
    """Two devices' values, the server's sum, a device's of that and the server's again: the last two wait for the sum."""
    world = World(patience=4)
    merged = world.do(-1, add, world.do(0, make, 1.0), world.do(1, make, 2.0))
    again = world.do(-1, add, merged, world.do(2, add, merged, merged))
    assert not world.executor.programs
    other = world.do(-1, add, again, world.do(3, make, 5.0))
    assert [program.lane for program in world.executor.programs] == [0, 1, -1]
    assert world.tape.fetch(other) == 14.0
    assert [program.lane for program in world.executor.programs] == [0, 1, -1, 2, 3, -1]


def test_what_needs_one_another_goes_in_waves() -> None:
    """A device's value, the server's of it, the device's of that: three programs, asked for at once."""
    world = World(patience=100)
    first = world.do(0, make, 1.0)
    aside = world.do(1, make, 5.0)
    merged = world.do(-1, add, first, aside)
    again = world.do(0, add, merged, first)
    unneeded = world.do(2, make, 9.0)
    assert not world.executor.programs
    assert world.tape.fetch(again) == 7.0
    assert [(program.lane, len(program.steps)) for program in world.executor.programs] == [
        (0, 1), (1, 1), (-1, 1), (0, 1),
    ]  # fmt: skip
    assert not unneeded.shipped


def test_what_is_owed_may_be_let_go() -> None:
    """A sum is owed a device's value; nobody wants the sum any more: neither is played, and the place is free again."""
    world = World(patience=1)
    total = world.do(-1, add, world.do(0, make, 1.0))
    del total
    assert world.tape.skipped == 2
    other = world.do(-1, add, world.do(1, make, 2.0))
    assert not world.executor.programs
    assert world.tape.fetch(other) == 2.0
    assert [program.lane for program in world.executor.programs] == [1, -1]


@pytest.mark.parametrize("patience", [0, 1, 4, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_any_patience_gives_the_same(seed: int, patience: int) -> None:
    """80 sums of drawn terms in five lanes, some let go on the way, some steps waiting for answers from other lanes."""
    draw, world = Random(seed), World(patience)
    known = [(world.do(lane, make, float(lane)), float(lane)) for lane in range(-1, 4)]
    for _ in range(80):
        lane = draw.randrange(-1, 4)
        chosen = draw.sample(known, min(2, len(known)))
        made, value = world.do(lane, add, *(handle for handle, _ in chosen)), sum(number for _, number in chosen)
        if draw.random() < 0.3:
            question, waiting = world.ask(lane, made)
            reply = world.do(draw.randrange(-1, 4), add, question, made)  # ten times the value and the value
            made, value = world.answer(lane, waiting, reply), value * 12
            del question, waiting, reply
        known.append((made, value))
        if draw.random() < 0.4 and len(known) > 4:
            known.pop(draw.randrange(len(known)))
    del made, chosen
    assert [float(world.tape.fetch(handle)) for handle, _ in known] == pytest.approx([value for _, value in known])


def test_specs_are_interned() -> None:
    assert Spec.of({"a": torch.empty(2, 3)}) is Spec.of({"a": torch.zeros(2, 3)})
    assert Spec.of({"a": torch.empty(2, 3)}) is not Spec.of({"b": torch.empty(2, 3)})
    assert Spec.of({"a": torch.empty(2, 3)}).nbytes == 24


# ---- steps that wait for an answer -----------------------------------------------------------------------------------------
#
# ``asking(2)`` asks with 20; answered with a, its result is 2 + a.


def test_question_and_answer_in_one_program_are_played_once() -> None:
    world = World()
    value = world.do(1, make, 2.0)
    question, waiting = world.ask(1, value)
    reply = world.do(1, add, question, question)
    result = world.answer(1, waiting, reply)
    del value, question, waiting, reply
    assert world.tape.fetch(result).item() == 2 + 40
    assert world.shipped() == [(1, [0, 1, 2, 3], [3])]
    del result
    assert world.clean()


def test_a_step_that_waits_past_its_program_is_played_again() -> None:
    """The other lane needs the question, so the step is shipped without its answer; the next program plays it anew."""
    world = World()
    value = world.do(1, make, 2.0)
    question, waiting = world.ask(1, value)
    del value
    reply = world.do(2, add, question, question)
    assert world.shipped() == [(1, [0, 1], [0, 1])]
    assert Result(0, 0) in world.executor.kept()  # it may have to be played again
    result = world.answer(1, waiting, reply)
    del question, waiting, reply
    assert world.tape.fetch(result).item() == 2 + 40
    assert world.shipped()[1:] == [(2, [2], [2]), (1, [1, 3], [3])]
    assert world.executor.kept() == {Result(3, 0)}  # neither the value that was kept for it, nor the question
    del result
    assert world.clean()


def test_its_input_may_come_from_a_program_before() -> None:
    world = World()
    value = world.do(1, make, 2.0)
    world.tape.fetch(value)
    question, waiting = world.ask(1, value)
    del value
    assert world.tape.fetch(question).item() == 20
    assert Result(0, 0) in world.executor.kept()
    reply = world.do(1, make, 5.0)
    result = world.answer(1, waiting, reply)
    del question, waiting, reply
    assert world.tape.fetch(result).item() == 7
    del result
    assert world.clean()


def test_two_steps_may_wait_in_one_lane() -> None:
    """As in a pipeline: the second is asked before the first is answered; borders after each question."""
    world = World()
    first, second = world.do(1, make, 2.0), world.do(1, make, 3.0)
    question_1, waiting_1 = world.ask(1, first)
    assert world.tape.fetch(question_1).item() == 20
    question_2, waiting_2 = world.ask(1, second)
    del first, second
    assert world.tape.fetch(question_2).item() == 30
    result_1, result_2 = world.answer(1, waiting_1, question_2), world.answer(1, waiting_2, question_1)
    del question_1, question_2, waiting_1, waiting_2
    assert (world.tape.fetch(result_1).item(), world.tape.fetch(result_2).item()) == (2 + 30, 3 + 20)
    del result_1, result_2
    assert world.clean()


def test_a_chain_of_waiting_steps_across_borders() -> None:
    """Each result is the next step's input, as in training batch by batch; another lane asks at every border."""
    world = World()
    value, expected = world.do(1, make, 1.0), 1.0
    for _ in range(4):
        question, waiting = world.ask(1, value)
        reply = world.do(-1, add, question)
        value = world.answer(1, waiting, reply)
        del question, waiting, reply
        expected += 10 * expected
    assert world.tape.fetch(value).item() == expected == 11.0**4
    assert world.executor.kept() == {Result(world.numbers - 1, 0)}
    del value
    assert world.clean()


@pytest.mark.parametrize("shipped", [False, True])
def test_a_step_that_nobody_will_answer_leaves_nothing(shipped: bool) -> None:
    """The device was lost between its two passes."""
    world = World()
    value = world.do(1, make, 2.0)
    question, waiting = world.ask(1, value)
    if shipped:
        assert world.tape.fetch(question).item() == 20
    del value, question
    assert world.executor.kept() == ({Result(0, 0)} if shipped else set())
    del waiting
    assert world.clean()
    assert world.tape.skipped == (0 if shipped else 2)


@pytest.mark.parametrize("shipped", [False, True])
def test_an_answer_that_is_cut_off_may_be_given_again(shipped: bool) -> None:
    world = World()
    value = world.do(1, make, 2.0)
    question, waiting = world.ask(1, value)
    if shipped:
        world.tape.fetch(question)
    call: Any = ("actors.program:resume", (waiting, question), {})
    world.tape.cancel(world.tape.record(world.numbers, 1, call, (ONE, HERE)))
    world.numbers += 1
    del value, call
    world.tape.fetch(question)  # a border: the step still waits
    result = world.answer(1, waiting, question)
    del question, waiting
    assert world.tape.fetch(result).item() == 22
    del result
    assert world.clean()


def test_an_answer_under_way_keeps_the_step_and_its_inputs() -> None:
    """Its lane is shipped after the answer was begun and before it has ended."""
    world = World()
    value = world.do(1, make, 2.0)
    question, waiting = world.ask(1, value)
    call: Any = ("actors.program:resume", (waiting, question), {})
    under_way = world.tape.record(world.numbers, 1, call, (ONE, HERE))
    del value, waiting, call
    assert world.tape.fetch(question).item() == 20
    del question
    world.tape.resolve(under_way)
    result = Handle(world.tape, under_way, 0, ONE, 1)
    assert world.tape.fetch(result).item() == 22
    assert world.shipped() == [(1, [0, 1], [0, 1]), (1, [1, 2], [2])]
    del result
    assert world.clean()


def test_a_second_answer_is_refused() -> None:
    world = World()
    value = world.do(1, make, 2.0)
    question, waiting = world.ask(1, value)
    result = world.answer(1, waiting, question)
    assert waiting.answered and not question.answered
    with pytest.raises(ValueError, match="operation 3 answers operation 1, which has got its answer"):
        world.answer(1, waiting, question)
    assert world.tape.fetch(result).item() == 22
    del value, question, waiting, result
    assert world.clean()
