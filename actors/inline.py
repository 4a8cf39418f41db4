"""Executors that need no Ray: ``Inline`` plays at once in this process, ``TimingOnly`` never plays."""

from typing import Any

import torch

from actors.player import Player
from actors.program import Program, Result
from actors.values import Tree


class Done:
    """An observation that is already there."""

    def __init__(self, values: list[Tree]) -> None:
        self._values = values

    def ready(self) -> bool:
        """Always."""
        return True

    def results(self) -> list[Tree]:
        """One value per program."""
        return self._values


class Inline:
    """Plays every program at once, in this process, with one torch thread."""

    name = "inline"
    calls = 0

    def __init__(self, resources: Any) -> None:
        torch.set_num_threads(1)
        self._player = Player(resources)
        self._values: dict[Result, Tree] = {}

    def play(self, programs: list[Program]) -> None:
        """Run the programs now and keep what they return."""
        for program in programs:
            arguments = {result: self._values[result] for result in program.arguments}
            self._values.update(zip(program.returns, self._player.play(program, arguments), strict=True))

    def fetch(self, result: Result) -> Tree:
        """The data of a returned result."""
        return self._values[result]

    def drop(self, result: Result) -> None:
        """Forget a result."""
        self._values.pop(result, None)

    def observe(self, programs: list[Program]) -> Done:
        """Run programs beside the tape, now."""
        arguments = {result: self._values[result] for program in programs for result in program.arguments}
        return Done([self._player.play(program, arguments)[0] for program in programs])

    def completion(self, result: Result) -> Done:
        """It is there."""
        return Done([])

    def close(self) -> None:
        """Forget everything."""
        self._values.clear()


class TimingOnly:
    """Never plays: the clock alone. Nothing can be fetched; observations are empty."""

    name = "timing-only"
    calls = 0

    def play(self, programs: list[Program]) -> None:
        """Nothing."""

    def fetch(self, result: Result) -> Tree:
        """There are no data; raises RuntimeError."""
        raise RuntimeError(f"operation {result.op} has no data: timing only makes no tensor")

    def drop(self, result: Result) -> None:
        """Nothing."""

    def observe(self, programs: list[Program]) -> Done:
        """Nothing to see."""
        return Done([])

    def completion(self, result: Result) -> Done:
        """There is nothing to wait for."""
        return Done([])

    def close(self) -> None:
        """Nothing."""
