"""What befalls a device: when it is there, what else runs on it, how full its battery is, how much of its work it does."""

from dataclasses import dataclass

from emulator.devices.pace import Load
from emulator.devices.presence import Presence
from network.fading import uniform


@dataclass(frozen=True)
class Completeness:
    """The share of its local work that a device does, drawn anew each round, uniformly between two bounds."""

    key: int = 0
    low: float = 1.0
    high: float = 1.0

    def of(self, number: int) -> float:
        """The share in a round."""
        return self.low + (self.high - self.low) * uniform(self.key, number) if self.low < self.high else self.low


@dataclass(frozen=True)
class Condition:
    """One device's. ``presence`` None: always there. ``charge``: share of the battery that is full at the start."""

    presence: Presence | None = None
    load: Load | None = None
    charge: float = 1.0
    completeness: Completeness = Completeness()
