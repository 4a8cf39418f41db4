"""``events.parquet``: one row per transfer and per compute, streamed in row groups, and its hash.

``events_sha256`` is made of one SHA-256 per column of ``HASHED``, each over the whole column in operation order, so it
knows nothing of batches or row groups. ``docs/records.md`` defines it exactly; anyone can recompute it from the file.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emulator.rows import PAYLOAD, Event, is_device

GROUP = 8192  # rows a row group; what a killed process holds back at most
NUMBERS = ("op", "round", "bytes", "overhead_bytes", "flops", "peak_memory_bytes")
TIMES = ("queued_s", "start_s", "end_s")
TEXTS = ("node", "peer", "link", "verb", "kind", "direction", "cause")
SCHEMA = pa.schema(
    [
        *(("op", pa.int64()), ("inputs", pa.list_(pa.int64())), ("round", pa.int64())),
        *((name, pa.dictionary(pa.int32(), pa.string())) for name in TEXTS[:-1]),
        *((name, pa.int64()) for name in NUMBERS[2:]),
        *((name, pa.float64()) for name in (*TIMES, "energy_j")),
        ("cause", pa.dictionary(pa.int32(), pa.string())),
    ]
)
HASHED: tuple[str, ...] = tuple(SCHEMA.names)

Columns = dict[
    str, NDArray[Any]
]  # texts as codes; "inputs" as each row's count and numbers, "counts" as the counts alone


class Codes(dict[str | None, int]):
    """A text column's codes: numbered from 0 in order of first appearance; an absent text is -1."""

    def __init__(self) -> None:
        super().__init__({None: -1})

    def __missing__(self, text: str | None) -> int:
        self[text] = code = len(self) - 1
        return code

    def known(self, text: str) -> int:
        """A text's code, or -2 where it has not appeared: asking must not add it."""
        return self.get(text, -2)

    def texts(self) -> list[str]:
        """All texts by code."""
        return [text for text in self if text is not None]


@dataclass
class EventTotals:
    """Sums over all rows; ``events_sha256`` is None when writing was cut off in the middle of a row group.

    Bytes that moved count also when their transfer was cut off or lost. ``uplink_bytes`` and ``downlink_bytes`` are
    payload; ``bytes_by_kind`` is payload and overhead together. The peak is the largest single operation's on any
    device.
    """

    ops: int = 0
    uplink_bytes: int = 0
    downlink_bytes: int = 0
    overhead_bytes: int = 0
    bytes_by_kind: dict[str, int] = field(default_factory=dict)
    device_flops: int = 0
    server_flops: int = 0
    device_peak_memory_bytes: int = 0
    events_sha256: str | None = None


class EventWriter:
    """Writes, hashes and adds up rows as they come; memory holds one row group.

    ``close`` leaves a readable file, whatever was written until then; without it (a killed process) the file has no
    footer and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=list(TEXTS))
        self._codes = {name: Codes() for name in TEXTS}
        self._hashes = ColumnHashes()
        self._rows: list[Event] = []
        self._totals = EventTotals()
        self._inside = False  # in the middle of a row group, where an interrupt may come

    def add(self, rows: Sequence[Event]) -> None:
        """Rows in operation order, numbered from 0 without gaps. Raises ValueError for any other."""
        first = self._totals.ops + len(self._rows)
        got = np.fromiter((row.op for row in rows), np.int64, len(rows))
        wrong = np.flatnonzero(got != np.arange(first, first + len(rows)))
        if len(wrong):
            place = wrong[0]
            raise ValueError(
                f"{self.path}: got operation {got[place]}; expected {first + place}, in order without gaps"
            )
        self._rows.extend(rows)
        while len(self._rows) >= GROUP:
            self._write(GROUP)

    def close(self) -> EventTotals:
        """Write the rest and the file's footer; gives the totals. A second call changes nothing."""
        if self._writer is not None:
            try:
                if self._rows and not self._inside:
                    self._write(len(self._rows))
            finally:
                self._writer.close()
                self._writer = None
            texts = {name: codes.texts() for name, codes in self._codes.items()}
            self._totals.events_sha256 = None if self._inside else self._hashes.hexdigest(texts)
        return self._totals

    def _write(self, count: int) -> None:
        columns = columns_of(self._rows[:count], self._codes)
        self._inside = True
        self._writer.write_table(_table(columns, self._codes))
        self._hashes.add(columns)
        self._count(columns)
        del self._rows[:count]
        self._inside = False

    def _count(self, columns: Columns) -> None:
        totals, codes = self._totals, self._codes
        payload, overhead, flops = columns["bytes"], columns["overhead_bytes"], columns["flops"]
        compute = columns["verb"] == codes["verb"].known("compute")
        servers = [code for text, code in codes["node"].items() if text is not None and not is_device(text)]
        at_server = np.isin(columns["node"], servers)
        totals.ops += len(payload)
        totals.uplink_bytes += int(payload[columns["direction"] == codes["direction"].known("uplink")].sum())
        totals.downlink_bytes += int(payload[columns["direction"] == codes["direction"].known("downlink")].sum())
        totals.overhead_bytes += int(overhead.sum())
        totals.server_flops += int(flops[compute & at_server].sum())
        totals.device_flops += int(flops[compute & ~at_server].sum())
        peaks = columns["peak_memory_bytes"][~at_server]
        totals.device_peak_memory_bytes = max(totals.device_peak_memory_bytes, int(peaks.max(initial=0)))
        self._count_kinds(columns["kind"][~compute], payload[~compute], overhead[~compute])

    def _count_kinds(self, kinds: NDArray[Any], payload: NDArray[Any], overhead: NDArray[Any]) -> None:
        """What goes over beside a payload counts as framing; all of an overhead kind counts as that kind."""
        names, found = self._codes["kind"].texts(), self._totals.bytes_by_kind
        for code in np.unique(kinds).tolist():
            mine = kinds == code
            moved, beside = int(payload[mine].sum()), int(overhead[mine].sum())
            if names[code] not in PAYLOAD:
                moved, beside = moved + beside, 0
            found[names[code]] = found.get(names[code], 0) + moved
            if beside:
                found["framing"] = found.get("framing", 0) + beside


