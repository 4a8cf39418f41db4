"""TensorBoard: scalars against the round, each event's wall time set to virtual time.

TensorBoard's RELATIVE axis then *is* virtual time. Wall times count from a fixed base, because TensorBoard takes a wall
time of 0 for "not set". The log is written without TensorFlow.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard.summary import hparams

from emulator.rows import Round

BASE_S = 1.0  # wall time of virtual second 0


class Board:
    """One run's log folder."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))
        self._sums = {"traffic/uplink_bytes": 0, "traffic/downlink_bytes": 0, "compute/device_flops": 0}
        self._scalars({"time/virtual_s": 0.0, **self._sums}, 0, 0.0)

    def round(self, row: Round) -> None:
        """The scalars and the histogram of one round."""
        time_s = row.end_ns / 1e9
        self._sums["traffic/uplink_bytes"] += row.uplink_bytes
        self._sums["traffic/downlink_bytes"] += row.downlink_bytes
        self._sums["compute/device_flops"] += row.device_flops
        values: dict[str, float | None] = {
            "accuracy/test": row.accuracy,
            "accuracy/validation": row.validation_accuracy,
            "loss/test": row.loss,
            "time/virtual_s": time_s,
            "time/round_s": (row.end_ns - row.start_ns) / 1e9,
            "devices/finished": len(row.finished),
            "devices/straggler_index": straggler_index(row.device_seconds),
            **self._sums,
            **{f"protocol/{name}": value for name, value in row.metrics.items()},
        }
        self._scalars({name: value for name, value in values.items() if value is not None}, row.round, time_s)
        if row.device_seconds:
            self._histogram("devices/round_s", row.device_seconds, row.round, time_s)
        if row.per_device:
            self._histogram("devices/accuracy", list(row.per_device.values()), row.round, time_s)

    def settings(self, resolved: dict[str, Any], results: dict[str, float | None]) -> None:
        """Hyper-parameters and final results, for TensorBoard's HPARAMS tab over several runs."""
        final = {f"final/{name}": float(value) for name, value in results.items() if value is not None}
        for part in hparams(_flat(resolved), final):
            self._writer.add_event(Record(wall_time=BASE_S, step=0, summary=part))
        self._scalars(final, 0, 0.0)

    def close(self) -> None:
        """Write everything out."""
        self._writer.close()

    def _scalars(self, values: dict[str, Any], step: int, time_s: float) -> None:
        parts = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()]
        self._writer.add_event(Record(wall_time=BASE_S + time_s, step=step, summary=Summary(value=parts)))

    def _histogram(self, tag: str, values: Sequence[float], step: int, time_s: float) -> None:
        data = np.asarray(values, np.float64)
        counts, edges = np.histogram(data, bins=min(30, max(1, len(data))))
        proto = HistogramProto(
            min=data.min(), max=data.max(), num=len(data), sum=data.sum(), sum_squares=np.square(data).sum(),
            bucket_limit=edges[1:].tolist(), bucket=counts.tolist(),
        )  # fmt: skip
        part = Summary(value=[Summary.Value(tag=tag, histo=proto)])
        self._writer.add_event(Record(wall_time=BASE_S + time_s, step=step, summary=part))


def straggler_index(seconds: Sequence[float]) -> float | None:
    """Slowest device's time over the median's; None without devices or with a median of zero."""
    median = float(np.median(seconds)) if len(seconds) else 0.0
    return max(seconds) / median if median else None


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """``{"protocol.rounds": 5, ...}``; lists and absent values as JSON text."""
    if isinstance(tree, dict) and tree:
        found: dict[str, Any] = {}
        for key, value in tree.items():
            found |= _flat(value, f"{prefix}.{key}" if prefix else key)
        return found
    return {prefix: tree if isinstance(tree, (str, int, float, bool)) else json.dumps(tree)}
