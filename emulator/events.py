"""``events.parquet``: one row per transfer and per compute, streamed in row groups, and their hash.

``events_sha256`` is defined over the rows in operation order, 4096 rows a block (the last one shorter). A block adds, for
each column of ``HASHED`` in order: its name and a newline; then for numbers the values as little-endian int64 (an absent
one as -1), and for text the values joined by newlines (an absent one as ``-``), and for ``inputs`` each row's numbers
joined by commas, rows joined by newlines; then a newline. Times are integer nanoseconds: ``round(seconds * 1e9)``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emulator.engine import SERVER
from emulator.rows import Event

BLOCK = 4096
NUMBERS = ("op", "round", "bytes", "overhead_bytes", "flops", "peak_memory_bytes", "queued_ns", "start_ns", "end_ns")
TEXTS = ("node", "peer", "link", "verb", "kind", "direction", "cause")
HASHED = (*NUMBERS, *TEXTS, "inputs")

_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("op", pa.int64()), ("inputs", pa.list_(pa.int64())), ("round", pa.int64()), ("node", _TEXT), ("peer", _TEXT),
        ("link", _TEXT), ("verb", _TEXT), ("kind", _TEXT), ("direction", _TEXT), ("bytes", pa.int64()),
        ("overhead_bytes", pa.int64()), ("flops", pa.int64()), ("peak_memory_bytes", pa.int64()),
        ("queued_s", pa.float64()), ("start_s", pa.float64()), ("end_s", pa.float64()), ("energy_j", pa.float64()),
        ("cause", _TEXT),
    ]
)  # fmt: skip


@dataclass
class EventTotals:
    """Sums over all rows. Bytes that moved count also when their transfer was cut off."""

    ops: int = 0
    uplink_bytes: int = 0
    downlink_bytes: int = 0
    overhead_bytes: int = 0
    bytes_by_kind: Counter[str] = field(default_factory=Counter)
    device_flops: int = 0
    server_flops: int = 0
    device_peak_memory_bytes: int = 0

    def add(self, rows: Sequence[Event]) -> None:
        """Count rows."""
        self.ops += len(rows)
        for row in rows:
            if row.verb == "send":
                self.bytes_by_kind[row.kind] += row.bytes + row.overhead_bytes
                self.overhead_bytes += row.overhead_bytes
                if row.direction == "uplink":
                    self.uplink_bytes += row.bytes
                else:
                    self.downlink_bytes += row.bytes
            elif row.node == SERVER:
                self.server_flops += row.flops
            else:
                self.device_flops += row.flops
                self.device_peak_memory_bytes = max(self.device_peak_memory_bytes, row.peak_memory_bytes)


class EventWriter:
    """Writes and hashes rows as they come. ``close`` leaves a readable file, whatever was written until then."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._digest = sha256()
        self._rows: list[Event] = []
        self.totals = EventTotals()

    def add(self, rows: Sequence[Event]) -> None:
        """Rows in operation order."""
        self._rows.extend(rows)
        while len(self._rows) >= BLOCK:
            self._block(self._rows[:BLOCK])
            del self._rows[:BLOCK]

    def close(self) -> str:
        """Write the rest and the file's footer; gives ``events_sha256``."""
        if self._rows:
            self._block(self._rows)
            self._rows = []
        self._writer.close()
        return self._digest.hexdigest()

    def _block(self, rows: list[Event]) -> None:
        columns: dict[str, Any] = dict(zip(Event._fields, zip(*rows, strict=True), strict=True))
        self.totals.add(rows)
        self._hash(columns)
        for name in ("queued", "start", "end"):
            columns[f"{name}_s"] = np.asarray(columns[f"{name}_ns"], np.int64) / 1e9
        arrays = [pa.array(columns[name], type=SCHEMA.field(name).type) for name in SCHEMA.names]
        self._writer.write_table(pa.table(arrays, schema=SCHEMA))

    def _hash(self, columns: Mapping[str, Sequence[Any]]) -> None:
        for name in HASHED:
            self._digest.update(f"{name}\n".encode())
            values = columns[name]
            if name in NUMBERS:
                self._digest.update(np.asarray(values, "<i8").tobytes())
            elif name == "inputs":
                self._digest.update("\n".join(",".join(map(str, item)) for item in values).encode())
            else:
                self._digest.update("\n".join("-" if item is None else str(item) for item in values).encode())
            self._digest.update(b"\n")
