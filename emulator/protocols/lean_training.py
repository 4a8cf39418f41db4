"""A device's part in lightweight FedSL: its rounds between two aggregations, against a back of its own or a shared one."""

from typing import Any, Literal, NamedTuple, Protocol

from emulator.learning.front_pruning import Pruning, choose, restore, thick, thin, trim, unknown
from emulator.learning.lean_front import Lean, lean_front
from emulator.learning.split import Split, back, begin, end, front, resume, sizes
from emulator.learning.split_joint import Part
from emulator.protocols.courier import Offer
from emulator.protocols.parallel_split import Batch
from emulator.protocols.split_training import upward
from emulator.protocols.verbs import Mailbox, Node, Value, World


class Desk(Protocol):
    """Where a device has its minibatches answered."""

    async def ask(self, sent: tuple[Value, Value], seed: int, number: int) -> Value:
        """The cut gradient on its way to the device, of smashed data and labels on theirs to the server."""


class OwnBack:
    """A back of the device's own; ``half`` is what became of it."""

    def __init__(self, world: World, device: Node, half: Value, split: Split) -> None:
        self.half = half
        self._world, self._device, self._split = world, device, split

    async def ask(self, sent: tuple[Value, Value], seed: int, number: int) -> Value:
        """See ``Desk``."""
        self.half, gradient = await self._world.server.compute(
            back, self.half, *sent, seed, number, near=self._device, split=self._split
        )
        return self._world.server.send(gradient, to=self._device, kind="cut_gradient")


class SharedBack:
    """One back for all, which takes the minibatches of all devices as one (``parallel_split.serve``)."""

    def __init__(self, world: World, device: Node, box: Mailbox) -> None:
        self._world, self._device, self._box = world, device, box

    async def ask(self, sent: tuple[Value, Value], seed: int, number: int) -> Value:
        """See ``Desk``."""
        reply = self._world.mailbox()
        self._box.put((self._device, Batch((await sent[0], await sent[1]), Part(seed, number), reply)))
        return self._world.server.send(await reply.get(), to=self._device, kind="cut_gradient")

    def leave(self) -> None:
        """The device has no more minibatches, or is lost."""
        self._box.put((self._device, None))


class Course(NamedTuple):
    """How a device trains, and when a first minibatch goes through the whole front, so that it tells what to prune."""

    lean: Lean
    calibrate: Literal["never", "first", "every"] = "never"

    @property
    def split(self) -> Split:
        """How the model is split."""
        return self.lean.pruning.split

    def dense(self, known: bool, minibatches: int) -> bool:
        """Whether the first of a round's minibatches is that one, on a device whose gradients are known or not.

        An only minibatch leaves none to prune: with ``every`` it goes unpruned where nothing is known yet, as with ``first``.
        """
        if not self.lean.pruning.rate or self.calibrate == "never":
            return False
        return not known or (self.calibrate == "every" and minibatches > 1)


