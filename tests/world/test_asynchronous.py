"""Asynchronous training by hand: staleness of five devices, weights beside plain loops, FedAvg as a special case, records.

Trainings of 40 samples of the MLP are 1,617,920 FLOPs (``test_fedavg.py``); a device of that many FLOP/s over its seconds takes
those seconds. The air takes less than a microsecond, the server's processor less than a nanosecond.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emulator.blueprint import Blueprint
from emulator.devices.population import GroupSpec
from emulator.learning.evaluation import initial_weights
from emulator.learning.random import seed_of
from emulator.learning.sgd import Problem
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.ecofed import EcoFedSettings, ecofed
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from emulator.protocols.staleness import Constant, Hinge, Polynomial
from tests.world.test_fedavg import plain_model
from tests.worlds import (
    CNN,
    DIGITS,
    MLP,
    NORMALISE,
    Played,
    final_weights,
    living_handles,
    plan,
    play,
    profile,
    time_only,
)

FLOPS = 1_617_920
PERIODS_S = (2.0, 3.1, 5.3, 7.7, 11.9)  # five devices, A to E
FAST: dict[str, Any] = {"uplink_bps": 1e12, "downlink_bps": 1e12}
RULES: dict[str, dict[str, Any]] = {
    "fedasync": {}, "fedbuff": {"buffer": 3}, "semi_async": {"window_s": 4.0},
}  # fmt: skip
ALL = [f"{training}{rule}" for training in ("", "split_", "frozen_") for rule in RULES]
State = dict[str, Tensor]
ENTRIES: dict[str, Any] = dict(PROTOCOLS)


def devices(periods_s: tuple[float, ...], **changes: Any) -> list[GroupSpec]:
    """One device for each period."""
    return [
        group
        for period_s in periods_s
        for group in [GroupSpec(profile(flop_per_s=FLOPS / period_s, **FAST | changes), 1)]
    ]


def five(name: str, rounds: int, problem: Problem = MLP, **settings: Any) -> Blueprint:
    """A to E, all at work."""
    entry, own = ENTRIES[name], RULES[name.removeprefix("split_").removeprefix("frozen_")]
    given = {"rounds": rounds, "concurrency": 5, "learning_rate": 0.1, **own, **settings}
    split = Problem(CNN.model, CNN.normalise, 2)
    return plan(
        entry.run, entry.settings(**given), devices(PERIODS_S), problem=split if "_" in name.replace("semi_", "") else problem,
        server=profile(flop_per_s=1e18),
    )  # fmt: skip


def told(played: Played, name: str) -> list[float]:
    return [row.metrics[name] for row in played.rounds]


# ---- staleness: exact by hand ---------------------------------------------------------------------------------------------

# Who works on by itself comes at: A 2 4 6 8 10 12, B 3.1 6.2 9.3, C 5.3 10.6, D 7.7, E 11.9.


def test_staleness_of_fedasync() -> None:
    """Versions: A comes at 2 (asked at version 0; now 0) and makes version 1, with which it goes on; and so on.

    A 0-0, B 1-0, A 2-1, C 3-0, A 4-3, B 5-2, D 6-0, A 7-5, B 8-6, A 9-8, C 10-4, E 11-0, A 12-10.
    """
    played = time_only(five("fedasync", 13))
    assert told(played, "staleness") == told(played, "staleness_max") == [0, 1, 1, 3, 1, 3, 6, 2, 2, 1, 6, 11, 2]
    assert told(played, "merged") == [1.0] * 13
    assert told(played, "in_flight") == [4.0] * 13
    assert [row.finished[0][-1] for row in played.rounds] == list("0102013010240")
    assert [row.end_ns / 1e9 for row in played.rounds] == pytest.approx(
        [2, 3.1, 4, 5.3, 6, 6.2, 7.7, 8, 9.3, 10, 10.6, 11.9, 12], abs=1e-4
    )


def test_staleness_of_fedbuff() -> None:
    """Three at a time. A and B go on from version 0 at 2 and 3.1; A makes version 1 at 4, B version 2 at 6.2, B 3 at 9.3.

    A B A: 0 0 0. C A B (asked at versions 0 1 0, now 1): 1 0 1. D A B (0 1 2, now 2): 2 1 0. A C E (2 1 0, now 3): 1 2 3.
    """
    played = time_only(five("fedbuff", 4))
    assert told(played, "staleness") == pytest.approx([0, 2 / 3, 1, 2])
    assert told(played, "staleness_max") == [0, 1, 2, 3]
    assert told(played, "merged") == [3.0] * 4
    assert [row.end_ns / 1e9 for row in played.rounds] == pytest.approx([4, 6.2, 9.3, 11.9], abs=1e-4)
    assert [[name[-1] for name in row.finished] for row in played.rounds] == [
        ["0", "1"], ["2", "0", "1"], ["3", "0", "1"], ["0", "2", "4"],
    ]  # fmt: skip


def test_staleness_of_a_window() -> None:
    """Four seconds; who has come waits for their end.

    Until 4: A B, both 0. Until 8: C 5.3 (asked at version 0, now 1), A 6, B 7.1, D 7.7 (0): 1 0 0 1. Until 12: A 10, B 11.1 and
    E 11.9 (0, now 2): 0 0 2. Until 16: C 13.3 (2, now 3), A 14, B 15.1, D 15.7 (2): 1 0 0 1.
    """
    played = time_only(five("semi_async", 4))
    assert told(played, "staleness") == pytest.approx([0, 0.5, 2 / 3, 0.5])
    assert told(played, "staleness_max") == [0, 1, 2, 1]
    assert told(played, "merged") == [2, 4, 3, 4]
    assert told(played, "in_flight") == [3, 1, 2, 1]
    assert [row.end_ns / 1e9 for row in played.rounds] == pytest.approx([4, 8, 12, 16], abs=1e-4)


def test_an_empty_window_waits_for_the_first_or_is_skipped() -> None:
    """Windows of 1.5 s: nothing until 1.5. Waiting: A at 2; B at 3.1, within 3.5. Skipping: ends at 1.5, 3, 4.5, 6."""
    waiting = time_only(five("semi_async", 2, window_s=1.5))
    assert [row.end_ns / 1e9 for row in waiting.rounds] == pytest.approx([2.0, 3.5], abs=1e-4)
    assert told(waiting, "merged") == [1, 1]
    skipping = time_only(five("semi_async", 4, window_s=1.5, empty="skip"))
    assert [row.end_ns / 1e9 for row in skipping.rounds] == pytest.approx([1.5, 3.0, 4.5, 6.0], abs=1e-4)
    # A at 2, asked again at 3, comes at 5; B at 3.1; C at 5.3.
    assert told(skipping, "merged") == [0, 1, 1, 2]
    assert skipping.rounds[0].finished == ()


def test_what_comes_in_the_windows_last_instant_counts() -> None:
    """A alone: its own first arrival gives the window that ends with it, to the nanosecond."""
    usual = time_only(five("fedasync", 1))
    for less, merged in ((0, 1.0), (1, 0.0)):
        window_s = (usual.transfers("update")[0].end_ns - less) / 1e9
        assert told(time_only(five("semi_async", 1, window_s=window_s, empty="skip")), "merged") == [merged]


def test_those_of_one_instant_are_merged_in_the_order_of_asking() -> None:
    """Five alike come at once: staleness 0 to 4; all are asked again with version 5."""
    blueprint = replace(five("fedasync", 10), devices=plan(fedavg, FedAvgSettings(rounds=1, cohort=1, learning_rate=1),
                        devices((2.0,) * 5)).devices)  # fmt: skip
    played = time_only(blueprint)
    assert told(played, "staleness") == [0, 1, 2, 3, 4] * 2
    assert [row.finished for row in played.rounds[:5]] == [(f"device-000{number}",) for number in range(5)]


def test_functions_of_staleness() -> None:
    assert [Constant(kind="constant").weight(d) for d in (0, 7)] == [1, 1]
    assert [Polynomial(kind="polynomial").weight(d) for d in (0, 3, 8)] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [Hinge(kind="hinge").weight(d) for d in (0, 4, 5, 6)] == pytest.approx([1, 1, 1 / 11, 1 / 21])


# ---- weights: plain loops -------------------------------------------------------------------------------------------------


class Work(NamedTuple):
    """A training in the hand-worked case: whose, from which version, and the how manieth of that device."""

    device: int
    version: int
    turn: int


A, B, C, D = range(4)
MIXED = [[Work(A, 0, 1)], [Work(B, 0, 1)], [Work(A, 1, 2)], [Work(C, 0, 1)], [Work(A, 3, 3)]]
BUFFERED = [
    [Work(A, 0, 1), Work(B, 0, 1), Work(A, 0, 2)], [Work(C, 0, 1), Work(A, 1, 3), Work(B, 0, 2)],
    [Work(D, 0, 1), Work(A, 1, 4), Work(B, 2, 3)],
]  # fmt: skip
WINDOWS = [
    [Work(A, 0, 1), Work(B, 0, 1)], [Work(C, 0, 1), Work(A, 1, 2), Work(B, 1, 2), Work(D, 0, 1)],
]  # fmt: skip


def local(weights: State, work: Work, kind: str) -> State:
    """One epoch of plain SGD on a device's 40 samples."""
    images = NORMALISE(torch.tensor(DIGITS.x_train[40 * work.device : 40 * work.device + 40]))
    labels = torch.tensor(DIGITS.y_train[40 * work.device : 40 * work.device + 40])
    model = plain_model(kind)
    model.load_state_dict(weights, strict=False)
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    seed = seed_of(1, "batches", f"device-{work.device:04d}", work.turn)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(40)
    for begin in range(0, 40, 16):
        index = order[begin : begin + 16]
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images[index]), labels[index]).backward()
        optimiser.step()
    return {key: tensor.detach().clone() for key, tensor in model.state_dict().items() if "tracked" not in key}


