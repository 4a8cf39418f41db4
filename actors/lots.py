"""What one thread makes and another sends on: in lots, since each thing that is sent costs far more than what is in it."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from queue import SimpleQueue
from threading import Lock
from typing import TypeVar

Item = TypeVar("Item")
LINGER_S = 0.05  # what comes so soon after a lot's first item travels with it: nobody reads faster
WAY_S = 0.02  # longer work is mostly kernels, which run outside the interpreter's lock


def lots(items: Iterable[Item], maker: Executor) -> Iterator[list[Item]]:
    """The items, in order, as lists of those that ``maker`` made meanwhile. The last of them waits for nothing.

    Raises what making them raised, after the items that were made before.
    """
    queue = SimpleQueue[Item | Future[None]]()
    making = maker.submit(_put_all, items, queue)
    making.add_done_callback(queue.put)
    ended = False
    while not ended:
        lot = [queue.get()]
        wait([making], LINGER_S)
        lot += [queue.get() for _ in range(queue.qsize())]
        ended = lot[-1] is making
        if made := [item for item in lot if not isinstance(item, Future)]:
            yield made
    making.result()


def giving_way(items: Iterable[Item], busy: Lock) -> Iterator[Item]:
    """The items; none is made while another thread holds ``busy``, for up to 20 ms each.

    Two threads of Python at once are no faster than one after the other, and whoever holds it has others waiting for it.
    """
    for item in items:
        yield item
        if busy.acquire(timeout=WAY_S):
            busy.release()


def _put_all(items: Iterable[Item], queue: "SimpleQueue[Item | Future[None]]") -> None:
    for item in items:
        queue.put(item)
