"""A device's own data: a handle to the part of the data set that is its, and minibatches drawn from it by seed."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from actors.program import Source, path_of
from actors.values import Spec
from emulator.learning.datasets import Dataset


class Shard(NamedTuple):
    """Images as stored (uint8 [n, C, H, W]) and labels (int64 [n])."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Normalisation:
    """How stored pixels enter a model: ``(pixel / scale - mean) / std``, per channel."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [n, C, H, W] to float32 of the same shape."""
        pixels = images.to(torch.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            pixels[:, channel].sub_(mean * self.scale).mul_(1.0 / (std * self.scale))
        return pixels


@dataclass(frozen=True)
class Holdings:
    """What sources draw on: the data set, who has which training samples, and the validation split.

    ``parts[d]`` are device d's sample indices into the training data; ``device`` is where tensors live in this process.
    """

    dataset: Dataset
    parts: tuple[np.ndarray, ...]
    validation: np.ndarray
    device: str = "cpu"
    given: dict[str, np.ndarray] = field(default_factory=dict)  # weights to start from
    shards: dict[int, Shard] = field(default_factory=dict, compare=False)  # those cut out so far in this process

    def shard(self, index: np.ndarray) -> Shard:
        """The training samples at ``index``, copied."""
        images = torch.from_numpy(self.dataset.x_train[index])
        labels = torch.from_numpy(self.dataset.y_train[index])
        return Shard(images.to(self.device), labels.to(self.device))


def device_shard(holdings: Holdings, *, device: int) -> Shard:
    """The data of device number ``device``; cut out of the data set once per process."""
    found = holdings.shards.get(device)
    if found is None:
        found = holdings.shards[device] = holdings.shard(holdings.parts[device])
    return found


def given_weights(holdings: Holdings) -> dict[str, torch.Tensor]:
    """The weights that a scenario gives to start from."""
    return {name: torch.from_numpy(array).to(holdings.device) for name, array in holdings.given.items()}


def chunk(holdings: Holdings, *, split: str, start: int, stop: int) -> Shard:
    """Samples ``start:stop`` of the ``test`` or the ``validation`` split."""
    if split == "validation":
        return holdings.shard(holdings.validation[start:stop])
    images, labels = holdings.dataset.x_test[start:stop], holdings.dataset.y_test[start:stop]
    return Shard(torch.tensor(images).to(holdings.device), torch.tensor(labels).to(holdings.device))


def shard_source(device: int) -> Source:
    """How a program names a device's shard."""
    return Source(path_of(device_shard), (("device", device),))


def shard_spec(samples: int, shape: tuple[int, ...]) -> Spec:
    """Shapes of a shard of ``samples`` images of ``shape`` (C, H, W)."""
    images = torch.empty((samples, *shape), dtype=torch.uint8, device="meta")
    return Spec.of(Shard(images, torch.empty(samples, dtype=torch.int64, device="meta")))


class Batches:
    """Minibatches of a shard: ``epochs`` passes, or ``steps`` of them; each pass in a new order drawn from ``seed``.

    The last batch of a pass may be smaller. An empty shard gives no batches.
    """

    def __init__(self, shard: Shard, seed: int, plan: "Plan") -> None:
        self._shard = shard
        self._seed = seed
        self._plan = plan

    def __iter__(self) -> Iterator[Shard]:
        # NumPy draws the order: drawing is the loader's work, not the device's, and must not show in the step's cost.
        generator = self._orders()
        samples, size = len(self._shard.labels), self._plan.batch_size
        order: list[np.ndarray] = []
        for _ in range(self._plan.batches(samples)):
            if not order:
                drawn = generator.permutation(samples)
                order = [drawn[start : start + size] for start in range(0, samples, size)][::-1]
            yield self._take(order.pop())

    def distinct(self) -> Iterator[tuple[Callable[[], Shard], int]]:
        """One batch per distinct size, and how often it comes: all that its cost depends on."""
        for size, count in self._plan.sizes(len(self._shard.labels)).items():
            yield partial(self._take, np.zeros(size, np.int64)), count

    def passes(self) -> Iterator["Batches"]:
        """The same minibatches, pass by pass; the last pass may be cut short."""
        samples, size = len(self._shard.labels), self._plan.batch_size
        left, a_pass, orders = self._plan.batches(samples), -(-samples // size), self._orders()
        while left:
            yield _Pass(self._shard, orders, replace(self._plan, steps=min(left, a_pass)))
            left -= min(left, a_pass)

    def _orders(self) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(self._seed))

    def _take(self, index: np.ndarray) -> Shard:
        chosen = torch.from_numpy(index)
        return Shard(self._shard.images[chosen], self._shard.labels[chosen])


class _Pass(Batches):
    """One pass, which goes on where the generator of the passes before it is."""

    def __init__(self, shard: Shard, orders: np.random.Generator, plan: "Plan") -> None:
        super().__init__(shard, 0, plan)
        self._generator = orders

    def _orders(self) -> np.random.Generator:
        return self._generator


@dataclass(frozen=True)
class Plan:
    """How much a device trains: ``epochs`` passes over its data, or ``steps`` minibatches when given."""

    batch_size: int
    epochs: int = 1
    steps: int | None = None

    def part(self, share: float, samples: int) -> "Plan":
        """The first ``share`` of this plan's minibatches (rounded, one at least) for a shard of ``samples``."""
        if share == 1:
            return self
        return replace(self, steps=max(1, round(share * self.batches(samples))))

    def lighter(self) -> Iterator[tuple[str, "Plan"]]:
        """Half the batch size, and half of that, down to one: less and less memory. Each with the words for it."""
        size = self.batch_size // 2
        while size:
            yield f"batch_size {size}", replace(self, batch_size=size)
            size //= 2

    def batches(self, samples: int) -> int:
        """Number of minibatches for a shard of ``samples``."""
        if samples == 0:
            return 0
        return self.steps if self.steps is not None else self.epochs * -(-samples // self.batch_size)

    def sizes(self, samples: int) -> Counter[int]:
        """How many minibatches of which size."""
        total = self.batches(samples)
        per_pass = -(-samples // self.batch_size)
        rest = samples % self.batch_size
        short = 0 if rest == 0 or total == 0 else total // per_pass
        found = Counter({self.batch_size: total - short, rest: short})
        return +found
