"""events.parquet: what pandas reads, sums by hand, and a second implementation of the hash, from the file alone."""

import json
import signal
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.events import GROUP, EventTotals, EventWriter, read_events, recorded_sha256
from emulator.rows import Event
from tests.records.samples import EVENTS, compute, transfer

COLUMNS = [
    "op", "inputs", "round", "node", "peer", "link", "verb", "kind", "direction", "bytes", "overhead_bytes", "flops",
    "peak_memory_bytes", "queued_s", "start_s", "end_s", "energy_j", "cause",
]  # fmt: skip


def written(path: Path, rows: list[Event], batches: list[int] | None = None) -> EventTotals:
    """Write rows in batches of the given sizes, the rest at once."""
    writer = EventWriter(path)
    start = 0
    for size in batches or []:
        writer.add(rows[start : start + size])
        start += size
    writer.add(rows[start:])
    return writer.close()


def by_the_book(path: Path) -> str:
    """``events_sha256`` as docs/records.md defines it, from the file by pandas alone."""
    table = pd.read_parquet(path)
    lines = []
    for name in COLUMNS:
        column = table[name]
        if name in ("queued_s", "start_s", "end_s"):
            data = b"".join(round(second * 1e9).to_bytes(8, "little", signed=True) for second in column)
        elif name == "energy_j":
            data = column.to_numpy("<f8").tobytes()
        elif name == "inputs":
            data = b"".join(np.array([len(item), *item], "<i8").tobytes() for item in column)
        elif name in ("node", "peer", "link", "verb", "kind", "direction", "cause"):
            codes, texts = pd.factorize(column.astype(object))
            data = codes.astype("<i4").tobytes() + json.dumps(list(texts), separators=(",", ":")).encode()
        else:
            data = column.to_numpy("<i8").tobytes()
        lines.append(f"{name} {sha256(data).hexdigest()}\n")
    return sha256("".join(lines).encode()).hexdigest()


def long_run(count: int) -> list[Event]:
    """Rows of 50 devices that go round and round."""
    cells = [f"device-{number:02d}" for number in range(50)]
    return [
        compute(op, cells[op % 50], "train", (op / 7, op / 7 + 0.25), flops=op, inputs=tuple(range(op % 4)))
        if op % 3
        else transfer(op, cells[op % 50], "update", (op / 7, op / 7 + 1), bytes=op)
        for op in range(count)
    ]


def test_totals_by_hand(tmp_path: Path) -> None:
    totals = written(tmp_path / "e", EVENTS)
    assert totals.ops == 9
    assert totals.uplink_bytes == 100 + 100 + 25  # the cut-off upload's 25 moved
    assert totals.downlink_bytes == 200
    assert totals.overhead_bytes == 8
    assert totals.bytes_by_kind == {"weights": 200, "update": 225, "control": 8}
    assert (totals.device_flops, totals.server_flops) == (40, 4)
    assert totals.device_peak_memory_bytes == 96  # not the server's 999


def test_pandas_reads_what_was_written(tmp_path: Path) -> None:
    written(tmp_path / "e", EVENTS)
    table = pd.read_parquet(tmp_path / "e")
    assert list(table.columns) == COLUMNS
    assert table["kind"].tolist()[4:] == ["update", "update", "average", "control", "update"]
    assert table["end_s"].tolist() == [0.5, 0.5, 1.0, 2.5, 1.5, 3.0, 3.25, 3.5, 4.0]
    assert table["queued_s"][8] == 3.0
    assert table["peer"].isna().sum() == 3  # the three computes
    assert [list(item) for item in table["inputs"]][4:7] == [[2], [3], [2, 3]]
    assert table.groupby("direction", observed=True)["bytes"].sum().to_dict() == {"downlink": 200, "uplink": 225}


def test_hash_by_the_book(tmp_path: Path) -> None:
    totals = written(tmp_path / "e", EVENTS)
    assert totals.events_sha256 == by_the_book(tmp_path / "e") == recorded_sha256(tmp_path / "e")


def test_hash_and_rows_over_row_groups(tmp_path: Path) -> None:
    rows = long_run(2 * GROUP + 100)
    totals = written(tmp_path / "e", rows, [1, GROUP, 3])
    assert totals.events_sha256 == by_the_book(tmp_path / "e") == recorded_sha256(tmp_path / "e")
    groups = list(read_events(tmp_path / "e"))
    assert [len(group) for group in groups] == [GROUP, GROUP, 100]
    assert [row for group in groups for row in group] == rows
    assert totals.uplink_bytes == sum(range(0, len(rows), 3))
    assert totals.device_flops == sum(op for op in range(len(rows)) if op % 3)


