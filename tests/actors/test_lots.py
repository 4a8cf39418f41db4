"""What one thread makes leaves another in lots: all of it, in order, soon, and with what went wrong."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Event, Lock, Thread, current_thread
from time import monotonic

import pytest

from actors.lots import WAY_S, giving_way, lots


def test_all_in_order_in_few_lots() -> None:
    with ThreadPoolExecutor(1) as maker:
        found = list(lots(range(10_000), maker))
    assert list(chain(*found)) == list(range(10_000))
    assert all(found)
    assert len(found) < 1000  # each lingers for 50 ms, or holds the last item


def test_nothing_is_nothing() -> None:
    with ThreadPoolExecutor(1) as maker:
        assert list(lots([], maker)) == []


def test_what_is_made_leaves_while_the_rest_is_not_there_yet() -> None:
    seen = Event()

    def items() -> Iterator[str]:
        yield "first"
        assert seen.wait(60), "the first item did not leave"
        yield "second"

    with ThreadPoolExecutor(1) as maker:
        stream = lots(items(), maker)
        assert next(stream) == ["first"]
        seen.set()
        assert list(stream) == [["second"]]


def test_a_failure_comes_after_what_was_made_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third")

    found: list[int] = []
    with ThreadPoolExecutor(1) as maker, pytest.raises(ValueError, match="the third"):
        for lot in lots(items(), maker):
            found += lot
    assert found == [1, 2]


def test_all_is_made_in_the_thread_of_the_maker() -> None:
    with ThreadPoolExecutor(1, "clock") as maker:
        (name,) = chain(*lots((current_thread().name for _ in range(1)), maker))
    assert name == "clock_0"


def test_the_next_item_waits_for_whoever_is_busy() -> None:
    busy, begun, ended, made_at_s = Lock(), Event(), Event(), list[float]()

    def items() -> Iterator[int]:
        for number in range(3):
            made_at_s.append(monotonic())
            yield number

    def work() -> None:
        with busy:
            begun.set()
            ended.wait(60)

    stream = giving_way(items(), busy)
    assert next(stream) == 0
    thread = Thread(target=work)
    thread.start()
    assert begun.wait(60)
    assert next(stream) == 1  # late, but it comes: whoever is busy may be so for long
    ended.set()
    thread.join()
    assert list(stream) == [2]
    assert not busy.locked()
    assert made_at_s[1] - made_at_s[0] >= WAY_S
