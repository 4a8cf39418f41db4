"""What a run tells: deadlines, stops, decisions, losses, asynchrony, and that nothing lingers."""

import gc
from typing import Any

import numpy as np
import pytest

from actors.inline import Inline
from emulator.blueprint import Observation
from emulator.deciding import DecisionMissing
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.round_settings import RoundSettings
from emulator.simulation import Simulation
from tests.world.protocols import Deadline, asynchronous, deadline, losing, reading
from tests.worlds import DIGITS, Played, fleet, holdings, plan, play, time_only

FEDAVG = FedAvgSettings(rounds=30, cohort=4, learning_rate=0.1)


def stopping(ahead: int, accuracy: float | None = 0.6, **changes: Any) -> Any:
    return plan(fedavg, FEDAVG, fleet(6), observation=Observation(1, 360, 100, False, accuracy, None, ahead), **changes)


def test_a_deadline_costs_the_clock_and_not_the_host() -> None:
    # Four devices; the last two are a hundred times slower and miss the deadline.
    groups = [*fleet(2), *fleet(2, flop_per_s=1e7)]
    played = play(plan(deadline, Deadline(rounds=2, cohort=4, within_s=0.1), groups))
    assert [row.finished for row in played.rounds] == [("device-0000", "device-0001")] * 2
    assert [row.cohort for row in played.rounds] == [tuple(f"device-{d:04d}" for d in range(4))] * 2
    assert played.end.virtual_ns == 200_000_000
    cut = [event for event in played.events if event.cause == "cut off"]
    assert {event.node for event in cut} == {"device-0002", "device-0003"}
    assert {event.end_ns for event in cut} == {100_000_000, 200_000_000}
    assert played.end.skipped == 4  # two devices' training, twice


def test_the_kept_are_trained_as_if_the_others_were_not_there() -> None:
    slow = play(plan(deadline, Deadline(rounds=2, cohort=4, within_s=0.1), [*fleet(2), *fleet(2, flop_per_s=1e7)]))
    alone = play(plan(deadline, Deadline(rounds=2, cohort=2, within_s=0.1), fleet(2)))
    assert slow.end.weights_sha256 == alone.end.weights_sha256


def test_first_k_keeps_the_quickest() -> None:
    groups = [*fleet(1, flop_per_s=1e7), *fleet(2), *fleet(1, flop_per_s=1e7)]
    played = play(plan(deadline, Deadline(rounds=1, cohort=4, first=2), groups))
    assert played.rounds[0].finished == ("device-0001", "device-0002")


def test_an_accuracy_stop_does_not_depend_on_how_far_the_clock_ran_ahead() -> None:
    runs = [play(stopping(ahead)) for ahead in (0, 1, 5)]
    assert runs[0].end.status == "stopped: accuracy"
    assert 1 < runs[0].end.rounds < 30
    assert runs[0].rounds[-1].validation_accuracy is not None
    assert runs[0].rounds[-1].validation_accuracy >= 0.6
    for run in runs[1:]:
        assert (run.events, run.rounds, run.decisions) == (runs[0].events, runs[0].rounds, runs[0].decisions)
        assert run.end.weights_sha256 == runs[0].end.weights_sha256


class Late:
    """An executor whose observations are there only when the clock has run as far ahead as it may."""

    def __init__(self, inner: Inline) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def observe(self, programs: Any) -> Any:
        done = self._inner.observe(programs)

        class Waiting:
            def ready(self) -> bool:
                return False

            def results(self) -> Any:
                return done.results()

        return Waiting()


@pytest.mark.parametrize("protocol", [fedavg, asynchronous])
def test_a_stop_cuts_off_what_the_clock_did_beyond_it(protocol: Any) -> None:
    settings = FEDAVG if protocol is fedavg else RoundSettings(rounds=60, cohort=4)
    runs = []
    for ahead in (0, 3):
        observation = Observation(1, 360, 100, False, 0.5, None, ahead)
        blueprint = plan(protocol, settings, fleet(4, latency_s=0.01), observation=observation)
        executor: Any = Inline(holdings(blueprint)) if ahead == 0 else Late(Inline(holdings(blueprint)))
        runs.append(play(blueprint, executor))
    prompt, late = runs
    assert prompt.end.status == late.end.status == "stopped: accuracy"
    assert late.events == prompt.events
    assert late.end.weights_sha256 == prompt.end.weights_sha256
    assert late.end.virtual_ns == prompt.end.virtual_ns == prompt.rounds[-1].end_ns
    assert max(event.end_ns for event in late.events) <= late.end.virtual_ns
    if protocol is asynchronous:
        assert any(event.cause == "stopped" for event in late.events)


