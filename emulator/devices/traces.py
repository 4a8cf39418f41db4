"""Measured devices: when they were there and what they can do; and FedScale's two files turned into our tables.

``python -m emulator.devices.traces fedscale-availability IN.pkl OUT.csv`` (or ``fedscale-capacity``) converts once, so
that nobody needs the pickle again. Exit code 0: done; 2: the input is wrong, told in one line.

FedScale (github.com/SymbioticLab/FedScale, Apache-2.0; read 2026-11) ships ``client_behave_trace`` (from the traces of
Yang et al., arXiv 2006.06983) and ``client_device_capacity`` (from AI Benchmark and MobiPerf), both in
``benchmark/dataset/data/device_info``. Their sizes, 25,640,150 bytes for 107,749 clients and 39,369,071 bytes for 500,000,
are those that a published download script checks for (CETAS, ``tracesim/setup_data.sh``). The files themselves were not at
hand here: the second one's size is, to the byte, that of clients 1 to 500,000 with two NumPy float64 each in protocol 3.
"""

import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from emulator.devices.intervals import (
    Intervals,
    Span,
    number,
    read_intervals,
    rows,
    text_of,
    write_intervals,
    write_rows,
)
from emulator.devices.plain_pickle import load_plain

__all__ = [
    "Capacity",
    "Intervals",
    "read_capacity",
    "read_fedscale_availability",
    "read_fedscale_capacity",
    "read_intervals",
    "write_capacity",
    "write_intervals",
]

CAPACITY_HEADER = ("device", "train_s_per_sample", "rate_bps")

MS_PER_S = 1000
# Their "computation" is the milliseconds of one sample's INFERENCE, whatever the model (MobileNetV2's, says issue 136).
# Training takes three times that: get_completion_time(..., augmentation_factor=3.0) in fedscale/cloud/internal/
# client_metadata.py, "backward-pass takes around 2x the latency".
TRAINING_PER_INFERENCE = 3
# Their "communication" is in kbit/s, for both ways, and their kbit has 1024 bits: model_update_size = bytes / 1024 * 8
# "kbits" in fedscale/cloud/aggregation/aggregator.py. So the factor that gives back FedScale's own seconds is 1024;
# issue 9 of theirs asks why it is not 1000, which is what the measured figures would mean elsewhere.
BITS_PER_KBIT = 1024


@dataclass(frozen=True)
class Capacity:
    """What a device can do: seconds of training per sample, and bit/s, up as down. Raises ValueError unless above zero."""

    train_s_per_sample: float
    rate_bps: float

    def __post_init__(self) -> None:
        for name, value in (("train_s_per_sample", self.train_s_per_sample), ("rate_bps", self.rate_bps)):
            if not (isfinite(value) and value > 0):
                raise ValueError(f"{name}: got {value!r}; expected a finite number above zero")


def read_capacity(path: Path) -> dict[str, Capacity]:
    """Devices by name from a table under ``device,train_s_per_sample,rate_bps``. Raises ValueError with file and line."""
    found: dict[str, Capacity] = {}
    for where, (name, *figures) in rows(path, (CAPACITY_HEADER,)):
        if name in found:
            raise ValueError(f"{where}: got {name!r} again; expected one line a device")
        train_s, rate_bps = (number(text, key, where) for text, key in zip(figures, CAPACITY_HEADER[1:], strict=True))
        found[name] = _capacity(train_s, rate_bps, where)
    return found


def write_capacity(path: Path, devices: Mapping[str, Capacity]) -> None:
    """The table that ``read_capacity`` reads back to the very same figures."""
    lines = ((name, text_of(each.train_s_per_sample), text_of(each.rate_bps)) for name, each in devices.items())
    write_rows(path, CAPACITY_HEADER, lines)


def read_fedscale_capacity(path: Path) -> dict[str, Capacity]:
    """FedScale's ``client_device_capacity``, {client: {"computation": ms, "communication": kbit/s}}, as NumPy numbers.

    The two constants above say what the figures mean. Nothing in the pickle is run (``plain_pickle``). Raises ValueError
    with file, client, what was got and what is accepted.
    """
    found = {}
    for name, entry, where in _clients(path):
        inference_ms, rate_kbps = (_figure(entry, key, where) for key in ("computation", "communication"))
        train_s = inference_ms / MS_PER_S * TRAINING_PER_INFERENCE
        found[name] = _capacity(train_s, rate_kbps * BITS_PER_KBIT, where)
    return found


