"""What soft-training does to learning: accuracy at equal virtual time, at equal cycles, and rotating against fixed masks.

ELFISH (arXiv 1912.01684) is compared with synchronous FedAvg over a grid of how slow stragglers are and how many there are.
Smaller than in the paper: scikit-learn's digits for MNIST and CIFAR-10, an MLP of 128 units for LeNet and AlexNet, six devices,
links that take no time. One hidden layer makes a cycle's time go by the volume, not its square: p = 1 / 2 and the guard, 0.2.
Learning rate, cycles, times and thresholds were set on seed 11, which is not reported. ``python -m benchmarks.elfish_learning``
"""

from math import inf, log

from benchmarks.study import Claim, Result, Study, table
from emulator.paired import first_reaching

CYCLES, UNITS, TARGET = 30, 25, 0.88
UNIT_S = 0.01033  # a cycle of a device that is no straggler: 240 samples (9.71 MFLOP) at 939.7 MFLOP/s
GRID = [(factor, count) for factor in (2, 5) for count in (1, 3)]
BASE = (
    "data={dataset: digits, partition: {kind: iid}}",
    "model={name: mlp}",
    "network={}",
    "evaluate={every: 1, validation: 0.0}",
)
SKEWED = "data={dataset: digits, partition: {kind: dirichlet, alpha: 0.5, min_samples: 32}}"
LOCAL = "rounds: {rounds}, cohort: 6, local_epochs: 1, batch_size: 32, learning_rate: 0.1"


def _protocol(name: str, rounds: int = CYCLES, **settings: str | float) -> str:
    own = "".join(f", {key}: {value}" for key, value in settings.items())
    return f"protocol={{name: {name}, {LOCAL.format(rounds=rounds)}{own}}}"


def _fleet(factor: int, count: int) -> tuple[str, ...]:
    board = "profile: elfish-deeplens, uplink: 100 Gbit/s, downlink: 100 Gbit/s, latency: 0 ms"
    slow = f"slowdown: {{distribution: constant, factor: {factor}.0}}"
    return (f"devices=[{{{board}, count: {6 - count}}}, {{{board}, {slow}, count: {count}}}]",)


def _grid() -> dict[str, tuple[str, ...]]:
    """Variants that stop at one virtual time (``-time``) and, at a factor of 5, after as many cycles (``-cycles``)."""
    found = {}
    for factor, count in GRID:
        for name in ("fedavg", "elfish"):
            own = (*BASE, *_fleet(factor, count))
            timed = (_protocol(name, 10 * UNITS), f"stop.virtual_time={UNITS * UNIT_S:.4f} s")
            found[f"{name}-{factor}x{count}-time"] = (*own, *timed)
            if factor == 5:
                found[f"{name}-{factor}x{count}-cycles"] = (*own, _protocol(name))
    return found


def _masks() -> dict[str, tuple[str, ...]]:
    """Every device that is slow trains 0.3 of its neurons, on skewed data; which ones differs."""
    own = (*BASE, SKEWED, *_fleet(5, 3))
    how = ("fixed", "helios", "round_robin", "random")
    return {f"{name}-masks": (*own, _protocol("elfish", slowest=3, volume=0.3, selection=name)) for name in how}


STUDY = Study("elfish", "elfish", {**_grid(), **_masks()})


def accuracy(result: Result) -> float:
    """The last that was seen."""
    return result.series("round", "accuracy")[-1][1]


def log_seconds(result: Result) -> float:
    """Logarithm of the virtual seconds to the target; the run's end where it is not reached."""
    found = first_reaching(result.series("end_s", "accuracy"), TARGET)
    return log(result.series("end_s", "accuracy")[-1][0] if found == inf else found)


CLAIMS = (
    *(
        Claim(f"accuracy at equal virtual time, {n} of 6 at 1/{f} of the speed: ELFISH above FedAvg",
              f"elfish-{f}x{n}-time", f"fedavg-{f}x{n}-time", accuracy)
        for f, n in GRID
    ),
    *(
        Claim(f"accuracy after {CYCLES} cycles, {n} of 6 at 1/5: ELFISH as FedAvg",
              f"elfish-5x{n}-cycles", f"fedavg-5x{n}-cycles", accuracy, within=0.01)
        for n in (1, 3)
    ),
    *(
        Claim(f"ln(seconds to {TARGET:g}), {n} of 6 at 1/5: FedAvg above ELFISH by ln 1.5",
              f"fedavg-5x{n}-cycles", f"elfish-5x{n}-cycles", log_seconds, above=log(1.5))
        for n in (1, 3)
    ),
    *(
        Claim(f"accuracy after {CYCLES} cycles on skewed data, 3 of 6 train 0.3: {name} above the fixed mask by 0.02",
              f"{name}-masks", "fixed-masks", accuracy, above=0.02)
        for name in ("helios", "round_robin", "random")
    ),
)  # fmt: skip


def main() -> None:
    """Run what is missing and print the table."""
    results = STUDY.results()
    print(table(CLAIMS, results))
    for name, found in results.items():
        print(f"{name}: mean accuracy {sum(map(accuracy, found)) / len(found):.3f}")


if __name__ == "__main__":
    main()
