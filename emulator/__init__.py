"""Edge emulator: federated and split learning on emulated edge devices, timed by events, trained for real."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """``emulator.load``, imported when it is first asked for: ``import emulator`` stays light."""
    if name == "load":
        from emulator.insight.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
