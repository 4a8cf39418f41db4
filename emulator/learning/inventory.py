"""What a step's peak of memory is made of: weights, gradients, optimiser state, saved activations, data, the rest.

Steps say what their tensors are (``label`` in ``meter.py``); what autograd keeps for the backward pass is caught by its
saved-tensor hooks, the remainder is transient (buffers between operators). The parts sum to the peak exactly.
"""

from collections.abc import Callable
from inspect import isgeneratorfunction
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

from actors.program import path_of, resume
from actors.values import Pause, Tree
from emulator.learning.meter import Meter
from emulator.learning.tracing import arguments_of, begin, finish

PARTS = ("weights", "gradients", "optimiser", "saved", "data", "transient")


class Inventory(Meter):
    """A meter that remembers when each storage came and went, and what it was."""

    detail = True

    def __init__(self) -> None:
        super().__init__()
        self._serials: dict[int, int] = {}  # living storages: key -> number
        self._log: list[tuple[int, int]] = []  # (number, bytes gained or lost)
        self._kinds: list[str] = []  # by number
        self._start = 0  # of the log, from where a peak counts

    def __enter__(self) -> "Inventory":
        super().__enter__()
        self._hooks = saved_tensors_hooks(self._saved, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)
        super().__exit__(*error)

    def label(self, kind: str, tree: Tree) -> None:
        """These tensors are that, unless they were said to be something before."""
        for tensor in self.tensors(tree):
            serial = self._serials.get(tensor.untyped_storage()._cdata)
            if serial is not None and self._kinds[serial] == "transient":
                self._kinds[serial] = kind

    def _saved(self, tensor: torch.Tensor) -> torch.Tensor:
        self.label("saved", tensor)
        return tensor

    def _see(self, tensor: torch.Tensor) -> None:
        key = tensor.untyped_storage()._cdata
        new = key not in self._storages
        super()._see(tensor)
        if new:
            self._serials[key] = len(self._kinds)
            self._log.append((len(self._kinds), self._storages[key]))
            self._kinds.append("transient")

    def _freed(self, key: int) -> None:
        serial, size = self._serials.pop(key, None), self._storages.get(key, 0)
        super()._freed(key)
        if serial is not None:
            self._log.append((serial, -size))

    def restart(self) -> None:
        """Only peaks from now on count."""
        self._start = len(self._log)

    def parts(self) -> dict[str, int]:
        """Bytes of each part at the first moment of the peak."""
        live = dict.fromkeys((*PARTS, "given"), 0)
        best, most, total = dict(live), 0, 0
        for number, (serial, change) in enumerate(self._log, start=1):
            live[self._kinds[serial]] += change
            total += change
            if total > most and number >= self._start:
                best, most = dict(live), total
        return {part: best[part] for part in PARTS}


def parts(function: Callable[..., Tree], inputs: tuple[Any, ...], settings: dict[str, Any]) -> dict[str, int]:
    """The parts (bytes) of the peak of ``function(*inputs, **settings)``; ``inputs`` are ``Spec`` or plain data.

    Of an answer to a step that waits: what that step was given counts where it lies, and so not here.
    """
    inventory = Inventory()
    if function is resume:
        _answer(inventory, inputs[0].tree, inputs[1].meta())
    elif isgeneratorfunction(function):
        begin(Pause(path_of(function), inputs, tuple(settings.items()), 0), arguments_of(inputs), inventory)
    else:
        arguments = arguments_of(inputs)
        with inventory:
            inventory.hold(arguments)
            function(*arguments, **settings)
    return inventory.parts()


def _answer(inventory: Inventory, pause: Pause, answer: Tree) -> None:
    arguments = arguments_of(pause.inputs)
    inventory.hold(arguments)
    inventory.label("given", arguments)
    generator = begin(pause, arguments, inventory)[0]
    inventory.restart()
    finish(generator, answer, inventory)
