"""``trace.json``: the run on virtual time, for Perfetto (ui.perfetto.dev) and Chrome's tracing page.

A process per cell and one for the server; per device a track each for compute, uplink and downlink. Slices of one track
never overlap: what does gets a further track. An arrow leads from an upload to the server compute that used it.
Format: "Trace Event Format", the JSON object form (Google, 2016); times in microseconds of virtual time.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator.rows import SERVER, Event, Round

LIMIT = 400_000  # slices; about 100 MB, what a browser still opens
UPLOADS = 20_000  # uploads remembered for an arrow; older ones get none
KINDS_OF_TRACK = ("compute", "uplink", "downlink")
_FIRST = b'{"displayTimeUnit":"ms","traceEvents":[\n'


class TraceWriter:
    """Streams slices as rows come. The file is valid JSON after every call of ``round`` and after ``close``.

    Beyond ``limit`` slices no more are written; rounds still are. The file says so where it happens, and in
    ``otherData``: ``slices``, ``left_out`` and ``left_out_from_s`` (virtual seconds, null when nothing was).
    """

    def __init__(self, path: Path, cells: Mapping[str, str] | None = None, limit: int = LIMIT) -> None:
        self._file = path.open("wb")
        self._file.write(_FIRST)
        self._cells = dict(cells or {})
        self._limit = limit
        self._order = {device: number for number, device in enumerate((SERVER, *self._cells))}
        self._processes: dict[str, int] = {}
        self._tracks: dict[str, list[tuple[int, int]]] = {}  # by device and kind: (track, free from ns)
        self._next_track = 1  # 0 is the track of rounds
        self._uploads: dict[int, tuple[int, int, int, int]] = {}
        self._slices = 0
        self._left_out = 0
        self._left_out_from_s: float | None = None
        self._separator = b""
        self._name(self._process(SERVER), 0, "rounds", 0)
        self._whole()

    def add(self, rows: Sequence[Event]) -> None:
        """Slices for rows, in operation order."""
        fitting = rows[: max(0, self._limit - self._slices)]
        for row in fitting:
            self._slice(row)
        self._slices += len(fitting)
        if len(fitting) < len(rows):
            self._leave_out(rows[len(fitting) :])

    def round(self, row: Round) -> None:
        """A mark at the end of a round; what is written until now is readable."""
        self._mark(f"round {row.round} ends", row.end_ns)
        self._whole()

    def close(self) -> None:
        """End the file. A second call changes nothing."""
        if not self._file.closed:
            self._whole()
            self._file.close()

    def _whole(self) -> None:
        """Write the end of the JSON object, and stand before it again: what follows overwrites it."""
        facts = {
            "clock": "virtual time, microseconds",
            "slices": self._slices,
            "left_out": self._left_out,
            "left_out_from_s": self._left_out_from_s,
        }
        end = f'\n],"otherData":{json.dumps(facts)}}}\n'.encode()
        here = self._file.tell()
        self._file.write(end)
        self._file.truncate()
        self._file.flush()
        self._file.seek(here)

    def _leave_out(self, rows: Sequence[Event]) -> None:
        if not self._left_out:
            self._left_out_from_s = rows[0].start_ns / 1e9
            self._mark(f"from here on no slices: the file holds {self._limit} at most", rows[0].start_ns)
        self._left_out += len(rows)

    def _slice(self, row: Event) -> None:
        owner = row.peer if row.node == SERVER and row.peer is not None else row.node
        process = self._process(SERVER if owner == SERVER else self._cells.setdefault(owner, row.link or "devices"))
        track = self._track(process, owner, row)
        details = {
            "op": row.op, "round": row.round, "bytes": row.bytes, "overhead_bytes": row.overhead_bytes,
            "flops": row.flops, "queued_us": (row.start_ns - row.queued_ns) / 1000, "cause": row.cause,
        }  # fmt: skip
        place = {"ts": row.start_ns / 1000, "dur": (row.end_ns - row.start_ns) / 1000, "pid": process, "tid": track}
        self._put({"ph": "X", "name": row.kind, "cat": row.verb, **place, "args": details})
        if row.direction == "uplink" and row.cause == "done":
            self._remember(row, process, track)
        elif row.verb == "compute" and owner == SERVER:
            self._arrows(row, process, track)

    def _remember(self, row: Event, process: int, track: int) -> None:
        for source in row.inputs:  # a value keeps the number of the compute that made it
            self._uploads[source] = (row.op, process, track, row.start_ns)
        while len(self._uploads) > UPLOADS:
            del self._uploads[next(iter(self._uploads))]

    def _arrows(self, row: Event, process: int, track: int) -> None:
        for source in row.inputs:
            upload = self._uploads.pop(source, None)
            if upload is not None:
                number, from_process, from_track, start_ns = upload
                arrow = {"cat": "upload", "name": "upload", "id": number}
                # An arrow starts in the slice that encloses its time: the upload's own start is in it for certain.
                self._put({"ph": "s", **arrow, "pid": from_process, "tid": from_track, "ts": start_ns / 1000})
                self._put({"ph": "f", "bp": "e", **arrow, "pid": process, "tid": track, "ts": row.start_ns / 1000})

    def _mark(self, name: str, time_ns: int) -> None:
        self._put({"ph": "i", "s": "g", "name": name, "ts": time_ns / 1000, "pid": self._process(SERVER), "tid": 0})

    def _process(self, name: str) -> int:
        if name not in self._processes:
            number = self._processes[name] = len(self._processes) + 1
            for key, value in (("name", name), ("sort_index", number)):
                self._put({"ph": "M", "name": f"process_{key}", "pid": number, "tid": 0, "args": {key: value}})
        return self._processes[name]

    def _track(self, process: int, owner: str, row: Event) -> int:
        """A track of the row's device and kind that is free when the row starts."""
        kind = row.direction or row.verb
        name = f"{owner} {kind}"
        tracks = self._tracks.setdefault(name, [])
        for place, (track, free_ns) in enumerate(tracks):
            if free_ns <= row.start_ns:
                tracks[place] = (track, row.end_ns)
                return track
        track = self._next_track
        self._next_track += 1
        tracks.append((track, row.end_ns))
        self._name(process, track, name if len(tracks) == 1 else f"{name} {len(tracks)}", self._rank(owner, kind))
        return track

    def _name(self, process: int, track: int, name: str, rank: int) -> None:
        for key, value in (("name", name), ("sort_index", rank)):
            self._put({"ph": "M", "name": f"thread_{key}", "pid": process, "tid": track, "args": {key: value}})

    def _rank(self, owner: str, kind: str) -> int:
        place = self._order.setdefault(owner, len(self._order))
        return place * 4 + (KINDS_OF_TRACK.index(kind) if kind in KINDS_OF_TRACK else 3)

    def _put(self, record: dict[str, Any]) -> None:
        self._file.write(self._separator + json.dumps(record, separators=(",", ":")).encode())
        self._separator = b",\n"
