"""TinyFEL's assignment: against exhaustive search, its constraints, its baselines, and closed forms."""

from dataclasses import replace
from math import inf, log, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw

from emulator.learning.assignment import UNIFORM, Candidate, Choice, Infeasible, Round, Solver, solve, strength_hz
from emulator.learning.assignment.domain import least_band
from tests.learning.assignment.cells import BAND_HZ, capped, choices, drawn, exhaustive, ratios, require_all

FEW = settings(max_examples=8, deadline=None)
BAND = Round(0.45, BAND_HZ)


# ---- closed forms ----------------------------------------------------------------------------------------------------


def test_least_band_is_lamberts_function() -> None:
    """Theory: x = -1 - W_-1(-y e^-y) / y with y = rate ln 2 / s, b = s / x; and Shannon's rate on b is the rate asked for."""
    strength = np.full(7, 5e7)
    rate = np.array([1e-3, 1e3, 1e6, 1e7, 5e7, 7e7, 7.2e7])
    y = rate * log(2) / strength
    usual = y > 1e-3  # below, scipy's argument -y e^-y is as good as 0
    expected = strength / (-1 - lambertw(-y * np.exp(-y), -1).real / y)
    found = least_band(rate, strength)
    assert found[usual] == pytest.approx(expected[usual], rel=1e-9)
    assert found * np.log2(1 + strength / found) == pytest.approx(rate, rel=1e-9)


def test_no_band_is_enough_from_a_rate_on() -> None:
    """Exact: b log2(1 + s / b) stays below s / ln 2 = 1.4427 s; nothing is needed for nothing."""
    assert least_band(np.array([1.45, 0.0]), np.array([1.0, 1.0])).tolist() == [inf, 0.0]


def test_one_device_by_hand() -> None:
    """Exact: the whole band, 1 MHz at s = 3 MHz: r = 1e6 log2(4) = 2 Mbit/s; 250 kB take 1 s, beside 0.5 s of computing."""
    found = solve((Candidate(1.0, (Choice(0.5, 0.5, 250_000),), 3e6),), Round(0.5, 1e6))
    assert found.latency_s == pytest.approx(1.5, rel=1e-9)
    assert found.bandwidth_hz == pytest.approx((1e6,), rel=1e-9)
    assert found.choices == (0,)


def test_two_devices_alike_share_alike() -> None:
    """Exact: each has 0.5 MHz at s = 3 MHz, r = 0.5e6 log2(7); a quarter of the mass from each."""
    one = Candidate(0.5, (Choice(0.5, 0.5, 250_000),), 3e6)
    found = solve((one, one), Round(0.5, 1e6))
    assert found.latency_s == pytest.approx(0.5 + 2e6 / (0.5e6 * log2(7)), rel=1e-9)
    assert found.bandwidth_hz == pytest.approx((5e5, 5e5), rel=1e-9)


def test_rates_of_their_own_need_no_band() -> None:
    """Exact: 1 Mbit/s each, 2 s for a full update of 250 kB, 1 s for half; Q = 0.75 needs one of each: 2 s."""
    way = (Choice(0.5, 0.0, 125_000), Choice(1.0, 0.0, 250_000))
    one = Candidate(0.5, way, rate_bps=1e6)
    found = solve((one, one), Round(0.75))
    assert found.latency_s == pytest.approx(2.0, rel=1e-9)
    assert sum(ratios((one, one), found)) in (1.5, 2.0)
    assert found.bandwidth_hz == (0.0, 0.0)


def test_strength_by_hand() -> None:
    """Exact: 0.2 W over a gain of 1e-10 in noise of 4e-21 W/Hz: 5 GHz."""
    assert strength_hz(0.2, 1e-10, 4e-21) == pytest.approx(5e9)


