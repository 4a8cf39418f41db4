"""What ``emulator list`` and ``emulator check`` print: tables on stdout."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from rich.table import Table

from emulator.devices.population import Device
from emulator.devices.profile import FIGURES, ProfileError, load_profile, profile_names
from emulator.learning.datasets import DATASETS, available
from emulator.learning.models import MODELS, ModelSpec, summary
from emulator.preparation import Prepared, draw_fleet, prepare
from emulator.progress import console
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.settings import RoundSettings
from emulator.reading import ScenarioError
from emulator.scenario import Scenario, scenarios_folder
from network.units import BANDWIDTH, COMPUTE, DURATION, RATE, SIZE

Row = Sequence[object]


def _table(title: str, header: Sequence[str], rows: Sequence[Row]) -> None:
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("-" if item is None else str(item) for item in row))
    console().print(table)


def protocols() -> None:
    """The protocols and their own settings."""
    rows = [(name, entry.about, ", ".join(entry.settings.model_fields)) for name, entry in PROTOCOLS.items()]
    _table("protocols", ("name", "what it is", "settings"), rows)


def profiles() -> None:
    """The device profiles."""
    found = [load_profile(name) for name in profile_names()]
    rows = [
        (
            profile.name, profile.about, COMPUTE.format(profile.flop_per_s),
            BANDWIDTH.format(profile.memory_bandwidth_bytes_per_s), SIZE.format(profile.memory_bytes),
            RATE.format(profile.uplink_bps), RATE.format(profile.downlink_bps),
        )
        for profile in found
    ]  # fmt: skip
    header = ("name", "what it is", "compute", "memory bandwidth", "memory", "uplink", "downlink")
    _table("profiles (effective rates; emulator list profiles NAME shows the sources)", header, rows)


def one_profile(name: str) -> None:
    """One profile, each figure with its source, date and kind."""
    try:
        profile = load_profile(name)
    except ProfileError as error:
        raise ScenarioError(f"list profiles: {error}") from None
    rows = [(key, source.text, source.kind, source.date, source.source) for key, source in profile.sources]
    assert len(rows) == len(FIGURES)
    _table(f"{name}: {profile.about} (compute: {profile.compute})", ("figure", "value", "kind", "date", "source"), rows)


def datasets() -> None:
    """The data sets."""
    rows = [
        (
            name, info.about, "x".join(map(str, info.shape)), f"{info.train} + {info.test}", info.licence,
            "yes" if available(name) else f"emulator fetch {name}",
        )
        for name, info in DATASETS.items()
    ]  # fmt: skip
    _table("data sets", ("name", "what it is", "image", "train + test", "licence", "here"), rows)


def models() -> None:
    """The models, with parameters for the smallest images that they take, in the data sets' shapes."""
    rows = []
    for name, info in MODELS.items():
        shape = next(
            entry.shape for entry in reversed(DATASETS.values()) if info.sides[0] <= entry.shape[1] <= info.sides[1]
        )
        blocks = summary(ModelSpec(name, 10, shape))
        count = sum(block.parameters for block in blocks)
        rows.append((name, info.about, f"{count:,} on {'x'.join(map(str, shape))}", len(blocks)))
    _table("models", ("name", "what it is", "parameters", "blocks (cuts 0 to)"), rows)


def scenarios() -> None:
    """The shipped scenarios."""
    rows = []
    for path in sorted(scenarios_folder().glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        rows.append((path.stem, yaml.safe_load(text)["name"], text.splitlines()[0].lstrip("# ")))
    _table("scenarios", ("emulator run ...", "name", "what it shows"), rows)


TABLES: dict[str, Callable[[], None]] = {
    "protocols": protocols,
    "profiles": profiles,
    "datasets": datasets,
    "models": models,
    "scenarios": scenarios,
}


def check(scenario: Scenario) -> None:
    """Show what a scenario amounts to: fleet, data per device, model, bytes a round. Raises ScenarioError."""
    root = Path(scenario.data.root) if scenario.data.root else None
    _fleet(draw_fleet(scenario))
    _model(scenario)
    if available(scenario.data.dataset, root):
        _data(scenario, prepare(scenario))
    else:
        print(
            f"{scenario.data.dataset} is not on this machine (emulator fetch {scenario.data.dataset}): data not checked"
        )
    print(f"{scenario.name}: valid, scenario_sha256 {scenario.sha256()}")


def _fleet(devices: Sequence[Device]) -> None:
    kinds = Counter((device.profile.name, device.cell) for device in devices)
    rows = []
    for (profile, cell), count in kinds.items():
        mine = [device for device in devices if (device.profile.name, device.cell) == (profile, cell)]
        slow = sorted(device.slowdown for device in mine)
        one = mine[0]
        rows.append(
            (
                profile, cell, count, COMPUTE.format(one.profile.flop_per_s), f"{slow[0]:.2f} to {slow[-1]:.2f}",
                RATE.format(one.uplink_bps), RATE.format(one.downlink_bps), DURATION.format(one.latency_s),
            )
        )  # fmt: skip
    header = ("profile", "cell", "devices", "compute", "slowdown", "uplink", "downlink", "latency")
    _table(f"fleet: {len(devices)} devices", header, rows)


def _model(scenario: Scenario) -> None:
    blocks = summary(scenario.model_spec)
    rows = [
        (block.index, f"{block.parameters:,}", "x".join(map(str, block.shape)), SIZE.format(block.smashed_bytes))
        for block in blocks
    ]
    count = sum(block.parameters for block in blocks)
    _table(f"{scenario.model.name}: {count:,} parameters", ("block", "parameters", "output", "bytes a sample"), rows)


def _data(scenario: Scenario, prepared: Prepared) -> None:
    counts = prepared.counts
    shown = range(len(counts)) if len(counts) <= 20 else range(10)
    rows = [(prepared.plan.devices[d].name, counts[d].sum(), *counts[d].tolist()) for d in shown]
    title = f"samples of each class ({len(counts)} devices, {len(prepared.validation)} samples held out for validation)"
    _table(title, ("device", "samples", *map(str, range(counts.shape[1]))), rows)
    if len(counts) > len(rows):
        sizes = sorted(int(row.sum()) for row in counts)
        print(f"... and {len(counts) - len(rows)} more; samples a device: {sizes[0]} to {sizes[-1]}")
    if isinstance(scenario.protocol, RoundSettings):
        print(f"rounds: up to {scenario.protocol.rounds}, cohorts of {scenario.protocol.cohort}")
