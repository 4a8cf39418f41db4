"""``sweep``: every combination and seed, resumable, and a failing run stops no other."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.cli import main
from emulator.insight.runs import Asked, answers
from emulator.insight.sweep import read_sweep, words
from emulator.reading import ScenarioError
from tests.insight.study_worlds import written


def sweep_file(folder: Path, **keys: Any) -> Path:
    written(folder)
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"scenario": "tiny.yaml", "out": str(folder / "out"), **keys}, sort_keys=False))
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "out" / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summaries(folder: Path) -> set[Path]:
    return set((folder / "out").rglob("summary.json"))


def test_every_entry_with_every_combination_and_seed(tmp_path: Path) -> None:
    file = sweep_file(
        tmp_path,
        seeds=[1, 2],
        grid={"protocol.cohort": [2, 4], "devices[1].uplink": ["1 Mbit/s"]},
        list=[{"protocol.rounds": 1}, {"protocol.rounds": 2}],
    )
    plan = read_sweep(file)
    assert len(plan.points) == 2 * 2 * 2
    assert plan.keys == ("protocol.rounds", "protocol.cohort", "devices[1].uplink", "seed")
    assert words(plan.points[0]) == "protocol.rounds=1 protocol.cohort=2 devices[1].uplink=1 Mbit/s seed=1"
    assert len(plan.asked()) == 8


def test_a_file_without_anything_to_vary_is_one_run(tmp_path: Path) -> None:
    plan = read_sweep(sweep_file(tmp_path))
    assert (plan.points, plan.scenario) == (({},), str(tmp_path / "tiny.yaml"))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"girds": {}}, 'got "girds"'),
        ({"grid": {"protocol.cohort": 5}}, "grid: got .*; expected a mapping of keys to lists"),
        ({"seeds": [1, 2, 1]}, r"seeds: got \[1, 2, 1\]; expected each seed once"),
        ({"seeds": [1, "two"]}, "seeds: got .*expected a list of whole numbers"),
        ({"list": {"a": 1}}, "list: got .*expected a list of mappings"),
        ({"scenario": 3}, "scenario: got 3"),
        ({"out": 3}, "out: got 3"),
        ({"timing_only": 1}, "timing_only: got 1"),
        ({"grid": {"seed": [1]}, "list": [{"seed": 2}]}, "list: got seed; expected keys that the grid does not have"),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        read_sweep(sweep_file(tmp_path, **keys))


def test_a_wrong_setting_is_told_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = sweep_file(tmp_path, grid={"protocol.cohort": [2, 9]})
    assert main(["sweep", str(file)]) == 2
    assert "protocol.cohort: got 9; expected at most the fleet's 4 devices" in (told := capsys.readouterr().err)
    assert "(in the sweep's run protocol.cohort=9)" in told
    assert not (tmp_path / "out").exists()
    assert main(["sweep", str(tmp_path / "none.yaml")]) == 2
    assert main(["sweep", str(file), "--jobs", "0"]) == 2


def test_a_failing_run_is_told_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fashion-MNIST's folder holds no files of it: that shows when the run loads its data."""
    nowhere = {"dataset": "fashion-mnist", "root": str(tmp_path), "samples": 200}
    file = sweep_file(tmp_path, list=[{"data": nowhere}, {"protocol.rounds": 1}])
    assert main(["sweep", str(file), "--jobs", "1"]) == 1
    bad, good = rows(tmp_path)
    assert (bad["status"], good["status"], good["rounds"]) == ("failed", "done", "1")
    assert "expected a file train-images-idx3-ubyte" in bad["error"]
    assert "failed: ScenarioError" in capsys.readouterr().err


@pytest.mark.timeout(600)
def test_a_killed_sweep_finishes_the_rest_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight runs of a round, one after another; killed when two or more are there, no process of it stays."""
    file = sweep_file(
        tmp_path,
        seeds=[1, 2],
        grid={"protocol.rounds": [1], "protocol.cohort": [2, 4], "protocol.batch_size": [8, 16]},
    )
    words = [sys.executable, "-m", "emulator", "sweep", str(file), "--jobs", "1"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    while len(summaries(tmp_path)) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _gone(process.pid)
    before = summaries(tmp_path)
    assert 2 <= len(before) < 8
    times = {path: path.stat().st_mtime_ns for path in before}
    assert main(["sweep", str(file), "--jobs", "1"]) == 0
    told = capsys.readouterr().err
    assert told.count("was there") == len(before)
    assert len(summaries(tmp_path)) == 8
    assert {path: path.stat().st_mtime_ns for path in before} == times
    found = rows(tmp_path)
    assert [row["status"] for row in found] == ["done"] * 8
    assert len({row["folder"] for row in found}) == 8
    assert {row["seed"] for row in found} == {"1", "2"}


def _gone(group: int) -> None:
    """Wait until no process of the sweep's session is left."""
    for _ in range(1000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError("a process of the killed sweep is still there")


class Deadly(Asked):
    """A run whose process ends while it takes the order: ``os._exit`` in place of what is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


@pytest.mark.timeout(600)
def test_a_process_that_dies_is_told_and_takes_nobody_along(tmp_path: Path) -> None:
    scenario = written(tmp_path)
    good = Asked(scenario, ("protocol.rounds=1",), tmp_path / "out", timing_only=True)
    found = dict(answers([Deadly(scenario, (), tmp_path / "out"), good], jobs=2))
    assert found[0].error == "the process died (out of memory, or killed)"
    assert found[1].folder is not None


def test_an_address_where_no_cluster_answers_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything runs, not for each run."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody listens there any more below
    assert main(["sweep", str(sweep_file(tmp_path, seeds=[1, 2])), "--address", f"127.0.0.1:{port}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"emulator: error: --address: got 127.0.0.1:{port}, where nothing answers")
    assert not (tmp_path / "out").exists()
