"""Profiles from YAML files, the shipped catalogue's and a user's own: checked figure by figure."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from emulator.devices.profile import UNCERTAINTY, Profile, ProfileError, Source, Throttling
from network.units import BANDWIDTH, COMPUTE, DURATION, ENERGY, POWER, RATE, SIZE, Quantity, parse_size

CATALOGUE = Path(str(files("emulator.devices") / "catalogue"))
KINDS = tuple(UNCERTAINTY)
MODES = ("roofline", "additive", "flops")
PARTS = ("value", "source", "date", "kind", "uncertainty")

REQUIRED: dict[str, tuple[str, Quantity]] = {
    "compute_rate": ("flop_per_s", COMPUTE),
    "memory_bandwidth": ("memory_bandwidth_bytes_per_s", BANDWIDTH),
    "memory": ("memory_bytes", SIZE),
    "overhead": ("overhead_s", DURATION),
    "uplink": ("uplink_bps", RATE),
    "downlink": ("downlink_bps", RATE),
    "latency": ("latency_s", DURATION),
}
OPTIONAL: dict[str, tuple[str, Quantity]] = {
    "convolution_rate": ("convolution_flop_per_s", COMPUTE),
    "convolution_bandwidth": ("convolution_bytes_per_s", BANDWIDTH),
    "convolution_overhead": ("convolution_overhead_s", DURATION),
    "matmul_rate": ("matmul_flop_per_s", COMPUTE),
    "matmul_bandwidth": ("matmul_bytes_per_s", BANDWIDTH),
    "pooling_bandwidth": ("pooling_bytes_per_s", BANDWIDTH),
    "normalisation_bandwidth": ("normalisation_bytes_per_s", BANDWIDTH),
    "elementwise_bandwidth": ("elementwise_bytes_per_s", BANDWIDTH),
    "reserved_memory": ("reserved_memory_bytes", SIZE),
    "idle_power": ("idle_w", POWER),
    "load_power": ("load_w", POWER),
    "send_power": ("send_w", POWER),
    "receive_power": ("receive_w", POWER),
    "battery": ("battery_j", ENERGY),
}
FIGURES = REQUIRED | OPTIONAL
MAY_BE_ZERO = (
    "overhead",
    "convolution_overhead",
    "latency",
    "reserved_memory",
    "idle_power",
    "send_power",
    "receive_power",
)
POWERS = ("idle_power", "load_power", "send_power", "receive_power")
KERNELS = {
    "dynamic_channels": "kernels that compute only the channels that a gate keeps",
    "sparse_kernels": "kernels that skip single weights that are pruned",
}
THROTTLING = ("after", "speed", "recovery", "source", "date", "kind")


def profile_names() -> list[str]:
    """Names of the shipped profiles, sorted."""
    return sorted(path.stem for path in CATALOGUE.glob("*.yaml"))


def load_profile(name: str) -> Profile:
    """A shipped profile by name, or any by the path of its YAML file. Raises ProfileError with the nearest known name."""
    return read_profile(Path(name)) if name.endswith(".yaml") else _shipped(name)  # a user's own may change meanwhile


@lru_cache
def _shipped(name: str) -> Profile:
    names = profile_names()
    if name not in names:
        words = f'got "{name}"; expected a profile: {", ".join(names)}, or the path of a .yaml file'
        raise ProfileError(words + _nearest(name, names))
    return read_profile(CATALOGUE / f"{name}.yaml")


def read_profile(path: Path) -> Profile:
    """A profile from a YAML file; its name is the file's. Raises ProfileError naming file and key."""
    data = _read(path)
    _check_keys(path.name, data, ("about", "compute", "throttling", *KERNELS, *FIGURES))
    about, compute = data.get("about"), data.get("compute", "roofline")
    if not isinstance(about, str) or not about.strip():
        raise ProfileError(f"{path.name}: about: got {about!r}; expected what the device is, in words")
    if compute not in MODES:
        raise ProfileError(f"{path.name}: compute: got {compute!r}; expected one of {', '.join(MODES)}")
    for key, words in KERNELS.items():
        if not isinstance(data.get(key, False), bool):
            raise ProfileError(f"{path.name}: {key}: got {data[key]!r}; expected true ({words}) or false")
    figures = {
        key: _figure(f"{path.name}: {key}", key, data.get(key)) for key in FIGURES if key in REQUIRED or key in data
    }
    numbers: dict[str, Any] = {FIGURES[key][0]: number for key, (number, _) in figures.items()}
    numbers |= {key: data.get(key, False) for key in KERNELS}
    sources = [(key, source) for key, (_, source) in figures.items()]
    if "throttling" in data:
        numbers["throttling"], source = _throttling(f"{path.name}: throttling", data["throttling"])
        sources.append(("throttling", source))
    return _consistent(path, Profile(path.stem, about, compute=compute, sources=tuple(sources), **numbers))