class Client:
    """A device between two aggregations: takes the front, trains for some rounds, brings it.

    ``gradients`` are the last ones of each device, by name; they stay on the devices.
    """

    def __init__(self, world: World, device: Node, offer: Offer, gradients: dict[str, Value]) -> None:
        self.world, self.device, self.offer, self.gradients = world, device, offer, gradients
        self._errand = offer.to(device)
        self._front: Value | None = None  # what its last round here made of it
        self._masks: Value | None = None

    async def train(self, desk: Desk, course: Course) -> None:
        """One round's minibatches."""
        if course.lean.plain:  # halves go on without names, as a name keeps an old one beside the new
            made = await self._plainly(await self._begun(course.split), desk, course.split)
            self._front = await self.device.compute(end, made)
        else:
            self._front = await self._leanly(await self._begun(course.split), desk, course)

    async def bring(self, pruning: Pruning | None) -> Value:
        """The front's weights, at the server; with ``pruning`` only what it keeps travels, and the mask."""
        front, masks = self._front, self._masks
        self._front = self._masks = None
        if pruning is None or masks is None:
            return await self._errand.bring(front)
        kept, told = await self.device.compute(thin, front, masks, pruning=pruning)
        if not told.nbytes:  # the rate prunes nothing here
            return await self._errand.bring(front)
        sent = self.device.send(kept, to=self.world.server, kind="update")
        mask = self.device.send(told, to=self.world.server, kind="mask")
        return await self.world.server.compute(thick, self.offer.weights, sent, mask, near=self.device, pruning=pruning)

    async def _begun(self, split: Split) -> Value:
        """The front, ready to learn."""
        kept = [await self._errand.take() if self._front is None else self._front]
        self._front = None
        return await self.device.compute(begin, kept.pop(), split=split, back=False)

    async def _plainly(self, mine: Value, desk: Desk, split: Split) -> Value:
        """As in SplitFed."""
        for number, size in enumerate(sizes(split.plan, self.device.samples)):
            mine = await self._minibatch((front, mine), desk, number, split=split, size=size)
        return mine

    async def _leanly(self, mine: Value, desk: Desk, course: Course) -> Value:
        """Pruned, quantised: gives the front's weights, all of them."""
        device, pruning, lesson = self.device, course.lean.pruning, Lesson(self.gradients.get(self.device.name))
        batches = sizes(pruning.split.plan, device.samples)
        first = int(course.dense(lesson.known is not None, len(batches)))
        for number, size in enumerate(batches):
            if pruning.rate and number == first:
                lesson, mine = await self._pruned(mine, lesson, course)
            tell = bool(pruning.rate) and (number == len(batches) - 1 or number < first)
            given = (lean_front, mine, *([] if lesson.masks is None else [lesson.masks]))
            mine, told = await self._minibatch(given, desk, number, lean=course.lean, size=size, tell=tell)
            if tell:
                lesson = await self._noted(lesson, told, pruning)
            del given, told
        mine = await device.compute(end, mine)
        if lesson.masks is not None and pruning.by == "filter":
            mine = await device.compute(restore, lesson.whole, mine, lesson.masks, pruning=pruning)
        if lesson.known is not None:
            self.gradients[device.name] = lesson.known
        self._masks = lesson.masks
        return mine

    async def _pruned(self, mine: Value, lesson: "Lesson", course: Course) -> tuple["Lesson", Value]:
        """What takes part in this round, and the half that trains."""
        device, pruning, known, whole = self.device, course.lean.pruning, lesson.known, None
        if known is None:
            known = await device.compute(unknown, mine, pruning=pruning)
        masks = await device.compute(choose, mine, known, pruning=pruning)
        if pruning.by == "filter":
            whole = await device.compute(end, mine)
        if pruning.by == "filter" or (course.calibrate != "never" and pruning.split.momentum):
            mine = await device.compute(trim, mine, masks, pruning=pruning)
        return Lesson(known, masks, whole), mine

    async def _minibatch(self, given: tuple[Any, ...], desk: Desk, number: int, **settings: Any) -> Any:
        """What a step makes of a minibatch and its answer. ``given``: the step, the half, and what else it takes."""
        (step, mine, *rest), device, seed = given, self.device, self._seed
        smashed, labels, waiting = await device.compute(step, mine, device.data, seed, number, *rest, **settings)
        sent = upward(self.world, device, smashed, labels)
        del smashed, labels  # sent is gone
        return await device.compute(resume, waiting, await desk.ask(sent, seed, number))

    async def _noted(self, lesson: "Lesson", told: Value, pruning: Pruning) -> "Lesson":
        """The newest gradients; those of filters that took no part as they were."""
        if lesson.masks is not None and pruning.by == "filter":
            told = await self.device.compute(restore, lesson.known, told, lesson.masks, pruning=pruning)
        return lesson._replace(known=told)

    @property
    def _seed(self) -> int:
        return self.world.seed("batches", self.device.name, self.world.round)


class Lesson(NamedTuple):
    """What a device knows in a round: gradients, masks, and the front as it was when filters were cut out."""

    known: Value | None
    masks: Value | None = None
    whole: Value | None = None
