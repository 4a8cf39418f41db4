"""The tape: every compute as an operation, held back in its lane until another lane needs a result.

A lane is the order of one device. When a result is needed elsewhere, the lane's recorded operations leave as one program, after
what they need from other lanes. With ``patience``, needs are collected, so that many small operations travel in few calls.
What nothing refers to any more is not returned, and what nobody needs is never run: a ``Handle`` that goes out of scope
tells the tape at once (CPython counts references), and an operation without a living result is dropped with its inputs.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from actors.program import Executor, Place, Program, Result, Source, Step
from actors.values import Spec, Tree
from actors.waves import waves


@dataclass(eq=False, slots=True)
class Op:
    """A recorded operation. ``handles`` and ``uses`` count, per output, living handles and held operations that read it."""

    step: Step
    lane: int
    sizes: tuple[int, ...]  # bytes of each output
    resolved: bool = False
    shipped: bool = False
    dead: bool = False
    handles: list[int] = field(default_factory=list)
    uses: list[int] = field(default_factory=list)
    pause: int | None = None  # the output that is the step itself, waiting for an answer
    answered: bool = False
    keeps_inputs: bool = False  # shipped while waiting: it may have to be played again


class Handle:
    """A value to be: ``spec`` tells its shapes and bytes now, its data exist once the executor has played it.

    ``place`` is the node where it is. A handle of the same data at another node is another handle.
    """

    __slots__ = ("__weakref__", "index", "origin", "place", "spec", "tape")

    def __init__(self, tape: "Tape", origin: Op | Source, index: int, spec: Spec, place: Any) -> None:
        self.tape = tape
        self.origin = origin
        self.index = index
        self.spec = spec
        self.place = place
        tape.living += 1
        if tape.placed is not None:
            tape.placed(self, 1)
        if isinstance(origin, Op):
            origin.handles[index] += 1

    def __del__(self) -> None:
        self.tape.living -= 1
        if self.tape.placed is not None:
            self.tape.placed(self, -1)
        if isinstance(self.origin, Op):
            self.tape.release(self.origin, self.index)

    @property
    def nbytes(self) -> int:
        """Bytes of the value's tensors."""
        return self.spec.nbytes

    @property
    def op(self) -> int | None:
        """Number of the operation that makes this value; None for a source."""
        return self.origin.step.op if isinstance(self.origin, Op) else None

    def at(self, place: Any) -> "Handle":
        """The same data at another node."""
        return Handle(self.tape, self.origin, self.index, self.spec, place)

    @property
    def answered(self) -> bool:
        """Whether this is a waiting step that has got its answer: it takes no second one."""
        return isinstance(self.origin, Op) and self.origin.pause == self.index and self.origin.answered

    @property
    def shipped(self) -> bool:
        """Whether an executor has been told to make it."""
        return isinstance(self.origin, Source) or self.origin.shipped

    def reference(self) -> Result | Source:
        """How a program names this value."""
        if isinstance(self.origin, Op):
            return Result(self.origin.step.op, self.index)
        return self.origin


