"""Plays a tape on Ray: programs of one actor travel together, arguments by reference, results owned by the aggregator."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import ray
import torch

from actors.device import Actors, Watched, dumps
from actors.program import OBSERVED, Program, Result
from actors.values import Tree, unpack
from actors.watchdog import Pulse, Watchdog
from actors.worker import Call

CPU = torch.device("cpu")
OBJECT_BYTES = 16 << 20  # up to this size a call's returns share an object: each costs Ray more than what is in it
PROGRAMS_PER_CALL = 32  # enough that the call itself costs little, few enough that results flow while others still run


class Held(NamedTuple):
    """Where a result is: an object of Ray's, and its place among those that share it."""

    reference: Any
    place: int


def _take(held: Held) -> Tree:
    return unpack(ray.get(held.reference)[held.place], CPU)


def _shared(sizes: Iterable[int]) -> tuple[int, ...]:
    """How many of a call's returns, in order, each of its objects holds."""
    shares: list[int] = []
    filled = 0
    for size in sizes:
        filled += size
        if shares and filled <= OBJECT_BYTES:
            shares[-1] += 1
        else:
            shares.append(1)
            filled = size
    return tuple(shares)


def _all(references: Iterable[Any]) -> Callable[[float], bool]:
    """Waits so many seconds for all of them, and tells whether they are there (or have failed)."""
    left = list(dict.fromkeys(references))

    def come(timeout_s: float) -> bool:
        left[:] = ray.wait(left, num_returns=len(left), timeout=timeout_s, fetch_local=False)[1] if left else []
        return not left

    return come


class RayPending:
    """Observations under way on Ray."""

    def __init__(self, held: list[Held], watchdog: Watchdog) -> None:
        self._held = held
        self._watchdog = watchdog

    def ready(self) -> bool:
        """Whether all are there."""
        references = list(dict.fromkeys(held.reference for held in self._held))
        return len(ray.wait(references, num_returns=len(references), timeout=0)[0]) == len(references)

    def results(self) -> list[Tree]:
        """One value per program; blocks."""
        self._watchdog.wait(_all(held.reference for held in self._held))
        return [_take(held) for held in self._held]


class RayCompletion:
    """Waits for an object, and so for all results in it, without fetching it."""

    def __init__(self, reference: Any, watchdog: Watchdog, calls: Callable[[], int]) -> None:
        self._reference = reference
        self._watchdog = watchdog
        self._calls = calls
        self._looked = -1  # calls that had been made when Ray was asked last
        self._there = False

    def ready(self) -> bool:
        """Whether it is there (or has failed). Asking Ray costs as much as a round may: once for each call that is made."""
        if not self._there and self._looked != self._calls():
            self._looked = self._calls()
            self._there = bool(ray.wait([self._reference], timeout=0, fetch_local=False)[0])
        return self._there

    def results(self) -> list[Tree]:
        """Nothing, once it is there."""
        if not self._there:
            self._watchdog.wait(_all([self._reference]))
            self._there = True
        return []


class RayExecutor:
    """Ships one run's programs to actors. Lane d >= 0 is device d's; lane -1 is the server's, which ``server`` plays."""

    name = "ray"

    def __init__(self, actors: Actors, server: Any, pulse: Callable[[], Pulse]) -> None:
        self.calls = 0
        self._held: dict[Result, Held] = {}
        self._latest: frozenset[Result] = frozenset()  # what the server's last call makes
        self._completions = WeakValueDictionary[Any, RayCompletion]()  # results that share an object share one
        self._server = server
        self._hosts, self._devices = actors.hosts, actors.devices
        self._watchdog = Watchdog(
            [Watched(host) for host in self._hosts],
            [Watched(device) for device in self._devices],
            pulse,
            actors.patience_s,
        )

    def play(self, programs: list[Program]) -> None:
        """Send programs to their actors; returns at once.

        A call begins when all its arguments are there. What takes results of the server's last call goes apart, after the
        rest: hosts play the rest while the server merges.
        """
        direct: dict[tuple[bool, int], list[Program]] = {}
        for program in programs:
            if program.lane < 0:
                self._call(self._server, [program])
                self._latest = frozenset(program.returns)
            elif self._devices:
                self._call_device(program)
            else:
                late = not self._latest.isdisjoint(program.arguments)
                direct.setdefault((late, program.lane % len(self._hosts)), []).append(program)
        for late, host in sorted(direct):
            mine = direct[late, host]
            for start in range(0, len(mine), PROGRAMS_PER_CALL):
                self._call(self._hosts[host], mine[start : start + PROGRAMS_PER_CALL])

    def _call(self, actor: Any, programs: list[Program]) -> list[Held]:
        """One call; gives where each return is, in order, and remembers them."""
        payload, references, shares = self._pack(programs)
        made = actor.play.options(num_returns=len(shares)).remote(payload, *references)
        return self._unpack(programs, made, shares)

    def _call_device(self, program: Program) -> None:
        payload, references, shares = self._pack([program])
        actor, round = self._devices[program.lane], program.steps[-1].place.round
        made = actor.play.options(num_returns=len(shares)).remote(payload, references, len(shares), round)
        self._unpack([program], made, shares)

    def _pack(self, programs: list[Program]) -> tuple[bytes, list[Any], tuple[int, ...]]:
        """A call's payload, the references it needs, and how many of its returns each of its objects holds."""
        references: dict[Any, int] = {}
        arguments: dict[Result, tuple[int, int]] = {}
        for name in (name for program in programs for name in program.arguments):
            held = self._held[name]
            arguments[name] = (references.setdefault(held.reference, len(references)), held.place)
        shares = _shared(size for program in programs for size in program.sizes)
        self.calls += 1
        return dumps(Call(tuple(programs), arguments, shares)), list(references), shares

    def _unpack(self, programs: list[Program], made: Any, shares: tuple[int, ...]) -> list[Held]:
        references = [made] if len(shares) == 1 else list(made or [])
        held = [
            Held(reference, place)
            for reference, share in zip(references, shares, strict=True)
            for place in range(share)
        ]
        names = [name for program in programs for name in program.returns]
        self._held.update(zip(names, held, strict=True))
        return held

    def fetch(self, result: Result) -> Tree:
        """The data of a returned result; blocks."""
        held = self._held[result]
        self._watchdog.wait(_all([held.reference]))
        return _take(held)

    def drop(self, result: Result) -> None:
        """Let Ray free a result."""
        self._held.pop(result, None)

    def observe(self, programs: list[Program]) -> RayPending:
        """Run programs beside the tape, spread over the hosts; every program gives one value."""
        spread: dict[int, list[int]] = {}
        for order in range(len(programs)):
            spread.setdefault(order % len(self._hosts), []).append(order)
        found: dict[int, Held] = {}
        for host, orders in spread.items():
            held = self._call(self._hosts[host], [programs[order] for order in orders])
            found.update(zip(orders, held, strict=True))
        self._held.pop(OBSERVED, None)
        return RayPending([found[order] for order in range(len(programs))], self._watchdog)

    def completion(self, result: Result) -> RayCompletion:
        """Tells when a result is there."""
        reference = self._held[result].reference
        found = self._completions.get(reference)
        if found is None:
            found = self._completions[reference] = RayCompletion(reference, self._watchdog, lambda: self.calls)
        return found
