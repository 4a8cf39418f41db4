"""``emulator check --devices``: the drawn fleet device by device, as a table with units or as CSV in SI numbers."""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from emulator.devices.population import Device
from emulator.learning.datasets import available
from emulator.listing import table
from emulator.preparation import draw_fleet, prepare, try_network
from emulator.scenario import Scenario
from network.units import COMPUTE, DURATION, ENERGY, RATE, SIZE, Quantity

LONG = 10
Figure = float | int | str | None
Row = dict[str, Figure]

# Column of the CSV -> its heading in the table, and the unit it is shown with there.
COLUMNS: dict[str, tuple[str, Quantity | None]] = {
    "device": ("device", None),
    "profile": ("profile", None),
    "cell": ("cell", None),
    "compute_flop_per_s": ("compute", COMPUTE),
    "slowdown": ("slowdown", None),
    "free_memory_bytes": ("free memory", SIZE),
    "uplink_bps": ("uplink", RATE),
    "downlink_bps": ("downlink", RATE),
    "latency_s": ("latency", DURATION),
    "samples": ("samples", None),
    "battery_j": ("battery", ENERGY),
    "cut": ("cut", None),
}
POWERS = ("idle_w", "load_w", "send_w", "receive_w")  # one column in the table, to keep it narrow


def show_devices(scenario: Scenario, form: Literal["table", "csv"]) -> None:
    """Print every device. Raises ScenarioError where the scenario and its data do not fit.

    Rates are a device's alone in its cell at the start; samples are told only if the data are on this machine.
    """
    rows = list(_rows(scenario))
    if form == "csv":
        writer = csv.DictWriter(sys.stdout, [*COLUMNS, *POWERS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    kept = {key: kind for key, kind in COLUMNS.items() if any(row[key] is not None for row in rows)}
    shown = [[*(_text(row[key], quantity) for key, (_, quantity) in kept.items()), _powers(row)] for row in rows]
    table(f"fleet: {len(rows)} devices", [*(heading for heading, _ in kept.values()), "idle/load/send/receive"], shown)


def _rows(scenario: Scenario) -> Iterator[Row]:
    root = scenario.data.root
    samples: Sequence[int | None]
    if available(scenario.data.dataset, Path(root) if root else None):
        prepared = prepare(scenario)
        devices, rates, samples = prepared.plan.devices, prepared.rates, prepared.plan.samples
    else:
        devices = draw_fleet(scenario)
        rates, samples = try_network(scenario, devices)[1], [None] * len(devices)
    for device, both, count in zip(devices, rates, samples, strict=True):
        yield _row(device, both, count)


def _row(device: Device, rates: tuple[float, float], samples: int | None) -> Row:
    profile, (down, up) = device.profile, rates
    figures = (
        device.name, profile.name, device.cell, profile.flop_per_s, device.slowdown, profile.free_memory_bytes,
        up, down, device.latency_s, samples, profile.battery_j, device.cut,
        profile.idle_w, profile.load_w, profile.send_w, profile.receive_w,
    )  # fmt: skip
    return dict(zip([*COLUMNS, *POWERS], figures, strict=True))


def _powers(row: Row) -> str | None:
    found = [row[key] for key in POWERS]
    return None if None in found else "/".join(f"{power:.3g}" for power in found) + " W"


def _text(value: Figure, quantity: Quantity | None) -> str | None:
    """Figures with their unit, long ones to four digits: a table is for people, and the CSV has all of them."""
    if quantity is None or value is None or isinstance(value, str):
        return f"{value:.3f}" if isinstance(value, float) else None if value is None else str(value)
    exact = quantity.format(value)
    return exact if len(exact) < LONG else quantity.format(float(f"{value:.4g}"))
