"""What ``emulator check`` prints: the fleet, the model, who holds what, and the first round's traffic and time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emulator.blueprint import Blueprint
from emulator.deciding import DecisionMissing
from emulator.devices.population import Device
from emulator.learning.datasets import available
from emulator.learning.models import build, summary
from emulator.listing import images, table
from emulator.memory_check import memory
from emulator.preparation import Prepared, draw_fleet, prepare, try_network
from emulator.protocols.base import Rounds
from emulator.reading import ScenarioError
from emulator.rehearsal import first_round
from emulator.scenario import Scenario
from network.units import COMPUTE, DURATION, RATE, SIZE, Quantity

ALL_SHOWN = 20  # fleets up to this size are shown device by device, larger ones by their first few and a summary
SOME_SHOWN = 10


def check(scenario: Scenario, draws: int | None = None) -> None:
    """Show what a scenario amounts to. Raises ScenarioError where scenario and data do not fit.

    Data sets that are not on this machine are not asked for: then only what needs no data is shown. ``draws``: also how
    far the first round's time spreads over so many fleets (see ``spread_of_first_round``).
    """
    devices = draw_fleet(scenario)
    _fleet(devices, try_network(scenario, devices)[1])
    _model(scenario)
    data = scenario.data
    if available(data.dataset, Path(data.root) if data.root else None):
        prepared = prepare(scenario)
        _samples(prepared)
        memory(scenario, prepared.plan)
        _first_round(scenario, prepared.plan)
        if draws is not None:
            _draws(scenario, draws)
    else:
        print(f"{data.dataset} is not on this machine (emulator fetch {data.dataset}): data and traffic not checked")
    print(f"{scenario.name}: valid; scenario_sha256 {scenario.sha256()}")


def _fleet(devices: Sequence[Device], rates: Sequence[tuple[float, float]]) -> None:
    """One row for all devices of one profile in one cell, at one cut; rates are a device's alone in its cell, at the start."""
    alike: dict[tuple[str, str | None, int | None], list[tuple[Device, tuple[float, float]]]] = {}
    for device, both in zip(devices, rates, strict=True):
        alike.setdefault((device.profile.name, device.cell, device.cut), []).append((device, both))
    header: tuple[str, ...] = ("profile", "cell", "devices", "compute", "slowdown", "uplink", "downlink", "latency")
    rows = [_class(members) for members in alike.values()]
    if any(device.cut is not None for device in devices):
        header, rows = (*header, "cut"), [(*row, cut) for row, (_, _, cut) in zip(rows, alike, strict=True)]
    table(f"fleet: {len(devices)} devices", header, rows)


def _class(members: Sequence[tuple[Device, tuple[float, float]]]) -> tuple[object, ...]:
    one, fleet = members[0][0], [device for device, _ in members]
    slow = [device.slowdown for device in fleet]
    down, up = ([both[way] for _, both in members] for way in (0, 1))
    return (
        one.profile.name, one.cell, len(members), _range(COMPUTE, [device.profile.flop_per_s for device in fleet]),
        f"{min(slow):.2f} to {max(slow):.2f}", _range(RATE, up), _range(RATE, down),
        _range(DURATION, [device.latency_s for device in fleet]),
    )  # fmt: skip


def _range(quantity: Quantity, figures: Sequence[float]) -> str:
    low, high = (quantity.format(float(f"{figure:.4g}")) for figure in (min(figures), max(figures)))
    return low if low == high else f"{low} to {high}"


def _model(scenario: Scenario) -> None:
    blocks = summary(scenario.model_spec)
    rows = [
        (block.index, f"{block.parameters:,}", images(block.shape), SIZE.format(block.smashed_bytes))
        for block in blocks
    ]
    size = sum(tensor.numel() * tensor.element_size() for tensor in build(scenario.model_spec).state_dict().values())
    title = (
        f"{scenario.model.name}: {sum(block.parameters for block in blocks):,} parameters, {size:,} bytes of weights"
    )
    table(title, ("block", "parameters", "output", "bytes a sample"), rows)


def _samples(prepared: Prepared) -> None:
    counts = prepared.counts
    shown = len(counts) if len(counts) <= ALL_SHOWN else SOME_SHOWN
    rows: list[Sequence[object]] = [
        (device.name, counts[index].sum(), *counts[index]) for index, device in enumerate(prepared.plan.devices[:shown])
    ]
    if shown < len(counts):
        sizes = counts.sum(axis=1)
        rows.append((f"{len(counts) - shown} more", "...", *("..." for _ in counts[0])))
        rows.append((f"all {len(counts)}", f"{sizes.min()} to {sizes.max()}", *counts.sum(axis=0)))
        rows.append(("holding none", np.count_nonzero(sizes == 0), *np.count_nonzero(counts == 0, axis=0)))
    title = f"samples of each class; {len(prepared.validation)} more are held out for validation"
    table(title, ("device", "samples", *map(str, range(counts.shape[1]))), rows)


def _first_round(scenario: Scenario, plan: Blueprint) -> None:
    """Its bytes and virtual seconds are those of the run."""
    if not isinstance(plan.settings, Rounds):
        return
    try:
        row = first_round(plan, plan.settings)
    except DecisionMissing:
        print(f"first round: {scenario.protocol_name} decides on data, so its traffic shows when it runs")
        return
    print(
        f"first of {plan.settings.rounds} rounds, {len(row.cohort)} devices: {row.uplink_bytes:,} bytes up, "
        f"{row.downlink_bytes:,} bytes down, {row.end_ns / 1e9:.3f} s of virtual time"
    )


def spread_of_first_round(scenario: Scenario, draws: int) -> list[float]:
    """The first round's virtual seconds with each of ``draws`` fleets, drawn within the profiles' uncertainties.

    The fleets' seeds are the scenario's, the next one, and so on; data, cohort and channel stay as they are. Raises
    ScenarioError for a protocol whose first round does not follow from the clock alone.
    """
    population = scenario.population.model_copy(update={"uncertainty": "drawn"})
    found = []
    for number in range(draws):
        seeds = scenario.seeds.model_copy(update={"fleet": scenario.all_seeds.fleet + number})
        plan = prepare(scenario.model_copy(update={"population": population, "seeds": seeds})).plan
        try:
            if not isinstance(plan.settings, Rounds):
                raise ScenarioError(f"check --draws: got {scenario.protocol_name}; expected a protocol with rounds")
            found.append(first_round(plan, plan.settings).end_ns / 1e9)
        except DecisionMissing:
            words = "which decides on data; expected a protocol whose rounds follow from the clock alone"
            raise ScenarioError(f"check --draws: got {scenario.protocol_name}, {words}") from None
    return found


def _draws(scenario: Scenario, draws: int) -> None:
    low, middle, high = np.percentile(spread_of_first_round(scenario, draws), (5, 50, 95))
    print(
        f"first round over {draws} fleets drawn within the profiles' uncertainties: "
        f"{middle:.3f} s of virtual time (median), {low:.3f} s to {high:.3f} s (5 to 95 %)"
    )
