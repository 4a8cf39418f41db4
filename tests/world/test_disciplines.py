"""How clients share the server's processor, by hand: 2 MFLOP at 1 GFLOP/s are 2 ms alone."""

from typing import Any

import pytest

from actors.inline import Inline
from emulator.blueprint import build_world
from emulator.tasks import Cancelled
from tests.world.protocols import Quiet, double, multiply, square
from tests.world.test_verbs import run
from tests.worlds import fleet, plan

MS = 1_000_000


def ends(discipline: str, starts_ms: tuple[int, ...]) -> list[float]:
    """When products of 2 ms that are asked for at those times are done, in ms."""
    engine, world = build_world(plan(double, Quiet(), fleet(1), discipline=discipline), Inline(None))

    async def one(a: Any, start: int) -> float:
        await world.wait(start / 1e3)
        await world.server.compute(multiply, a, a)
        return float(engine.clock.now_ns / MS)

    async def main() -> list[float]:
        a = await world.server.compute(square, side=100)
        found = await world.gather({number: one(a, start) for number, start in enumerate(starts_ms)})
        return list(found.values())

    found: list[float] = run(engine, main())
    return found


def test_fifo() -> None:
    assert ends("fifo", (0, 0, 1)) == [2, 4, 6]


def test_a_share_for_each_client() -> None:
    assert ends("share_per_client", (0, 0, 1)) == [2, 2, 3]


def test_processor_sharing() -> None:
    # 0 to 1 ms: two at half speed, half a ms of work each done. 1 ms on: three at a third: 1.5 ms of work take 4.5 ms, until
    # 5.5 ms; by then the third has 0.5 ms left, alone: done at 6 ms.
    assert ends("shared", (0, 0, 1)) == pytest.approx([5.5, 5.5, 6.0], abs=1e-5)


def test_what_is_cut_off_leaves_the_others_faster() -> None:
    # Two at half speed for 1 ms; then one is cut off, having done 0.5 of its 2 ms: a quarter. The other has 1.5 left.
    engine, world = build_world(plan(double, Quiet(), fleet(1), discipline="shared"), Inline(None))

    async def main() -> float:
        a = await world.server.compute(square, side=100)
        kept, cut = world.server.compute(multiply, a, a), world.server.compute(multiply, a, a)
        await world.wait(0.001)
        cut.cancel()
        await kept
        with pytest.raises(Cancelled):
            await cut
        return float(engine.clock.now_ns / MS)

    assert run(engine, main()) == pytest.approx(2.5, abs=1e-5)
    assert [(row.cause, row.flops) for row in engine.rows[1:]] == [("done", 2_000_000), ("cut off", 500_000)]
