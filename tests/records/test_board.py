"""The TensorBoard log, read back by TensorBoard's own reader."""

import math
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from emulator.board import Board, flat, histogram, straggler_index
from tests.records.samples import FIRST, SECOND


def loaded(folder: Path) -> Any:
    """TensorBoard's reader on a folder."""
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    reader.Reload()
    return reader


def points(reader: Any, tag: str) -> list[tuple[float, int, float]]:
    """Wall time, step and value of each point."""
    return [(point.wall_time, point.step, point.value) for point in reader.Scalars(tag)]


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """The log of the tiny run's two rounds."""
    board = Board(tmp_path)
    board.round(FIRST)
    board.round(SECOND)
    board.close()
    return loaded(tmp_path)


def test_all_tags(log: Any) -> None:
    assert set(log.Tags()["scalars"]) == {
        "accuracy/test", "accuracy/validation", "loss/test", "time/virtual_s", "time/round_s", "devices/cohort",
        "devices/finished", "straggler/index", "traffic/uplink_bytes", "traffic/downlink_bytes",
        "traffic/overhead_bytes", "compute/device_flops", "compute/server_flops", "protocol/drift",
        "energy/idle_j", "energy/compute_j", "energy/send_j", "energy/receive_j",
    }  # fmt: skip
    assert set(log.Tags()["histograms"]) == {"devices/round_s", "devices/accuracy"}


def test_sums_begin_with_zero_and_wall_time_is_virtual(log: Any) -> None:
    assert points(log, "traffic/uplink_bytes") == [(0.0, 0, 0.0), (3.25, 1, 200.0), (4.0, 2, 225.0)]
    assert points(log, "compute/device_flops") == [(0.0, 0, 0.0), (3.25, 1, 40.0), (4.0, 2, 40.0)]
    assert points(log, "time/virtual_s") == [(0.0, 0, 0.0), (3.25, 1, 3.25), (4.0, 2, 4.0)]


def test_every_series_begins_at_virtual_time_zero(log: Any) -> None:
    # RELATIVE counts from a series' own first point: it must stand at 0 in all of them to be virtual time.
    for tag in log.Tags()["scalars"]:
        first = points(log, tag)[0]
        assert first[:2] == (0.0, 0)
        assert first[2] == 0.0 or math.isnan(first[2])
    assert points(log, "accuracy/test")[1:] == [(3.25, 1, 0.5), (4.0, 2, pytest.approx(0.9))]
    assert points(log, "protocol/drift")[1:] == [(4.0, 2, 0.125)]


def test_histogram_of_device_times(log: Any) -> None:
    first, second = log.Histograms("devices/round_s")
    assert (first.wall_time, first.step) == (3.25, 1)
    found = first.histogram_value
    assert (found.min, found.max, found.num, found.sum, found.sum_squares) == (1.5, 3.0, 2, 4.5, 11.25)
    assert list(found.bucket_limit) == [1.5, 2.25, 3.0]
    assert list(found.bucket) == [0, 1, 1]
    assert second.histogram_value.num == 1
    assert len(log.Histograms("devices/accuracy")) == 1  # round 2 told none


def test_rounds_are_on_disk_at_once(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.round(FIRST)
    assert points(loaded(tmp_path), "accuracy/test")[-1] == (3.25, 1, 0.5)
    board.close()


@pytest.mark.parametrize(("whole", "status"), [(True, "STATUS_SUCCESS"), (False, "STATUS_FAILURE")])
def test_hyper_parameters(tmp_path: Path, whole: bool, status: str) -> None:
    board = Board(tmp_path)
    board.round(FIRST)
    board.settings({"seed": 7, "protocol": {"rate": 0.5, "on": True}}, {"accuracy": 0.5, "loss": None}, whole=whole)
    board.close()
    reader = loaded(tmp_path)
    content = reader.PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["seed"].number_value == 7
    assert start.hparams["protocol.rate"].number_value == 0.5
    assert start.hparams["protocol.on"].bool_value is True
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.DESCRIPTOR.fields_by_name["status"].enum_type.values_by_number[end.status].name == status
    assert (start.start_time_secs, end.end_time_secs) == (0.0, 3.25)
    assert points(reader, "final/accuracy") == [(3.25, 0, 0.5)]
    assert "final/loss" not in reader.Tags()["scalars"]


def test_histograms_of_few_values() -> None:
    alone = histogram([2.0])
    assert (alone.num, sum(alone.bucket), alone.min, alone.max) == (1, 1, 2.0, 2.0)
    many = histogram([float(number) for number in range(100)])
    assert (len(many.bucket), sum(many.bucket)) == (31, 100)


def test_straggler_index() -> None:
    assert straggler_index([1.0, 2.0, 6.0]) == 3.0
    assert straggler_index([]) is None
    assert straggler_index([0.0, 0.0]) is None


def test_flat() -> None:
    tree = {"a": 1, "b": {"c": "x", "d": None, "e": {}}, "f": [{"g": 2.5}, True], "h": []}
    assert dict(flat(tree)) == {
        "a": 1, "b.c": "x", "b.d": "null", "b.e": "{}", "f[0].g": 2.5, "f[1]": True, "h": "[]"
    }  # fmt: skip
