"""The same hashes on Ray as inline, whatever the placement; errors that tell where."""

import time
from dataclasses import replace
from typing import Any

import pytest
import ray

from actors.cluster import Cluster
from emulator.devices.condition import Completeness, Condition
from emulator.devices.pace import Load
from emulator.devices.presence import Markov
from emulator.devices.profile import Throttling
from emulator.learning.models import ModelSpec
from emulator.protocols.adp_upload import AdpUploadSettings, adp_upload
from emulator.protocols.ecofed import EcoFedSettings, ecofed
from emulator.protocols.fedadam import FedAdamSettings, fedadam
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.fednova import FedNovaSettings, fednova
from emulator.protocols.round_settings import RoundSettings
from emulator.protocols.scaffold import ScaffoldSettings, scaffold
from emulator.protocols.tinyfel import TinyFELSettings, tinyfel
from tests.ray_worlds import RAY, UNEVEN, fleet_of, kept, on_ray, played_on, same
from tests.world.protocols import Deadline, Quiet, asynchronous, deadline, failing, reading
from tests.worlds import CNN, DIGITS, fleet, plan, play, time_only

pytestmark = RAY


BLUEPRINT = plan(
    fedavg, FedAvgSettings(rounds=3, cohort=5, learning_rate=0.1, momentum=0.5), fleet(8), problem=CNN,
    samples=UNEVEN,
)  # fmt: skip


@pytest.mark.parametrize(("devices_per_actor", "actors"), [(8, 1), (None, 2), (2, 4), (1, 8 + 2)])
def test_same_hashes_on_any_placement(devices_per_actor: int | None, actors: int) -> None:
    """One, one for each of two cores, four, and an actor per device, whose programs two workers play."""
    with kept(BLUEPRINT, devices_per_actor) as cluster:
        played = played_on(cluster, BLUEPRINT)
    assert cluster.started["actors"] == actors
    same(played, play(BLUEPRINT))
    assert played.end.calls <= 1 + 3 * 5 + 3 * (1 + 2)  # at most one a device-round; the server's; two hosts evaluating


@pytest.mark.parametrize(
    ("protocol", "settings"),
    [
        (fedadam, FedAdamSettings(rounds=2, cohort=4, learning_rate=0.1)),
        (scaffold, ScaffoldSettings(rounds=3, cohort=4, learning_rate=0.1, momentum=0.5)),
        (fednova, FedNovaSettings(rounds=2, cohort=4, learning_rate=0.1, momentum=0.5)),
        (deadline, Deadline(rounds=2, cohort=8, first=5)),
        (reading, RoundSettings(rounds=3, cohort=4)),
        (asynchronous, RoundSettings(rounds=5, cohort=4)),
        (tinyfel, TinyFELSettings(rounds=4, cohort=4, learning_rate=0.1, bandwidth="network", required=0.3)),
    ],
)
def test_same_hashes_for_every_kind_of_protocol(protocol: Any, settings: Any) -> None:
    blueprint = plan(protocol, settings, [*fleet(4), *fleet(4, flop_per_s=3e8)])
    same(on_ray(blueprint), play(blueprint))


def test_a_stop_on_accuracy_is_the_same_with_the_clock_running_ahead() -> None:
    from emulator.blueprint import Observation

    observation = Observation(1, 360, 100, False, 0.6, None, 3)
    settings = FedAvgSettings(rounds=30, cohort=4, learning_rate=0.1)
    blueprint = plan(fedavg, settings, fleet(6), observation=observation)
    played = on_ray(blueprint)
    assert played.end.status == "stopped: accuracy"
    same(played, play(blueprint))


def test_an_error_in_an_actor_tells_where() -> None:
    """And leaves the actors fit for the next run."""
    words = r"fail failed on device-0000 in round 1 at virtual time .*RuntimeError: the step is"
    blueprint = plan(fedavg, FedAvgSettings(rounds=1, cohort=2, learning_rate=0.1), fleet(2))
    with kept(blueprint) as cluster:
        with pytest.raises(Exception, match=words):
            played_on(cluster, plan(failing, Quiet(), fleet(2)))
        same(played_on(cluster, blueprint), play(blueprint))


