"""Work into time: heat and other work, by hand, and against a naive loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.devices.intervals import Intervals
from emulator.devices.pace import Load, Pace
from emulator.devices.presence import Markov
from emulator.devices.profile import Throttling

S = 1_000_000_000
HOT = Throttling(after_s=10.0, speed=0.5, recovery_s=20.0)


def test_full_speed_until_hot() -> None:
    # 10 s at full speed, the other 5 s of work at half speed: 10 more.
    pace = Pace(HOT)
    assert pace.end_ns(0, 10 * S) == 10 * S
    assert pace.end_ns(0, 15 * S) == 20 * S
    assert [pace.done_ns(0, time * S) for time in (0, 4, 10, 16)] == [0, 4 * S, 10 * S, 13 * S]


def test_heat_is_remembered_and_forgotten_in_proportion() -> None:
    pace = Pace(HOT)
    pace.worked(0, 10 * S)
    assert pace.end_ns(10 * S, 3 * S) == 16 * S  # still hot
    assert pace.end_ns(20 * S, 10 * S) == 20 * S + 5 * S + 10 * S  # half of the recovery: 5 s at full speed again
    assert pace.end_ns(30 * S, 10 * S) == 40 * S  # all of it
    pace.worked(20 * S, 23 * S)
    assert pace.end_ns(23 * S, 4 * S) == 23 * S + 2 * S + 4 * S  # 2 of the 5 s were left


def test_work_that_was_cut_off_heats_only_as_long_as_it_ran() -> None:
    pace = Pace(HOT)
    assert pace.end_ns(0, 100 * S) == 190 * S
    pace.worked(0, 4 * S)
    assert pace.end_ns(4 * S, 6 * S) == 10 * S


def test_other_work_slows_down() -> None:
    # Something else runs from 2 s to 6 s: ours goes at a quarter. 5 s of work: 2 + 4 x 1/4 + 2 -> done at 8 s.
    pace = Pace(load=Load(Intervals(None, ((0, 2), (6, 1e9))), 0.25))
    assert pace.end_ns(0, 5 * S) == 8 * S
    assert pace.done_ns(0, 4 * S) == 2 * S + S // 2
    assert pace.end_ns(7 * S, S) == 8 * S


@given(st.integers(0, 1000), st.floats(0.01, 1.0), st.integers(0, 40), st.integers(1, 60), st.booleans(), st.booleans())
def test_a_naive_loop_agrees(key: int, speed: float, start_s: int, work_s: int, heats: bool, shared: bool) -> None:
    """A millisecond at a time."""
    chain = Markov(key, 5.0, 3.0)
    pace = Pace(HOT if heats else None, Load(Markov(key, 5.0, 3.0), speed) if shared else None)
    step, now, cool, done = S // 1000, start_s * S, 10.0, 0.0
    for _ in range(20_000):
        rate = 1.0 if not heats or cool > 1e-9 else HOT.speed
        rate *= 1.0 if not shared or chain.at(now)[0] else speed
        done += rate * step
        cool -= 0.001
        now += step
    assert pace.done_ns(start_s * S, now) == pytest.approx(done, rel=2e-3, abs=10 * step)
    end = pace.end_ns(start_s * S, work_s * S)
    assert pace.done_ns(start_s * S, end) == pytest.approx(work_s * S, abs=2)
