"""What a step's peak of memory is made of: weights, gradients, optimiser state, saved activations, data, the rest.

Steps say what their tensors are (``label`` in ``meter.py``); what autograd keeps for the backward pass is caught by its
saved-tensor hooks, the remainder is transient (buffers between operators). The parts sum to the peak exactly.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

from actors.values import Spec, Tree
from emulator.learning.meter import Meter

PARTS = ("weights", "gradients", "optimiser", "saved", "data", "transient")


class Inventory(Meter):
    """A meter that remembers when each storage came and went, and what it was."""

    detail = True

    def __init__(self) -> None:
        super().__init__()
        self._serials: dict[int, int] = {}  # living storages: key -> number
        self._log: list[tuple[int, int]] = []  # (number, bytes gained or lost)
        self._kinds: list[str] = []  # by number

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

    def parts(self) -> dict[str, int]:
        """Bytes of each part at the first moment of the peak."""
        live = dict.fromkeys(PARTS, 0)
        best, most, total = dict(live), 0, 0
        for serial, change in self._log:
            live[self._kinds[serial]] += change
            total += change
            if total > most:
                best, most = dict(live), total
        return best


def parts(function: Callable[..., Tree], inputs: tuple[Any, ...], settings: dict[str, Any]) -> dict[str, int]:
    """The parts (bytes) of the peak of ``function(*inputs, **settings)``; ``inputs`` are ``Spec`` or plain data."""
    arguments = [item.meta() if isinstance(item, Spec) else item for item in inputs]
    with Inventory() as inventory:
        inventory.hold(arguments)
        function(*arguments, **settings)
        return inventory.parts()
