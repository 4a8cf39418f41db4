"""A cluster of two nodes, as a user joins it: who is where, and the same results when one of them is lost in mid-run."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ENVIRONMENT = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_DEDUP_LOGS": "0"}
RUN = [sys.executable, "-m", "emulator", "run", "edge_mix_20", "protocol.rounds=40", "model.name=mlp", "--json"]


@pytest.fixture
def nodes() -> Iterator[subprocess.Popen[str]]:
    """The cluster's process."""
    words = [sys.executable, "-m", "tests.actors.two_nodes"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, env=ENVIRONMENT, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
            process.communicate("\n\n", timeout=60)
        finally:
            process.kill()  # one that hangs would be waited for


def test_a_node_that_is_lost_changes_nothing(nodes: subprocess.Popen[str], tmp_path: Path) -> None:
    """Its actors start again on the other node, and what was there is made again."""
    assert nodes.stdout is not None
    assert nodes.stdin is not None
    address, placed = nodes.stdout.readline().strip().split(" ", 1)
    assert placed == "as asked"
    with subprocess.Popen(
        [*RUN, "--address", address, "--out", str(tmp_path)], env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as run:
        while run.poll() is None and not begun(tmp_path):
            time.sleep(0.1)
        nodes.stdin.write("\n")
        nodes.stdin.flush()
        try:
            told = run.communicate(timeout=300)[0]
        finally:
            run.kill()
    assert run.returncode == 0
    found = json.loads(told)
    inline = json.loads(
        subprocess.run([*RUN, "--inline", "--out", str(tmp_path)], stdout=subprocess.PIPE, check=True).stdout
    )
    assert found["status"] == "done"
    assert found["rounds"] == 40
    for key in ("weights_sha256", "events_sha256"):
        assert found[key] == inline[key]
    (log,) = tmp_path.rglob("ray.log")
    assert "retries remaining" in log.read_text()  # it was lost in mid-run


def begun(folder: Path) -> bool:
    """Whether a run in this folder has told of some rounds."""
    return any(len(table.read_text().splitlines()) > 3 for table in folder.rglob("rounds.csv"))
