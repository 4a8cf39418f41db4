"""The study of stragglers: 200 mixed devices, three systems, their policies, paired seeds; what is fast, and who pays for it.

Systems: the full model (FedAvg), a split model (EcoFed, its front pre-trained on data that no device holds) and masked
stragglers (ELFISH), as in ``scenarios/stragglers``. A run ends at the target (validation accuracy, seen every fourth round)
or after 100 rounds; one that never gets there is counted as such and enters no mean. Target, rounds and policies' settings were
fixed on seed 11, which is not reported. ``python -m benchmarks.stragglers`` prints the tables; runs are kept in
``results/studies``.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import ceil, exp, log
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

from benchmarks.study import Overrides, Result, Study
from emulator.paired import differences
from emulator.pretraining import Pretraining, pretrain
from emulator.reading import read_scenario

FRONT = Path("results/studies/stragglers-front/lenet.safetensors")
HOW = Pretraining(epochs=40, batch_size=32, learning_rate=0.05)
WAIT = "wait for all"
SYNCHRONOUS: dict[str, Overrides] = {
    WAIT: (),
    "over-selection": ("protocol.ending={name: first, over: 1.5}",),
    "deadline": ("protocol.ending={name: adaptive, wanted: 0.8}",),
    "TiFL": ("protocol.sampling={name: tifl}",),
    "Oort": ("protocol.sampling={name: oort}",),
    "power of choice": ("protocol.sampling={name: power_of_choice, d: 40}",),
}


class System(NamedTuple):
    """A scenario and its policies."""

    words: str
    scenario: str
    policies: Mapping[str, Overrides]

    @property
    def study(self) -> Study:
        """All policies over the seeds."""
        return Study(self.scenario.replace("_", "-"), self.scenario, self.policies)


LOCAL = "local_epochs: 1, batch_size: 16, learning_rate: 0.05, momentum: 0.5"
BUFFERED = "rounds: 200, concurrency: 20, buffer: 10, weighting: samples"  # as many updates as in 100 rounds of 20
FEDBUFF: Overrides = (f"protocol={{name: fedbuff, {BUFFERED}, {LOCAL}}}", "evaluate.every=8")
FROZEN: Overrides = (f"protocol={{name: frozen_fedbuff, {BUFFERED}, {LOCAL}}}", "evaluate.every=8")
FULL = System("full model", "stragglers_full", {**SYNCHRONOUS, "FedBuff": FEDBUFF})
SPLIT = System(
    "split model",
    "stragglers_split",
    {name: (f"model.weights={FRONT}", *changes) for name, changes in {**SYNCHRONOUS, "FedBuff": FROZEN}.items()},
)
MASKED = System("masked stragglers", "stragglers_elfish", SYNCHRONOUS)
SYSTEMS = (FULL, SPLIT, MASKED)

# ---- what a run tells ------------------------------------------------------------------------------------------------------


def reached(result: Result) -> bool:
    """Whether it got to the target."""
    return bool(result.summary["status"] == "stopped: accuracy")


def seconds(result: Result) -> float:
    """Virtual seconds to the target."""
    return float(result.summary["virtual_s"])


def transferred(result: Result) -> float:
    """Bytes to the target, both ways, overhead included."""
    return float(sum(result.summary[key] for key in ("uplink_bytes", "downlink_bytes", "overhead_bytes")))


def joules(result: Result) -> float:
    """Of all devices until then, idling included."""
    return float(result.summary["device_energy_j"])


class Device(NamedTuple):
    """A row of ``devices.csv``."""

    kind: str
    samples: int
    finished: int
    accuracy: float | None


def devices(result: Result) -> list[Device]:
    """Those that hold data."""
    with (result.folder / "devices.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["samples"])]
    return [
        Device(
            row["profile"],
            int(row["samples"]),
            int(row["finished"]),
            float(row["accuracy"]) if row["accuracy"] else None,
        )
        for row in rows
    ]


def kind(profile: str) -> str:
    """Board, phone or microcontroller."""
    return "phones" if profile.startswith("phone") else "microcontrollers" if profile.startswith("esp32") else "boards"


def by_kind(result: Result) -> dict[str, float]:
    """Mean accuracy on devices' own data, by kind."""
    found = defaultdict[str, list[float]](list)
    for device in devices(result):
        if device.accuracy is not None:
            found[kind(device.kind)].append(device.accuracy)
    return {name: fmean(values) for name, values in found.items()}


def worst_tenth(result: Result) -> float:
    """Mean accuracy of the tenth of the devices for which the weights are worst."""
    values = sorted(device.accuracy for device in devices(result) if device.accuracy is not None)
    return fmean(values[: ceil(len(values) / 10)])


