"""Protocols that only these tests use."""

from typing import Any

from emulator.learning.sgd import Problem
from emulator.protocols.base import Settings
from tests.world.protocols import multiply, ones, square, start


async def at_the_server(world: Any, problem: Problem, settings: Settings) -> None:
    """Every device makes and sends a square matrix of side 100, which the server multiplies by itself: 2 MFLOP each."""
    weights = await start(world, problem)

    async def work(device: Any) -> Any:
        value = await device.send(await device.compute(square, side=100), to=world.server, kind="update")
        return await world.server.compute(multiply, value, value)

    await world.gather({device: work(device) for device in world.devices})
    world.report(weights)


async def two_at_once(world: Any, problem: Problem, settings: Settings) -> None:
    """The first device is asked for two products at once; the second one's is sent."""
    weights, device = await start(world, problem), world.devices[0]
    value = await device.compute(square, side=100)
    first, second = device.compute(multiply, value, value), device.compute(multiply, value, value)
    await device.send(second, to=world.server, kind="update")
    await first
    world.report(weights)


async def two_rounds_of_ones(world: Any, problem: Problem, settings: Settings) -> None:
    """A round for those who are there: each sends 1000 numbers up. Then another one."""
    weights = await start(world, problem)

    async def work(device: Any) -> Any:
        return await device.send(await device.compute(ones, numbers=1000), to=world.server, kind="update")

    for _ in range(2):
        await world.gather({device: work(device) for device in await world.sample(3)})
        world.report(weights)
