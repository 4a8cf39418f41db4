"""Profiles: what a class of devices can do, each figure with its source, date and kind."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from network.units import BANDWIDTH, COMPUTE, DURATION, RATE, SIZE, Quantity

CATALOGUE = Path(str(files("emulator.devices") / "catalogue"))
KINDS = ("datasheet", "measured", "derived", "assumed")
MODES = ("roofline", "additive", "flops")

FIGURES: dict[str, tuple[str, Quantity]] = {
    "compute_rate": ("flop_per_s", COMPUTE),
    "memory_bandwidth": ("memory_bandwidth_bytes_per_s", BANDWIDTH),
    "memory": ("memory_bytes", SIZE),
    "overhead": ("overhead_s", DURATION),
    "uplink": ("uplink_bps", RATE),
    "downlink": ("downlink_bps", RATE),
    "latency": ("latency_s", DURATION),
}


class ProfileError(ValueError):
    """A profile is broken or unknown: the message names file, key, what was got and what is accepted."""


@dataclass(frozen=True)
class Source:
    """Where a figure comes from. ``kind``: datasheet, measured, derived (from figures named) or assumed."""

    text: str
    source: str
    date: str
    kind: str


@dataclass(frozen=True)
class Profile:
    """A device class. Rates are effective for float32 training, not peaks; ``overhead_s`` is per operator (kernel).

    ``compute`` says how an operator's seconds follow: ``roofline`` (the larger of arithmetic and memory time),
    ``additive`` (their sum) or ``flops`` (arithmetic alone). Radio figures hold where neither a cell nor the scenario
    says otherwise.
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
        near = get_close_matches(name, names, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ProfileError(f'got "{name}"; expected a profile: {", ".join(names)}{hint}')
    return read_profile(CATALOGUE / f"{name}.yaml")


def read_profile(path: Path) -> Profile:
    """A profile from a YAML file. Raises ProfileError naming file and key."""
    data = yaml.safe_load(path.read_text())
    if not isinstance(data, dict):
        raise ProfileError(f"{path.name}: got {type(data).__name__}; expected a mapping of figures")
    known = {"about", "compute", *FIGURES}
    for key in data:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            raise ProfileError(f"{path.name}: {key}: unknown key" + (f'; did you mean "{near[0]}"?' if near else ""))
    if data.get("compute", "roofline") not in MODES:
        raise ProfileError(f"{path.name}: compute: got {data['compute']!r}; expected one of {', '.join(MODES)}")
    values = dict(_figures(path.name, data))
    sources = tuple((key, source) for key, (_, source) in values.items())
    numbers: dict[str, Any] = {FIGURES[key][0]: number for key, (number, _) in values.items()}
    numbers["memory_bytes"] = int(numbers["memory_bytes"])
    return Profile(
        path.stem, str(data.get("about", "")), compute=data.get("compute", "roofline"), sources=sources, **numbers
    )


def _figures(file: str, data: dict[str, Any]) -> Iterator[tuple[str, tuple[float, Source]]]:
    for key, (_, quantity) in FIGURES.items():
        place = f"{file}: {key}"
        entry = data.get(key)
        if not isinstance(entry, dict):
            raise ProfileError(f"{place}: got {entry!r}; expected value, source, date and kind")
        missing = {"value", "source", "date", "kind"} ^ entry.keys()
        if missing:
            raise ProfileError(
                f"{place}: missing or unknown {', '.join(sorted(missing))}; expected value, source, date, kind"
            )
        if entry["kind"] not in KINDS:
            raise ProfileError(f"{place}.kind: got {entry['kind']!r}; expected one of {', '.join(KINDS)}")
        if not isinstance(entry["date"], date) or not str(entry["source"]).strip():
            raise ProfileError(f"{place}: expected a source in words and a date like 2026-11-01")
        try:
            number = quantity.parse(entry["value"])
        except ValueError as error:
            raise ProfileError(f"{place}.value: {error}") from None
        if number <= 0 and key not in ("overhead", "latency"):
            raise ProfileError(f"{place}.value: got {entry['value']!r}; expected a positive figure")
        yield key, (number, Source(entry["value"], entry["source"], str(entry["date"]), entry["kind"]))
