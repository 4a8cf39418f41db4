"""One local Ray cluster for all tests that need one, started when the first of them runs."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
# No test goes by how long it takes on the machine that it runs on.
settings.register_profile("unhurried", deadline=None, max_examples=40)  # more where a property asks for more
settings.load_profile("unhurried")
# Ray gives its workers a lower priority than whoever started them: beside other tests they would hardly ever run.
os.environ.setdefault("RAY_worker_niceness", "0")
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share the cluster are known by their names, as that is all that the spreading over processes sees."""
    for item in items:
        if isinstance(item, pytest.Function) and "local_ray" in item.fixturenames and "_ray" not in item.nodeid:
            raise pytest.UsageError(f'{item.nodeid}: uses Ray; expected "_ray" in its name or its file\'s')


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n``, tests go to whichever process is free, those that share the cluster to one."""
    from xdist.scheduler import LoadScopeScheduling

    class RayTogether(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "ray" if "_ray" in nodeid else nodeid

    return RayTogether(config, log)
