"""The clock alone: seconds for a FedAvg round of thousands of devices without a tensor, and microseconds a verb."""

import time

from actors.inline import TimingOnly
from benchmarks.fleets import plan
from emulator.learning.models import ModelSpec
from emulator.learning.tracing import warm_up
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.run import simulate
from emulator.simulation import Outcome

DEVICES, LIMIT_S = 5000, 5.0


def main() -> bool:
    """Time one round of 5,000 devices; gives whether the limit was kept."""
    warm_up()
    settings = FedAvgSettings(rounds=1, cohort=DEVICES, learning_rate=0.1)
    blueprint = plan(DEVICES, 64, fedavg, settings, ModelSpec("cnn", 10, (1, 28, 28)))
    begun = time.perf_counter()
    outcome = next(m for rows in simulate(TimingOnly(), blueprint, None) for m in rows if isinstance(m, Outcome))
    took = time.perf_counter() - begun
    each = took / outcome.operations * 1e6
    print(f"timing only, one FedAvg round of {DEVICES} devices: {took:.2f} s (limit {LIMIT_S}), {each:.0f} us a verb")
    return took <= LIMIT_S
