"""Devices come and go: their presence, as the world hears of it."""

from emulator.devices.presence import Presence
from emulator.nodes import Node
from emulator.tasks import Clock
from emulator.world import World


def attend(world: World, clock: Clock, device: Node, presence: Presence) -> None:
    """Bring the world up to date about a device, now and whenever its presence changes (last in that instant)."""
    there, then = presence.at(clock.now_ns)
    if there == (device.name in world.away):
        if there:
            world.come_back(device)
        else:
            world.lose(device, for_good=then is None)
    elif not there and then is None:
        world.lose(device, for_good=True)
    if then is not None and device.name not in world.gone:
        clock.late(lambda: attend(world, clock, device, presence), then)
