"""events.parquet and its hash, recomputed by a third party from the file alone."""

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.events import BLOCK, EventWriter
from emulator.rows import Event
from tests.records.rows import SMALL, compute, send


def write(path: Path, batches: list[list[Event]]) -> str:
    writer = EventWriter(path)
    for batch in batches:
        writer.add(batch)
    return writer.close()


def many(count: int) -> list[Event]:
    return [send(k, k * 1e-3, k * 1e-3 + 7e-9) if k % 3 else compute(k, k * 1e-3, k * 1e-3 + 1.5) for k in range(count)]


def recomputed(path: Path) -> str:
    """As docs/records.md defines it, with pandas and hashlib."""
    frame = pd.read_parquet(path)
    digest = hashlib.sha256()
    numbers = {"op": "op", "round": "round", "bytes": "bytes", "overhead_bytes": "overhead_bytes", "flops": "flops"}
    numbers |= {
        "peak_memory_bytes": "peak_memory_bytes",
        "queued_ns": "queued_s",
        "start_ns": "start_s",
        "end_ns": "end_s",
    }
    for start in range(0, len(frame), 4096):
        part = frame.iloc[start : start + 4096]
        for name, column in numbers.items():
            values = part[column].to_numpy()
            if name.endswith("_ns"):
                values = np.round(values * 1e9)
            digest.update(f"{name}\n".encode() + values.astype("<i8").tobytes() + b"\n")
        for name in ("node", "peer", "link", "verb", "kind", "direction", "cause"):
            texts = ["-" if pd.isna(value) else str(value) for value in part[name]]
            digest.update(f"{name}\n".encode() + "\n".join(texts).encode() + b"\n")
        inputs = [",".join(str(number) for number in value) for value in part["inputs"]]
        digest.update(b"inputs\n" + "\n".join(inputs).encode() + b"\n")
    return digest.hexdigest()


def test_the_hash_can_be_recomputed_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    assert write(path, [SMALL]) == recomputed(path)
    assert write(path, [many(2 * BLOCK + 5)]) == recomputed(path)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_the_hash_does_not_depend_on_batches(sizes: list[int]) -> None:
    import tempfile

    rows = many(sum(sizes))
    bounds = np.cumsum([0, *sizes])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        whole = write(path, [rows])
        assert write(path, [rows[a:b] for a, b in itertools.pairwise(bounds)]) == whole
        assert len(pd.read_parquet(path)) == len(rows)


def test_any_change_moves_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    first = write(path, [SMALL])
    changes: list[dict[str, Any]] = [
        {"bytes": 999},
        {"end_ns": 1},
        {"node": "device-0001"},
        {"peer": None},
        {"inputs": (7,)},
        {"cause": "lost"},
    ]
    for change in changes:
        assert write(path, [[SMALL[0]._replace(**change), *SMALL[1:]]]) != first, change


def test_the_file_says_what_the_rows_said(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    write(path, [SMALL])
    frame = pd.read_parquet(path)
    assert list(frame["start_s"]) == [0.0, 0.5, 1.5, 2.5]
    assert list(frame["kind"]) == ["weights", "train", "update", "train"]
    assert frame["peer"].isna().tolist() == [False, True, False, True]
    assert [list(value) for value in frame["inputs"]] == [[], [0], [1], [2]]
    assert frame["energy_j"].isna().all()


def test_totals_by_hand(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.parquet")
    writer.add(SMALL)
    writer.close()
    totals = writer.totals
    assert (totals.ops, totals.uplink_bytes, totals.downlink_bytes, totals.overhead_bytes) == (4, 700, 1000, 16)
    assert (totals.device_flops, totals.server_flops, totals.device_peak_memory_bytes) == (5000, 100, 4096)
    assert dict(totals.bytes_by_kind) == {"weights": 1008, "update": 708}


def test_an_empty_run_has_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    assert write(path, []) == hashlib.sha256().hexdigest()
    assert len(pd.read_parquet(path)) == 0
