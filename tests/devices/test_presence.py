"""On and off: theory, and answers that do not depend on who asks."""

from itertools import pairwise
from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.devices.intervals import Intervals
from emulator.devices.presence import Both, Diurnal, Markov, Presence

S = 1_000_000_000


def on_time(presence: Presence, until_ns: int) -> int:
    """Nanoseconds of presence from 0 on."""
    now, total = 0, 0
    while now < until_ns:
        there, then = presence.at(now)
        end = until_ns if then is None else min(then, until_ns)
        total += (end - now) * there
        now = end
    return total


@pytest.mark.parametrize(("mean_on_s", "mean_off_s"), [(30.0, 10.0), (5.0, 45.0), (1.0, 1.0)])
def test_long_run_share_of_a_markov_chain(mean_on_s: float, mean_off_s: float) -> None:
    """The share on is a / (a + b); its variance over a time t is 2 (ab)^2 / ((a + b)^3 t) (renewal theory, both phases
    exponential). 40 independent devices over 500 cycles each: within 4 standard errors."""
    cycle = mean_on_s + mean_off_s
    span_s, devices = 500 * cycle, 40
    shares = [on_time(Markov(key, mean_on_s, mean_off_s), round(span_s * S)) / (span_s * S) for key in range(devices)]
    error = sqrt(2 * (mean_on_s * mean_off_s) ** 2 / (cycle**3 * span_s) / devices)
    assert sum(shares) / devices == pytest.approx(mean_on_s / cycle, abs=4 * error)


def test_a_markov_chain_starts_in_its_steady_state() -> None:
    first = sum(Markov(key, 3.0, 1.0).at(0)[0] for key in range(4000)) / 4000
    assert first == pytest.approx(0.75, abs=4 * sqrt(0.75 * 0.25 / 4000))


def test_times_on_are_exponential() -> None:
    """P(stay > mean) = 1/e."""
    chain, now = Markov(5, 2.0, 1.0), 0
    stays: list[int] = []
    while len(stays) < 4000:
        there, then = chain.at(now)
        assert then is not None
        if there and now:
            stays.append(then - now)
        now = then
    longer = sum(stay > 2 * S for stay in stays) / len(stays)
    assert longer == pytest.approx(0.36788, abs=4 * sqrt(0.368 * 0.632 / 4000))


@given(st.integers(0, 2**63), st.lists(st.integers(0, 500 * S), min_size=1, max_size=30))
def test_nobody_moves_a_markov_chain_by_looking(key: int, times: list[int]) -> None:
    fresh, used = Markov(key, 7.0, 3.0), Markov(key, 7.0, 3.0)
    Random(0).shuffle(times)
    answers = {time: used.at(time) for time in times}
    assert fresh.at(max(times)) == answers[max(times)]
    for time, (there, then) in answers.items():
        assert then is not None
        assert then > time
        assert used.at(then - 1)[0] == there != used.at(then)[0]


def test_a_day_without_spread() -> None:
    # From 22 h on for 8 h: there from 0 to 6 h (yesterday's window) and from 22 h on.
    day = Diurnal(1, 86400.0, (22 * 3600.0, 8 * 3600.0))
    hour = 3600 * S
    assert [day.at(time * hour)[0] for time in (0, 5, 6, 21, 22, 29, 30)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
    ]
    assert day.at(0) == (True, 6 * hour)
    assert day.at(6 * hour) == (False, 22 * hour)
    assert on_time(day, 240 * hour) == 80 * hour


@given(st.integers(0, 2**63), st.floats(0, 40_000), st.floats(0, 86_000), st.floats(600, 85_000))
def test_days_stay_apart_however_wide_their_spread(key: int, spread_s: float, start_s: float, length_s: float) -> None:
    day = Diurnal(key, 86400.0, (start_s, length_s), spread_s)
    windows = [day.window(number) for number in range(-1, 6)]
    for (start, end), (following, _) in pairwise(windows):
        assert start < end <= following
    now, spans = 0, []
    while now < 4 * 86400 * S:
        there, then = day.at(now)
        assert then is not None
        assert then > now
        if there:
            spans.append((now, then))
        now = then
    assert spans[1:] == [window for window in windows if window in spans[1:]]


def test_both() -> None:
    both = Both(Intervals(None, ((0, 10),)), Intervals(None, ((5, 20),)))
    assert both.at(0) == (False, 5 * S)
    assert both.at(5 * S) == (True, 10 * S)
    assert both.at(10 * S)[0] is False
    assert both.at(20 * S) == (False, None)


@pytest.mark.parametrize("means", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_broken_chains(means: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected both above zero"):
        Markov(0, *means)


def test_a_window_as_long_as_the_day() -> None:
    with pytest.raises(ValueError, match="expected less than the period"):
        Diurnal(0, 100.0, (0.0, 100.0))
