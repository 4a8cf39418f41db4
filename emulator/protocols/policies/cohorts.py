"""A run's cohorts: asked by the scenario's sampling, waited for as its ending says. Any protocol of rounds can use them."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from math import inf, isfinite
from typing import Any, TypeVar

from emulator.learning.random import choose, lognormal
from emulator.protocols.policies.catalogue import choice_of
from emulator.protocols.policies.deadlines import Timetable, quantile
from emulator.protocols.policies.figures import Figures, Means, Take
from emulator.protocols.policies.knowledge import Times, Turn, Uploads
from emulator.protocols.policies.settings import Backup, Deadline, FirstCome, Foreseen
from emulator.protocols.round_settings import RoundSettings
from emulator.protocols.verbs import Node, Value, World

V = TypeVar("V")
Client = Coroutine[Any, Any, V]


class Watch:
    """Looked at before each piece of work: whether one more that lasts as long as the last one would end after ``ends_s``.

    None: nothing ends too late. ``short`` is told of how many seconds of work are left undone.
    """

    def __init__(self, world: World, ends_s: float | None, short: Callable[[float], None]) -> None:
        self._world, self._ends_s, self._before = world, ends_s, world.now
        self._short = short
        self._first = True

    def over(self, left: int) -> bool:
        """Whether time is up, with so many pieces left."""
        if self._ends_s is None:
            return False
        now = self._world.now
        last = 0.0 if self._first else now - self._before
        over = now + last > self._ends_s
        if over:
            self._short(inf if self._first else left * last)
        self._before, self._first = now, False
        return over


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
        self._turn = Turn(world)
        self._times, self._uploads = Times(), Uploads()

    @property
    def partial(self) -> bool:
        """Whether a device that would be late trains less."""
        ending = self.settings.ending
        return isinstance(ending, Deadline) and ending.late == "partial"

    def leaving(self, device: Node) -> None:
        """A device's last upload of this round begins."""
        self._turn.leaving[device] = self.world.now

    def heard_by(self, device: Node, size: int, coding_s: float = 0.0) -> float | None:
        """The virtual second by which ``size`` bytes must leave a device to be there in time; None where all are waited for.

        An upload is taken to last as the device's last ones did; at first, as its connection would carry it alone, and as long
        as it takes to code it.
        """
        if not self.partial or self.ends_s is None:
            return None
        return self.ends_s - max(device.channel().upload_s(size) + coding_s, self._uploads.of(device))

    def shortened(self, device: Node, rest_s: float) -> None:
        """A device trains less than it should, to be in time: all of it would have lasted so much longer."""
        self._turn.rest_s[device] = rest_s

    def watch(self, device: Node, ends_s: float | None) -> Watch:
        """What stops a device's work in pieces in time."""
        return Watch(self.world, ends_s, lambda rest_s: self.shortened(device, rest_s))

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
        began, turn = self.world.now, Turn(self.world)
        self._turn = turn
        length = self._length_s(list(clients))
        profiling_s = self.choice.profiling_s
        if profiling_s is not None:
            length = profiling_s if isfinite(profiling_s) else None
        self.ends_s = None if length is None or profiling_s is not None else began + length
        waits = self._waits_s(list(clients))
        timed = {device: self._timed(client, device, waits.get(device, 0.0)) for device, client in clients.items()}
        done = await self.world.gather(timed, first=self._first(), within_s=length)
        turn.end()
        self.world.not_asked(device for device in clients if device not in turn.started)  # spares that nobody needed
        self._uploads.learn(turn, done)
        await self._over(turn, {device: turn.whole_s(device) for device in done}, length)
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
            known = {device.name: time for device in devices if (time := self._times.of(device)) is not None}
        if not isinstance(ending, Foreseen) or not ending.noise:
            return list(known.values())
        names = {name: self.world.seed("noise", name, self.world.round) for name in known}
        return [seconds * lognormal(names[name], ending.noise) for name, seconds in known.items()]

    async def _timed(self, client: Client[V], device: Node, wait_s: float) -> V:
        """A client's result; what becomes of it is noted."""
        turn = self._turn
        try:
            if wait_s:
                await self.world.wait(wait_s)
                await self.world.wait()  # those who end in that very instant end first
            turn.start(device)
            result = await client
            if self.figures is not None:
                await self.figures.finished(device)
            turn.finish(device)
            return result
        except Exception:  # a loss: any other failure ends the run
            turn.lost.add(device)
            raise
        finally:
            client.close()  # it may never have started

    async def _over(self, turn: Turn, whole: Mapping[Node, float], length: float | None) -> None:
        asked = list(turn.started)
        self._times.learn(turn, length)
        if self.choice.profiling_s is None:
            in_time = [seconds for device, seconds in whole.items() if device not in turn.rest_s]
            self.timetable.observe(in_time, len(asked))
        self.metrics = {} if self.settings.ending.name == "all" else {"left_out": float(len(asked) - len(whole))}
        if length is not None:
            self.metrics["deadline_s"] = length
        self.metrics |= self.choice.metrics
        await self.choice.observe(asked, whole)

    # ---- spares ------------------------------------------------------------------------------------------------------------

    def _waits_s(self, devices: list[Node]) -> dict[Node, float]:
        """Seconds after which spares start: when the others should be there; at once while nobody's time is known."""
        ending, spares = self.settings.ending, len(devices) - self.settings.cohort
        if not isinstance(ending, Backup) or spares <= 0 or self.choice.profiling_s is not None:
            return {}
        drawn = [devices[index] for index in choose(self.world.seed("spares", self.world.round), spares, len(devices))]
        after = quantile(self._times_s([device for device in devices if device not in drawn]), ending.quantile)
        return dict.fromkeys(drawn, after) if isfinite(after) else {}
