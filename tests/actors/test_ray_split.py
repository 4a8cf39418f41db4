"""Split protocols on Ray: the hashes of an inline run wherever they are played, a device-round one program, healing."""

from pathlib import Path
from typing import Any

import pytest

from emulator.blueprint import Blueprint
from emulator.devices.population import GroupSpec
from emulator.learning.sgd import Problem
from emulator.protocols.split_learning import SplitLearningSettings, split_learning
from emulator.protocols.split_training import SplitTraining
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from tests.ray_worlds import RAY, UNEVEN, afresh, kept, on_ray, played_on, same
from tests.world.split_protocols import Marked, alternating, mortal
from tests.worlds import CNN, fleet, plan, play, profile, time_only

pytestmark = RAY

ROUNDS, COHORT, DEVICES = 3, 4, 8
PROBLEM = Problem(CNN.model, CNN.normalise, 2)
RATES: dict[str, Any] = {"learning_rate": 0.1, "momentum": 0.9}
MANY: dict[str, Any] = {"rounds": ROUNDS, "cohort": COHORT, **RATES}


def split_plan(protocol: Any, settings: Any, samples: tuple[int, ...]) -> Blueprint:
    return plan(protocol, settings, fleet(len(samples)), problem=PROBLEM, samples=samples)


@pytest.mark.parametrize(
    ("protocol", "settings", "devices_per_actor"),
    [
        (splitfed_v1, SplitFedV1Settings(**MANY), None),
        (split_learning, SplitLearningSettings(**MANY), 1),
    ],
)
def test_same_hashes_and_one_program_a_device_round(
    protocol: Any, settings: Any, devices_per_actor: int | None
) -> None:
    """On two hosts of four devices, and with an actor per device.

    Calls: a device-round is one (its minibatches, server's part included); the start; the server's two averages a round (none
    where devices take turns); two hosts evaluating.
    """
    blueprint = split_plan(protocol, settings, UNEVEN)
    with kept(blueprint, devices_per_actor) as cluster:
        inline, found = play(blueprint), played_on(cluster, blueprint)
    same(found, inline)
    assert time_only(blueprint).events == inline.events
    assert found.end.calls <= 1 + ROUNDS * COHORT + ROUNDS * (1 + 2)


def test_groups_with_cuts_of_their_own_and_coded_updates() -> None:
    """Cuts 1 and 3; what int8 leaves out of an update stays on its device from round to round."""
    groups = [GroupSpec(profile(), 4, cut=cut) for cut in (1, 3)]
    codecs: dict[str, Any] = {"update_codec": {"codec": "int8-signed"}, "error_feedback": True}
    blueprint = plan(
        splitfed_v1, SplitFedV1Settings(**MANY, **codecs), groups,
        problem=Problem(CNN.model, CNN.normalise, 1), samples=UNEVEN,
    )  # fmt: skip
    inline = play(blueprint)
    same(on_ray(blueprint), inline)
    assert time_only(blueprint).events == inline.events


def test_steps_that_wait_past_their_program_give_the_same() -> None:
    """``alternating`` ships at every turn, so that forward passes are played again on whichever host comes next."""
    blueprint = split_plan(alternating, SplitTraining(**{**MANY, "rounds": 2}), (40, 40, 40, 40))
    inline, found = play(blueprint), on_ray(blueprint)
    same(found, inline)
    # 2 rounds of 3 minibatches of 4 devices: at most three calls each (question, server, answer), and a few a round.
    assert 2 * 3 * 4 <= found.end.calls <= 2 * 3 * 4 * 3 + 2 * 8


def test_an_actor_that_dies_between_two_passes_changes_nothing(tmp_path: Path) -> None:
    """The process ends itself in its second minibatch (as ``kill -9`` would); its program is played again from the start."""
    died, inline = tmp_path / "died", tmp_path / "inline"
    inline.touch()  # inline must not die
    common: dict[str, Any] = {**MANY, "rounds": 2}
    expected = play(split_plan(mortal, Marked(**common, mark=str(inline)), (40, 40, 40, 40)))
    found = afresh(split_plan(mortal, Marked(**common, mark=str(died)), (40, 40, 40, 40)), 4)
    assert died.exists()
    assert found.end.weights_sha256 == expected.end.weights_sha256
    assert found.events == expected.events
