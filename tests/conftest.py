"""One local Ray cluster for all tests that need one, started when the first of them runs."""

import signal
from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)
# A shell that starts the tests in the background has interrupts ignored; the tests of interrupts, and their child
# processes, need them.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray on this machine with two processors; ``Cluster`` finds and uses it."""
    from actors.cluster import connect, disconnect

    connect(None, dashboard=False, processors=2)
    yield
    disconnect()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share the cluster run in one process when the tests are spread over several (``-n``)."""
    for item in items:
        if isinstance(item, pytest.Function) and "local_ray" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("ray"))
