"""Profiles: what a class of devices can do, each figure with its source, date and kind."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from network.units import BANDWIDTH, COMPUTE, DURATION, RATE, SIZE, Quantity, parse_size

CATALOGUE = Path(str(files("emulator.devices") / "catalogue"))
KINDS = ("datasheet", "measured", "derived", "assumed")
MODES = ("roofline", "additive", "flops")
PARTS = ("value", "source", "date", "kind")

FIGURES: dict[str, tuple[str, Quantity]] = {
    "compute_rate": ("flop_per_s", COMPUTE),
    "memory_bandwidth": ("memory_bandwidth_bytes_per_s", BANDWIDTH),
    "memory": ("memory_bytes", SIZE),
    "overhead": ("overhead_s", DURATION),
    "uplink": ("uplink_bps", RATE),
    "downlink": ("downlink_bps", RATE),
    "latency": ("latency_s", DURATION),
}
MAY_BE_ZERO = ("overhead", "latency")


class ProfileError(ValueError):
    """A profile is broken or unknown: the message names file, key, what was got and what is accepted."""


@dataclass(frozen=True)
class Source:
    """Where a figure comes from.

    ``text``: the figure as written; ``source``: where it was read or how it was worked out; ``date``: when
    (YYYY-MM-DD). ``kind``: datasheet, measured, derived (arithmetic on figures that the source names) or assumed.
    """

    text: str
    source: str
    date: str
    kind: str


@dataclass(frozen=True)
class Profile:
    """A device class.

    ``flop_per_s`` is the rate that float32 training reaches, not a peak. ``memory_bandwidth_bytes_per_s`` of the
    shipped profiles is the memory bus's peak, so memory-bound operators come out as fast as they can be at all.
    ``overhead_s`` is added once per operator (kernel). ``compute`` says how an operator's seconds follow: ``roofline``
    (the larger of arithmetic and memory time), ``additive`` (their sum) or ``flops`` (arithmetic alone). Radio figures
    (bit/s, one-way s) hold where neither a cell nor the scenario says otherwise. ``sources``: one for each figure.
    """

    name: str
    about: str
    flop_per_s: float
    memory_bandwidth_bytes_per_s: float
    memory_bytes: int
    overhead_s: float
    uplink_bps: float
    downlink_bps: float
    latency_s: float
    compute: Literal["roofline", "additive", "flops"]
    sources: tuple[tuple[str, Source], ...]


def profile_names() -> list[str]:
    """Names of the shipped profiles, sorted."""
    return sorted(path.stem for path in CATALOGUE.glob("*.yaml"))


def load_profile(name: str) -> Profile:
    """A shipped profile by name. Raises ProfileError with the nearest known name."""
    names = profile_names()
    if name not in names:
        raise ProfileError(f'got "{name}"; expected a profile: {", ".join(names)}{_nearest(name, names)}')
    return read_profile(CATALOGUE / f"{name}.yaml")


def read_profile(path: Path) -> Profile:
    """A profile from a YAML file; its name is the file's. Raises ProfileError naming file and key."""
    data = _read(path)
    _check_keys(path.name, data, ("about", "compute", *FIGURES))
    about, compute = data.get("about"), data.get("compute", "roofline")
    if not isinstance(about, str) or not about.strip():
        raise ProfileError(f"{path.name}: about: got {about!r}; expected what the device is, in words")
    if compute not in MODES:
        raise ProfileError(f"{path.name}: compute: got {compute!r}; expected one of {', '.join(MODES)}")
    figures = {key: _figure(f"{path.name}: {key}", key, data.get(key)) for key in FIGURES}
    numbers: dict[str, Any] = {FIGURES[key][0]: number for key, (number, _) in figures.items()}
    sources = tuple((key, source) for key, (_, source) in figures.items())
    return Profile(path.stem, about, compute=compute, sources=sources, **numbers)


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key written twice; by itself it would keep the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f'key "{key.value}" is given twice', key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        # _Loader is a SafeLoader: it builds plain values only.
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProfileError(f"{path.name}: cannot be read as YAML: {error}") from None
    if not isinstance(data, dict):
        raise ProfileError(f"{path.name}: got {data!r}; expected figures: {', '.join(FIGURES)}")
    return data


def _check_keys(place: str, data: Mapping[str, Any], known: Iterable[str]) -> None:
    accepted = list(known)
    for key in data:
        if key not in accepted:
            raise ProfileError(f'{place}: unknown key "{key}"; expected {", ".join(accepted)}{_nearest(key, accepted)}')


def _figure(place: str, key: str, entry: object) -> tuple[float, Source]:
    if not isinstance(entry, dict):
        raise ProfileError(f"{place}: got {entry!r}; expected {', '.join(PARTS)}")
    _check_keys(place, entry, PARTS)
    source = _source(place, entry)
    try:
        number = parse_size(entry["value"]) if key == "memory" else FIGURES[key][1].parse(entry["value"])
    except ValueError as error:
        raise ProfileError(f"{place}.value: {error}") from None
    if number == 0 and key not in MAY_BE_ZERO:
        raise ProfileError(f"{place}.value: got {entry['value']!r}; expected a figure above zero")
    return number, source


def _source(place: str, entry: Mapping[str, Any]) -> Source:
    broken = next(_broken(entry), None)
    if broken is not None:
        part, got, accepted = broken
        raise ProfileError(f"{place}.{part}: got {got!r}; expected {accepted}")
    return Source(str(entry["value"]), entry["source"], str(entry["date"]), entry["kind"])


def _broken(entry: Mapping[str, Any]) -> Iterator[tuple[str, object, str]]:
    value, source, day, kind = (entry.get(part) for part in PARTS)
    if value is None:
        yield "value", value, "a figure with its unit"
    if not isinstance(source, str) or not source.strip():
        yield "source", source, "where the figure comes from, in words"
    if type(day) is not date:
        yield "date", day, "the day it was read, e.g. 2026-11-01"
    if kind not in KINDS:
        yield "kind", kind, f"one of {', '.join(KINDS)}"


def _nearest(got: object, known: Iterable[str]) -> str:
    near = get_close_matches(str(got), list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""
