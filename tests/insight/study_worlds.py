"""Tiny whole runs for the tests of tools that look at run folders."""

from pathlib import Path
from typing import Any

import yaml

from emulator.reading import read_scenario
from emulator.run import Finished, RunOptions, run

# Four devices behind one wire each: three Raspberry Pis at 20 Mbit/s and one at 2 Mbit/s. A round of the multi-layer
# perceptron (9,610 weights, 38,440 bytes) takes the slow one 0.15 s on the air each way alone, the others a tenth of that.
SCENARIO: dict[str, Any] = {
    "name": "tiny",
    "seed": 1,
    "data": {"dataset": "digits", "samples": 200},
    "model": {"name": "mlp"},
    "devices": [
        {"profile": "raspberry-pi-4", "count": 3, "uplink": "20 Mbit/s", "downlink": "20 Mbit/s", "latency": "1 ms"},
        {"profile": "raspberry-pi-4", "count": 1, "uplink": "2 Mbit/s", "downlink": "2 Mbit/s", "latency": "1 ms"},
    ],
    "protocol": {
        "name": "fedavg", "rounds": 3, "cohort": 4, "local_epochs": 1, "batch_size": 16, "learning_rate": 0.1,
    },
    "evaluate": {"every": 1, "validation": 0.1, "samples": 100},
}  # fmt: skip


def written(folder: Path, **blocks: Any) -> str:
    """The scenario as a file, with whole blocks replaced."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(SCENARIO | blocks))
    return str(path)


def ran(folder: Path, *overrides: str, **how: Any) -> Finished:
    """A finished inline run of the scenario with overrides; its folder is under ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    options = RunOptions(out=folder, quiet=True, **({"inline": True} | how))
    return run(read_scenario(written(folder), list(overrides)), options)
