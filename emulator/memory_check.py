"""What ``emulator check`` says of memory: what a first round's largest step needs on each profile, and who does not fit."""

from collections.abc import Sequence
from dataclasses import replace

from actors.inline import TimingOnly
from emulator.blueprint import Blueprint
from emulator.deciding import DecisionMissing
from emulator.learning.inventory import PARTS, parts
from emulator.listing import table
from emulator.memory import Shelf, rounded
from emulator.nodes import Node
from emulator.protocols.base import Rounds
from emulator.rows import Round
from emulator.scenario import Scenario
from emulator.simulation import Simulation
from emulator.tasks import OutOfMemory


def memory(scenario: Scenario, plan: Blueprint) -> None:
    """A row a profile and cut, of its device that needs most; then a line for each profile with devices that do not fit."""
    if not isinstance(plan.settings, Rounds):
        return
    found = needs(plan, plan.settings)
    if found is None:
        return
    devices, refused = found
    several = len({node.cut for node in devices}) > 1
    header = ("profile", *(("cut",) if several else ()), "step", "needs", "free", *PARTS, "beside it", "fits")
    rows = [
        _row(members, refused, several)
        for members in _alike(devices)
        if any(node.shelf and node.shelf.largest for node in members)
    ]
    if rows:
        table("memory of the largest step of a first round in which every device takes part", header, rows)
    for members in _alike(devices):
        missing = [node for node in members if node.name in refused]
        if missing:
            what = "would end the run" if scenario.on_out_of_memory == "fail" else "would be left out"
            print(f"{len(missing)} of {len(members)} {missing[0].profile.name} {what}: {refused[missing[0].name]}")


def needs(plan: Blueprint, settings: Rounds) -> tuple[Sequence[Node], dict[str, OutOfMemory]] | None:
    """The devices after a round of the clock alone with all of them, and what was said of those that do not fit.

    None where the protocol decides on data. An asynchronous protocol goes on until every device with data has come once.
    """
    watched = replace(plan.observation, accuracy=None, virtual_time_s=None)
    one = replace(plan, settings=settings.everybody(len(plan.devices)), observation=watched, conditions=())
    simulation, refused = Simulation(one, TimingOnly()), dict[str, OutOfMemory]()

    def refuse(node: Node, error: OutOfMemory) -> None:
        refused[node.name] = error
        simulation.world.exclude(node, error)

    simulation.engine.out_of_memory = refuse
    try:
        missing = {device.name for device in simulation.world.devices if device.samples}
        for messages in simulation.messages():
            missing -= {name for row in messages if isinstance(row, Round) for name in row.finished}
            if missing <= set(refused):
                break
    except DecisionMissing:
        return None
    return simulation.world.devices, refused


def _alike(devices: Sequence[Node]) -> list[list[Node]]:
    found: dict[tuple[str, int | None], list[Node]] = {}
    for node in devices:
        found.setdefault((node.profile.name, node.cut), []).append(node)
    return list(found.values())


def _row(members: Sequence[Node], refused: dict[str, OutOfMemory], several: bool) -> tuple[object, ...]:
    node = max(members, key=lambda node: node.shelf.most_bytes if node.shelf is not None else 0)
    shelf = node.shelf
    assert isinstance(shelf, Shelf)
    assert shelf.largest is not None
    made_of = parts(*shelf.largest)
    fits = sum(member.name not in refused for member in members)
    return (
        node.profile.name, *((node.cut,) if several else ()),
        shelf.largest[0].__name__, rounded(shelf.most_bytes), rounded(node.profile.free_memory_bytes),
        *(rounded(made_of[part]) for part in PARTS), rounded(shelf.beside_largest), f"{fits} of {len(members)}",
    )  # fmt: skip
