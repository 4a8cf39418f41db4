"""TiFL: tiers of known speeds, profiling and drop-outs, probabilities, credits, accuracies, all worked out by hand."""

from collections import Counter
from typing import Any

import pytest

from emulator.blueprint import Blueprint
from emulator.devices.condition import Condition
from emulator.devices.intervals import Intervals
from emulator.learning.random import choose_by, seed_of
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.policies.tifl import change_probs, tiers_of
from tests.worlds import Played, fleet, plan, play, time_only

# The MLP has 64 x 128 + 128 + 128 x 10 + 10 = 9610 weights, 38,440 bytes: 0.01922 s down at 16 Mbit/s; up 0.03844 s at 8,
# 0.07688 s at 4 and 0.15376 s at 2. Processors are so fast that training takes no time.
DOWN_S, UP_S = 0.01922, 0.03844
FAST: dict[str, Any] = {"flop_per_s": 1e15}
SPEEDS = [*fleet(2, **FAST), *fleet(2, uplink_bps=2e6, **FAST), *fleet(2, uplink_bps=4e6, **FAST)]
TIERS = [{0, 1}, {4, 5}, {2, 3}]
ROUND_S = [DOWN_S + UP_S, DOWN_S + 2 * UP_S, DOWN_S + 4 * UP_S]


def world(sampling: dict[str, Any], changes: Any = None, **settings: Any) -> Blueprint:
    usual: dict[str, Any] = {"rounds": 6, "cohort": 2, "learning_rate": 0.1}
    given = {"sampling": {"name": "tifl", "tiers": 3, **sampling}, **settings}
    return plan(fedavg, FedAvgSettings(**(usual | given)), SPEEDS, **(changes or {}))


def asked(played: Played) -> list[set[int]]:
    return [{int(name[-4:]) for name in row.cohort} for row in played.rounds]


def seconds(played: Played) -> list[float]:
    return [(row.end_ns - row.start_ns) / 1e9 for row in played.rounds]


# ---- tiers -----------------------------------------------------------------------------------------------------------------


def test_tiers_of_equal_size_by_hand() -> None:
    """Seven devices in three tiers: 3, 2 and 2; equal ones keep their order."""
    latencies = {"a": 5.0, "b": 1.0, "c": 3.0, "d": 1.0, "e": 9.0, "f": 2.0, "g": 4.0}
    assert tiers_of(latencies, 3) == [["b", "d", "f"], ["c", "g"], ["a", "e"]]


@pytest.mark.parametrize(("latency", "profiling"), [("nominal", 0), ("measured", 1), ("measured", 2)])
def test_three_speeds_are_three_tiers(latency: str, profiling: int) -> None:
    """Profiling asks everybody and lasts as long as the slowest; then each round is of one tier, and as long as that takes."""
    sampling: dict[str, Any] = {"latency": latency, **({"profiling_rounds": profiling} if profiling else {})}
    played = time_only(world(sampling, rounds=12))
    found = asked(played)
    assert found[:profiling] == [{0, 1, 2, 3, 4, 5}] * profiling
    assert seconds(played)[:profiling] == pytest.approx([ROUND_S[2]] * profiling, abs=1e-6)
    assert all(cohort in TIERS for cohort in found[profiling:])
    numbers = [TIERS.index(cohort) for cohort in found[profiling:]]
    assert [row.metrics["tier"] for row in played.rounds] == [0.0] * profiling + [number + 1.0 for number in numbers]
    assert seconds(played)[profiling:] == pytest.approx([ROUND_S[number] for number in numbers], abs=1e-6)


@pytest.mark.parametrize("tier", [0, 1, 2])
def test_static_probabilities(tier: int) -> None:
    """All of the probability on one tier: it is always asked."""
    chances = [float(number == tier) for number in range(3)]
    played = time_only(world({"latency": "nominal", "probabilities": chances}))
    assert asked(played) == [TIERS[tier]] * 6


def test_static_draws_by_its_probabilities() -> None:
    """1/2, 1/2 and 0: the slow tier never, the others 200 times +- 4 sigma (sigma = 10)."""
    played = time_only(world({"latency": "nominal", "probabilities": [0.5, 0.5, 0.0]}, rounds=400))
    count = Counter(row.metrics["tier"] for row in played.rounds)
    assert count[3.0] == 0 and abs(count[1.0] - 200) <= 40


def test_who_is_never_within_t_max_is_a_drop_out() -> None:
    """T_max = 0.15 s: devices 2 and 3 need 0.173 s. Profiling lasts T_max; the others are two tiers; 2 and 3 rest for good."""
    played = time_only(world({"tiers": 2, "t_max_s": 0.15, "profiling_rounds": 2}, rounds=10))
    assert seconds(played)[:2] == pytest.approx([0.15, 0.15], abs=1e-9)
    assert {frozenset(cohort) for cohort in asked(played)[2:]} == {frozenset({0, 1}), frozenset({4, 5})}
    assert played.rounds[0].finished == tuple(f"device-000{n}" for n in (0, 1, 4, 5))


