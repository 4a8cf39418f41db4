"""TensorBoard: scalars against the round, with each event's wall time set to virtual seconds.

TensorBoard's RELATIVE axis counts from a series' own first point, so every scalar series begins with a point at step 0
and virtual time 0: running sums with 0, everything else with NaN (not measured yet; drawn as a gap or a marker).
Wall time 0 is written as it is: records are made here, no writer's "0 means now" comes between. The log needs neither
TensorFlow nor torch. ``docs/records.md`` lists every tag.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from emulator.rows import Round

SUMS = ("uplink_bytes", "downlink_bytes", "overhead_bytes", "device_flops", "server_flops")  # running sums over rounds
BINS = 30


class Board:
    """One run's log folder; every round is on disk when ``round`` returns."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))
        self._sums = dict.fromkeys(SUMS, 0)
        self._begun: set[str] = set()
        self._end_s = 0.0
        self._scalars({**self._running(), "time/virtual_s": 0.0}, 0, 0.0)
        self._writer.flush()

    def round(self, row: Round) -> None:
        """The scalars and histograms of one round."""
        for name in SUMS:
            self._sums[name] += getattr(row, name)
        time_s = self._end_s = row.end_ns / 1e9
        values = {**_scalars(row), **self._running()}
        self._scalars({tag: value for tag, value in values.items() if value is not None}, row.round, time_s)
        if row.device_seconds:
            self._histogram("devices/round_s", row.device_seconds, row.round, time_s)
        if row.per_device:
            self._histogram("devices/accuracy", list(row.per_device.values()), row.round, time_s)
        self._writer.flush()

    def settings(self, resolved: Mapping[str, Any], results: Mapping[str, float | None], *, whole: bool = True) -> None:
        """Hyper-parameters (flattened settings) and final results, for the HPARAMS tab over the runs of a sweep.

        ``results`` become ``final/<name>``, absent ones are left out. ``whole``: the run came to its own end.
        """
        started = hparams_pb(dict(flat(resolved)), start_time_secs=0.0)
        self._writer.add_event(Record(wall_time=0.0, step=0, summary=started))
        final = {f"final/{name}": float(value) for name, value in results.items() if value is not None}
        self._begun |= final.keys()  # one point each: nothing to count time from
        self._scalars(final, 0, self._end_s)
        self._writer.add_event(Record(wall_time=self._end_s, step=0, summary=_session_end(self._end_s, whole)))

    def close(self) -> None:
        """Write everything out."""
        self._writer.close()

    def _running(self) -> dict[str, float]:
        return {
            f"{'traffic' if name.endswith('bytes') else 'compute'}/{name}": total for name, total in self._sums.items()
        }

    def _scalars(self, values: Mapping[str, float], step: int, time_s: float) -> None:
        if step:
            self._write(dict.fromkeys(values.keys() - self._begun, math.nan), 0, 0.0)
        self._begun |= values.keys()
        self._write(values, step, time_s)

    def _write(self, values: Mapping[str, float], step: int, time_s: float) -> None:
        parts = [Summary.Value(tag=tag, simple_value=float(values[tag])) for tag in sorted(values)]
        if parts:
            self._writer.add_event(Record(wall_time=time_s, step=step, summary=Summary(value=parts)))

    def _histogram(self, tag: str, values: Sequence[float], step: int, time_s: float) -> None:
        part = Summary(value=[Summary.Value(tag=tag, histo=histogram(values))])
        self._writer.add_event(Record(wall_time=time_s, step=step, summary=part))


def histogram(values: Sequence[float]) -> HistogramProto:
    """Values (at least one) in at most 30 equal bins. ``bucket_limit`` is a bin's right edge.

    TensorBoard takes a bin's left edge from the limit before it, so an empty bin comes first to hold the lowest edge.
    """
    data = np.asarray(values, np.float64)
    counts, edges = np.histogram(data, bins=min(BINS, len(data)))
    return HistogramProto(
        min=data.min(), max=data.max(), num=len(data), sum=data.sum(), sum_squares=np.square(data).sum(),
        bucket_limit=edges.tolist(), bucket=[0.0, *counts.tolist()],
    )  # fmt: skip


def straggler_index(seconds: Sequence[float]) -> float | None:
    """Slowest device's time over the median's; None without devices or with a median of zero."""
    middle = median(seconds) if seconds else 0.0
    return max(seconds) / middle if middle else None


def flat(tree: Any, prefix: str = "") -> list[tuple[str, bool | int | float | str]]:
    """A tree's leaves by path: ``devices[0].count``. Absent values and empty trees as JSON text."""
    if isinstance(tree, Mapping) and tree:
        return [leaf for key, item in tree.items() for leaf in flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(tree, (list, tuple)) and tree:
        return [leaf for place, item in enumerate(tree) for leaf in flat(item, f"{prefix}[{place}]")]
    return [(prefix, tree if isinstance(tree, (str, int, float)) else json.dumps(tree))]


def _scalars(row: Round) -> dict[str, float | None]:
    return {
        "accuracy/test": row.accuracy,
        "accuracy/validation": row.validation_accuracy,
        "loss/test": row.loss,
        "time/virtual_s": row.end_ns / 1e9,
        "time/round_s": (row.end_ns - row.start_ns) / 1e9,
        "devices/cohort": len(row.cohort),
        "devices/finished": len(row.finished),
        "straggler/index": straggler_index(row.device_seconds),
        **{f"energy/{kind}_j": value for kind, value in (row.joules or {}).items()},
        **{f"protocol/{name}": value for name, value in row.metrics.items()},
    }


def _session_end(virtual_s: float, whole: bool) -> Summary:
    status = api_pb2.Status.STATUS_SUCCESS if whole else api_pb2.Status.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=virtual_s)
    content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    return Summary(
        value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=content, tensor=metadata.NULL_TENSOR)]
    )
