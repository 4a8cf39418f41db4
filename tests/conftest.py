"""One local Ray cluster for all tests that need one, started when the first of them runs."""

from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray on this machine with two processors; ``Cluster`` finds and uses it."""
    from actors.cluster import connect, disconnect

    connect(None, dashboard=False, processors=2)
    yield
    disconnect()
