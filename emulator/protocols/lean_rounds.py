"""The server's side of lightweight FedSL: who trains between two aggregations, and what becomes of fronts and backs."""

from collections.abc import Iterable

from emulator.learning.aggregation import average
from emulator.learning.split import Split, begin, end, sizes
from emulator.protocols.courier import Courier
from emulator.protocols.fedsl_settings import FedSLSettings
from emulator.protocols.lean_training import Client, Course, OwnBack, SharedBack
from emulator.protocols.parallel_split import serve
from emulator.protocols.split_cuts import Halves, at_cuts, averaged
from emulator.protocols.verbs import Mailbox, Node, Value, World


class Rounds:
    """A team that stays for ``interval`` rounds, its fronts and backs."""

    def __init__(self, world: World, settings: FedSLSettings, split: Split) -> None:
        self.world, self.settings, self.split = world, settings, split
        self.courier = Courier(world, settings)
        self.team: dict[Node, Client] = {}
        self._gradients: dict[str, Value] = {}  # of each device, there

    async def play(self, parts: Halves, *, closing: bool) -> Halves:
        """A round with backs of the devices' own: front and back at the server; the front is new when ``closing``."""
        halves = await self._hired(parts)
        trained = await self.world.gather(
            {
                device: self._alone(client, halves[device.cut][1], closing=closing)
                for device, client in self.team.items()
            }
        )
        self._stay(trained, closing=closing)
        if not any(device.samples for device in trained):
            return parts
        if closing:
            return await averaged(self.world, trained, self.split)
        samples = tuple(device.samples for device in trained)
        return parts[0], await self.world.server.compute(average, samples, *(theirs for _, theirs in trained.values()))

    async def play_joined(self, parts: Halves, *, closing: bool) -> Halves:
        """The same with one back, which goes on learning."""
        await self._hired(parts)
        front, half = parts
        box, split = self.world.mailbox(), self.split
        due = {device: len(sizes(split.plan, device.samples)) for device in self.team}
        serving = self.world.spawn(serve(self.world, half, (box, split), due))
        fronts = await self.world.gather(
            {device: self._beside(client, box, closing=closing) for device, client in self.team.items()}
        )
        half = await serving
        samples = tuple(device.samples for device in fronts)
        self._stay(fronts, closing=closing)
        if closing and any(samples):
            front = await self.world.server.compute(average, samples, *fronts.values())
        return front, half

    async def _hired(self, parts: Halves) -> dict[int | None, Halves]:
        """Who trains, sampled where nobody is there; and both halves at the cuts of those who do."""
        cohort = list(self.team) or await self.world.sample(self.settings.cohort)
        if self.settings.backs == "shared":
            halves: dict[int | None, Halves] = {self.split.cut: parts}
        else:
            halves = await at_cuts(self.world, parts, self.split, cohort)
        if not self.team:
            offers = {cut: await self.courier.offer(front) for cut, (front, _) in halves.items()}
            self.team = {device: Client(self.world, device, offers[device.cut], self._gradients) for device in cohort}
        return halves

    def _stay(self, survivors: Iterable[Node], *, closing: bool) -> None:
        """Who goes on to the next round."""
        self.team = {} if closing else {device: self.team[device] for device in survivors}

    async def _alone(self, client: Client, theirs: Value, *, closing: bool) -> Halves:
        """A device's round against a back of its own."""
        server, course = self.world.server, self.settings.course(self.split, client.device)
        half = await server.compute(begin, theirs, near=client.device, split=course.split, back=True)
        desk = OwnBack(self.world, client.device, half, course.split)
        await client.train(desk, course)
        update = await self._brought(client, course) if closing else None
        return update, await server.compute(end, desk.half, near=client.device)

    async def _beside(self, client: Client, box: Mailbox, *, closing: bool) -> Value:
        """A device's round against the back of all."""
        desk, course = SharedBack(self.world, client.device, box), self.settings.course(self.split, client.device)
        try:
            await client.train(desk, course)
        finally:
            desk.leave()
        return await self._brought(client, course) if closing else None

    async def _brought(self, client: Client, course: Course) -> Value:
        return await client.bring(course.lean.pruning if self.settings.upload == "kept" else None)