def mixing(alpha: float) -> Callable[[State, list[tuple[int, State, State]]], State]:
    """Xie et al.: (1 - alpha_t) x + alpha_t x_new, alpha_t = alpha / sqrt(1 + staleness)."""

    def merge(weights: State, updates: list[tuple[int, State, State]]) -> State:
        ((staleness, _, made),) = updates
        share = alpha / (1 + staleness) ** 0.5
        return {key: (1 - share) * weights[key] + share * made[key] for key in weights}

    return merge


def adding(rate: float) -> Callable[[State, list[tuple[int, State, State]]], State]:
    """Nguyen et al.: w + eta_g / K sum delta / sqrt(1 + staleness); running statistics move by the shares without eta_g."""

    def merge(weights: State, updates: list[tuple[int, State, State]]) -> State:
        shares = [1 / len(updates) / (1 + staleness) ** 0.5 for staleness, _, _ in updates]
        new = {}
        for key, old in weights.items():
            if "running" in key:
                new[key] = old + sum(s * (made[key] - old) for s, (_, _, made) in zip(shares, updates, strict=True))
            else:
                deltas = (s * (made[key] - given[key]) for s, (_, given, made) in zip(shares, updates, strict=True))
                new[key] = old + rate * sum(deltas)
        return new

    return merge


