"""Plays programs in this process: the one place where steps really run."""

from collections.abc import Callable
from inspect import isgenerator
from typing import Any

import torch

from actors.program import Paused, Place, Program, Result, Source, Step, StepFailed, resolve
from actors.values import Tree


class Player:
    """Runs steps one after another with one torch thread. ``resources`` is what sources draw on (data sets)."""

    def __init__(self, resources: Any = None) -> None:
        self.resources = resources

    def play(
        self, program: Program, arguments: dict[Result, Tree], playing: Callable[[int], None] | None = None
    ) -> list[Tree]:
        """The values of ``program.returns``, given those of ``program.arguments``. Raises ``StepFailed``.

        ``playing`` is told of each operation before it is played.
        """
        torch.set_num_threads(1)  # per thread, and Ray plays the server's lane in a thread of its own
        values = dict(arguments)
        for step in program.steps:
            if playing is not None:
                playing(step.op)
            made = self._run(step, values)
            if step.outputs is None:
                values[Result(step.op, 0)] = made
            else:
                values.update((Result(step.op, index), item) for index, item in enumerate(made))
        return [values[result] for result in program.returns]

    def _run(self, step: Step, values: dict[Result, Tree]) -> Tree:
        try:
            inputs = [self._input(item, values) for item in step.inputs]
            made = resolve(step.function)(*inputs, **step.settings)
            if isgenerator(made):
                asked = next(made)
                return (*asked, Paused(made)) if type(asked) is tuple else (asked, Paused(made))
            return made
        except Exception as error:
            raise StepFailed(failure(step.function, step.place, error)) from error

    def _input(self, item: Any, values: dict[Result, Tree]) -> Tree:
        if isinstance(item, Result):
            return values[item]
        if isinstance(item, Source):
            return resolve(item.function)(self.resources, **dict(item.settings))
        return item


def failure(function: str, place: Place, error: Exception) -> str:
    """The message of a failed step: what, where, when, and the protocol line that asked for it."""
    return (
        f"step {function} failed on {place.node} in round {place.round} at virtual time {place.time_s:.6f} s "
        f"(asked for at {place.line}): {type(error).__name__}: {error}"
    )
