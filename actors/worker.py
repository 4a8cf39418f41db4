"""What a process that plays tensor programs holds: a player, its resources and its torch device."""

import gc
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from actors.notes import MOST, Note, Notes, ProcessLost
from actors.player import Player, failure
from actors.program import Program, Result, StepFailed, Travels, resolve
from actors.values import Tree, pack, unpack


@dataclass(frozen=True, slots=True)
class Call(Travels):
    """Programs that travel together. ``arguments`` tells where each result is: argument number, place in that object.

    ``shares``: how many of the returns, in order, each object holds that comes back.
    """

    programs: tuple[Program, ...]
    arguments: dict[Result, tuple[int, int]]
    shares: tuple[int, ...]


class WorkerPlayer:
    """Plays pickled programs on packed arguments. With ``notes``, a call that ends processes is given up after some."""

    def __init__(self, setup: str | None, arguments: tuple[Any, ...], notes: Notes | None = None) -> None:
        torch.set_num_threads(1)
        # Arguments are views of Ray's shared memory, read-only by nature; steps do not write to what they are given.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.begun = self.ended = 0
        self._notes = notes
        self._player = Player(resolve(setup)(*arguments, device=str(self.device)) if setup is not None else None)
        gc.freeze()  # torch's own objects need no scanning

    def play(self, payload: bytes, arguments: tuple[Any, ...]) -> Any:
        """Play a call's programs; gives its objects one by one (``num_returns``), each a list of packed returns."""
        self.begun += 1
        try:
            call: Call = pickle.loads(payload)
            if self._notes is None:
                return self._played(call, arguments)
            with self._notes.of(payload) as note:
                _refuse(call, note)
                return self._played(call, arguments, note.playing)
        finally:
            self.ended += 1

    def _played(self, call: Call, arguments: tuple[Any, ...], playing: Callable[[int], None] | None = None) -> Any:
        values = {name: self._value(arguments, place) for name, place in call.arguments.items()}
        made = iter([pack(tree) for program in call.programs for tree in self._player.play(program, values, playing)])
        objects = [list(islice(made, share)) for share in call.shares]
        return objects[0] if len(objects) == 1 else tuple(objects)

    def _value(self, arguments: tuple[Any, ...], place: tuple[int, int]) -> Tree:
        position, index = place
        return unpack(arguments[position][index], self.device)


def _refuse(call: Call, note: Note) -> None:
    """Raises StepFailed for a call that has ended processes enough."""
    if note.times < MOST:
        return
    steps = [step for program in call.programs for step in program.steps]
    guilty = next((step for step in steps if step.op == note.op), steps[0])
    lost = ProcessLost(f"{note.times} processes ended while they played it: killed, or out of memory")
    raise StepFailed(failure(guilty.function, guilty.place, lost))