def plain(schedule: list[list[Work]], merge: Callable[..., State], kind: str, model: Any) -> State:
    """The weights after a schedule."""
    versions = [initial_weights(seed_of(1, "initial"), model=model)]
    for number, works in enumerate(schedule):
        updates = [
            (number - work.version, versions[work.version], local(versions[work.version], work, kind)) for work in works
        ]
        versions.append(merge(versions[-1], updates))
    return versions[-1]


def close(found: State, expected: State, atol: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, atol=atol, rtol=1e-5, msg=key)


def test_fedasync_beside_a_plain_loop() -> None:
    close(final_weights(five("fedasync", 5, mixing=0.7)), plain(MIXED, mixing(0.7), "mlp", MLP.model))


def test_fedbuff_beside_a_plain_loop() -> None:
    found = final_weights(five("fedbuff", 3, server_learning_rate=0.8))
    close(found, plain(BUFFERED, adding(0.8), "mlp", MLP.model))


def test_fedbuff_with_running_statistics_beside_a_plain_loop() -> None:
    """The CNN's trainings take other seconds, in the same proportions, so they come in the same order."""
    found = final_weights(five("fedbuff", 3, CNN, server_learning_rate=0.8))
    close(found, plain(BUFFERED, adding(0.8), "cnn", CNN.model), atol=2e-5)


