"""Oort: utilities, pacer and clipping by hand; whom it exploits, explores, spares and shuts out in worlds that are known."""

from collections import Counter
from math import inf, log, sqrt
from typing import Any

import pytest

from emulator.blueprint import Blueprint
from emulator.learning.evaluation import initial_weights
from emulator.learning.figures import Figure, figure
from emulator.learning.random import seed_of
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.policies.oort import Pacer, Seen, utilities
from emulator.protocols.policies.sampling import OortSampling
from tests.worlds import MLP, Played, fleet, holdings, plan, play

STILL = 1e-9  # a learning rate at which losses stay as they are


def sampling(**changes: Any) -> OortSampling:
    return OortSampling(name="oort", **changes)


def world(groups: Any, settings: dict[str, Any], changes: Any = None, **oort: Any) -> Blueprint:
    usual: dict[str, Any] = {"rounds": 4, "cohort": 2, "learning_rate": STILL, "sampling": {"name": "oort", **oort}}
    return plan(fedavg, FedAvgSettings(**(usual | settings)), groups, **(changes or {}))


def asked(played: Played) -> list[set[int]]:
    return [{int(name[-4:]) for name in row.cohort} for row in played.rounds]


def first_losses(blueprint: Blueprint, of: Any) -> list[float]:
    """Figures of the initial weights on each device's data."""
    weights = initial_weights(seed_of(1, "initial"), model=MLP.model)
    held = holdings(blueprint)
    return [float(figure(weights, held.shard(part), 0, problem=MLP, wanted=Figure(of))) for part in held.parts]


# ---- Algorithm 1 by hand ----------------------------------------------------------------------------------------------------


def test_utilities_by_hand() -> None:
    """Round 4. a and b have 40 samples and losses 1 and 2: 40 and 80, and sqrt(0.1 ln 4 / L) besides, with L = 1 and 2. c is as
    b but takes 2 s where T = 1: (1 / 2)^2 of it.
    """
    known = {"a": Seen(40.0, 1.0, 1), "b": Seen(80.0, 1.0, 2), "c": Seen(80.0, 2.0, 2)}
    one, two = sqrt(0.1 * log(4)), sqrt(0.1 * log(4) / 2)
    expected = {"a": 40 + one, "b": 80 + two, "c": (80 + two) / 4}
    assert utilities(known, 4, 1.0, sampling()) == pytest.approx(expected)
    assert utilities(known, 4, inf, sampling())["c"] == pytest.approx(80 + two)
    assert utilities(known, 4, 1.0, sampling(alpha=0.0))["c"] == pytest.approx(80 + two)
    normal = utilities(known, 4, 1.0, sampling(normalise=True))
    assert normal == pytest.approx({"a": one, "b": 1 + two, "c": (1 + two) / 4})
    assert utilities({}, 1, 1.0, sampling()) == {}


def test_an_outlier_is_clipped_to_the_95th_percentile() -> None:
    """Twenty utilities, 1 to 19 and a million: the 19th of 20 is 19, and so is the outlier's."""
    known = {n: Seen(1e6 if n == 20 else n, 1.0, 1) for n in range(1, 21)}
    found = utilities(known, 1, inf, sampling())  # ln 1 = 0: no bonus
    assert found[20] == found[19] == 19.0 and found[18] == 18.0
    assert utilities(known, 1, inf, sampling(clip=1.0))[20] == 1e6


def test_the_pacer_by_hand() -> None:
    """W = 2, Delta = 0.5: looks after rounds 4, 6 and 8. 10 10 | 5 5: less, a step; 5 5 | 8 8: more; 8 8 | 1 1: less again."""
    pacer = Pacer(sampling(pacer_step_s=0.5, pacer_window=2))
    found = []
    for utility in (10, 10, 5, 5, 8, 8, 1, 1):
        pacer.note(utility)
        found.append(pacer.preferred_s([]))
    assert found == [0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 1.5]


def test_the_pacer_by_shares() -> None:
    """Of ten devices that take 1 to 10 s, 30 % are done after 3 s; a step of 5 % makes it 35 %, 4 s; from 100 % on any."""
    times = [float(n) for n in range(10, 0, -1)]
    pacer = Pacer(sampling(pacer_window=1))
    assert pacer.preferred_s(times) == 3.0
    pacer.note(2.0)
    pacer.note(1.0)
    assert pacer.preferred_s(times) == 4.0
    assert Pacer(sampling(pacer_share=1.0)).preferred_s(times) == inf


# ---- whom it asks -----------------------------------------------------------------------------------------------------------


def test_the_largest_losses_are_exploited() -> None:
    """Everything is explored first (three rounds of two), and c = 1 leaves no draw: then the two largest |B| sqrt(mean loss^2).

    Two pairs of devices with equal data sizes and different losses; the bonus is at most sqrt(0.1 ln 4) = 0.37.
    """
    settings = {"exploration": 1.0, "exploration_decay": 1.0, "exploration_min": 0.0, "cutoff": 1.0}
    blueprint = world(fleet(6), {}, None, **settings, pacer_share=1.0)
    losses = first_losses(blueprint, "rms")
    expected = set(sorted(range(6), key=lambda n: 40 * losses[n])[-2:])
    played = play(blueprint)
    found = asked(played)
    assert set.union(*found[:3]) == set(range(6))
    ranked = sorted(40 * loss for loss in losses)
    assert ranked[-2] - ranked[-3] > 0.37  # the world is such that the bonus decides nothing
    assert found[3] == expected


