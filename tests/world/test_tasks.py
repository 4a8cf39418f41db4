"""Tasks, scopes and cancellation, in tiny worlds of timers."""

import pytest
import simpy

from emulator.gathering import Gather, Mailbox
from emulator.protocols.verbs import DeviceLost
from emulator.tasks import Cancelled, Clock, Future, ProtocolError, Task


def sleep(clock: Clock, ns: int, value: object = None) -> Future:
    """A future that ends after ``ns`` nanoseconds."""
    future = Future(clock)
    timer = simpy.Timeout(clock.env, ns)
    assert timer.callbacks is not None

    def ring(_: simpy.Event) -> None:
        if not future.triggered:
            future.finish(value)

    timer.callbacks.append(ring)
    return future


def run(clock: Clock, task: Task) -> object:
    while not task.triggered:
        clock.env.step()
        if clock.failure is not None:
            raise clock.failure
    if task.failure is not None:
        raise task.failure
    return task.value


def test_await_gives_the_value_at_its_time() -> None:
    clock = Clock()

    async def main() -> tuple[object, int]:
        return await sleep(clock, 5, "a"), clock.now_ns

    assert run(clock, Task(clock, main())) == ("a", 5)


def test_what_is_not_awaited_yet_overlaps() -> None:
    clock = Clock()

    async def main() -> int:
        first, second = sleep(clock, 30), sleep(clock, 20)
        await second
        await first
        return clock.now_ns

    assert run(clock, Task(clock, main())) == 30


def test_a_verb_that_nobody_uses_is_an_error_that_names_its_line() -> None:
    clock = Clock()

    async def main() -> None:
        sleep(clock, 1)
        await sleep(clock, 2)

    with pytest.raises(ProtocolError, match=r"test_tasks\.py:\d+: this verb was never awaited"):
        run(clock, Task(clock, main()))


def test_only_verbs_can_be_awaited() -> None:
    clock = Clock()

    class Strange:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield 3

    async def main() -> None:
        await Strange()

    with pytest.raises(ProtocolError, match="can only await verbs and tasks; got 3"):
        run(clock, Task(clock, main()))


def test_a_failure_is_kept_until_it_is_awaited() -> None:
    clock = Clock()

    async def client() -> None:
        await sleep(clock, 1)
        raise ValueError("broken")

    async def main() -> str:
        task = Task(clock, client())
        await sleep(clock, 10)
        try:
            await task
        except ValueError as error:
            return f"{error} at {clock.now_ns}"
        return "no error"

    assert run(clock, Task(clock, main())) == "broken at 10"


def test_cancelling_reaches_children_first_and_runs_finally() -> None:
    clock = Clock()
    order: list[str] = []

    async def leaf() -> None:
        try:
            await sleep(clock, 100)
        finally:
            order.append("leaf")

    async def branch() -> None:
        try:
            await Task(clock, leaf())
        except Exception:  # a protocol's net must not catch being cut off
            order.append("caught")
        finally:
            order.append("branch")

    async def main() -> None:
        task = Task(clock, branch())
        await sleep(clock, 5)
        task.cancel()
        await sleep(clock, 5)

    run(clock, Task(clock, main()))
    assert order == ["leaf", "branch"]


def test_whoever_awaits_what_was_cut_off_is_told() -> None:
    clock = Clock()

    async def main() -> str:
        future = sleep(clock, 100)

        async def waiter() -> str:
            try:
                await future
            except Cancelled:
                return "told"
            return "not told"

        task = Task(clock, waiter())
        await sleep(clock, 1)
        future.cancel()
        return str(await task)

    assert run(clock, Task(clock, main())) == "told"


async def client(clock: Clock, ns: int, value: str) -> str:
    await sleep(clock, ns)
    return value


