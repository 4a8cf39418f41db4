"""What is waited for and not being made: told when nothing can be done, made again when a call was lost on its way."""

import asyncio
from typing import Any

import pytest
import ray

from actors.device import Watched, remote_device, remote_host, remote_worker
from actors.watchdog import Pulse, Stalled, Watchdog

# Not from tests.ray_worlds: the worker below imports this module, and need not import torch for it.
pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


class Forgetful:
    """A worker that never answers its first call."""

    def __init__(self) -> None:
        self._calls = 0

    async def play(self, payload: bytes) -> list[tuple[bytes, list[bytes]]]:
        """The payload as a packed value, from the second call on."""
        self._calls += 1
        if self._calls == 1:
            await asyncio.Event().wait()
        return [(payload, [])]


def idle_server() -> Pulse:
    return Pulse(0, 0)


def test_a_lost_call_is_made_again() -> None:
    """The device actor holds a call that nobody plays: it is restarted, and Ray tries its call again."""
    forgetful: Any = ray.remote(num_cpus=0)(Forgetful)
    worker = forgetful.remote()  # the name keeps it alive
    device = remote_device.remote("device-0000", {}, worker)
    ray.get(device.describe.remote())  # it has started
    asked = device.play.remote(b"seven", [], 1, 1)
    Watchdog([], [Watched(device)], idle_server, 3.0).wait(lambda seconds: bool(ray.wait([asked], timeout=seconds)[0]))
    assert ray.get(asked) == [(b"seven", [])]


@pytest.mark.parametrize(
    ("kind", "arguments"), [(remote_host, ({}, "builtins:dict")), (remote_worker, ("builtins:dict",))]
)
def test_who_has_a_call_that_waits_for_its_arguments_answers(kind: Any, arguments: Any) -> None:
    """What it waits for may be what a stopped one should make: that one is to be restarted, not this one."""
    forgetful: Any = ray.remote(num_cpus=0)(Forgetful)
    never = forgetful.remote()
    player = kind.remote(*arguments)
    ray.get(player.memory_bytes.remote())  # it has started
    waiting = player.play.remote(b"", never.play.remote(b""))
    assert Watched(player).pulse(10.0) == Pulse(0, 0)
    assert not ray.wait([waiting], timeout=0)[0]


def test_a_result_that_nobody_makes_is_told() -> None:
    with pytest.raises(Stalled, match=r"for 1 s no actor has had anything to play"):
        Watchdog([], [], idle_server, 0.2).wait(lambda seconds: False)
