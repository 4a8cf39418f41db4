"""Whole runs through the command line: run folder, executors, decisions, interrupts."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emulator.cli import main
from tests.ray_worlds import on_cluster

SMALL = ["quickstart", "protocol.rounds=3", "model.name=mlp", "protocol.cohort=4"]
FILES = {
    "scenario.yaml",
    "rounds.csv",
    "events.parquet",
    "decisions.jsonl",
    "summary.json",
    "tensorboard",
    "trace.json",
    "devices.csv",
}


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["run", *words, "--json"]) == 0
    told = capsys.readouterr()
    found: dict[str, Any] = json.loads(told.out)  # --json: the summary and nothing else
    return found


def only_folder(out: Path) -> Path:
    (folder,) = (path for path in out.glob("*/*") if path.is_dir())
    return folder


def test_inline_and_timing_only_give_the_same_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inline = run([*SMALL, "--inline", "--out", str(tmp_path / "a")], capsys)
    timed = run([*SMALL, "--timing-only", "--out", str(tmp_path / "b")], capsys)
    assert inline["events_sha256"] == timed["events_sha256"]
    assert (timed["weights_sha256"], timed["accuracy"]) == (None, None)
    assert inline["weights_sha256"] is not None
    folder = only_folder(tmp_path / "a")
    assert {path.name for path in folder.iterdir()} == FILES
    assert json.loads((folder / "summary.json").read_text()) == inline
    events = pd.read_parquet(folder / "events.parquet")
    assert len(events) == inline["ops"]
    sums = events.groupby("direction", observed=True)["bytes"].sum()
    assert (sums["uplink"], sums["downlink"]) == (inline["uplink_bytes"], inline["downlink_bytes"])
    assert inline["uplink_bytes"] == 3 * 4 * 9_610 * 4


def test_a_resolved_scenario_runs_to_the_same_hashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run([*SMALL, "--inline", "--out", str(tmp_path / "a")], capsys)
    again = str(only_folder(tmp_path / "a") / "scenario.yaml")
    second = run([again, "--inline", "--out", str(tmp_path / "b")], capsys)
    for key in ("scenario_sha256", "events_sha256", "weights_sha256", "accuracy"):
        assert first[key] == second[key]


@on_cluster
def test_ray_gives_the_same_hashes_and_prints_no_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inline = run([*SMALL, "--inline", "--out", str(tmp_path / "a")], capsys)
    on_ray = run([*SMALL, "--out", str(tmp_path / "b")], capsys)
    for key in ("events_sha256", "weights_sha256", "accuracy", "ops", "ops_skipped"):
        assert inline[key] == on_ray[key]
    assert (on_ray["executor"], on_ray["ray_calls"] > 0) == ("ray", True)


def test_timing_replays_a_stop_from_a_run_s_decisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, "protocol.rounds=20", "stop.accuracy=0.3"]
    trained = run([*words, "--inline", "--out", str(tmp_path / "a")], capsys)
    assert trained["status"] == "stopped: accuracy"
    decisions = str(only_folder(tmp_path / "a"))
    timed = run([*words, "--timing-only", "--decisions", decisions, "--out", str(tmp_path / "b")], capsys)
    assert timed["events_sha256"] == trained["events_sha256"]
    assert timed["stop_accuracy_ignored"] is False
    without = run([*words, "--timing-only", "--out", str(tmp_path / "c")], capsys)
    assert (without["rounds"], without["stop_accuracy_ignored"]) == (20, True)


def test_an_interrupt_ends_promptly_and_leaves_the_folder_whole(tmp_path: Path) -> None:
    words = ["run", "quickstart", "protocol.rounds=5000", "--inline", "--out", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "emulator", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("round 3/"):
            break
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    process.stderr.close()
    assert time.monotonic() - begun < 30
    assert "interrupted" in rest
    assert "Traceback" not in rest
    folder = only_folder(tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert summary["rounds"] >= 3
    assert len(pd.read_parquet(folder / "events.parquet")) == summary["ops"] > 0
    json.loads((folder / "trace.json").read_text())


def test_a_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, "--inline", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    for part in ("quickstart: fedavg, done", "virtual time", "run folder"):
        assert part in told.out
    assert "round 3/3" in told.err


def test_phones_that_come_and_go_give_the_same_events_without_tensors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["phones_overnight", "protocol.rounds=12", "protocol.local_epochs=1", "data.samples=600"]
    inline = run([*words, "--inline", "--out", str(tmp_path / "a")], capsys)
    timed = run([*words, "--timing-only", "--out", str(tmp_path / "b")], capsys)
    for key in ("events_sha256", "virtual_s", "devices_lost", "device_energy_j", "energy_by_kind"):
        assert inline[key] == timed[key]


def test_phones_overnight_shows_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(["phones_overnight", "--timing-only", "--out", str(tmp_path)], capsys)
    assert (found["status"], found["rounds"], found["devices_lost"]) == ("done", 60, 10)  # the ten that are in use
    folder = only_folder(tmp_path)
    cohorts = pd.read_csv(folder / "rounds.csv")["cohort"]
    assert (cohorts.iloc[0] < 10, cohorts.iloc[-1]) == (True, 10)
    events = pd.read_parquet(folder / "events.parquet")
    assert set(events["cause"]) == {"done", "lost"}
    assert events.loc[events["cause"] == "lost", "node"].nunique() > 1
    after = events.groupby("node", observed=True)["end_s"].max()  # in use: their batteries are empty before the end
    assert all(after.get(f"device-{number:04}", 0.0) < found["virtual_s"] - 600 for number in range(30, 40))


def test_an_address_where_no_cluster_answers_is_refused(tmp_path: Path) -> None:
    """At once (Ray would ask again for minutes), in a process of its own: one that has joined Ray before stays with it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody listens there any more below
    for address, why in ((f"127.0.0.1:{port}", ", where nothing answers"), ("here", ";")):
        words = ["run", *SMALL, "--address", address, "--out", str(tmp_path)]
        done = subprocess.run([sys.executable, "-m", "emulator", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert f"emulator: error: --address: got {address}{why}" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(tmp_path.glob("*/*"))