def read_fedscale_availability(path: Path) -> dict[str, Intervals]:
    """FedScale's ``client_behave_trace``: {client: {"active": [s], "inactive": [s], "finish_time": s, ...}}.

    A client is there (charging) from ``active[i]`` to ``inactive[i]``, and all repeats after ``finish_time``: is_active
    in fedscale/cloud/internal/client_metadata.py takes the time modulo that. ``duration`` is no period but the sum of
    the spans (211,625 s of 518,400 s for client 3834). Spans may be empty (client 107740: 88494 to 88494); those, and
    what lies after ``finish_time``, where is_active never looks, are left out. Spans that overlap are joined. Two things
    differ from is_active: there the last second counts too, and its index moves on by one span a call, so that it gives
    wrong answers when asked rarely. Raises ValueError as ``read_fedscale_capacity`` does.
    """
    found = {}
    for name, entry, where in _clients(path):
        period_s = _figure(entry, "finish_time", where)
        if period_s <= 0:
            raise ValueError(f"{where}: finish_time: got {period_s:g}; expected seconds above zero")
        active, inactive = (_figures(entry, key, where) for key in ("active", "inactive"))
        if len(active) != len(inactive):
            raise ValueError(
                f"{where}: got {len(active)} active and {len(inactive)} inactive; expected as many of each"
            )
        found[name] = Intervals(period_s, _joined(list(zip(active, inactive, strict=True)), period_s, where))
    return found


def _joined(spans: list[Span], period_s: float, where: str) -> tuple[Span, ...]:
    """The union of the spans within a period."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if not 0 <= start <= end:
            raise ValueError(
                f"{where}: got active {start:g}, inactive {end:g}; expected zero or more, the second later"
            )
        end = min(end, period_s)
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            start, end = found[-1][0], max(found.pop()[1], end)
        found.append((start, end))
    return tuple(found)


def _clients(path: Path) -> Iterator[tuple[str, dict[object, object], str]]:
    """(name, entry, place) of a pickle of entries by client. Raises ValueError for any other structure."""
    clients = load_plain(path)
    if not isinstance(clients, dict) or not clients:
        raise ValueError(f"{path}: got {reprlib.repr(clients)}; expected a dict of clients")
    names = {""}
    for key, entry in clients.items():
        name = str(key) if type(key) in (int, str) else ""
        if not name.isprintable() or name.strip() != name or name in names:
            raise ValueError(f"{path}: got the client {reprlib.repr(key)}; expected numbers or names, each once")
        names.add(name)
        if not isinstance(entry, dict):
            raise ValueError(f"{path}: client {name}: got {reprlib.repr(entry)}; expected a dict")
        yield name, entry, f"{path}: client {name}"


def _figures(entry: dict[object, object], key: str, where: str) -> list[float]:
    values = entry.get(key)
    if not isinstance(values, list):
        raise ValueError(f"{where}: {key}: got {reprlib.repr(values)}; expected a list of seconds")
    return [_finite(value, key, where) for value in values]


def _figure(entry: dict[object, object], key: str, where: str) -> float:
    return _finite(entry.get(key), key, where)


def _finite(value: object, key: str, where: str) -> float:
    # type(): True is an int, and no number of seconds. A whole number may be too large for a float.
    if type(value) in (int, float) and abs(value) < 1e300:  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise ValueError(f"{where}: {key}: got {reprlib.repr(value)}; expected a number")


def _capacity(train_s_per_sample: float, rate_bps: float, where: str) -> Capacity:
    try:
        return Capacity(train_s_per_sample, rate_bps)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _convert_availability(source: Path, target: Path) -> int:
    devices = read_fedscale_availability(source)
    write_intervals(target, devices)
    return len(devices)


def _convert_capacity(source: Path, target: Path) -> int:
    devices = read_fedscale_capacity(source)
    write_capacity(target, devices)
    return len(devices)


COMMANDS: dict[str, Callable[[Path, Path], int]] = {
    "fedscale-availability": _convert_availability,
    "fedscale-capacity": _convert_capacity,
}


def main(words: list[str]) -> int:
    """Convert a file; the exit code."""
    if len(words) != 3 or words[0] not in COMMANDS:
        expected = " or ".join(f"{name} IN.pkl OUT.csv" for name in COMMANDS)
        print(f"got {' '.join(words)[:80]!r}; expected {expected}", file=sys.stderr)
        return 2
    try:
        count = COMMANDS[words[0]](Path(words[1]), Path(words[2]))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{words[2]}: {count} devices")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
