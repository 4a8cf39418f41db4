"""What a process that plays tensor programs holds: a player, its resources and its torch device."""

import pickle
from typing import Any

import torch

from actors.player import Player
from actors.program import Program, resolve
from actors.values import Packed, pack, unpack


class WorkerPlayer:
    """Plays pickled programs on packed arguments."""

    def __init__(self, setup: str | None, arguments: tuple[Any, ...]) -> None:
        torch.set_num_threads(1)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._player = Player(resolve(setup)(*arguments, device=str(self.device)) if setup is not None else None)

    def play(self, payload: bytes, arguments: tuple[Packed, ...]) -> Any:
        """Packed returns of all programs, in order: one value alone, several as a tuple (Ray's ``num_returns``)."""
        programs: list[Program]
        programs, names = pickle.loads(payload)
        values = {name: unpack(packed, self.device) for name, packed in zip(names, arguments, strict=True)}
        made = [pack(tree) for program in programs for tree in self._player.play(program, values)]
        return made[0] if len(made) == 1 else tuple(made)
