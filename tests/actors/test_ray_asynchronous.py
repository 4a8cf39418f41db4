"""Asynchronous training on Ray: the hashes of an inline run with one and with four actors, devices lost, and few calls."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from emulator.blueprint import Blueprint
from emulator.devices.condition import Condition
from emulator.devices.population import GroupSpec
from emulator.devices.presence import Markov
from emulator.learning.sgd import Problem
from emulator.protocols.catalogue import PROTOCOLS
from tests.ray_worlds import RAY, UNEVEN, kept, on_ray, played_on, same
from tests.world.test_asynchronous import ALL, RULES
from tests.worlds import CNN, MLP, Played, fleet, plan, play, profile

pytestmark = RAY

POWERS: dict[str, Any] = {"idle_w": 1.0, "load_w": 5.0, "send_w": 2.0, "receive_w": 0.5}
SPEEDS = (1e9, 3e8)


def mixed(name: str, problem: Problem | None = None, **changes: Any) -> Blueprint:
    """Eight devices of two speeds, four at work, nine aggregations."""
    entry, own = PROTOCOLS[name], RULES[name.removeprefix("split_").removeprefix("frozen_")]
    given = {"rounds": 9, "concurrency": 4, "learning_rate": 0.1, **own, **changes.pop("settings", {})}
    if "window_s" in given:
        given["window_s"] = 0.1
    found = problem or (MLP if name in RULES else Problem(CNN.model, CNN.normalise, 2))
    groups = changes.pop("groups", [group for speed in SPEEDS for group in fleet(4, flop_per_s=speed)])
    return plan(entry.run, entry.settings(**given), groups, problem=found, **changes)


@pytest.mark.parametrize("devices_per_actor", [8, 2])
def test_same_hashes_with_one_and_with_four_actors(devices_per_actor: int) -> None:
    """All nine, one after another on the same actors."""
    with kept(mixed("fedasync", samples=UNEVEN), devices_per_actor) as cluster:
        for name in ALL:
            same(played_on(cluster, mixed(name, samples=UNEVEN)), inline(name))


@cache
def inline(name: str) -> Played:
    return play(mixed(name, samples=UNEVEN))


def test_small_updates_travel_together() -> None:
    """Eight at work: the fifth result that is owed (of two or three updates and their merges) sends them all, in few calls.

    24 updates alone would be two calls each. Versions that are evaluated are asked for one by one, by two hosts.
    """
    blueprint = mixed("fedasync", groups=fleet(8), settings={"rounds": 24, "concurrency": 8})
    quiet = replace(blueprint, observation=replace(blueprint.observation, every=100))
    found = on_ray(quiet)
    same(found, play(quiet))
    assert found.end.calls <= 24 * 1.75
    assert on_ray(blueprint).end.calls <= 1 + 24 * 2 + 24 * 2


@pytest.mark.parametrize("name", ["fedbuff", "split_fedasync"])
def test_devices_that_come_go_and_run_empty(name: str) -> None:
    groups = [*fleet(5, **POWERS, flop_per_s=1e8), *fleet(1, **POWERS, flop_per_s=1e8, battery_j=1.0)]
    conditions = tuple(Condition(Markov(key, 0.3, 0.1)) for key in range(6))
    blueprint = mixed(name, groups=groups, conditions=conditions)
    inline = play(blueprint)
    same(on_ray(blueprint), inline)
    assert inline.end.devices_lost > 0


def test_coded_updates_and_cuts_of_their_own() -> None:
    groups = [GroupSpec(profile(), 4, cut=cut) for cut in (1, 3)]
    codecs = {"update_codec": {"codec": "int8-signed"}, "weights_codec": {"codec": "fp16"}, "error_feedback": True}
    blueprint = mixed("split_fedbuff", Problem(CNN.model, CNN.normalise, 1), groups=groups, settings=codecs)
    same(on_ray(blueprint), play(blueprint))