class ColumnHashes:
    """One running SHA-256 per column: little-endian int64 (nanoseconds, inputs too), int32 codes, float64 joules."""

    def __init__(self) -> None:
        self._digests = {name: sha256() for name in HASHED}

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """The next rows."""
        for name, digest in self._digests.items():
            digest.update(_canonical(name, columns[name]).tobytes())

    def hexdigest(self, texts: Mapping[str, Sequence[str]]) -> str:
        """SHA-256 over a line ``name digest`` per column; the digest of a text column covers its texts too."""
        whole = sha256()
        for name, digest in self._digests.items():
            ended = digest.copy()
            if name in texts:
                ended.update(json.dumps(texts[name], separators=(",", ":")).encode())
            whole.update(f"{name} {ended.hexdigest()}\n".encode())
        return whole.hexdigest()


def _canonical(name: str, column: NDArray[Any]) -> NDArray[Any]:
    if name in TIMES:
        return np.rint(column * 1e9).astype("<i8")  # from the seconds of the file, so that the file gives the same
    if name in TEXTS:
        return column.astype("<i4", copy=False)
    if name == "energy_j":
        return np.where(np.isnan(column), np.nan, column).astype("<f8")  # one pattern of bits for "absent"
    return column.astype("<i8", copy=False)


def columns_of(rows: Sequence[Event], codes: Mapping[str, Codes]) -> Columns:
    """Rows (at least one) as the columns of the file; new texts are added to ``codes``."""
    fields = dict(zip(Event._fields, zip(*rows, strict=True), strict=True))
    count = len(rows)
    columns: Columns = {name: np.fromiter(fields[name], np.int64, count) for name in NUMBERS}
    for name in TIMES:
        columns[name] = np.fromiter(fields[f"{name[:-2]}_ns"], np.int64, count) / 1e9
    for name in TEXTS:
        columns[name] = np.fromiter(map(codes[name].__getitem__, fields[name]), np.int32, count)
    columns["energy_j"] = np.array(fields["energy_j"], np.float64)  # None becomes NaN
    return columns | _inputs(fields["inputs"])


def _inputs(lists: Sequence[Sequence[int]]) -> Columns:
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    flat = np.fromiter(chain.from_iterable((len(item), *item) for item in lists), np.int64)
    return {"inputs": flat, "counts": counts}


def _table(columns: Columns, codes: Mapping[str, Codes]) -> pa.Table:
    arrays = []
    for name in HASHED:
        column = columns[name]
        if name in TEXTS:
            indices = pa.array(column, pa.int32(), mask=column < 0)
            arrays.append(pa.DictionaryArray.from_arrays(indices, pa.array(codes[name].texts(), pa.string())))
        elif name == "inputs":
            arrays.append(_lists(columns))
        else:
            arrays.append(pa.array(column, mask=np.isnan(column) if name == "energy_j" else None))
    return pa.table(arrays, schema=SCHEMA)


def _lists(columns: Columns) -> pa.Array:
    ends = np.cumsum(columns["counts"])
    heads = ends - columns["counts"] + np.arange(len(ends))  # where each row's count stands among its numbers
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(np.delete(columns["inputs"], heads)))


def read_events(path: Path) -> Iterator[list[Event]]:
    """The rows of an ``events.parquet``, a row group at a time. Raises ValueError for a file that cannot be read."""
    for table in _groups(path):
        columns = table.to_pydict()
        for name in TIMES:
            columns[f"{name[:-2]}_ns"] = [round(seconds * 1e9) for seconds in columns[name]]
        columns["inputs"] = [tuple(item) for item in columns["inputs"]]
        yield [Event(*row) for row in zip(*(columns[name] for name in Event._fields), strict=True)]


def read_table(path: Path) -> pa.Table:
    """All rows of an ``events.parquet``, for pandas. Raises ValueError for a file that cannot be read."""
    return pa.concat_tables([SCHEMA.empty_table(), *_groups(path)]).unify_dictionaries()


def recorded_sha256(path: Path) -> str:
    """``events_sha256`` of a file, from what it holds. Raises ValueError for a file that cannot be read."""
    codes = {name: Codes() for name in TEXTS}
    hashes = ColumnHashes()
    for table in _groups(path):
        columns = {name: table[name].to_numpy() for name in (*NUMBERS, *TIMES, "energy_j")}
        for name in TEXTS:
            columns[name] = np.array([codes[name][text] for text in table[name].to_pylist()], np.int32)
        hashes.add(columns | _inputs(table["inputs"].to_pylist()))
    return hashes.hexdigest({name: found.texts() for name, found in codes.items()})


def _groups(path: Path) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow.names != list(HASHED):
                raise ValueError(
                    f"{path}: got columns {', '.join(file.schema_arrow.names)}; expected {', '.join(HASHED)}"
                )
            for number in range(file.num_row_groups):
                yield file.read_row_group(number)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path}: not a whole Parquet file ({error}); was the run killed?") from error