def test_no_rows(tmp_path: Path) -> None:
    totals = written(tmp_path / "e", [])
    assert totals.ops == 0
    assert totals.events_sha256 == by_the_book(tmp_path / "e") == recorded_sha256(tmp_path / "e")


texts = st.one_of(st.none(), st.text(max_size=3))
numbers = st.integers(0, 2**40)
times = st.integers(0, 2**50)  # 13 days
events = st.builds(
    Event, st.just(0), st.lists(numbers, max_size=3).map(tuple), numbers, st.text(max_size=3), texts, texts,
    st.sampled_from(["compute", "send"]), st.text(max_size=3), texts, numbers, numbers, numbers, numbers, times, times,
    times, st.one_of(st.none(), st.floats(0, 1e6)), st.text(max_size=3),
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.lists(events, max_size=12), st.lists(st.integers(0, 4), max_size=5))
def test_hash_knows_no_batches(rows: list[Event], batches: list[int]) -> None:
    rows = [row._replace(op=op) for op, row in enumerate(rows)]
    with TemporaryDirectory() as folder:
        path = Path(folder)
        one = written(path / "one", rows)
        many = written(path / "many", rows, batches)
        assert one == many
        assert one.events_sha256 == by_the_book(path / "many") == recorded_sha256(path / "one")
        assert [row for group in read_events(path / "many") for row in group] == rows


@pytest.mark.parametrize(
    "changed",
    [{"inputs": ()}, {"kind": "updatf"}, {"peer": None}, {"bytes": 101}, {"end_ns": 1_500_000_001}, {"energy_j": 0.0}],
)
def test_every_column_tells(tmp_path: Path, changed: dict[str, Any]) -> None:
    other = [*EVENTS[:4], EVENTS[4]._replace(**changed), *EVENTS[5:]]
    assert written(tmp_path / "a", EVENTS).events_sha256 != written(tmp_path / "b", other).events_sha256


def test_inputs_cannot_be_told_in_two_ways(tmp_path: Path) -> None:
    # [[1], []] and [[], [1]] hold the same numbers in the same order; the counts before them differ.
    first = [compute(0, "a", "x", (0, 1), inputs=(1,)), compute(1, "a", "x", (0, 1))]
    second = [compute(0, "a", "x", (0, 1)), compute(1, "a", "x", (0, 1), inputs=(1,))]
    assert written(tmp_path / "a", first).events_sha256 != written(tmp_path / "b", second).events_sha256


def test_times_of_long_runs(tmp_path: Path) -> None:
    # Past 2^51 ns (26 days) float64 seconds no longer hold every nanosecond; the file still gives its own hash.
    rows = [compute(op, "a", "x", (0, 1), end_ns=2**52 + 12345 + op) for op in range(100)]
    assert written(tmp_path / "e", rows).events_sha256 == by_the_book(tmp_path / "e")


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "e")
    writer.add(EVENTS[:1])
    with pytest.raises(ValueError, match="got operation 3; expected 2,"):
        writer.add([EVENTS[1], *EVENTS[3:]])
    assert writer.close().ops == 1  # what came before stands
    assert len(pd.read_parquet(tmp_path / "e")) == 1


def test_interrupted_writer_leaves_a_readable_file(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "e")
    rows = long_run(GROUP + 5)
    with pytest.raises(KeyboardInterrupt):
        try:
            writer.add(rows)
            signal.raise_signal(signal.SIGINT)
        finally:
            totals = writer.close()
    assert totals == writer.close()
    assert len(pd.read_parquet(tmp_path / "e")) == GROUP + 5
    assert totals.events_sha256 == by_the_book(tmp_path / "e")


def test_a_file_without_its_end_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "e", EVENTS)
    whole = (tmp_path / "e").read_bytes()
    (tmp_path / "e").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        recorded_sha256(tmp_path / "e")
    pd.DataFrame({"op": [1]}).to_parquet(tmp_path / "e")
    with pytest.raises(ValueError, match="got columns op; expected op, inputs"):
        list(read_events(tmp_path / "e"))