def test_timing_follows_a_recorded_stop() -> None:
    trained = play(stopping(2))
    timed = time_only(stopping(2), trained.decisions)
    assert timed.events == trained.events
    assert timed.end.status == "stopped: accuracy"
    assert time_only(stopping(2)).end.rounds == 30  # without decisions there is nothing to stop at


def test_a_virtual_time_stop_ends_what_is_in_flight() -> None:
    observation = Observation(1, 360, 100, False, None, 0.25)
    played = play(plan(fedavg, FEDAVG, fleet(6), observation=observation))
    assert played.end.status == "stopped: virtual_time"
    assert played.end.virtual_ns == 250_000_000
    assert max(event.end_ns for event in played.events) == 250_000_000
    assert [event.op for event in played.events] == list(range(len(played.events)))
    assert {event.cause for event in played.events} == {"done", "stopped"}
    assert played.rounds[-1].accuracy is not None  # the last whole round is what counts


def test_reads_are_logged_and_replayed() -> None:
    blueprint = plan(reading, RoundSettings(rounds=4, cohort=3), fleet(3))
    trained = play(blueprint)
    assert [decision.kind for decision in trained.decisions] == ["read"] * 4
    assert [decision.round for decision in trained.decisions] == [1, 2, 3, 4]
    assert trained.rounds[0].metrics == {"checksum": trained.decisions[0].value}
    timed = time_only(blueprint, trained.decisions)
    assert timed.events == trained.events


def test_a_protocol_that_reads_is_refused_without_decisions() -> None:
    with pytest.raises(DecisionMissing, match="--decisions RUN"):
        time_only(plan(reading, RoundSettings(rounds=4, cohort=3), fleet(3)))


def test_a_device_lost_in_mid_round_never_contributes() -> None:
    played = play(plan(losing, RoundSettings(rounds=2, cohort=3), fleet(3)))
    assert [row.finished for row in played.rounds] == [("device-0000", "device-0002")] * 2
    assert played.end.devices_lost == 1
    lost = [event for event in played.events if event.cause == "lost"]
    assert lost
    assert all("device-0001" in (event.node, event.peer) for event in lost)
    assert not any(event.node == "device-0001" for event in played.events if event.start_ns > lost[0].end_ns)


def test_asynchronous_rounds_are_aggregations() -> None:
    played = play(plan(asynchronous, RoundSettings(rounds=6, cohort=3), [*fleet(1), *fleet(2, flop_per_s=5e8)]))
    assert [row.round for row in played.rounds] == [1, 2, 3, 4, 5, 6]
    assert [event.op for event in played.events] == list(range(len(played.events)))
    starts = [event.start_ns for event in played.events]
    assert starts == sorted(starts)  # numbers are given in the order of service


def test_evaluation_every_so_often_and_always_at_the_end() -> None:
    settings = FedAvgSettings(rounds=5, cohort=2, learning_rate=0.1)
    played = play(plan(fedavg, settings, fleet(3), observation=Observation(2, 360, 100, True)))
    assert [row.round for row in played.rounds if row.accuracy is not None] == [2, 4, 5]
    last = played.rounds[-1]
    assert last.per_device is not None
    assert set(last.per_device) == {"device-0000", "device-0001", "device-0002"}
    often = play(plan(fedavg, settings, fleet(3)))
    assert often.rounds[-1].accuracy == last.accuracy
    assert often.events == played.events  # looking costs no virtual time


def test_accuracy_by_label_adds_up_to_accuracy() -> None:
    last = play(plan(fedavg, FedAvgSettings(rounds=3, cohort=3, learning_rate=0.3), fleet(3))).rounds[-1]
    counts = np.bincount(DIGITS.y_test, minlength=10)
    assert last.per_label is not None
    assert len(last.per_label) == 10
    right = [share * count for share, count in zip(last.per_label, counts, strict=True) if share is not None]
    assert last.accuracy == pytest.approx(sum(right) / counts.sum(), abs=1e-12)
    assert len(set(last.per_label)) > 1


@pytest.mark.parametrize("collector", [True, False])
def test_handles_return_to_their_baseline_every_round(collector: bool) -> None:
    blueprint = plan(fedavg, FedAvgSettings(rounds=6, cohort=3, learning_rate=0.1), fleet(5))
    executor = Inline(holdings(blueprint))
    simulation = Simulation(blueprint, executor)
    living, kept, played = [], [], Played()
    if not collector:
        gc.disable()
    try:
        for messages in simulation.messages():
            played.take(messages)
            if messages and type(messages[-1]).__name__ == "Round":
                living.append(simulation.engine.tape.living)
                kept.append(len(executor._values))
    finally:
        gc.enable()
    assert len(set(living[1:-1])) == 1, living
    assert max(kept) <= 8, kept
    assert played.end.skipped == 0
