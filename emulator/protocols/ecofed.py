"""EcoFed: Wu et al., "EcoFed: Efficient Communication for DNN Partitioning-Based Federated Learning", IEEE TPDS 2024.

Volume 35(3), arXiv 2304.05495; as in the authors' released code.

The front is pre-trained, set up once and frozen; devices send int8 smashed data and labels in rounds 0, period, 2 period ...;
in the rounds between the server replays what drawn clients had sent. Server copies are averaged uniformly every round.
"""

from typing import Literal

from pydantic import Field

from emulator.learning.aggregation import average
from emulator.learning.codecs import CodecSettings
from emulator.learning.codecs.settings import PlainCodec
from emulator.learning.frozen import keep, learn, replay, smash
from emulator.learning.random import choose
from emulator.learning.sgd import Problem
from emulator.learning.split import Split, begin, end, halves, sizes
from emulator.protocols.local_training import start
from emulator.protocols.split_training import OneWay, split_of
from emulator.protocols.verbs import Node, Value, World


class EcoFedSettings(OneWay):
    """Settings of EcoFed. ``init``: what of the given weights is used."""

    smashed: CodecSettings = Field(default=PlainCodec(codec="int8"), description="codec of the smashed data")
    replay_period: int = Field(default=2, ge=1, description="devices send in every so manieth round; 1: in all")
    init: Literal["random", "partial", "holistic"] = Field(
        default="partial", description="given weights used: none, the front's, or all that are given"
    )
    setup: Literal["free", "charge"] = Field(default="free", description="whether the front's download counts")


async def update(world: World, device: Node, parts: tuple[Value, Value], split: Split) -> tuple[Value, Value]:
    """A client in an update round: gives the server's copy, trained on what it sends, and its entry in the buffer."""
    (front, back), seed, sent = parts, world.seed("batches", device.name, world.round), list[Value]()
    copy = await world.server.compute(begin, back, near=device, split=split, back=True)
    for number, size in enumerate(sizes(split.plan, device.samples)):
        smashed, labels = await device.compute(smash, front, device.data, seed, number, split=split, size=size)
        up, names = (
            device.send(smashed, to=world.server, kind="smashed"),
            device.send(labels, to=world.server, kind="labels"),
        )
        sent += [await up, await names]
        copy = await world.server.compute(learn, copy, *sent[-2:], seed, number, near=device, split=split)
    entry = await world.server.compute(keep, seed, *sent, near=device)
    return await world.server.compute(end, copy, near=device), entry


async def rest(world: World, near: Node, entry: Value, back: Value, split: Split) -> Value:
    """A replay round for one entry of the buffer: no device has anything to do."""
    copy = await world.server.compute(begin, back, near=near, split=split, back=True)
    return await world.server.compute(
        end, await world.server.compute(replay, copy, entry, near=near, split=split), near=near
    )


async def install(world: World, front: Value, devices: list[Node], settings: EcoFedSettings) -> None:
    """The front comes on devices once, ahead of the run or, when set-up is charged, before their first round."""
    if settings.setup == "charge":
        await world.gather({device: download(world, device, front) for device in devices})


async def download(world: World, device: Node, front: Value) -> None:
    """One device's."""
    await world.server.send(front, to=device, kind="weights")


async def ecofed(world: World, problem: Problem, settings: EcoFedSettings) -> None:
    """The authors' main loop."""
    split = split_of(problem, settings)
    taken = {"random": (0, 0), "partial": (0, split.cut), "holistic": None}[settings.init]
    front, back = await world.server.compute(halves, await start(world, problem, blocks=taken), split=split)
    buffer: dict[str, tuple[Node, Value]] = {}
    installed = set[str]()
    for number in range(settings.rounds):
        if number % settings.replay_period == 0:
            cohort = [device for device in await world.sample(settings.cohort) if device.samples]
            await install(world, front, [device for device in cohort if device.name not in installed], settings)
            installed.update(device.name for device in cohort)
            done = await world.gather({d: update(world, d, (front.at(d), back), split) for d in cohort})
            buffer.update((device.name, (device, entry)) for device, (_, entry) in done.items())
            copies = [copy for copy, _ in done.values()]
        else:
            stored, again = list(buffer.values()), len(buffer) < settings.cohort
            drawn = (
                choose(world.seed("replayed", world.round), settings.cohort, len(stored), again=again) if stored else []
            )
            slots = {slot: rest(world, *stored[index], back, split) for slot, index in enumerate(drawn)}
            copies = list((await world.gather(slots)).values())
        if copies:
            back = await world.server.compute(average, (1,) * len(copies), *copies)
        world.report(front, back, updated=float(number % settings.replay_period == 0))
