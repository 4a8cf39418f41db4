"""Split training without any emulation: plain PyTorch modules in processes, a front and a back for each client."""

import time
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.bare import network

BLOCKS = {"cnn": (0, 4, 8, 11, 14), "mlp": (0, 3, 4)}  # where the platform's blocks of these models begin and end


class Work(NamedTuple):
    """One process's share: a model and its cut, how many clients, and the minibatches of each."""

    kind: str
    cut: int
    clients: int
    batches: int
    batch: int
    rounds: int


def halves(work: Work) -> tuple[nn.Sequential, nn.Sequential]:
    """Front and back."""
    layers, border = list(network(work.kind)), BLOCKS[work.kind][work.cut]
    return nn.Sequential(*layers[:border]), nn.Sequential(*layers[border:])


def train(work: Work, parts: tuple[nn.Sequential, nn.Sequential], data: tuple[Tensor, Tensor]) -> None:
    """One client: forward on the front, forward and backward on the back, backward on the front, batch by batch."""
    front, back = parts
    images, labels = data
    descents = [torch.optim.SGD(part.parameters(), lr=0.05) for part in parts]
    for index in torch.randperm(len(labels)).split(work.batch):
        for descent in descents:
            descent.zero_grad()
        smashed = front((images[index].float() / 255 - 0.5) / 0.5)
        arrived = smashed.detach().requires_grad_()
        nn.functional.cross_entropy(back(arrived), labels[index]).backward()
        descents[1].step()
        smashed.backward(arrived.grad)
        descents[0].step()


def weights_of(parts: tuple[nn.Sequential, nn.Sequential]) -> list[Tensor]:
    """All parameters and running statistics, fronts first."""
    return [tensor for part in parts for tensor in part.state_dict().values() if tensor.is_floating_point()]


def one_round(work: Work, start: list[Tensor], data: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Every client from the same weights; the sum of what they end with."""
    parts, total = halves(work), [torch.zeros_like(tensor) for tensor in start]
    for own in data:
        with torch.no_grad():
            for mine, theirs in zip(weights_of(parts), start, strict=True):
                mine.copy_(theirs)
        train(work, parts, own)
        torch._foreach_add_(total, [tensor.detach() for tensor in weights_of(parts)])
    return total


def worker(pipe: Connection, work: Work) -> None:
    """A process of its own: warms up, then trains its clients from the weights it is sent and sends back their sum."""
    torch.set_num_threads(1)
    generator, samples = np.random.default_rng(0), work.batches * work.batch
    images = torch.from_numpy(generator.integers(0, 256, (work.clients, samples, 1, 28, 28), dtype=np.uint8))
    data = list(zip(images, torch.from_numpy(generator.integers(0, 10, (work.clients, samples))), strict=True))
    start = weights_of(halves(work))
    one_round(work, start, data[:2])
    pipe.send([tensor.numpy() for tensor in start])
    while (sent := pipe.recv()) is not None:
        start = [torch.from_numpy(array) for array in sent]
        pipe.send([tensor.numpy() for tensor in one_round(work, start, data)])


def seconds(pipes: list[Connection], work: Work, weights: list[NDArray[np.float32]]) -> float:
    """Wall seconds of all rounds: the weights are sent out, trained and averaged over all ``work.clients``."""
    begun = time.perf_counter()
    for _ in range(work.rounds):
        for pipe in pipes:
            pipe.send(weights)
        sums = [pipe.recv() for pipe in pipes]
        weights = [sum(parts) / work.clients for parts in zip(*sums, strict=True)]
    return time.perf_counter() - begun
