"""A second way to measure memory: the allocator's own log, as torch's profiler writes it, of a run on real CPU tensors.

Every allocation and free of torch's CPU allocator is an event with its address and its bytes, inside the events of the
operators that were at work. Nothing of ``emulator.learning.meter`` is used.

What is no tensor is told apart so: an allocation that is made and freed within one operator is *scratch*, work space of
a kernel that no one outside ever sees (oneDNN's copies of weights and images in its own layout, the double of a Python
number, batch norm's sums). The meter, which sees what goes in and out of operators, cannot know it, and it is another
on each processor. An *operator* is what reaches torch's dispatcher below autograd: ``Marks`` names them in the log. A
log without marks takes their names instead: the outermost event with one of those names is the operator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode

MARK = "operator "


class Marks(TorchDispatchMode):
    """Puts each operator's name around its allocations; counts nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with record_function(f"{MARK}aten::{func._overloadpacket.__name__}"):
            return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Event:
    """``size`` bytes taken (or given back, below zero) at an address, by the operator with that number and name."""

    time_ns: int
    address: int
    size: int
    operator: tuple[int, str] | None


@dataclass(frozen=True)
class Log:
    """The events of a run, in the order of time, and what the run gave back."""

    events: tuple[Event, ...]
    result: Any

    def scratch(self) -> dict[int, str]:
        """Index of each event that is scratch, with its operator's name."""
        open_: dict[int, int] = {}
        found: dict[int, str] = {}
        for index, event in enumerate(self.events):
            if event.size > 0:
                open_[event.address] = index
            elif (made := open_.pop(event.address, None)) is not None:
                operator = self.events[made].operator
                if operator is not None and operator == event.operator:
                    found[made] = found[index] = operator[1]
        return found

    def tensors(self) -> list[int]:
        """Bytes of live tensors after each event that is no scratch. What was there before the run does not count."""
        without = self.scratch()
        return self._live(event for index, event in enumerate(self.events) if index not in without)

    def everything(self) -> list[int]:
        """The same with scratch."""
        return self._live(iter(self.events))

    def operators(self) -> frozenset[str]:
        """The names of the operators that took or gave back memory."""
        return frozenset(event.operator[1] for event in self.events if event.operator is not None)

    def _live(self, events: Iterator[Event]) -> list[int]:
        addresses: set[int] = set()
        live, found = 0, [0]
        for event in events:
            if event.size > 0:
                addresses.add(event.address)
            elif event.address not in addresses:
                continue  # something from before the run goes
            else:
                addresses.remove(event.address)
            live += event.size
            found.append(live)
        return found


def logged(function: Callable[[], Any], operators: frozenset[str] | None = None) -> Log:
    """The allocator's log of a run with ``Marks``; or, given the names of the operators, of the run as it is."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        if operators is None:
            with Marks():
                result = function()
        else:
            result = function()
    roots = profiler.profiler.kineto_results.experimental_event_tree()
    events = (event for root in roots for event in _walk(root, None, operators))
    return Log(tuple(sorted(events, key=lambda event: event.time_ns)), result)


def _walk(node: Any, operator: tuple[int, str] | None, names: frozenset[str] | None) -> Iterator[Event]:
    if operator is None and (node.name in names if names is not None else node.name.startswith(MARK)):
        operator = (node.id, node.name.removeprefix(MARK))
    if node.name == "[memory]":
        yield Event(node.start_time_ns, node.extra_fields.ptr, node.extra_fields.alloc_size, operator)
    for child in node.children:
        yield from _walk(child, operator, names)


def storage_bytes(tensors: Any) -> int:
    """Bytes of the storages of tensors, each storage once."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def saved_bytes(forward: Callable[[], torch.Tensor], weights: list[torch.Tensor]) -> tuple[int, torch.Tensor]:
    """(bytes of the storages that autograd saves for the backward pass, without weights; what ``forward`` gave)."""
    saved: list[torch.Tensor] = []  # held, so that no address comes twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = forward()
    own = {tensor.untyped_storage()._cdata for tensor in weights}
    return storage_bytes(tensor for tensor in saved if tensor.untyped_storage()._cdata not in own), out
