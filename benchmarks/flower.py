"""Beside Flower, on the work of the tax benchmark. Optional: set FLOWER_PYTHON to the interpreter of an environment with
``flwr[simulation]`` and ``torch``. Whole runs are compared, Ray's start included on both sides."""

import os
import subprocess
import time
from pathlib import Path

from benchmarks.tax import bare_seconds, platform_seconds


def flower_seconds(interpreter: str, kind: str) -> float:
    """Seconds of Flower's whole simulation in its own environment."""
    script = Path(__file__).parent / "flower_app.py"
    done = subprocess.run([interpreter, str(script), kind], capture_output=True, text=True, check=True)
    return float(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("SECONDS")))


def main() -> bool:
    """Whole runs as multiples of the bare loop on all processors; reported, no limit."""
    interpreter = os.environ.get("FLOWER_PYTHON")
    if interpreter is None:
        print("skipped: FLOWER_PYTHON names no interpreter with flwr[simulation]")
        return True
    processes = os.cpu_count() or 1
    for kind in ("cnn", "mlp"):
        bare = bare_seconds(kind, processes)
        begun = time.perf_counter()
        training = platform_seconds(kind, processes)
        whole = time.perf_counter() - begun
        flower = flower_seconds(interpreter, kind)
        print(
            f"{kind}: bare loop {bare:.2f} s; this platform {whole:.2f} s ({whole / bare:.1f}x; training alone "
            f"{training / bare:.2f}x); Flower {flower:.2f} s ({flower / bare:.1f}x)"
        )
    return True