# ---- against other searches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("devices", "levels"), [(2, 10), (4, 8), (6, 5), (8, 4)])
@pytest.mark.parametrize("required", [0.3, 0.45, 0.8])
def test_within_two_percent_of_exhaustive_search(devices: int, levels: int, required: float) -> None:
    """Of the same choices; and not below it, by more than the bisections' rest."""
    band = Round(required, BAND_HZ)
    for seed in (1, 2):
        cell = drawn(devices, seed, levels)
        found, least = solve(cell, band), exhaustive(cell, band)
        assert least * (1 - 1e-9) <= found.latency_s <= 1.02 * least
        require_all(cell, band, found)


def test_against_equal_bandwidth_and_a_uniform_ratio_over_twenty_cells() -> None:
    """Never worse, and a fifth lower in the median (10 devices, 20 MHz, 50 to 400 m, ResNet-18, Q = 0.45)."""
    savings = []
    for seed in range(20):
        cell = drawn(10, seed)
        best, plain = solve(cell, BAND), solve(cell, BAND, UNIFORM)
        require_all(cell, BAND, best)
        require_all(cell, BAND, plain)
        savings.append(1 - best.latency_s / plain.latency_s)
    assert min(savings) >= 0
    assert float(np.median(savings)) >= 0.2


def test_every_decision_that_is_left_out_costs_or_is_free() -> None:
    """Property of a minimum, give or take the two percent: a search over less finds no more."""
    cell = drawn(8, 4, 5)
    best = solve(cell, BAND).latency_s
    for ratio in ("optimised", "uniform", "largest", "full"):
        for selection in ("optimised", "all"):
            for bandwidth in ("optimised", "equal"):
                solver = Solver(ratio, selection, bandwidth)
                found = solve(cell, BAND, solver)
                require_all(cell, BAND, found)
                assert found.latency_s >= best / 1.02
                if selection == "all":
                    assert None not in found.choices
                if ratio == "full":
                    assert set(ratios(cell, found)) <= {0.0, 1.0}


def test_the_best_latency_falls_step_by_step() -> None:
    found = solve(drawn(12, 5), BAND)
    assert list(found.history) == sorted(found.history, reverse=True)
    assert found.history[-1] == found.latency_s


# ---- structure -------------------------------------------------------------------------------------------------------

CELLS = st.builds(drawn, st.integers(3, 6), st.integers(0, 10**6), st.integers(2, 5))


@FEW
@given(CELLS, st.floats(0.1, 0.9), st.floats(20, 100), st.floats(0.8, 3.0), st.floats(0.05, 0.5))
def test_all_constraints_hold_under_caps(
    cell: tuple[Candidate, ...], required: float, memory: float, energy: float, power: float
) -> None:
    """Memory 100 u bytes and energy 2 u J and that of sending, both capped on one device; or the error says which fails."""
    first = replace(cell[0], memory_bytes=memory, joules=energy, send_w=power)
    band = Round(required, BAND_HZ)
    try:
        found = solve((first, *cell[1:]), band)
    except Infeasible as error:
        assert "are missing" in str(error)
        return
    require_all((first, *cell[1:]), band, found)


@FEW
@given(CELLS, st.floats(0.1, 0.9), st.floats(1.05, 10))
def test_a_better_channel_or_processor_never_has_the_smaller_ratio(
    cell: tuple[Candidate, ...], required: float, better: float
) -> None:
    """Of two devices that are alike otherwise (the band needed has decreasing differences in both, so swapping pays)."""
    worse = cell[0]
    nearer = replace(worse, strength_hz=worse.strength_hz * better)
    faster = replace(worse, choices=tuple(replace(way, seconds=way.seconds / better) for way in worse.choices))
    for other in (nearer, faster):
        pair = (worse, other, *cell[2:])
        u = ratios(pair, solve(pair, Round(required, BAND_HZ)))
        assert u[1] >= u[0]