def test_a_tier_that_is_away_is_not_drawn() -> None:
    """The fast tier is drawn alone, but away from 0.1 s on: then one of the others is."""
    away = Condition(Intervals(None, ((0, 0.1),)))
    here = Condition()
    changes = {"conditions": (away, away, here, here, here, here)}
    played = time_only(world({"latency": "nominal", "probabilities": [1.0, 0.0, 0.0]}, changes))
    found = asked(played)
    assert found[0] == {0, 1} and all(cohort in TIERS[1:] for cohort in found[2:])


# ---- Algorithm 2 -----------------------------------------------------------------------------------------------------------


def test_change_probs_by_hand() -> None:
    """D = 6: 3/6 for the least accurate, then 2/6 and 1/6. Without the second's credits D = 3: 2/3 and 1/3."""
    assert change_probs([0.5, 0.2, 0.9], [1, 1, 1]) == pytest.approx([2 / 6, 3 / 6, 1 / 6])
    assert change_probs([0.5, 0.2, 0.9], [4, 0, 1]) == pytest.approx([2 / 3, 0, 1 / 3])
    assert change_probs([0.5, 0.2], [0, 0]) == [0, 0]


@pytest.mark.parametrize(("credits", "counts"), [(None, [2, 2, 2]), ([3, 2, 1], [3, 2, 1]), ([0, 6, 0], [0, 6, 0])])
def test_credits_run_out_exactly(credits: Any, counts: list[int]) -> None:
    """Six rounds and as many credits: every credit is spent, and no round is without."""
    played = play(world({"latency": "nominal", "selection": "adaptive", "credits": credits}))
    count = Counter(row.metrics["tier"] for row in played.rounds)
    assert [count[number] for number in (1.0, 2.0, 3.0)] == counts


def test_accuracies_decide_who_is_likely() -> None:
    """Weights hardly change, so no tier gets better and each look from the second on changes the probabilities.

    Draws are those of the probabilities 1/3 each in round 1, then ``change_probs`` of what was read; every tier has credits.
    """
    sampling = {"latency": "nominal", "selection": "adaptive", "interval": 1, "credits": [12] * 3}
    played = play(world(sampling, rounds=12, learning_rate=1e-9))
    assert len(played.decisions) == 12
    shares = [1 / 3] * 3
    for number, decision in enumerate(played.decisions):
        told: Any = decision.value  # of devices 0 1, 4 5, 2 3: tier by tier
        tiers = [(told[2 * tier] + told[2 * tier + 1]) / 2 for tier in range(3)]
        if number:
            shares = change_probs(tiers, [12] * 3)
        expected = choose_by(seed_of(1, "tier", number + 1), 1, shares)[0]
        assert played.rounds[number].metrics["tier"] == expected + 1.0


def test_a_tier_that_gets_better_keeps_the_probabilities() -> None:
    """All of the credits on one tier whose accuracy rises: looks change nothing, and the tier stays."""
    sampling = {"latency": "nominal", "selection": "adaptive", "interval": 2, "credits": [6, 0, 0]}
    assert asked(play(world(sampling))) == [{0, 1}] * 6


def test_evaluation_is_charged_to_the_byte() -> None:
    """Two rounds, looks before both: four of six devices a look (2 of 2 a tier with evaluators 2, else 1) are sent the weights
    and answer with 4 bytes; who is in the cohort, too, has the weights already.
    """
    for evaluators, answers in ((1, 3), (2, 6)):
        sampling = {"latency": "nominal", "selection": "adaptive", "interval": 1, "evaluators": evaluators}
        played = play(world(sampling, rounds=2))
        control = played.transfers("control")
        assert len(control) == 2 * answers and {(row.bytes, row.overhead_bytes) for row in control} == {(0, 4)}
        for number, row in enumerate(played.rounds, 1):
            told = {event.node for event in control if event.round == number}
            assert row.downlink_bytes == 38_440 * len(told | set(row.cohort))
            assert row.uplink_bytes == 2 * 38_440 and row.overhead_bytes == 4 * answers


@pytest.mark.parametrize(
    "ending", [{"name": "first", "over": 1.0}, {"name": "backup", "spares": 1}, {"name": "fixed", "seconds": 0.1}]
)
def test_endings_begin_after_profiling(ending: dict[str, Any]) -> None:
    """Profiling waits for all six, whatever the ending: 0.17298 s. Then two of a tier of three count, or those in 0.1 s."""
    played = time_only(world({"tiers": 2}, ending=ending, rounds=8))
    assert len(played.rounds[0].finished) == 6
    assert seconds(played)[0] == pytest.approx(ROUND_S[2], abs=1e-6)
    assert all(len(row.finished) <= 2 for row in played.rounds[1:])
    assert all(length <= ROUND_S[2] + 1e-6 for length in seconds(played)[1:])