class Tape:
    """Records operations and ships them to an executor. ``living`` counts handles; ``skipped`` counts operations never run.

    ``patience``: how many operations whose results are needed elsewhere may be held back.
    """

    def __init__(self, executor: Executor, patience: int = 0) -> None:
        self.executor = executor
        self.patience = patience
        self.living = 0
        self.skipped = 0
        self.played = 0
        self.placed: Callable[[Handle, int], None] | None = None  # is told of every handle that comes (1) and goes (-1)
        self.ended: Callable[[Op], None] | None = None  # is told of every operation that may be played
        self._held: dict[int, dict[int, Op]] = {}  # lane -> op number -> op, in order
        self._ops: dict[int, Op] = {}  # those whose results may still be asked for
        self._owed: dict[Op, None] = {}  # needed elsewhere and not shipped yet

    def record(
        self,
        op: int,
        lane: int,
        call: tuple[str, tuple[Any, ...], dict[str, Any]],
        about: tuple[Spec | tuple[Spec, ...], Place],
    ) -> Op:
        """Append an operation to a lane: ``call`` is (function, inputs, settings), ``about`` (result specs, place).

        Inputs are handles or plain data. Results that come from other lanes are owed from now on. Raises ValueError for a
        second answer to a step that waits.
        """
        function, inputs, settings = call
        specs, place = about
        read = [(item.origin, item) for item in inputs if isinstance(item, Handle) and isinstance(item.origin, Op)]
        elsewhere: list[Op] = []
        for source, handle in read:
            if source.answered and source.pause == handle.index:
                twice = source.step.op
                raise ValueError(
                    f"operation {op} answers operation {twice}, which has got its answer; expected one answer"
                )
            if source.lane != lane and not source.shipped:
                elsewhere.append(source)
        if elsewhere:
            self._owe(elsewhere)
        references = tuple([item.reference() if isinstance(item, Handle) else item for item in inputs])
        outputs, every = (len(specs), specs) if isinstance(specs, tuple) else (None, (specs,))
        sizes = tuple([spec.nbytes for spec in every])
        made = Op(Step(op, function, references, settings, outputs, place), lane, sizes)
        made.handles, made.uses = [0] * len(sizes), [0] * len(sizes)
        if outputs and every[-1].pause is not None:
            made.pause = outputs - 1
        for source, handle in read:
            source.uses[handle.index] += 1
            source.answered |= source.pause == handle.index
        self._ops[op] = self._held.setdefault(lane, {})[op] = made
        return made

    def resolve(self, op: Op) -> None:
        """The operation has ended in virtual time: it may be played."""
        op.resolved = True
        if self.ended is not None:
            self.ended(op)

    def cancel(self, op: Op) -> None:
        """The operation was cut off: it is never played."""
        if not op.dead and not op.shipped:
            self._kill([op])

    def owe(self, handles: Iterable[Handle]) -> None:
        """These values are needed elsewhere, soon: lanes are shipped before more is owed than patience allows."""
        self._owe([handle.origin for handle in handles if isinstance(handle.origin, Op)])

    def need(self, handles: Iterable[Handle]) -> None:
        """Ship the lanes that hold these values, so that their results exist (or will) for others."""
        self._ship([handle.origin for handle in handles if isinstance(handle.origin, Op)])

    def _owe(self, ops: Iterable[Op]) -> None:
        """With patience what was owed before goes when it is enough: all of it has ended, so that its lanes go as a whole."""
        if len(self._owed) >= self.patience > 0:
            self._ship(self._owed, hurry=False)
        self._owed.update((op, None) for op in ops if not op.shipped)
        if not self.patience:
            self._ship(self._owed)

    def _ship(self, needed: Iterable[Op], *, hurry: bool = True) -> None:
        """Play the lanes of these operations, in waves: a lane's operations go when all that they need has gone before.

        Without ``hurry`` only the first two go (devices' work, and what is made of it) if the rest is little beside patience:
        whoever plays that would wait for the others, with what could be played meanwhile queued behind. It goes the next time.
        """
        todo = waves(self._with_lanes(needed), self._waited_for)
        if not hurry and sum(len(ops) for lanes in todo[2:] for ops in lanes) <= self.patience // 2:
            todo = todo[:2]
        for lanes in todo:
            for ops in lanes:
                for op in ops:
                    self._held[op.lane].pop(op.step.op)
                    self._owed.pop(op, None)
                    op.shipped = True
                self.played += len(ops)
            self.executor.play([self._program(ops) for ops in lanes])
            for op in (op for ops in lanes for op in ops):
                if not op.keeps_inputs:
                    self._forget_inputs(op)

    def _with_lanes(self, needed: Iterable[Op]) -> list[Op]:
        """All that has ended in virtual time in these operations' lanes, and in those that they wait for, in order."""
        lanes: dict[int, None] = {}
        found: list[Op] = []
        asked = [op.lane for op in needed if not op.shipped]
        while asked:
            lane = asked.pop()
            if lane not in lanes:
                lanes[lane] = None
                mine = [op for op in self._held.get(lane, {}).values() if op.resolved]
                found.extend(mine)
                asked.extend(source.lane for op in mine for source in self._waited_for(op))
        return sorted(found, key=lambda op: op.step.op)

    def _waited_for(self, op: Op) -> list[Op]:
        """Operations that it takes results of and that were not shipped."""
        sources = [self._ops[item.op] for item in op.step.inputs if isinstance(item, Result)]
        return [source for source in sources if not source.shipped]

    def fetch(self, handle: Handle) -> Tree:
        """The data of a value. Blocks until it has been played."""
        self.need([handle])
        reference = handle.reference()
        if isinstance(reference, Source):
            raise ValueError("a source stays where it is; compute on it instead")
        return self.executor.fetch(reference)

    def release(self, op: Op, index: int) -> None:
        """One handle of this output is gone."""
        op.handles[index] -= 1
        self._let_go(op, index)

    def _let_go(self, op: Op, index: int) -> None:
        if op.handles[index] or op.uses[index] or op.dead:
            return
        if op.shipped and index != op.pause:
            self.executor.drop(Result(op.step.op, index))
        elif op.keeps_inputs:
            op.keeps_inputs = False
            self._forget_inputs(op)
        if not any(op.handles) and not any(op.uses):
            if op.shipped:
                self._ops.pop(op.step.op, None)
            elif op.resolved:
                self._kill([op])

    def _kill(self, doomed: list[Op]) -> None:
        """Drop operations that nobody needs, and what only they needed."""
        while doomed:
            op = doomed.pop()
            op.dead = True
            self.skipped += 1
            self._held[op.lane].pop(op.step.op, None)
            self._ops.pop(op.step.op, None)
            self._owed.pop(op, None)
            for source in self._release_inputs(op):
                doomed.append(source)

    def _release_inputs(self, op: Op) -> list[Op]:
        unneeded = []
        for result in op.step.inputs:
            if isinstance(result, Result):
                source = self._ops[result.op]
                source.uses[result.output] -= 1
                source.answered &= source.pause != result.output  # an answer that never was
                if not source.shipped and source.resolved and not any(source.handles) and not any(source.uses):
                    unneeded.append(source)
                elif source.shipped:
                    self._let_go(source, result.output)
        return unneeded

    def _program(self, ops: list[Op]) -> Program:
        """The operations as one program; those that wait since an earlier one are played again before."""
        inside = {op.step.op for op in ops}
        inner = Counter(item for op in ops for item in op.step.inputs if isinstance(item, Result))
        again = [self._ops[result.op] for result in inner if result.op not in inside and self._waits(result)]
        for op in ops:
            if op.pause is not None and self._outlives(op, inner):
                op.keeps_inputs = True
                inner.subtract(item for item in op.step.inputs if isinstance(item, Result))
        needed = {item: None for op in (*again, *ops) for item in op.step.inputs if isinstance(item, Result)}
        arguments = tuple(result for result in needed if result.op not in inside and not self._waits(result))
        made = [(op, Result(op.step.op, index)) for op in ops for index in range(len(op.sizes)) if index != op.pause]
        kept = [
            (op, result) for op, result in made if op.handles[result.output] or op.uses[result.output] > inner[result]
        ]
        sizes = tuple(op.sizes[result.output] for op, result in kept)
        steps = tuple(op.step for op in (*again, *ops))
        return Program(ops[0].lane, steps, arguments, tuple(result for _, result in kept), sizes)

    def _waits(self, result: Result) -> bool:
        return self._ops[result.op].pause == result.output

    @staticmethod
    def _outlives(op: Op, inner: Counter[Result]) -> bool:
        """Whether a waiting step still waits when this program is over."""
        assert op.pause is not None
        waiting = bool(op.handles[op.pause]) and not op.answered
        return waiting or op.uses[op.pause] > inner[Result(op.step.op, op.pause)]

    def _forget_inputs(self, op: Op) -> None:
        for result in op.step.inputs:
            if isinstance(result, Result):
                source = self._ops[result.op]
                source.uses[result.output] -= 1
                self._let_go(source, result.output)
