"""Edge emulator: federated and split learning on emulated edge devices, timed by events, trained for real."""

__version__ = "0.1.0"
