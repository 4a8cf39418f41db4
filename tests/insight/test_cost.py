"""``check --cost``: virtual time and bytes are the run's own; host seconds add up from rounds that were played."""

from pathlib import Path

import pytest

from emulator.cli import main
from emulator.insight.cost import Sample, predict
from emulator.reading import read_scenario
from emulator.rows import Round
from tests.insight.study_worlds import ran, written


def test_virtual_time_and_bytes_are_the_run_s_own(tmp_path: Path) -> None:
    words = ["protocol.rounds=5", "evaluate.every=2"]
    cost = predict(read_scenario(written(tmp_path), words))
    summary = ran(tmp_path / "a", *words, inline=False, timing_only=True).summary
    assert cost.exact
    assert cost.rounds == summary["rounds"] == 5
    assert cost.virtual_s == summary["virtual_s"]
    for key in ("uplink_bytes", "downlink_bytes", "overhead_bytes"):
        assert getattr(cost, key) == summary[key]
    assert cost.flops == summary["device_flops"] + summary["server_flops"]
    assert cost.host_s == cost.start_s + cost.clock_s + cost.training_s + cost.evaluation_s
    assert min(cost.start_s, cost.clock_s, cost.training_s, cost.evaluation_s, cost.memory_bytes) > 0


def test_a_time_limit_ends_the_prediction_too(tmp_path: Path) -> None:
    words = ["protocol.rounds=50", "stop.virtual_time=1 s"]
    cost = predict(read_scenario(written(tmp_path), words))
    summary = ran(tmp_path / "a", *words, inline=False, timing_only=True).summary
    assert (cost.exact, cost.rounds) == (True, summary["rounds"])
    assert 0 < cost.rounds < 50


def test_where_data_decide_the_rounds_played_stand_for_all(tmp_path: Path) -> None:
    """Six rounds, three of them played: twice their bytes, told as about."""
    words = [
        "protocol={name: ecofed, rounds: 6, cohort: 2, batch_size: 16, learning_rate: 0.1}",
        "protocol.replay_period=adaptive",
        "protocol.adapt_every=1",
        "model={name: cnn, cut: 1}",
    ]
    cost = predict(read_scenario(written(tmp_path), words))
    played = ran(tmp_path / "a", *words, "protocol.rounds=3").summary
    assert (cost.exact, cost.rounds) == (False, 6)
    assert cost.uplink_bytes == 2 * played["uplink_bytes"]
    assert cost.virtual_s == pytest.approx(2 * played["virtual_s"], rel=1e-9)


def row(flops: int) -> Round:
    return Round(1, 0, 0, (), (), (), 0, 0, 0, flops, 0, None, None, None, None, {})


def test_the_first_round_counts_once() -> None:
    """3 s for the first 100 FLOPs, then 1 s and 2 s for 100 and 200: 0.01 s each. 1,000 FLOPs: 3 + 900 x 0.01 = 12 s.

    An evaluation takes 0.5 s at first, 0.2 s later: ten take 0.5 + 9 x 0.2 = 2.3 s.
    """
    sample = Sample([row(100), row(100), row(200)], [3.0, 1.0, 2.0], [0.5, 0.2, 0.2])
    assert sample.training(1000) == pytest.approx(12.0, abs=1e-12)
    assert sample.evaluation(10) == pytest.approx(2.3, abs=1e-12)
    alone = Sample([row(100)], [3.0], [0.5])
    assert alone.training(1000) == pytest.approx(30.0, abs=1e-12)


def test_the_command_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", written(tmp_path), "--cost", "stop.accuracy=0.9", "protocol.rounds=1"]) == 0
    told = capsys.readouterr().out
    for words in ("tiny: predicted cost of 1 rounds", "s of one core, inline", "host memory", "at most: the run stops"):
        assert words in told
    assert main(["check", written(tmp_path), "--cost", "--cuts"]) == 2
    assert "got --cost with" in capsys.readouterr().err
