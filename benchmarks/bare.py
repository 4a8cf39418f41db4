"""The loop without any emulation: plain PyTorch modules and optimiser, nothing of the platform."""

import time
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import nn


def network(kind: str) -> nn.Sequential:
    """The benchmark's models, written with PyTorch's own layers."""
    if kind == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    def block(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    pools = [nn.MaxPool2d(2), nn.MaxPool2d(2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*block(1, 16), pools[0], *block(16, 32), pools[1], *block(32, 64), *head)


def train(kind: str, devices: int, samples: int, batch: int) -> None:
    """One round of so many devices, one after another: every device starts from the same weights."""
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (samples, 1, 28, 28), dtype=np.uint8))
    labels = torch.from_numpy(generator.integers(0, 10, samples))
    model = network(kind)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for _ in range(devices):
        model.load_state_dict(weights)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
        for index in torch.randperm(samples).split(batch):
            optimiser.zero_grad()
            inputs = (images[index].float() / 255 - 0.5) / 0.5
            nn.functional.cross_entropy(model(inputs), labels[index]).backward()
            optimiser.step()


def worker(pipe: Connection, work: tuple[str, int, int, int], rounds: int) -> None:
    """A process of its own: warms up, waits for the word, trains, tells its seconds."""
    torch.set_num_threads(1)
    train(work[0], 2, work[2], work[3])
    pipe.send("ready")
    pipe.recv()
    begun = time.perf_counter()
    for _ in range(rounds):
        train(*work)
    pipe.send(time.perf_counter() - begun)