def _consistent(path: Path, profile: Profile) -> Profile:
    """The same profile, if its figures go together."""
    told = dict(profile.sources)
    missing = [key for key in POWERS if key not in told]
    if missing and len(missing) < len(POWERS):
        raise ProfileError(f"{path.name}: {missing[0]}: missing; expected all of {', '.join(POWERS)}, or none")
    if profile.idle_w is not None and profile.load_w is not None and profile.load_w < profile.idle_w:
        got = f"{told['load_power'].text} below idle_power {told['idle_power'].text}"
        raise ProfileError(f"{path.name}: load_power.value: got {got}; expected all that is drawn while computing")
    if profile.battery_j is not None and missing:
        raise ProfileError(f"{path.name}: battery: got one without powers; expected {', '.join(POWERS)} beside it")
    if profile.free_memory_bytes <= 0:
        got = f"{told['reserved_memory'].text} of {told['memory'].text}"
        raise ProfileError(f"{path.name}: reserved_memory.value: got {got}; expected less than the memory")
    return profile


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
        raise ProfileError(f"{path.name}: got {data!r}; expected figures: {', '.join(REQUIRED)}")
    return data


def _check_keys(place: str, data: Mapping[str, Any], known: Iterable[str]) -> None:
    accepted = list(known)
    for key in data:
        if key not in accepted:
            raise ProfileError(f'{place}: unknown key "{key}"; expected {", ".join(accepted)}{_nearest(key, accepted)}')


def _figure(place: str, key: str, entry: object) -> tuple[float, Source]:
    if not isinstance(entry, dict):
        raise ProfileError(f"{place}: got {entry!r}; expected {', '.join(PARTS[:-1])}")
    _check_keys(place, entry, PARTS)
    source = _source(place, entry, exact=FIGURES[key][1] is SIZE)
    try:
        number = parse_size(entry["value"]) if FIGURES[key][1] is SIZE else FIGURES[key][1].parse(entry["value"])
    except ValueError as error:
        raise ProfileError(f"{place}.value: {error}") from None
    if number == 0 and key not in MAY_BE_ZERO:
        raise ProfileError(f"{place}.value: got {entry['value']!r}; expected a figure above zero")
    return number, source


def _throttling(place: str, entry: object) -> tuple[Throttling, Source]:
    if not isinstance(entry, dict):
        raise ProfileError(f"{place}: got {entry!r}; expected {', '.join(THROTTLING)}")
    _check_keys(place, entry, THROTTLING)
    speed = entry.get("speed")
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed <= 1:
        raise ProfileError(f"{place}.speed: got {speed!r}; expected a share of the full rate, above 0 and at most 1")
    words = f"after {entry.get('after')}: speed {speed}, recovery {entry.get('recovery')}"
    source = _source(place, {**{key: entry.get(key) for key in ("source", "date", "kind")}, "value": words})
    try:
        after, recovery = (DURATION.parse(entry.get(key)) for key in ("after", "recovery"))
    except ValueError as error:
        raise ProfileError(f"{place}.after, .recovery: {error}") from None
    return Throttling(after, float(speed), recovery), source


def _source(place: str, entry: Mapping[str, Any], *, exact: bool = False) -> Source:
    """The figure's source. ``exact``: without an uncertainty of its own it has none (a memory is as large as it is)."""
    broken = next(_broken(entry), None)
    if broken is not None:
        part, got, accepted = broken
        raise ProfileError(f"{place}.{part}: got {got!r}; expected {accepted}")
    kind, sigma = entry["kind"], entry.get("uncertainty")
    uncertainty = float(sigma) if sigma is not None else 0.0 if exact else UNCERTAINTY[kind]
    return Source(str(entry["value"]), entry["source"], str(entry["date"]), kind, uncertainty)


def _broken(entry: Mapping[str, Any]) -> Iterator[tuple[str, object, str]]:
    value, source, day, kind, sigma = (entry.get(part) for part in PARTS)
    if value is None:
        yield "value", value, "a figure with its unit"
    if not isinstance(source, str) or not source.strip():
        yield "source", source, "where the figure comes from, in words"
    if type(day) is not date:
        yield "date", day, "the day it was read, e.g. 2026-11-01"
    if kind not in KINDS:
        yield "kind", kind, f"one of {', '.join(KINDS)}"
    if sigma is not None and (
        isinstance(sigma, bool) or not isinstance(sigma, int | float) or not (isfinite(sigma) and 0 <= sigma <= 2)
    ):
        yield "uncertainty", sigma, "the standard deviation of the figure's logarithm, 0 to 2 (0.1: about 10 %)"


def _nearest(got: object, known: Iterable[str]) -> str:
    near = get_close_matches(str(got), list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""
