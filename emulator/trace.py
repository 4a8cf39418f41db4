"""``trace.json``: the run on virtual time, for Perfetto (ui.perfetto.dev) and Chrome's tracing page.

A process per cell (and one for the server), and per device a track each for compute, uplink and downlink; slices carry
operation, bytes, FLOPs and round; an arrow leads from an upload to the server compute that used it. Transfers of one
direction that overlap get tracks of their own, so slices of a track never overlap.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emulator.engine import SERVER
from emulator.rows import Event, Round

LIMIT = 400_000  # slices; what comes later is left out, and the file says so


class TraceWriter:
    """Streams slices as rows come. ``close`` makes the file valid JSON."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
        self._processes: dict[str, int] = {}
        self._tracks: dict[tuple[int, str], int] = {}
        self._free_at: dict[tuple[int, str], int] = {}
        self._cells: dict[str, str] = {}
        self._uploads: dict[int, tuple[int, int, int]] = {}
        self._slices = 0
        self._left_out = 0
        self._first = True
        self._process(SERVER)

    def cells(self, devices: dict[str, str]) -> None:
        """Which cell each device is in: its group in the picture."""
        self._cells = devices

    def add(self, rows: Sequence[Event]) -> None:
        """Slices for rows."""
        for row in rows:
            if self._slices >= LIMIT:
                self._left_out += 1
            else:
                self._slices += 1
                self._slice(row)

    def round(self, row: Round) -> None:
        """A mark at the end of a round."""
        name = f"round {row.round} ends"
        self._put({"ph": "i", "s": "g", "name": name, "ts": row.end_ns / 1000, "pid": self._process(SERVER), "tid": 0})

    def close(self) -> None:
        """End the file; tells how many slices were left out."""
        note = {"slices": self._slices, "left_out": self._left_out, "clock": "virtual time, microseconds"}
        self._file.write(f'\n],"otherData":{json.dumps(note)}}}\n')
        self._file.close()

    def _slice(self, row: Event) -> None:
        owner = row.peer if row.node == SERVER and row.peer is not None else row.node
        process = self._process(SERVER if owner == SERVER else self._cells.get(owner, row.link or "devices"))
        track = self._track(process, f"{owner} {row.direction or 'compute'}", row)
        details = {"op": row.op, "round": row.round, "bytes": row.bytes, "flops": row.flops, "cause": row.cause}
        self._put(
            {
                "ph": "X", "name": row.kind, "cat": row.verb, "ts": row.start_ns / 1000,
                "dur": (row.end_ns - row.start_ns) / 1000, "pid": process, "tid": track, "args": details,
            }
        )  # fmt: skip
        if row.direction == "uplink":
            self._uploads[row.inputs[0] if row.inputs else -1] = (process, track, row.end_ns)
        elif row.verb == "compute" and owner == SERVER:
            self._arrows(row, process, track)

    def _arrows(self, row: Event, process: int, track: int) -> None:
        for source in row.inputs:
            start = self._uploads.pop(source, None)
            if start is not None:
                arrow = {"cat": "upload", "name": "upload", "id": source}
                self._put({"ph": "s", **arrow, "pid": start[0], "tid": start[1], "ts": start[2] / 1000})
                end = {"pid": process, "tid": track, "ts": row.start_ns / 1000}
                self._put({"ph": "f", "bp": "e", **arrow, **end})

    def _process(self, name: str) -> int:
        if name not in self._processes:
            number = self._processes[name] = len(self._processes) + 1
            self._put({"ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": name}})
        return self._processes[name]

    def _track(self, process: int, name: str, row: Event) -> int:
        """A track of that name that is free when the row starts."""
        number = 1
        label = name
        while self._free_at.get((process, label), 0) > row.start_ns:
            number += 1
            label = f"{name} {number}"
        self._free_at[process, label] = row.end_ns
        if (process, label) not in self._tracks:
            track = self._tracks[process, label] = len(self._tracks) + 1
            self._put({"ph": "M", "name": "thread_name", "pid": process, "tid": track, "args": {"name": label}})
        return self._tracks[process, label]

    def _put(self, record: dict[str, Any]) -> None:
        self._file.write(("" if self._first else ",\n") + json.dumps(record, separators=(",", ":")))
        self._first = False
