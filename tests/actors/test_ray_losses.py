"""Processes that are killed or hang: the same results, or words that tell what was lost."""

import threading
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL, SIGSTOP

import pytest
import ray

from actors.cluster import AggregatorLost, Cluster
from actors.notes import MOST
from actors.program import path_of
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.run import simulate
from tests.ray_worlds import RAY, fleet_of, played_on
from tests.world.protocols import Marked, mortal
from tests.worlds import fleet, plan, play

pytestmark = RAY


def test_a_process_that_dies_or_hangs_changes_nothing(tmp_path: Path) -> None:
    """It sends itself the signal in a first training; it is started again and its program too. All on the same actors.

    The second stops itself while the first one's next call waits for what it makes: only the one that is stopped is
    restarted. The third dies as often as a call may end processes, and once more it is played.
    """
    inline = plan(mortal, Marked(rounds=2, cohort=4, times=0), fleet(4))  # inline must not die
    expected = play(inline)
    with Cluster() as cluster:
        cluster.start(replace(fleet_of(inline, 2), patience_s=3.0))
        for number, victim, times in ((SIGKILL, 0, 1), (SIGSTOP, 1, 1), (SIGKILL, 2, MOST - 1)):
            mark = str(tmp_path / f"{victim}-")
            settings = Marked(rounds=2, cohort=4, mark=mark, signal=number, victim=victim, times=times)
            found = played_on(cluster, plan(mortal, settings, fleet(4)))
            assert len(list(tmp_path.glob(f"{victim}-*"))) == times
            assert found.end.weights_sha256 == expected.end.weights_sha256
            assert found.events == expected.events


def test_a_step_that_ends_its_process_each_time_is_told(tmp_path: Path) -> None:
    """It is played a few times, as it may not have been its fault; the actors are fit for the next run."""
    mark = str(tmp_path / "mark")
    guilty = plan(mortal, Marked(rounds=1, cohort=4, mark=mark, victim=3, times=99), fleet(4))
    innocent = plan(fedavg, FedAvgSettings(rounds=1, cohort=2, learning_rate=0.1), fleet(4))
    words = (
        r"train_and_die failed on device-0003 in round 1 at virtual time \d+\.\d+ s .*protocols.py:\d+\): "
        rf"ProcessLost: {MOST} processes ended while they played it"
    )
    with Cluster() as cluster:
        cluster.start(fleet_of(guilty, 2))
        with pytest.raises(Exception, match=words):
            played_on(cluster, guilty)
        assert len(list(tmp_path.iterdir())) == MOST
        assert played_on(cluster, innocent).end.weights_sha256 == play(innocent).end.weights_sha256


def test_a_lost_aggregator_is_told() -> None:
    blueprint = plan(fedavg, FedAvgSettings(rounds=500, cohort=2, learning_rate=0.1), fleet(2))
    with Cluster() as cluster:
        cluster.start(fleet_of(blueprint, 2))
        aggregator = ray.get_actor("aggregator", namespace=cluster.namespace)
        stream = cluster.play(path_of(simulate), blueprint, None)
        next(stream)
        threading.Timer(0.1, ray.kill, [aggregator]).start()
        with pytest.raises(AggregatorLost, match="the aggregator's process ended"):
            list(stream)