def test_named_device_actors_describe_themselves() -> None:
    with kept(BLUEPRINT, 1) as cluster:
        name = play(BLUEPRINT).rounds[0].finished[0]
        device = ray.get_actor(name, namespace=cluster.namespace)
        before = ray.get(device.describe.remote())["state"]["programs"]  # those of earlier runs
        played = played_on(cluster, BLUEPRINT)
        told = ray.get(device.describe.remote())
        assert told["device"] == name
        assert told["profile"] == "test"
        assert told["state"]["programs"] - before == sum(name in row.finished for row in played.rounds)
        assert {f"device-{number:04d}" for number in range(8)} <= set(named(cluster))


def test_actors_end_with_their_run() -> None:
    with Cluster() as cluster:
        cluster.start(fleet_of(BLUEPRINT, 8))
        assert len(named(cluster)) == 1 + 1
    for _ in range(100):
        if not named(cluster):
            break
        time.sleep(0.1)
    assert named(cluster) == []


def named(cluster: Cluster) -> list[str]:
    """Names of its actors that are alive."""
    entries = ray.util.list_named_actors(all_namespaces=True)
    return [entry["name"] for entry in entries if entry["namespace"] == cluster.namespace]


def test_started_actors_play_several_runs() -> None:
    """What one run left behind does not reach the next: each has the hashes of a run of its own."""
    other = plan(
        fedavg, FedAvgSettings(rounds=2, cohort=8, learning_rate=0.05), fleet(8), problem=CNN, samples=BLUEPRINT.samples
    )
    with kept(BLUEPRINT) as cluster:
        for blueprint in (BLUEPRINT, other, BLUEPRINT):
            same(played_on(cluster, blueprint), play(blueprint))


def test_devices_that_come_and_go_tell_the_same_everywhere() -> None:
    """Absences, an empty battery in mid-run, other work, heat and unfinished work."""
    powers = {"idle_w": 1.0, "load_w": 5.0, "send_w": 2.0, "receive_w": 0.5}
    heat = Throttling(after_s=0.05, speed=0.5, recovery_s=1.0)
    groups = [*fleet(5, **powers, flop_per_s=1e8, throttling=heat), *fleet(1, **powers, flop_per_s=1e8, battery_j=1.5)]
    conditions = tuple(
        Condition(Markov(key, 0.3, 0.1), Load(Markov(key + 10, 0.2, 0.2), 0.5), 1.0, Completeness(key, 0.5, 1.0))
        for key in range(6)
    )
    settings = FedAvgSettings(rounds=6, cohort=4, learning_rate=0.1)
    inline, remote = (
        play(plan(fedavg, settings, groups, conditions=conditions)),
        on_ray(plan(fedavg, settings, groups, conditions=conditions)),
    )
    same(remote, inline)
    assert inline.end.devices_lost > 0
    assert remote.end.joules == inline.end.joules
    assert inline.end.joules is not None


@pytest.mark.parametrize(
    ("protocol", "settings"),
    [
        (scaffold, ScaffoldSettings(rounds=2, cohort=3, learning_rate=0.05, prune_threshold=0.01, option=1)),
        (adp_upload, AdpUploadSettings(rounds=2, cohort=3, learning_rate=0.05)),
    ],
)
def test_adp_is_the_same_everywhere(protocol: Any, settings: Any) -> None:
    """Gates with pruning, whose sparsity is looked at off the clock; and salient filters on the wire."""
    problem = replace(CNN, model=ModelSpec("cnn_gated", 10, DIGITS.shape, keep_ratio=0.7))
    blueprint = plan(protocol, settings, [*fleet(2), *fleet(2, dynamic_channels=True)], problem=problem)
    remote, inline = on_ray(blueprint), play(blueprint)
    same(remote, inline)
    assert protocol is adp_upload or all(row.metrics["sparsity"] > 0 for row in inline.rounds)


def test_ecofed_is_the_same_everywhere() -> None:
    """Its buffer lives beside the devices that filled it, round after round."""
    problem = replace(CNN, cut=2)
    settings = EcoFedSettings(rounds=5, cohort=3, batch_size=16, learning_rate=0.05, momentum=0.9)
    blueprint = plan(ecofed, settings, fleet(5), problem=problem)
    remote, inline = on_ray(blueprint), play(blueprint)
    same(remote, inline)
    assert time_only(blueprint).events == inline.events
    assert remote.end.calls <= 5 * (
        3 + 2 + 3
    )  # a call a client, the server's average and what it waits for, evaluation
