"""The tax of a message per minibatch: split protocols on Ray beside a bare split training loop on as many processes.

``python -m benchmarks.split_speed 1`` repeats once instead of three times.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, NamedTuple

from actors.cluster import Cluster
from actors.program import path_of
from benchmarks.bare_split import Work, seconds, worker
from benchmarks.fleets import noise_fleet, split_plan
from emulator.protocols.split_counter import PipelinedTraining
from emulator.protocols.split_learning import SplitLearningSettings, split_learning
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from emulator.protocols.splitfed_v2 import SplitFedV2Settings, splitfed_v2
from emulator.rows import Event
from emulator.run import simulate
from emulator.simulation import Outcome

DEVICES, BATCHES, BATCH, ROUNDS, CUT = 200, 10, 16, 3, 1
LIMIT = 1.3
REPEATS = 3
CROSSING = ("smashed", "labels", "cut_gradient")  # one transfer of each a minibatch
TICKS = os.sysconf("SC_CLK_TCK")


class Took(NamedTuple):
    """One measurement: wall seconds, CPU seconds of all processes, Ray calls, transfers by kind."""

    wall_s: float
    cpu_s: float
    calls: int = 0
    sent: Mapping[str, int] = MappingProxyType({})


def cpu_seconds() -> float:
    """CPU seconds so far of this process and all that descend from it (Linux): what others do on the machine is not in it."""
    parents, ticks = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        number = int(entry.parent.name)
        parents[number], ticks[number] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {os.getpid()}
    while more := {number for number, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(number, 0) for number in family) / TICKS


def even() -> None:
    """Ray's processes at this one's priority, as those of the bare loop are: Ray would give them a lower one (15 less)."""
    os.environ.setdefault("RAY_worker_niceness", "0")


def platform(protocol: object, settings: PipelinedTraining, processes: int) -> Took:
    """A run on Ray, actors started before: from the first verb until the last weights are there."""
    blueprint = split_plan(DEVICES, BATCHES * BATCH, protocol, settings, CUT)
    sent, calls = Counter[str](), 0
    with Cluster() as cluster:
        cluster.start(noise_fleet(blueprint, -(-DEVICES // processes)))
        cpu_s, begun = cpu_seconds(), time.perf_counter()
        for messages in cluster.play(path_of(simulate), blueprint, None):
            sent.update(row.kind for row in messages if isinstance(row, Event) and row.verb == "send")
            calls += sum(message.calls for message in messages if isinstance(message, Outcome))
        return Took(time.perf_counter() - begun, cpu_seconds() - cpu_s, calls, sent)


def bare(processes: int) -> Took:
    """The same training by plain PyTorch, each process with its share of the clients."""
    context, pipes, started = get_context("spawn"), [], []
    work = Work("cnn", CUT, DEVICES, BATCHES, BATCH, ROUNDS)
    for number in range(processes):
        here, there = context.Pipe()
        share = work._replace(clients=len(range(number, DEVICES, processes)))
        started.append(context.Process(target=worker, args=(there, share)))
        started[-1].start()
        pipes.append(here)
    ready = [pipe.recv() for pipe in pipes]
    cpu_s = cpu_seconds()
    wall_s = seconds(pipes, work, ready[0])
    took = Took(wall_s, cpu_seconds() - cpu_s)
    for pipe, process in zip(pipes, started, strict=True):
        pipe.send(None)
        process.join()
    return took


def complete(took: Took, rounds: int) -> bool:
    """Whether every minibatch left its three transfers."""
    return all(took.sent.get(kind) == DEVICES * BATCHES * rounds for kind in CROSSING)


def told(name: str, took: Took, rounds: int) -> None:
    """A line of the table."""
    batches = DEVICES * BATCHES * rounds
    calls = f"{took.calls / DEVICES / rounds:12.3f}" if took.calls else f"{'':12}"
    crossing = "complete" if complete(took, rounds) else "" if not took.sent else f"incomplete: {dict(took.sent)}"
    print(
        f"{name:18} {took.wall_s:7.1f} {took.cpu_s:7.1f} {took.wall_s / batches * 1e3:9.2f} "
        f"{took.cpu_s / batches * 1e3:9.2f} {calls}  {crossing}",
        flush=True,
    )


def others(processes: int) -> bool:
    """SplitFed v2 and sequential split learning, one round each: their figures; gives whether their rows are complete."""
    kept = True
    common: dict[str, Any] = {"rounds": 1, "cohort": DEVICES, "learning_rate": 0.05, "batch_size": BATCH}
    for name, protocol, settings in (
        ("splitfed_v2", splitfed_v2, SplitFedV2Settings(**common)),
        ("split_learning", split_learning, SplitLearningSettings(**common)),
    ):
        took = platform(protocol, settings, processes)
        told(name, took, 1)
        kept &= complete(took, 1)
    return kept


def main(repeats: int = REPEATS) -> bool:
    """Interleaved repeats, their median ratio; gives whether the limit was kept and no row is missing."""
    even()
    processes = os.cpu_count() or 1
    print(f"the CNN cut at {CUT}: {DEVICES} devices, {BATCHES} minibatches of {BATCH}; {processes} processes")
    print("                      wall s   CPU s  wall ms/b  CPU ms/b  calls/d-round  transfers")
    pairs, kept = [], True
    settings = SplitFedV1Settings(rounds=ROUNDS, cohort=DEVICES, learning_rate=0.05, batch_size=BATCH)
    for _ in range(repeats):
        pairs.append((platform(splitfed_v1, settings, processes), bare(processes)))
        told("splitfed_v1", pairs[-1][0], ROUNDS)
        told("bare loop", pairs[-1][1], ROUNDS)
        kept &= complete(pairs[-1][0], ROUNDS)
    ratio = median(ours.wall_s / alone.wall_s for ours, alone in pairs)
    cpu = median(ours.cpu_s / alone.cpu_s for ours, alone in pairs)
    print(f"splitfed_v1 beside the bare loop: {ratio:.2f}x wall (limit {LIMIT}), {cpu:.2f}x CPU")
    return others(processes) and kept and ratio <= LIMIT


if __name__ == "__main__":
    raise SystemExit(0 if main(*[int(argument) for argument in sys.argv[1:]]) else 1)
