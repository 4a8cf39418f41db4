"""Device groups with cuts of their own in one run: who trains at which cut, and the average of what overlaps.

The server's halves are at the fleet's smallest cut; for another cut blocks change sides, which costs nothing. With one cut for
all nothing is cut again, and the two halves are averaged each by itself, as without this file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from emulator.learning.aggregation import average
from emulator.learning.split import Split
from emulator.learning.split_cuts import average_whole, recut
from emulator.protocols.verbs import Node, Value, World

Halves = tuple[Value, Value]


def at_cut(split: Split, cut: int | None) -> Split:
    """The same training at another cut."""
    return split if cut == split.cut else replace(split, problem=replace(split.problem, cut=cut))


def cuts_of(devices: Iterable[Node]) -> list[int]:
    """The devices' cuts, each once, the smallest first."""
    return sorted({device.cut for device in devices if device.cut is not None})


async def at_cuts(world: World, parts: Halves, split: Split, devices: Iterable[Node]) -> dict[int | None, Halves]:
    """Front and back, at the server, for each of the devices' cuts."""
    found: dict[int | None, Halves] = {}
    for cut in cuts_of(devices):
        found[cut] = parts if cut == split.cut else await world.server.compute(recut, *parts, split=at_cut(split, cut))
    return found


async def averaged(world: World, trained: Mapping[Node, Halves], split: Split) -> Halves:
    """Clients' halves averaged by samples; each tensor over all clients, in one's front and in another's back."""
    samples = tuple(device.samples for device in trained)
    if cuts_of(trained) == [split.cut]:
        front = await world.server.compute(average, samples, *(mine for mine, _ in trained.values()))
        return front, await world.server.compute(average, samples, *(theirs for _, theirs in trained.values()))
    return await averaged_whole(world, samples, list(trained.values()), split)


async def averaged_whole(world: World, samples: tuple[int, ...], trained: Sequence[Halves], split: Split) -> Halves:
    """The same for halves at different cuts."""
    whole = [half for halves in trained for half in halves]
    found: Halves = await world.server.compute(average_whole, samples, *whole, split=split)
    return found
