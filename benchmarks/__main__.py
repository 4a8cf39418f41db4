"""``python -m benchmarks [NAME ...]``: run all benchmarks, or those named; exit code 1 when a limit was missed."""

import sys
from importlib import import_module

NAMES = (
    "network",
    "calibration",
    "ecofed_map",
    "noop",
    "clock",
    "tax",
    "split_speed",
    "asynchronous",
    "actors",
    "flower",
)


def run(names: list[str]) -> bool:
    """Run benchmarks by name; gives whether all limits were kept."""
    kept = True
    for name in names:
        print(f"== {name}", flush=True)
        kept &= bool(import_module(f"benchmarks.{name}").main())
    return kept


if __name__ == "__main__":
    raise SystemExit(0 if run(sys.argv[1:] or list(NAMES)) else 1)
