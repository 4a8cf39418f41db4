"""The run folder: rounds, summary, TensorBoard read back with its own reader, and a valid trace."""

import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from emulator.provenance import provenance
from emulator.records import COLUMNS, Header, RunFolder, new_folder, read_decisions
from emulator.rows import Decision
from emulator.trace import TraceWriter
from tests.records.rows import LATER, OUTCOME, ROUND, SMALL, compute, send

KEYS = """
name protocol seed executor devices rounds virtual_s wall_s accuracy best_accuracy loss weights_sha256 events_sha256
scenario_sha256 uplink_bytes downlink_bytes bytes_by_kind device_flops server_flops device_peak_memory_bytes
device_energy_j time_to_accuracy_s validation_accuracy devices_lost ops ops_skipped ray_calls schema_version version
commit python torch ray cpu
"""


def header(**changes: Any) -> Header:
    fields: dict[str, Any] = {
        "name": "small", "protocol": "fedavg", "seed": 3, "executor": "inline", "devices": 2, "scenario_yaml": "name: small\n",
        "scenario_sha256": "f" * 64, "target_accuracy": 0.7, "stop_ignored": False, "cells": {"device-0000": "wifi"},
        "resolved": {"name": "small", "protocol": {"rounds": 2}, "devices": [1]}, "provenance": provenance(),
    }  # fmt: skip
    return Header(**(fields | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole run folder of two rounds."""
    records = RunFolder(tmp_path, header())
    records.take([*SMALL, ROUND, Decision(0, "read", 3, 1, 5, [1, 2])])
    records.take([LATER, OUTCOME])
    records.close(1.5)
    return tmp_path


def test_summary_has_exactly_the_promised_keys_first(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    promised = KEYS.split()
    assert list(summary)[: len(promised)] == promised
    assert summary["accuracy"] == 0.75
    assert summary["best_accuracy"] == 0.75
    assert summary["time_to_accuracy_s"] == 4.0  # 0.25 at 2.75 s, 0.75 at 4 s; the target is 0.7
    assert (summary["rounds"], summary["virtual_s"], summary["ops"]) == (2, 4.0, 4)
    assert summary["device_energy_j"] is None
    assert summary["python"].startswith("3.")
    assert summary["status"] == "done"


def test_rounds(folder: Path) -> None:
    with (folder / "rounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "staleness"]
    assert (rows[0]["start_s"], rows[0]["end_s"], rows[0]["cohort"]) == ("0.0", "2.75", "2")
    assert rows[0]["slowest_device"] == "device-0000"
    assert float(rows[0]["straggler_index"]) == pytest.approx(2.5 / 1.75)
    assert rows[1]["accuracy"] == "0.75"


def test_decisions_come_back(folder: Path) -> None:
    assert read_decisions(folder) == [Decision(0, "read", 3, 1, 5, [1, 2])]


def test_tensorboard_reads_the_log(folder: Path) -> None:
    log = EventAccumulator(str(folder / "tensorboard"))
    log.Reload()
    tags = log.Tags()
    assert {"accuracy/test", "loss/test", "time/round_s", "traffic/uplink_bytes", "protocol/staleness"} <= set(
        tags["scalars"]
    )
    accuracy = log.Scalars("accuracy/test")
    assert [(point.step, point.value) for point in accuracy] == [(1, 0.25), (2, 0.75)]
    assert accuracy[1].wall_time - accuracy[0].wall_time == pytest.approx(1.25)  # virtual seconds between the rounds
    traffic = log.Scalars("traffic/uplink_bytes")
    assert [(point.step, point.value) for point in traffic] == [(0, 0), (1, 700), (2, 1400)]
    assert accuracy[0].wall_time - traffic[0].wall_time == pytest.approx(2.75)  # the first point is virtual time 0
    assert log.Histograms("devices/round_s")[0].histogram_value.num == 2
    assert "_hparams_/experiment" in log.summary_metadata or tags["scalars"]


def test_the_trace_is_valid_and_tracks_never_overlap(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    trace = TraceWriter(path)
    trace.cells({"device-0000": "wifi"})
    trace.add([*SMALL, send(4, 1.6, 2.6), send(5, 1.7, 1.9), compute(6, 1.2, 1.4)])
    trace.round(ROUND)
    trace.close()
    records = json.loads(path.read_text())
    slices = [record for record in records["traceEvents"] if record["ph"] == "X"]
    assert len(slices) == 7
    assert records["otherData"]["left_out"] == 0
    by_track: dict[Any, list[tuple[float, float]]] = {}
    for record in slices:
        by_track.setdefault((record["pid"], record["tid"]), []).append((record["ts"], record["ts"] + record["dur"]))
    for spans in by_track.values():
        assert all(first[1] <= second[0] for first, second in pairwise(sorted(spans)))
    named = {record["args"]["name"] for record in records["traceEvents"] if record["name"] == "thread_name"}
    assert {"device-0000 compute", "device-0000 uplink", "device-0000 uplink 2", "server compute"} <= named
    assert {record["args"]["name"] for record in records["traceEvents"] if record["name"] == "process_name"} == {
        "server",
        "wifi",
    }
    assert slices[0]["ts"] == 0
    assert slices[0]["dur"] == 500_000  # microseconds


def test_an_interrupted_run_leaves_whole_files(tmp_path: Path) -> None:
    records = RunFolder(tmp_path, header())
    records.take([*SMALL[:2], ROUND])
    summary = records.close(0.5, "interrupted")
    assert summary["status"] == "interrupted"
    assert summary["rounds"] == 1
    assert summary["weights_sha256"] is None
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert not list(tmp_path.glob("*.part"))


def test_a_run_that_never_began_has_a_summary_too(tmp_path: Path) -> None:
    summary = RunFolder(tmp_path, header()).close(0.1, "failed")
    assert (summary["rounds"], summary["accuracy"], summary["virtual_s"], summary["status"]) == (0, None, 0.0, "failed")


def test_two_runs_of_one_second_have_two_folders(tmp_path: Path) -> None:
    folders = {new_folder(tmp_path, "small", "f" * 64) for _ in range(3)}
    assert len(folders) == 3
    assert all(path.parent == tmp_path / "small" for path in folders)


def test_metrics_must_stay_the_same(tmp_path: Path) -> None:
    records = RunFolder(tmp_path, header())
    records.take([ROUND])
    with pytest.raises(ValueError, match="round 2 reports"):
        records.take([LATER._replace(metrics={})])
    records.close(0.1)


def test_provenance_names_processor_and_versions() -> None:
    found = provenance()
    assert found["torch"] is not None
    assert found["torch"].startswith("2.13.0")
    assert found["cpu"]
    assert found["instruction_set"]
