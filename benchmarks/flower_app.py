"""The same work in Flower's simulation: run by the interpreter of an environment of its own (see benchmarks/flower.py).

Prints the wall seconds of ``run_simulation``, Ray's start included, as Flower's users see it.
"""

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from bare import network
from flwr.client import ClientApp, NumPyClient
from flwr.common import Context, ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

DEVICES, SAMPLES, BATCH, ROUNDS = 50, 64, 16, 5
KIND = sys.argv[1]


class Client(NumPyClient):  # type: ignore[misc]
    """One client: minibatch SGD on random images."""

    def fit(self, parameters: list[np.ndarray], config: dict[str, Any]) -> Any:
        """Train one epoch."""
        torch.set_num_threads(1)
        generator = np.random.default_rng(0)
        images = torch.from_numpy(generator.integers(0, 256, (SAMPLES, 1, 28, 28), dtype=np.uint8))
        labels = torch.from_numpy(generator.integers(0, 10, SAMPLES))
        model = network(KIND)
        model.load_state_dict(
            {name: torch.tensor(array) for name, array in zip(model.state_dict(), parameters, strict=True)}
        )
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
        for index in torch.randperm(SAMPLES).split(BATCH):
            optimiser.zero_grad()
            inputs = (images[index].float() / 255 - 0.5) / 0.5
            nn.functional.cross_entropy(model(inputs), labels[index]).backward()
            optimiser.step()
        return [tensor.numpy() for tensor in model.state_dict().values()], SAMPLES, {}


def client_fn(context: Context) -> Any:
    """Flower asks for a client per message."""
    return Client().to_client()


def server_fn(context: Context) -> Any:
    """FedAvg over all clients, no evaluation."""
    start = ndarrays_to_parameters([tensor.numpy() for tensor in network(KIND).state_dict().values()])
    strategy = FedAvg(fraction_fit=1.0, fraction_evaluate=0.0, min_fit_clients=DEVICES, initial_parameters=start)
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=ROUNDS))


if __name__ == "__main__":
    begun = time.perf_counter()
    run_simulation(
        server_app=ServerApp(server_fn=server_fn),
        client_app=ClientApp(client_fn=client_fn),
        num_supernodes=DEVICES,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    print(f"SECONDS {time.perf_counter() - begun:.3f}")
