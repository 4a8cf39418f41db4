"""Notes that outlive the process that wrote them."""

from pathlib import Path

import pytest

from actors.device import dumps
from actors.notes import MOST, Notes
from actors.program import Place, Program, Source, Step, StepFailed
from actors.worker import Call, WorkerPlayer

PLACE = Place("device-0007", 3, 1.5, "protocols/mine.py:12")


def test_a_note_is_there_while_a_call_is_played(tmp_path: Path) -> None:
    notes = Notes(tmp_path, "actor")
    for number in range(3):
        note = notes.of(b"call")
        assert (note.times, note.op) == (0, None), number
        with note:
            note.playing(number)
            assert len(list(tmp_path.iterdir())) == 1
        assert not list(tmp_path.iterdir())


def test_who_comes_after_a_lost_process_knows(tmp_path: Path) -> None:
    """Of this call and of this actor alone."""
    for lost in range(1, 4):
        Notes(tmp_path, "actor").of(b"call").__enter__().playing(40 + lost)  # and never comes back
        left = Notes(tmp_path, "actor").of(b"call")
        assert (left.times, left.op) == (lost, 40 + lost)
    assert Notes(tmp_path, "actor").of(b"other").times == 0
    assert Notes(tmp_path, "another").of(b"call").times == 0


def test_a_process_that_was_lost_before_its_first_step_left_no_operation(tmp_path: Path) -> None:
    Notes(tmp_path, "actor").of(b"call").__enter__()
    left = Notes(tmp_path, "actor").of(b"call")
    assert (left.times, left.op) == (1, None)


@pytest.mark.parametrize(("op", "step"), [(5, "operator:neg"), (6, "operator:pos"), (None, "operator:neg")])
def test_a_call_that_ended_processes_is_played_no_more(tmp_path: Path, op: int | None, step: str) -> None:
    """The step at which the last one ended is told, or the first."""
    steps = tuple(
        Step(number, function, (Source("builtins:len"),), {}, None, PLACE)
        for number, function in ((5, "operator:neg"), (6, "operator:pos"))
    )
    payload = dumps(Call((Program(7, steps, (), (), ()),), {}, ()))
    notes = Notes(tmp_path, "actor")
    for _ in range(MOST):
        note = notes.of(payload).__enter__()
        if op is not None:
            note.playing(op)
    player = WorkerPlayer(None, (), notes)
    with pytest.raises(
        StepFailed, match=rf"step {step} failed on device-0007 in round 3 .*ProcessLost: {MOST} processes"
    ):
        player.play(payload, ())
    assert (player.begun, player.ended) == (1, 1)
    assert not list(tmp_path.iterdir())
