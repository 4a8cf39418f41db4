"""ns-3, run by an interpreter of its own, several simulations at a time; a result is one line of JSON."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "ns3"
INTERPRETER = Path(__file__).parents[2] / ".venv-ns3" / "bin" / "python"


def simulate(script: str, *arguments: object) -> Any:
    """Run one script to its end. Raises RuntimeError with its last words if it fails."""
    command = [str(INTERPRETER), str(SCRIPTS / script), *(str(argument) for argument in arguments)]
    with tempfile.TemporaryDirectory() as folder:  # ns-3's LTE module writes its tables wherever it stands
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{script} {' '.join(command[2:])}: exit {ended.returncode}\n{ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


class Simulations:
    """All simulations, started together, as many at a time as there are processors; results by name."""

    def __init__(self, cases: Mapping[str, tuple[object, ...]]) -> None:
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._running: dict[str, Future[Any]] = {
            name: self._pool.submit(simulate, str(case[0]), *case[1:]) for name, case in cases.items()
        }

    def __getitem__(self, name: str) -> Any:
        return self._running[name].result()

    def close(self) -> None:
        """Start no more of them."""
        self._pool.shutdown(cancel_futures=True)