def test_gather_keeps_the_given_order() -> None:
    clock = Clock()

    async def main() -> dict[str, str]:
        clients = {name: client(clock, ns, name.upper()) for name, ns in (("c", 30), ("a", 10), ("b", 20))}
        found: dict[str, str] = await Gather(clock, clients, first=None, within_s=None)
        return found

    assert list(run(clock, Task(clock, main())).items()) == [("c", "C"), ("a", "A"), ("b", "B")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("first", "within_ns", "kept", "ends_ns"),
    [
        (None, None, "dcab", 30),
        (2, None, "ca", 20),  # a at 10; c and b both at 20, and c stands before b in the given order
        (1, None, "a", 10),
        (None, 20, "cab", 20),  # a deadline is inclusive
        (None, 19, "a", 19),
        (3, 15, "a", 15),
        (None, 99, "dcab", 30),  # all are there before the deadline
    ],
)
def test_first_and_deadline(first: int | None, within_ns: int | None, kept: str, ends_ns: int) -> None:
    clock = Clock()

    async def main() -> tuple[str, int]:
        times = {"d": 30, "c": 20, "a": 10, "b": 20}
        clients = {name: client(clock, ns, name) for name, ns in times.items()}
        within_s = None if within_ns is None else within_ns / 1e9
        found = await Gather(clock, clients, first=first, within_s=within_s)
        return "".join(found), clock.now_ns

    assert run(clock, Task(clock, main())) == (kept, ends_ns)


def test_losers_are_cut_off_at_once() -> None:
    clock = Clock()
    ended: list[int] = []

    async def slow() -> None:
        try:
            await sleep(clock, 1000)
        finally:
            ended.append(clock.now_ns)

    async def main() -> int:
        await Gather(clock, {0: client(clock, 7, "x"), 1: slow()}, first=1, within_s=None)
        return clock.now_ns

    assert run(clock, Task(clock, main())) == 7
    assert ended == [7]


def test_a_lost_device_is_left_out_and_another_failure_is_raised() -> None:
    clock = Clock()

    async def lost() -> str:
        await sleep(clock, 3)
        raise DeviceLost("device-0001")

    async def broken() -> str:
        await sleep(clock, 4)
        raise KeyError("bug")

    async def main() -> dict[str, str]:
        found: dict[str, str] = await Gather(
            clock, {"a": client(clock, 5, "A"), "b": lost()}, first=None, within_s=None
        )
        return found

    assert run(clock, Task(clock, main())) == {"a": "A"}

    async def other() -> None:
        await Gather(clock, {"a": client(clock, 50, "A"), "b": broken()}, first=None, within_s=None)

    with pytest.raises(KeyError, match="bug"):
        run(clock, Task(clock, other()))


def test_gather_of_nobody_is_empty() -> None:
    clock = Clock()

    async def main() -> dict[str, str]:
        found: dict[str, str] = await Gather(clock, {}, first=None, within_s=None)
        return found

    assert run(clock, Task(clock, main())) == {}


def test_mailbox_in_order_of_arrival() -> None:
    clock = Clock()

    async def main() -> list[tuple[str, int]]:
        box: Mailbox[str] = Mailbox(clock)

        async def sender(ns: int, text: str) -> None:
            await sleep(clock, ns)
            box.put(text)

        tasks = [Task(clock, sender(20, "second")), Task(clock, sender(10, "first"))]
        box.put("now")
        found = [(await box.get(), clock.now_ns) for _ in range(3)]
        for task in tasks:
            await task
        return found

    assert run(clock, Task(clock, main())) == [("now", 0), ("first", 10), ("second", 20)]


def test_a_detached_failure_ends_the_run() -> None:
    clock = Clock()

    async def broken() -> None:
        await sleep(clock, 3)
        raise ValueError("nobody waits for me")

    async def main() -> None:
        Task(clock, broken(), detached=True)
        await sleep(clock, 10)

    with pytest.raises(ValueError, match="nobody waits"):
        run(clock, Task(clock, main()))
