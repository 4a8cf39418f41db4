"""The clock alone: a FedAvg round of thousands of devices without a tensor, and a long run with a message per minibatch.

``python -m benchmarks.clock 5000000`` takes the long run to so many verbs.
"""

import sys
import time
from typing import NamedTuple

from actors.device import resident_bytes
from actors.inline import TimingOnly
from benchmarks.fleets import plan, split_plan
from emulator.learning.models import ModelSpec
from emulator.learning.tracing import warm_up
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from emulator.rows import Event, Round
from emulator.run import simulate
from emulator.simulation import Outcome

DEVICES, LIMIT_S = 5000, 5.0
SPLIT_DEVICES, BATCHES, VERBS = 200, 10, 500_000
PER_ROUND = SPLIT_DEVICES * (6 * BATCHES + 6) + 2  # six verbs a minibatch, six around them, two averages
MOST_SLOWER, MOST_GROWTH = 1.25, 32e6  # second half beside first; bytes from a tenth of the run to its end


class Mark(NamedTuple):
    """The state at a round's end: rows told, this process's CPU seconds and its memory."""

    rows: int
    cpu_s: float
    memory_bytes: int


def long_run(verbs: int) -> list[Mark]:
    """A SplitFed v1 run of about so many verbs: a mark at its start and one per round."""
    settings = SplitFedV1Settings(rounds=max(4, round(verbs / PER_ROUND)), cohort=SPLIT_DEVICES, learning_rate=0.1)
    blueprint = split_plan(SPLIT_DEVICES, BATCHES * settings.batch_size, splitfed_v1, settings)
    rows, marks = 0, [Mark(0, time.process_time(), resident_bytes())]
    for messages in simulate(TimingOnly(), blueprint, None):
        rows += sum(isinstance(message, Event) for message in messages)
        if any(isinstance(message, Round) for message in messages):
            marks.append(Mark(rows, time.process_time(), resident_bytes()))
    return marks


def each_us(before: Mark, after: Mark) -> float:
    """Microseconds of CPU a verb between two marks."""
    return (after.cpu_s - before.cpu_s) / (after.rows - before.rows) * 1e6


def steady(verbs: int) -> bool:
    """Run it, print rates and memory; gives whether the second half was as fast as the first and memory stayed flat."""
    marks = long_run(verbs)
    early, half, end = marks[max(1, len(marks) // 10)], marks[len(marks) // 2], marks[-1]
    first, second = each_us(marks[1], half), each_us(half, end)
    growth = end.memory_bytes - early.memory_bytes
    print(
        f"timing only, SplitFed v1, {end.rows:,} verbs: {each_us(marks[0], end):.0f} us of CPU a verb (first half {first:.0f}, "
        f"second {second:.0f}, limit {MOST_SLOWER}x); memory {early.memory_bytes / 1e6:.0f} MB after a tenth, "
        f"{end.memory_bytes / 1e6:.0f} MB at the end (limit +{MOST_GROWTH / 1e6:.0f})",
        flush=True,
    )
    return second <= MOST_SLOWER * first and growth <= MOST_GROWTH


def main() -> bool:
    """Time one round of 5,000 devices, and the long run twice; gives whether the limits were kept."""
    warm_up()
    settings = FedAvgSettings(rounds=1, cohort=DEVICES, learning_rate=0.1)
    blueprint = plan(DEVICES, 64, fedavg, settings, ModelSpec("cnn", 10, (1, 28, 28)))
    begun = time.perf_counter()
    outcome = next(m for rows in simulate(TimingOnly(), blueprint, None) for m in rows if isinstance(m, Outcome))
    took = time.perf_counter() - begun
    each = took / outcome.operations * 1e6
    print(f"timing only, one FedAvg round of {DEVICES} devices: {took:.2f} s (limit {LIMIT_S}), {each:.0f} us a verb")
    kept = [steady(VERBS) for _ in range(2)]
    return took <= LIMIT_S and all(kept)


if __name__ == "__main__":
    warm_up()
    raise SystemExit(0 if steady(int(sys.argv[1]) if len(sys.argv) > 1 else VERBS) else 1)
