"""``compute``: a step on a node's processor, if it fits the node's memory; its FLOPs, time and joules."""

from bisect import bisect_right
from dataclasses import replace
from typing import Any

from actors.player import failure
from actors.program import Place, Result, StepFailed, path_of
from actors.tape import Handle, Op
from emulator.engine import Finish
from emulator.learning.meter import Cost
from emulator.learning.tracing import measure
from emulator.memory import Call, refusal
from emulator.protocols.verbs import Until
from emulator.rows import Event
from emulator.tasks import OutOfMemory, ProtocolError
from emulator.verbs import Host, Verb


class Compute(Verb):
    """A step on a node's processor."""

    def __init__(self, node: Host, call: Call, near: int | None = None, until: Until | None = None) -> None:
        self.function, inputs, self.settings = call
        self._near, self._until = near, until
        self._early = False
        self.cost: Cost
        self.work_ns = 0
        self._pieces = 0 if until is None else until.pieces
        self.memory_bytes = 0
        self._mark = 0.0
        self._recorded: Op | None = None
        super().__init__(node, inputs)

    def _begin(self) -> None:
        for item in self._inputs:
            if isinstance(item, Handle) and item.place is not self.node:
                raise ProtocolError(
                    f"{self.line}: {self.node.name} computes on a value that is at {item.place.name}; send it first"
                )
        self.node.processor.enter(self)

    def serve(self) -> None:
        """The processor is free: the work starts now."""
        self.start_ns = self.clock.now_ns
        place = Place(self.node.name, self.round, self.start_ns / 1e9, self.line)
        function = path_of(self.function)
        for item in self._inputs:
            if isinstance(item, Handle) and item.spec.pause is not None and item.answered:
                self._refuse(
                    ProtocolError(f"{self.line}: {self.node.name} answers a step a second time; expected one answer")
                )
                return
        try:
            specs = tuple([item.spec if isinstance(item, Handle) else item for item in self._inputs])
            self._specs, self.cost = measure(self.function, specs, self.settings)
        except Exception as error:
            self._refuse(StepFailed(failure(function, place, error)))
            return
        if not self._fits(specs):
            return
        self.work_ns = self.node.duration_ns(self.cost)
        self.op = self.node.engine.number(self)
        self._record(function, place)
        if self.node.supply is not None:
            self._mark = self.node.supply.begin("compute")
        self.node.processor.run(self)
        if self._until is not None:
            end = self.clock.at(round(self._until.time_s * 1e9))
            assert end.callbacks is not None
            end.callbacks.append(lambda _: self._time_is_up(specs))

    @property
    def pieces(self) -> int | None:
        """How many pieces of work with an ``until`` were done; None without one."""
        return None if self._until is None else self._pieces

    def _time_is_up(self, specs: tuple[Any, ...]) -> None:
        """What is done of the work counts, if there is any left."""
        until, made = self._until, self._recorded
        if self.triggered or made is None or until is None:
            return
        done = self.node.processor.done_ns(self)
        self._pieces = bisect_right(
            range(1, until.pieces + 1), done, key=lambda n: self._work_ns(specs, until.first(n))
        )
        made.step = replace(made.step, settings=self.settings | until.first(self._pieces))
        self._early = True
        self.served()

    def _work_ns(self, specs: tuple[Any, ...], changes: dict[str, Any]) -> int:
        return self.node.duration_ns(measure(self.function, specs, self.settings | changes)[1])

    def _refuse(self, error: Exception) -> None:
        self._over("cut off")
        self.node.processor.leave(self)
        self.break_off(error)

    def _fits(self, specs: tuple[Any, ...]) -> bool:
        """Whether the step fits the node's memory beside what is there; if not, it never starts."""
        node = self.node
        beside = node.shelf.beside(self._inputs) if node.shelf is not None else 0
        self.memory_bytes = self.cost.peak_bytes + beside
        if node.shelf is None:
            return True
        call = (self.function, specs, self.settings)
        node.shelf.need(self.memory_bytes, beside, call)
        if self.memory_bytes <= node.profile.free_memory_bytes:
            return True
        error = OutOfMemory(node.name, refusal(call, self.memory_bytes, beside, node.profile.free_memory_bytes))
        self._refuse(error)
        node.engine.out_of_memory(node, error)
        return False

    def _record(self, function: str, place: Place) -> None:
        assert self.op is not None
        call = (function, tuple(self._inputs), self.settings)
        self._recorded = made = self.node.engine.tape.record(self.op, self._lane(), call, (self._specs, place))
        self.inputs = tuple(dict.fromkeys([item.op for item in made.step.inputs if isinstance(item, Result)]))
        self._inputs.clear()

    def _lane(self) -> int:
        """Where it is played: the node's own lane; a server's step on the data of one device alone, beside those data."""
        if self.node.lane >= 0:
            return self.node.lane
        if self._near is not None:
            return self._near
        origins = (item.origin for item in self._inputs if isinstance(item, Handle))
        lanes = {origin.lane for origin in origins if isinstance(origin, Op) and origin.lane >= 0}
        return lanes.pop() if len(lanes) == 1 else self.node.lane

    def served(self) -> None:
        """The work is done."""
        if self.triggered:
            return
        tape, made, specs = self.node.engine.tape, self._recorded, self._specs
        assert made is not None
        self._recorded = None
        self._over("done")
        self._rest()
        tape.resolve(made)
        if isinstance(specs, tuple):
            self.finish(tuple([Handle(tape, made, index, spec, self.node) for index, spec in enumerate(specs)]))
        else:
            self.finish(Handle(tape, made, 0, specs, self.node))
        self.node.processor.leave(self)

    def _leave(self) -> None:
        if self._recorded is not None:
            self.node.engine.tape.cancel(self._recorded)
            self._recorded = None
            self._rest()
        self.node.processor.leave(self)

    def _rest(self) -> None:
        """The node's processor is idle from now on, or at the next compute."""
        if self.node.supply is not None:
            self.node.supply.end("compute")
        if self.node.pace is not None:
            self.node.pace.worked(self.start_ns, self.clock.now_ns)

    def event(self, cause: Finish) -> Event:
        """The compute's row. FLOPs are those that this node executes; of a compute that ended early, the share done."""
        flops, supply = self.cost.flops_on(*self.node.profile.kernels), self.node.supply
        if (self._early or cause != "done") and self.work_ns:
            flops = flops * min(self.node.processor.done_ns(self), self.work_ns) // self.work_ns
        kind = self.function.__name__
        energy = None if supply is None else supply.joules_since("compute", self._mark)
        return Event(
            self.op or 0, self.inputs, self.round, self.node.name, None, None, "compute", kind, None, 0, 0,
            flops, self.memory_bytes, self.queued_ns, self.start_ns, self.clock.now_ns, energy, cause,
        )  # fmt: skip