def worst_label(result: Result) -> float:
    """Test accuracy of the label that is told worst."""
    return float(min(share for share in result.summary["accuracy_by_label"] if share is not None))


def fairness(result: Result) -> float:
    """Jain's index of rounds that counted, over devices: 1 where all took part as often, 1/n where one did alone."""
    counts = [device.finished for device in devices(result)]
    return sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts)) if any(counts) else 1.0


def microcontrollers(result: Result) -> tuple[float, float]:
    """Their share of the samples that were trained on, and of those that there are."""
    rows = devices(result)
    trained = [device.finished * device.samples for device in rows]
    slow = [kind(device.kind) == "microcontrollers" for device in rows]
    held = [device.samples for device in rows]
    return _share(trained, slow), _share(held, slow)


def _share(amounts: Sequence[int], chosen: Sequence[bool]) -> float:
    return sum(amount for amount, mine in zip(amounts, chosen, strict=True) if mine) / (sum(amounts) or 1)


# ---- tables ----------------------------------------------------------------------------------------------------------------


def speedup(base: Sequence[Result], other: Sequence[Result]) -> str:
    """How many times sooner, over the seeds in which both got there, with its interval."""
    pairs = [(seconds(a), seconds(b)) for a, b in zip(base, other, strict=True) if reached(a) and reached(b)]
    if len(pairs) < 2:
        return "too few pairs"
    found = differences([log(a) for a, _ in pairs], [log(b) for _, b in pairs])
    return f"{exp(found.mean):.1f} [{exp(found.low):.1f}, {exp(found.high):.1f}] of {found.pairs}"


def middle(results: Sequence[Result], metric: Callable[[Result], float]) -> str:
    """The median over the runs that got there."""
    values = [metric(result) for result in results if reached(result)]
    return f"{median(values):,.4g}" if values else "none"


def cost_row(name: str, base: Sequence[Result], runs: Sequence[Result]) -> str:
    """Time, bytes and joules to the target."""
    there = f"{sum(map(reached, runs))} of {len(runs)}"
    figures = (middle(runs, seconds), middle(runs, lambda run: transferred(run) / 1e6), middle(runs, joules))
    rounds = middle(runs, lambda run: float(run.summary["rounds"]))
    return f"| {name} | {there} | {rounds} | {' | '.join(figures)} | {speedup(base, runs)} |"


def payer_row(name: str, runs: Sequence[Result]) -> str:
    """Who pays: means over all runs, at their ends."""
    kinds = [fmean(by_kind(run)[key] for run in runs) for key in ("boards", "phones", "microcontrollers")]
    took, held = (fmean(side) for side in zip(*map(microcontrollers, runs), strict=True))
    rest = (fmean(map(worst_tenth, runs)), fmean(map(worst_label, runs)), fmean(map(fairness, runs)), took, held)
    return f"| {name} | {' | '.join(f'{value:.3f}' for value in (*kinds, *rest))} |"


def tables(system: System) -> str:
    """Both tables of a system, in Markdown."""
    results = system.study.results()
    base = results[WAIT]
    costs = [
        f"**{system.words}**: what the target costs (medians over the runs that reached it)\n",
        "| policy | reached | rounds | virtual s | MB | J | times sooner than waiting, 95 % interval |",
        "|---|---|---|---|---|---|---|",
        *(cost_row(name, base, runs) for name, runs in results.items()),
    ]
    payers = [
        f"\n**{system.words}**: who pays (means over all runs, at their ends)\n",
        "| policy | accuracy on boards | on phones | on microcontrollers | worst 10 % of devices | worst label | fairness | "
        "microcontrollers' share of training | of the data |",
        "|---|---|---|---|---|---|---|---|---|",
        *(payer_row(name, runs) for name, runs in results.items()),
    ]
    return "\n".join((*costs, *payers))


def make_front() -> None:
    """The weights that EcoFed's front comes from; a file that is there stays."""
    if not FRONT.is_file():
        FRONT.parent.mkdir(parents=True, exist_ok=True)
        told = pretrain(read_scenario(SPLIT.scenario, []), HOW, FRONT, lambda text: print(text, flush=True))
        print(f"pre-trained: accuracy {told:.4f} on the test set", flush=True)


def main() -> bool:
    """Print every system's tables; there is no limit to miss."""
    make_front()
    for system in SYSTEMS:
        print(f"\n{tables(system)}", flush=True)
    return True


if __name__ == "__main__":
    main()