def test_a_window_beside_a_plain_loop() -> None:
    """All hold 40 samples, so weighting by samples is uniform."""
    close(final_weights(five("semi_async", 2)), plain(WINDOWS, adding(1.0), "mlp", MLP.model))


def test_updates_are_coded_against_what_the_device_was_given() -> None:
    """All entries of an update travel: the weights are those without coding, although others were merged meanwhile."""
    coded = five("fedbuff", 3, update_codec={"codec": "top-k", "ratio": 1.0})
    assert {row.bytes for row in time_only(coded).transfers("update")} == {2 * 38_440}
    close(final_weights(coded), final_weights(five("fedbuff", 3)), atol=1e-5)


@pytest.mark.parametrize("name", ["fedasync", "fedbuff", "split_semi_async"])
def test_every_codec_both_ways(name: str) -> None:
    """Weights are decoded with the seed that they were encoded with, however many versions there are meanwhile."""
    both: dict[str, Any] = {"weights_codec": {"codec": "random-k", "ratio": 0.9}, "update_codec": {"codec": "sign"}}
    blueprint = five(name, 8, error_feedback=True, **both)
    assert time_only(blueprint).events == play(blueprint).events
    assert all(tensor.isfinite().all() for tensor in final_weights(blueprint).values())


# ---- synchronous protocols as special cases -----------------------------------------------------------------------------


def alike(
    run: Any, settings: Any, problem: Problem, periods_s: tuple[float, ...] = (2.0,) * 4, **changes: Any
) -> Blueprint:
    return plan(run, settings, devices(periods_s), problem=problem, server=profile(flop_per_s=1e18), **changes)


SPLIT = Problem(CNN.model, CNN.normalise, 2)
COMMON: dict[str, Any] = {"rounds": 3, "learning_rate": 0.1, "momentum": 0.5}


@pytest.mark.parametrize(
    ("name", "run", "settings", "problem"),
    [
        ("fedbuff", fedavg, FedAvgSettings(cohort=4, **COMMON), CNN),
        ("split_fedbuff", splitfed_v1, SplitFedV1Settings(cohort=4, **COMMON), SPLIT),
        ("frozen_fedbuff", ecofed, EcoFedSettings(cohort=4, replay_period=1, **COMMON), SPLIT),
    ],
)
def test_a_buffer_of_everybody_at_one_speed_is_synchronous(name: str, run: Any, settings: Any, problem: Any) -> None:
    """Theory: all come in one instant from the same weights w, so w + mean(w_k - w) = mean(w_k); the same minibatches."""
    entry = ENTRIES[name]
    buffered = alike(entry.run, entry.settings(concurrency=4, buffer=4, **COMMON), problem)
    close(final_weights(buffered), final_weights(alike(run, settings, problem)), atol=2e-5)
    assert told(time_only(buffered), "staleness_max") == [0, 0, 0]