@FEW
@given(CELLS, st.floats(0.1, 0.8), st.integers(0, 2))
def test_tightening_memory_never_raises_a_ratio(cell: tuple[Candidate, ...], required: float, device: int) -> None:
    """A cap below what a device was given leaves it less; nobody's latency falls by it (but for the search's two percent)."""
    loose = solve(cell, Round(required, BAND_HZ))
    u = ratios(cell, loose)[device]
    if u == 0:
        return
    tight = capped(cell, device, 100 * u - 1)
    try:
        found = solve(tight, Round(required, BAND_HZ))
    except Infeasible:
        return
    assert ratios(tight, found)[device] < u
    assert found.latency_s >= loose.latency_s / 1.02


@FEW
@given(CELLS, st.floats(0.1, 0.5), st.floats(1.0, 1.9))
def test_asking_more_never_takes_less(cell: tuple[Candidate, ...], required: float, more: float) -> None:
    """T*(Q) does not fall; what is found is within two percent of T*."""
    little, much = solve(cell, Round(required, BAND_HZ)), solve(cell, Round(required * more, BAND_HZ))
    assert much.latency_s >= little.latency_s / 1.02


# ---- what cannot be --------------------------------------------------------------------------------------------------


def _alike(**caps: float) -> tuple[Candidate, ...]:
    """Two devices of half the weight, ratios 0.25 to 1; memory 100 u bytes, 2 u J of computing."""
    return (Candidate(0.5, choices(4, 1.0, 2.0), 1e8, **caps),) * 2


@pytest.mark.parametrize(
    ("cell", "band", "words"),
    [
        # u <= 0.5 on both devices: 0.5 of the 0.8 asked for.
        (
            _alike(memory_bytes=60.0),
            Round(0.8, BAND_HZ),
            "memory caps: .* reaches 0.5 .*expected 0.8 or more: 0.3 are miss",
        ),
        # 2 u J <= 1.2 J: u <= 0.5 again, without anything for sending.
        (
            _alike(joules=1.2),
            Round(0.8, BAND_HZ),
            "energy caps: .* reaches 0.5 .*expected 0.8 or more: 0.3 are missing",
        ),
        # weights of 0.5 + 0.5 = 1, but nothing above 0.25.
        (
            (Candidate(1.0, choices(4, 1.0, 2.0)[:1], 1e8),),
            Round(0.8, BAND_HZ),
            "convergence requirement: .* 0.55 are missing",
        ),
        (_alike(), Round(0.8, BAND_HZ, 1.0), "latency: the least is .* expected 1 s: .* s too late"),
        # each sends 44.7 MB for at most 0.5 J at 1 W, so in 0.5 s: 715 Mbit/s at s = 10 GHz take 110 MHz each.
        (
            (Candidate(0.5, (Choice(1.0, 1.0, 44_695_848, 1.0, 0.5),), 1e10, joules=1.0, send_w=1.0),) * 2,
            Round(0.8, 150e6),
            "bandwidth: the energy caps need 2.19097e.08 Hz however long a round takes; expected 1.5e.08 Hz or less",
        ),
    ],
)
def test_what_cannot_be_says_which_constraint_and_by_how_much(
    cell: tuple[Candidate, ...], band: Round, words: str
) -> None:
    with pytest.raises(Infeasible, match=words):
        solve(cell, band)


def test_the_full_model_may_not_fit() -> None:
    with pytest.raises(Infeasible, match=r"with ratio: full the sum of q_k u_k reaches 0 under the caps; expected 0.4"):
        solve(_alike(memory_bytes=60.0), Round(0.4, BAND_HZ), Solver("full"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Choice(0.0, 1, 1), "ratio: got 0.0; expected above 0, at most 1"),
        (lambda: Choice(0.5, -1, 1), "seconds: got -1; expected a finite number"),
        (lambda: Candidate(1.0, ()), "expected one above zero"),
        (lambda: Candidate(1.0, (), 1e6), "choices: got none"),
        (lambda: Candidate(-1.0, choices(2, 1, 1), 1e6), "weight: got -1.0"),
        (lambda: Round(0.0), "required: got 0.0; expected above 0, at most 1"),
        (lambda: Round(0.5, 0.0), "bandwidth_hz: got 0.0; expected above zero"),
    ],
)
def test_wrong_input_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]
