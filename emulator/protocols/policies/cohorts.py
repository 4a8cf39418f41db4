"""A run's cohorts: asked by the scenario's sampling, waited for as its ending says. Any protocol of rounds can use them."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from math import inf, isfinite
from typing import Any, TypeVar

from emulator.learning.random import choose, lognormal
from emulator.protocols.policies.catalogue import choice_of
from emulator.protocols.policies.deadlines import Timetable, quantile
from emulator.protocols.policies.figures import Figures, Means, Take
from emulator.protocols.policies.settings import Backup, Deadline, FirstCome, Foreseen
from emulator.protocols.round_settings import RoundSettings
from emulator.protocols.verbs import Node, Value, World

V = TypeVar("V")
Client = Coroutine[Any, Any, V]


class Watch:
    """Looked at before each piece of work: whether one more that lasts as long as the last one would end after ``ends_s``.

    None: nothing ends too late.
    """

    def __init__(self, world: World, ends_s: float | None) -> None:
        self._world, self._ends_s, self._before = world, ends_s, world.now
        self._first = True

    def over(self) -> bool:
        """Whether time is up."""
        if self._ends_s is None:
            return False
        now = self._world.now
        last = 0.0 if self._first else now - self._before
        self._before, self._first = now, False
        return now + last > self._ends_s


class Cohorts:
    """Round by round: ``await ask()`` who takes part, ``await gather(clients)`` for those that count.

    ``expect`` tells the nominal seconds of a device's round, where policies go by them; ``figures``, what they ask of devices'
    data. ``ends_s`` is the virtual second at which the round under way ends; None where it waits.
    """

    def __init__(
        self,
        world: World,
        settings: RoundSettings,
        expect: Callable[[Node], float] | None = None,
        figures: Figures | None = None,
    ) -> None:
        self.world, self.settings = world, settings
        self.figures = None if settings.sampling.figure is None else figures
        self.choice = choice_of(Means(world, settings.rounds, expect, self.figures), settings.sampling)
        self.timetable = Timetable(settings.ending)
        self.expect = expect
        self.ends_s: float | None = None
        self.metrics: dict[str, float] = {}  # of the last round, for its report
        self._upload_s: dict[str, float] = {}
        self._left: dict[str, float] = {}  # when each device's upload of this round began
        self._known: dict[str, float] = {}  # seconds of a device's last round that finished; infinite: none did

    @property
    def partial(self) -> bool:
        """Whether a device that would be late trains less."""
        ending = self.settings.ending
        return isinstance(ending, Deadline) and ending.late == "partial"

    def leaving(self, device: Node) -> None:
        """A device's last upload of this round begins."""
        self._left[device.name] = self.world.now

    def heard_by(self, device: Node, size: int) -> float | None:
        """The virtual second by which ``size`` bytes must leave a device to be there in time; None where all are waited for.

        An upload is taken to last as long as the device's last one; at first, as its connection would carry it alone. One that
        came too late counts twice as long.
        """
        if not self.partial or self.ends_s is None:
            return None
        way = device.channel()
        alone = 8 * size / way.uplink_bps + way.latency_s
        return self.ends_s - max(alone, self._upload_s.get(device.name, 0.0))

    async def ask(self, take: Take | None = None) -> list[Node]:
        """This round's devices, in fleet order. ``take``: how the round's weights come to a device that is asked ahead."""
        if self.figures is None:
            return list(await self.choice.choose(self.settings.asked))
        self.figures.take, self.figures.held = take, {}
        chosen = list(await self.choice.choose(self.settings.asked))
        self.figures.take = None
        self.figures.held = {device: held for device, held in self.figures.held.items() if device in chosen}
        return chosen

    def held(self, device: Node) -> Value | None:
        """The round's weights on a device that was sent them ahead of it; told once."""
        return None if self.figures is None else self.figures.held.pop(device, None)

    async def received(self, device: Node, here: Any) -> None:
        """A device has what it is going to train (or a verb gives it): the policy may have it look at it first."""
        if self.figures is not None:
            await self.figures.received(device, here)

    async def gather(self, clients: Mapping[Node, Client[V]]) -> dict[Node, V]:
        """The results of those that count, in the given order; the others are cut off."""
        began, took = self.world.now, dict[Node, float]()
        length = self._length_s(list(clients))
        profiling_s = self.choice.profiling_s
        if profiling_s is not None:
            length = profiling_s if isfinite(profiling_s) else None
        self.ends_s = None if length is None or profiling_s is not None else began + length
        waits = self._waits_s(list(clients))
        timed = {
            device: self._timed(client, device, took, waits.get(device, 0.0)) for device, client in clients.items()
        }
        done = await self.world.gather(timed, first=self._first(), within_s=length)
        self._note_uploads(began, {device: took[device] for device in done})
        await self._over(list(clients), {device: took[device] for device in done}, length)
        return done

    # ---- when it ends ------------------------------------------------------------------------------------------------------

    def _first(self) -> int | None:
        few = isinstance(self.settings.ending, FirstCome | Backup) and self.choice.profiling_s is None
        return self.settings.cohort if few else None

    def _length_s(self, cohort: list[Node]) -> float | None:
        return self.timetable.length_s(self._times_s(cohort) if self.timetable.foresees else [])

    def _times_s(self, devices: Sequence[Node]) -> list[float]:
        """What is known of devices' times; those that were never asked are left out."""
        ending = self.settings.ending
        if isinstance(ending, Foreseen) and ending.knowledge == "nominal":
            assert self.expect is not None
            known = {device.name: self.expect(device) for device in devices}
        else:
            known = {device.name: self._known[device.name] for device in devices if device.name in self._known}
        if not isinstance(ending, Foreseen) or not ending.noise:
            return list(known.values())
        names = {name: self.world.seed("noise", name, self.world.round) for name in known}
        return [seconds * lognormal(names[name], ending.noise) for name, seconds in known.items()]

    async def _timed(self, client: Client[V], device: Node, took: dict[Node, float], wait_s: float) -> V:
        """A client's result; what it took, from its own start, is noted."""
        try:
            if wait_s:
                await self.world.gather({}, within_s=wait_s)
                await self.world.gather({})  # those who end in that very instant end first
            began = self.world.now
            result = await client
            if self.figures is not None:
                await self.figures.finished(device)
            took[device] = self.world.now - began
            return result
        finally:
            client.close()  # it may never have started

    def _note_uploads(self, began: float, took: Mapping[Node, float]) -> None:
        came = {device.name: began + seconds for device, seconds in took.items()}
        for name, left in self._left.items():
            self._upload_s[name] = came[name] - left if name in came else 2 * (self.world.now - left)
        self._left = {}

    async def _over(self, asked: Sequence[Node], took: Mapping[Node, float], length: float | None) -> None:
        for device in asked:
            if device in took:
                self._known[device.name] = took[device]
            elif length is not None:  # it takes at least that long
                self._known[device.name] = max(self._known.get(device.name, inf), length)
        if self.choice.profiling_s is None:
            self.timetable.observe(list(took.values()), len(asked))
        self.metrics = {} if self.settings.ending.name == "all" else {"left_out": float(len(asked) - len(took))}
        if length is not None:
            self.metrics["deadline_s"] = length
        self.metrics |= self.choice.metrics
        await self.choice.observe(asked, took)

    # ---- spares ------------------------------------------------------------------------------------------------------------

    def _waits_s(self, devices: list[Node]) -> dict[Node, float]:
        """Seconds after which spares start: when the others should be there; at once while nobody's time is known."""
        ending, spares = self.settings.ending, len(devices) - self.settings.cohort
        if not isinstance(ending, Backup) or spares <= 0 or self.choice.profiling_s is not None:
            return {}
        drawn = [devices[index] for index in choose(self.world.seed("spares", self.world.round), spares, len(devices))]
        after = quantile(self._times_s([device for device in devices if device not in drawn]), ending.quantile)
        return dict.fromkeys(drawn, after) if isfinite(after) else {}
