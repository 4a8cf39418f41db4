"""What ``emulator list`` prints: one table for each kind of thing that a scenario can name."""

import json
from collections.abc import Callable, Sequence

from rich.box import HEAVY_HEAD
from rich.table import Table
from rich.text import Text

from emulator.devices.profile import ProfileError
from emulator.devices.profile_file import load_profile, profile_names
from emulator.fleets import fleet_names, load_fleet
from emulator.learning.datasets import DATASETS, available
from emulator.learning.models import MODELS, ModelSpec, refusal, summary
from emulator.presets import load_preset, preset_names
from emulator.pretrained import PRETRAINED, pretrained_here
from emulator.progress import console
from emulator.protocols.catalogue import PROTOCOLS
from emulator.reading import ScenarioError
from emulator.scenario import shipped_files
from emulator.yaml_text import load
from network.units import BANDWIDTH, COMPUTE, RATE, SIZE

Row = Sequence[object]


def table(title: str, header: Sequence[str], rows: Sequence[Row]) -> None:
    """A table on stdout: ruled in a terminal, plain columns in a file or a pipe; ``None`` shows as a dash."""
    where = console()
    found = Table(box=HEAVY_HEAD if where.is_terminal else None, pad_edge=where.is_terminal)
    for name in header:
        found.add_column(name, overflow="fold")
    for row in rows:
        found.add_row(*(Text("-" if item is None else str(item)) for item in row))  # no markup in what files say
    where.print(title, style="italic", markup=False, highlight=False)
    where.print(found, highlight=False)


def images(shape: Sequence[int]) -> str:
    """``3x32x32``."""
    return "x".join(map(str, shape))


def protocols() -> None:
    """The protocols and their own settings."""
    rows = [(name, entry.about, ", ".join(entry.settings.model_fields)) for name, entry in PROTOCOLS.items()]
    table("protocols", ("name", "what it is", "settings"), rows)


def profiles() -> None:
    """The device profiles."""
    rows = [
        (
            profile.name, profile.about, COMPUTE.format(profile.flop_per_s),
            BANDWIDTH.format(profile.memory_bandwidth_bytes_per_s), SIZE.format(profile.memory_bytes),
            RATE.format(profile.uplink_bps), RATE.format(profile.downlink_bps),
        )
        for profile in map(load_profile, profile_names())
    ]  # fmt: skip
    header = ("name", "what it is", "compute", "memory bandwidth", "memory", "uplink", "downlink")
    table("profiles (effective rates; emulator list profiles NAME shows the sources)", header, rows)


def one_profile(name: str) -> None:
    """One profile, each figure with its source, date and kind. Raises ScenarioError for a name nobody knows."""
    try:
        profile = load_profile(name)
    except ProfileError as error:
        raise ScenarioError(f"list profiles: {error}") from None
    rows = [
        (
            key,
            source.text,
            f"{source.uncertainty:.0%}" if source.uncertainty else None,
            source.kind,
            source.date,
            source.source,
        )
        for key, source in profile.sources
    ]
    header = ("figure", "value", "uncertainty", "kind", "date", "source")
    table(f"{name}: {profile.about} (compute: {profile.compute})", header, rows)


def cells() -> None:
    """The cells to choose from."""
    rows = []
    for name in preset_names():
        preset = load_preset(name)
        settings = preset.settings
        rates = [settings.get(way) or settings.get("capacity", {}).get(way) for way in ("uplink", "downlink")]
        rows.append(
            (name, preset.about, settings["sharing"], settings.get("duplex", "full"), *rates, settings.get("latency"))
        )
    header = ("name", "what it is", "sharing", "duplex", "uplink", "downlink", "latency")
    table("cells (network.cells.NAME.preset; emulator list cells NAME shows the sources)", header, rows)


def one_cell(name: str) -> None:
    """One preset, each setting with its source. Raises ScenarioError for a name nobody knows."""
    try:
        preset = load_preset(name)
    except ValueError as error:
        raise ScenarioError(f"list cells: {error}") from None
    rows = []
    for key, value in preset.settings.items():
        told = preset.sources.get(key, {})
        rows.append((key, json.dumps(value), told.get("kind"), told.get("date"), told.get("source")))
    table(f"{name}: {preset.about}", ("setting", "value", "kind", "date", "source"), rows)


def fleets() -> None:
    """The fleets to choose from."""
    rows = []
    for name in fleet_names():
        fleet = load_fleet(name)
        profiles = dict.fromkeys(str(group["profile"]) for group in fleet.devices)
        rows.append((name, fleet.version, fleet.about, len(fleet.network["cells"]), ", ".join(profiles)))
    table("fleets (fleet: NAME in place of devices)", ("name", "version", "what it is", "cells", "profiles"), rows)


def datasets() -> None:
    """The data sets."""
    rows = [
        (
            name, info.about, images(info.shape), f"{info.train} + {info.test}", info.licence,
            "yes" if available(name) else f"emulator fetch {name}",
        )
        for name, info in DATASETS.items()
    ]  # fmt: skip
    table("datasets", ("name", "what it is", "image", "train + test", "licence", "here"), rows)


def models() -> None:
    """The models: parameters for each shape of images in the data sets (a dash: not taken), and blocks."""
    shapes = list(dict.fromkeys((info.shape, info.classes) for info in DATASETS.values()))
    rows = []
    for name, info in MODELS.items():
        taken = [
            summary(spec) if refusal(spec) is None else None for spec in (ModelSpec(name, c, s) for s, c in shapes)
        ]
        counts = [None if blocks is None else f"{sum(block.parameters for block in blocks):,}" for blocks in taken]
        rows.append((name, info.about, *counts, max(len(blocks) for blocks in taken if blocks is not None)))
    header = ("name", "what it is", *(f"parameters {images(shape)}" for shape, _ in shapes), "blocks (cuts 0 to)")
    table("models", header, rows)


def weights() -> None:
    """The pre-trained weights."""
    rows = [
        (name, info.spec.name, info.about, info.licence, "yes" if pretrained_here(name) else f"emulator fetch {name}")
        for name, info in PRETRAINED.items()
    ]
    table("weights", ("name", "model", "what it is", "licence", "here"), rows)


def scenarios() -> None:
    """The shipped scenarios."""
    rows = []
    for path in shipped_files():
        text = path.read_text(encoding="utf-8")
        rows.append((path.stem, load(text)["name"], text.splitlines()[0].lstrip("# ")))
    table("scenarios", ("emulator run ...", "name", "what it shows"), rows)


TABLES: dict[str, Callable[[], None]] = {
    "protocols": protocols,
    "profiles": profiles,
    "cells": cells,
    "fleets": fleets,
    "datasets": datasets,
    "models": models,
    "weights": weights,
    "scenarios": scenarios,
}