@pytest.mark.parametrize(("alpha", "chosen"), [(0.0, True), (2.0, False)])
def test_a_slow_device_is_spared(alpha: float, chosen: bool) -> None:
    """The device with the largest loss is ten times slower (its upload takes 0.38 s, T = 0.1 s): it counts 1/17 of its utility.

    0.01922 + 0.3844 = 0.40362 s; (0.1 / 0.40362)^2 = 0.061. The other losses are all more than 0.061 of it.
    """
    settings = {
        "exploration": 1.0,
        "exploration_decay": 1.0,
        "exploration_min": 0.0,
        "cutoff": 1.0,
        "pacer_step_s": 0.1,
    }
    losses = first_losses(world(fleet(6), {}), "rms")
    slow = losses.index(max(losses))
    assert min(losses) > 0.1 * max(losses)
    groups = [*fleet(slow), *fleet(1, uplink_bps=8e5), *fleet(5 - slow)] if 0 < slow < 5 else None
    groups = groups or ([*fleet(1, uplink_bps=8e5), *fleet(5)] if slow == 0 else [*fleet(5), *fleet(1, uplink_bps=8e5)])
    played = play(world(groups, {}, None, **settings, alpha=alpha))
    assert (slow in asked(played)[3]) is chosen
    assert played.rounds[3].metrics["preferred_s"] == 0.1


def test_the_share_of_exploration_is_counted() -> None:
    """Cohorts of 10 of 40: exploited are floor((1 - 0.9 x 0.98^(R - 1)) x 10): 1 from round 2 on. Of 40 new devices 10, 9, 9,
    9 and the last 3 are asked.
    """
    played = play(world(fleet(40), {"rounds": 6, "cohort": 10}, {"samples": (20,) * 40}))
    assert [row.metrics["explored"] for row in played.rounds] == [10, 9, 9, 9, 3, 0]
    half = {"exploration": 0.5, "exploration_min": 0.5}
    played = play(world(fleet(40), {"rounds": 8, "cohort": 10}, {"samples": (20,) * 40}, **half))
    assert [row.metrics["explored"] for row in played.rounds] == [10, 5, 5, 5, 5, 5, 5, 0]


def test_exploration_prefers_the_fast() -> None:
    """Nominal rounds of 0.06 s and of 385 s: a chance of 1 in 6700 that a slow one is among the first three."""
    played = play(world([*fleet(3, uplink_bps=800.0), *fleet(3)], {"rounds": 1, "cohort": 3}))
    assert asked(played) == [{3, 4, 5}]


def test_fairness_of_one_is_round_robin() -> None:
    """Six devices, cohorts of two, f = 1: three rounds ask everybody once, again and again, whatever the losses."""
    played = play(world(fleet(6), {"rounds": 12}, None, fairness=1.0))
    found = asked(played)
    for start in (0, 3, 6, 9):
        assert Counter(n for cohort in found[start : start + 3] for n in cohort) == Counter(range(6))


def test_the_blacklist_ends_a_device_s_rounds() -> None:
    """Two rounds at most, six devices in cohorts of two: six rounds ask everybody twice; then all may again."""
    played = play(world(fleet(6), {"rounds": 7}, None, blacklist=2))
    found = asked(played)
    assert Counter(n for cohort in found[:6] for n in cohort) == Counter([*range(6), *range(6)])
    assert len(found[6]) == 2


def test_losses_are_charged() -> None:
    """One forward pass and 4 bytes a device-round; the weights come down once. What is read is what the devices computed."""
    blueprint = world(fleet(4), {"rounds": 3, "cohort": 2})
    played = play(blueprint)
    control = played.transfers("control")
    assert [(row.bytes, row.overhead_bytes) for row in control] == [(0, 4)] * 6
    assert sum(row.kind == "figure" for row in played.events) == 6
    assert [row.downlink_bytes for row in played.rounds] == [2 * 38_440] * 3
    losses = first_losses(blueprint, "rms")
    cohort = sorted(asked(played)[0])
    assert played.decisions[0].value == pytest.approx([losses[n] for n in cohort], rel=1e-4)


def test_a_device_that_did_not_count_stays_new() -> None:
    """Over-selection: three are asked, two count; the slow one never does, and is explored again and again."""
    groups = [*fleet(2), *fleet(1, uplink_bps=8e5)]
    settings = {"rounds": 3, "cohort": 2, "ending": {"name": "first", "over": 1.5}}
    played = play(world(groups, settings))
    assert [row.metrics["explored"] for row in played.rounds] == [3, 1, 1]
    assert all(row.finished == ("device-0000", "device-0001") for row in played.rounds)
