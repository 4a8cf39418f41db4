"""What does not go together in a scenario, block against block; each finding is ``key.path: got X; expected Y``."""

from collections.abc import Iterator

from emulator.blocks import Blocks
from emulator.fleet_rules import drawn_findings, place_findings, population_findings, vary_findings
from emulator.fleets import fleet_findings
from emulator.learning.datasets import DATASETS
from emulator.learning.models import refusal
from emulator.model_rules import model_findings
from emulator.nearest import unknown
from emulator.plan_rules import plan_findings
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.settings import CutWork


def findings_of(scenario: Blocks) -> Iterator[str]:
    """All of it, in the order of the file."""
    yield from _fleet_findings(scenario)
    yield from scenario.network.findings()
    for index, group in enumerate(scenario.devices):
        if group.cell is not None:
            yield from (f"devices[{index}].{words}" for words in place_findings(group, scenario.network.cells))
    yield from vary_findings(scenario.devices, scenario.network.cells)
    yield from drawn_findings(_profiles(scenario), scenario.profile)
    yield from _edge_findings(scenario)
    yield from _completeness_findings(scenario)
    yield from _data_findings(scenario)
    yield from _model_findings(scenario)
    yield from plan_findings(scenario.protocol, scenario.devices, scenario.network.cells, scenario.profile)
    if scenario.stop.accuracy is not None and scenario.evaluate.validation == 0:
        yield "stop.accuracy: got a target, but no validation data; expected evaluate.validation above 0"
    if scenario.protocol.reads_validation and scenario.evaluate.validation == 0:
        yield f"evaluate.validation: got 0; expected above 0, as {scenario.protocol_name} decides on validation data"


def _fleet_findings(scenario: Blocks) -> Iterator[str]:
    if scenario.fleet is not None:
        yield from fleet_findings(scenario.fleet, scenario.devices, scenario.network)
    yield from population_findings(scenario.devices, scenario.population)
    for index, group in enumerate(scenario.devices):
        if group.cell is not None and group.cell not in scenario.network.cells:
            words = unknown(group.cell, scenario.network.cells, "a cell under network.cells")
            yield f"devices[{index}].cell: {words}"
    yield from scenario.protocol.too_many_for(scenario.fleet_size)


def _profiles(scenario: Blocks) -> list[str]:
    """Every profile that machines here have, once."""
    edges = [site.edge.profile for site in scenario.network.sites.values() if site.edge is not None]
    return list(dict.fromkeys([*(group.profile for group in scenario.devices), scenario.server.profile, *edges]))


def _completeness_findings(scenario: Blocks) -> Iterator[str]:
    """Protocols that split count minibatches at both ends; that a device leaves some out is not built there."""
    for index, group in enumerate(scenario.devices):
        if group.completeness is not None and isinstance(scenario.protocol, CutWork):
            got = f"devices[{index}].completeness: got {group.completeness.low:g} to {group.completeness.high:g}"
            yield f"{got}; expected none, as {scenario.protocol_name} does all of the local work"


def _edge_findings(scenario: Blocks) -> Iterator[str]:
    if not PROTOCOLS[scenario.protocol_name].edges:
        return
    for index, group in enumerate(scenario.devices):
        site = scenario.network.cells[group.cell].site if group.cell is not None else None
        if site is None or scenario.network.sites[site].edge is None:
            got = "no cell" if group.cell is None else f"cell {group.cell} without an edge server at its site"
            yield f"devices[{index}].cell: got {got}; expected one, as {scenario.protocol_name} aggregates at edges"


def _data_findings(scenario: Blocks) -> Iterator[str]:
    data, info = scenario.data, DATASETS[scenario.data.dataset]
    used = data.samples or info.train
    if used > info.train:
        yield f"data.samples: got {used}; expected at most the {info.train} training samples of {data.dataset}"
    if scenario.fleet_size > used:  # what validation and the partition need besides shows when the data are there
        yield f"devices: got {scenario.fleet_size} for {used} training samples; expected a sample a device or more"
    if (scenario.evaluate.samples or 0) > info.test:
        got = scenario.evaluate.samples
        yield f"evaluate.samples: got {got}; expected at most the {info.test} test samples of {data.dataset}"
    if data.root is not None and data.dataset == "digits":
        yield f'data.root: got "{data.root}"; expected none, as digits come with the platform'


def _model_findings(scenario: Blocks) -> Iterator[str]:
    reason = refusal(scenario.model_spec)
    if reason is not None and reason.startswith("keep_ratio: "):
        yield f"model.{reason}"
    elif reason is not None:
        yield f"model.name: {reason} (data.dataset is {scenario.data.dataset})"
    else:
        own = {f"devices[{index}].cut": group.cut for index, group in enumerate(scenario.devices)}
        cuts = {"model.cut": scenario.model.cut, **own}
        yield from model_findings(scenario.protocol_name, scenario.protocol, scenario.model_spec, cuts)
    yield from _profile_findings(scenario)


def _profile_findings(scenario: Blocks) -> Iterator[str]:
    """Settings of a protocol that name profiles which no device has."""
    known = sorted({group.profile for group in scenario.devices})
    for key, names in getattr(scenario.protocol, "profiles", {}).items():
        for name in names:
            if name not in known:
                yield f'protocol.{key}: got "{name}"; expected profiles of the fleet: {", ".join(known)}'