def test_a_window_that_all_keep_is_fedavg_whoever_holds_and_takes_how_much() -> None:
    samples, periods_s = (40, 7, 22, 31), (2.0, 3.0, 1.0, 9.0)
    entry = ENTRIES["semi_async"]
    window = alike(entry.run, entry.settings(concurrency=4, window_s=10.0, **COMMON), MLP, periods_s, samples=samples)
    rounds = alike(fedavg, FedAvgSettings(cohort=4, **COMMON), MLP, periods_s, samples=samples)
    close(final_weights(window), final_weights(rounds))
    assert [row.end_ns / 1e9 for row in time_only(window).rounds] == pytest.approx([10, 20, 30], abs=1e-4)


def test_a_device_without_data_is_not_asked() -> None:
    """It would be back at once, again and again."""
    entry = ENTRIES["fedasync"]
    played = play(
        alike(entry.run, entry.settings(concurrency=2, **COMMON), MLP, (2.0, 3.0), samples=(40, 0))
    )  # fmt: skip
    assert [row.finished for row in played.rounds] == [("device-0000",)] * 3
    assert [row.cohort for row in played.rounds] == [("device-0000",)] * 3


# ---- what holds of all nine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_timing_alone_tells_the_same(name: str) -> None:
    blueprint = five(name, 8)
    played, timed = play(blueprint), time_only(blueprint)
    assert timed.events == played.events
    assert [row.metrics for row in timed.rounds] == [row.metrics for row in played.rounds]
    assert [row.cohort for row in timed.rounds] == [row.cohort for row in played.rounds]
    assert played.rounds[-1].accuracy is not None
    assert [event.op for event in played.events] == list(range(len(played.events)))


@pytest.mark.parametrize("name", ALL)
def test_values_do_not_pile_up(name: str) -> None:
    """What is alive varies with how far who is at work has got; a value kept a round would be ten more."""
    found = living_handles(five(name, 20))
    assert max(found[10:]) <= max(found[:10]) + 5


def test_in_a_steady_state_the_same_values_live() -> None:
    entry = ENTRIES["fedbuff"]
    settings = entry.settings(concurrency=4, buffer=4, **{**COMMON, "rounds": 12})
    found = living_handles(alike(entry.run, settings, MLP))
    assert len(set(found[1:-1])) == 1, found


def test_nothing_comes_back_to_a_frozen_front() -> None:
    played = time_only(five("frozen_fedasync", 4))
    assert {(row.kind, row.direction) for row in played.events if row.verb == "send"} == {
        ("smashed", "uplink"), ("labels", "uplink"),
    }  # fmt: skip
    # 16 samples of 32 x 2 x 2 numbers after two blocks of the CNN, a byte each.
    assert max(row.bytes for row in played.transfers("smashed")) == 16 * 32 * 2 * 2


def test_seeds_do_not_depend_on_who_came_before() -> None:
    """E's first training from the first weights is the same, whatever the others did until then."""
    entry = ENTRIES["fedasync"]
    alone = alike(entry.run, entry.settings(rounds=1, concurrency=1, learning_rate=0.1, mixing=1.0), MLP, (11.9,))
    expected = local(initial_weights(seed_of(1, "initial"), model=MLP.model), Work(A, 0, 1), "mlp")
    close(final_weights(alone), expected)


def test_groups_with_cuts_of_their_own_are_merged_tensor_by_tensor() -> None:
    """Cuts 1 and 3 in a window that both keep: with nothing lost on the air the cut changes no weight, only seconds."""
    given: dict[str, Any] = {"concurrency": 2, "window_s": 10.0, "rounds": 2, "learning_rate": 0.1}
    split, whole = ENTRIES["split_semi_async"], ENTRIES["semi_async"]
    groups = [GroupSpec(profile(**FAST), 1, cut=cut) for cut in (1, 3)]
    cut = plan(split.run, split.settings(**given), groups, problem=Problem(CNN.model, CNN.normalise, 1))
    uncut = plan(whole.run, whole.settings(**given), [GroupSpec(profile(**FAST), 2)], problem=CNN)
    assert told(time_only(cut), "merged") == [2, 2]
    close(final_weights(cut), final_weights(uncut), atol=2e-5)
