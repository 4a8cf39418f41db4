"""What FedSL's knobs cost in learning: rounds to a target and gradient norms against pruning, bits, dropout, interval and cut.

Beside plain FedSL: FedAvg, sequential split learning, and starts from pre-trained weights. The runs are ``fedsl_runs.py``'s;
thresholds, rounds and target were fixed before the runs that are told, seeds cut from ten to five by time alone.

    python -m benchmarks.fedsl_learning [--processes N] [--figures FOLDER]
"""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import fmean

from benchmarks.fedsl_runs import SEEDS, TARGET, Curve, Curves, curves
from benchmarks.trends import Trend, spread
from emulator.paired import Interval, Verdict, differences

FRONTS = {1: 156, 2: 2_572, 3: 50_692}  # parameters of LeNet's first blocks


@dataclass(frozen=True)
class Row:
    """A claim, what was measured of it, and the verdict."""

    words: str
    limit: str
    found: Interval
    verdict: Verdict

    def __str__(self) -> str:
        return f"| {self.words} | {self.limit} | {self.found} | {self.verdict} |"


def points(results: Curves, left: str, right: str) -> Interval:
    """Differences of test accuracy."""
    return differences([c.late for c in results[left]], [c.late for c in results[right]])


def saved(results: Curves, sides: tuple[str, str], what: Callable[[Curve], float]) -> Interval:
    """By how much the second variant has less of something than the first one."""
    return differences(*([what(curve) for curve in results[side]] for side in sides))


NOT_WORSE = (  # words, left, right, margin; those of 0.01 and 0.02 of knobs are the acceptance check's
    ("8 bits as accurate as 32", "bits 8", "plain", 0.01),
    ("weights pruned by 0.1 as accurate as none", "weights 0.1", "plain", 0.02),
    ("weights pruned by 0.3 as accurate as none", "weights 0.3", "plain", 0.02),
    ("filters pruned by 0.3 as accurate as none", "filters 0.3", "plain", 0.02),
    ("pruned by 0.5, cut 3 loses as much as cut 1 or more", "cut 1, weights 0.5", "cut 3, weights 0.5", 0.01),
    ("lightweight as accurate as FedAvg", "lightweight", "fedavg", 0.02),
    ("lightweight as accurate as sequential split learning", "lightweight", "split learning", 0.02),
    ("fine-tuning: lightweight as accurate as plain", "pre-trained, lightweight", "pre-trained", 0.02),
)
FASTER = (
    ("filters pruned by 0.5: faster rounds than plain FedSL, s", "plain", "filters 0.5"),
    ("dropout of 0.5: faster rounds than plain FedSL, s", "plain", "dropout 0.5"),
    ("lightweight: faster rounds than plain FedSL, s", "plain", "lightweight"),
    ("lightweight: faster rounds than FedAvg, s", "fedavg", "lightweight"),
    ("plain FedSL: faster rounds than sequential split learning, s", "split learning", "plain"),
)
SOONER = (
    ("plain: pre-trained reaches the target in fewer rounds", "plain", "pre-trained"),
    ("pruned by 0.5: pre-trained reaches the target in fewer rounds", "weights 0.5", "pre-trained, weights 0.5"),
    ("lightweight: pre-trained reaches the target in fewer rounds", "lightweight", "pre-trained, lightweight"),
)


def claims(results: Curves) -> list[Row]:
    """The directional claims: accuracy, seconds, rounds. Margins of cut, baselines and fine-tuning are ours."""
    rows = []
    for words, left, right, margin in NOT_WORSE:
        found = points(results, left, right)
        rows.append(Row(words, f"> {-margin:g}", found, found.above(-margin)))
    for words, slow, fast in FASTER:
        found = saved(results, (slow, fast), lambda curve: curve.virtual_s)
        rows.append(Row(words, "> 0", found, found.above(0)))
    for words, slow, fast in SOONER:
        found = saved(results, (slow, fast), lambda curve: curve.rounds)
        rows.append(Row(words, "> 0", found, found.above(0)))
    return rows


# ---- trends ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knob:
    """What the bound has of a knob, and where on that axis variants are; ``ticks``: what the knob itself is there."""

    name: str
    axis: str
    at: tuple[tuple[float, str], ...]
    ticks: Mapping[float, str]

    def trend(self, results: Curves, what: Callable[[Curve], float]) -> Trend:
        """A measure's logarithm against it, which is claimed to rise."""
        runs = [results[variant] for _, variant in self.at]
        seeds = range(len(runs[0]))
        return Trend(tuple(x for x, _ in self.at), tuple(tuple(what(one[seed]) for one in runs) for seed in seeds))


def _bits(bits: int) -> float:
    return 1.0 / float(2**bits - 1) ** 2


KNOBS = (
    Knob(
        "pruning",
        "share of the front's weights pruned",
        ((0, "plain"), *((rate, f"weights {rate:g}") for rate in (0.1, 0.3, 0.5, 0.7))),
        {},
    ),
    Knob(
        "fewer bits",
        "1 / (2^b - 1)^2 at b bits of a gradient",
        ((0, "plain"), *((_bits(bits), f"bits {bits}") for bits in (8, 4, 2))),
        {0: "b = 32, 8, 4", _bits(2): "b = 2"},
    ),
    Knob(
        "dropout",
        "p / (1 - p) at p of the smashed data dropped",
        ((0, "plain"), *((p / (1 - p), f"dropout {p:g}") for p in (0.1, 0.3, 0.5))),
        {},
    ),
    Knob(
        "the interval",
        "I^2 - 1 at fronts averaged every I rounds",
        ((0, "plain"), (3, "interval 2"), (15, "interval 4")),
        {0: "0", 3: "3", 15: "15"},
    ),
    Knob(
        "the front",
        "parameters of the front, half of them pruned",
        (
            (log(FRONTS[1]), "cut 1, weights 0.5"),
            (log(FRONTS[2]), "weights 0.5"),
            (log(FRONTS[3]), "cut 3, weights 0.5"),
        ),
        {log(FRONTS[cut]): f"{FRONTS[cut]:,}" for cut in FRONTS},
    ),
)
MEASURES: tuple[tuple[str, str, Callable[[Curve], float]], ...] = (
    ("gradient", "squared gradient norm", lambda curve: curve.norm),
    ("rounds", f"rounds to {TARGET:g} accuracy", lambda curve: curve.rounds),
)


def trends(results: Curves) -> dict[tuple[str, str], Trend]:
    """By measure and knob."""
    return {(name, knob.name): knob.trend(results, what) for name, _, what in MEASURES for knob in KNOBS}


def figures(results: Curves, folder: Path) -> None:
    """One picture a measure."""
    from benchmarks.figures import Panel, draw  # the only place that needs the extra

    found = trends(results)
    for name, up, _ in MEASURES:
        panels = [
            Panel(
                f"{name.capitalize()} {_rise(name)} with {knob.name}", knob.axis, up, found[name, knob.name], knob.ticks
            )
            for knob in KNOBS
        ]
        draw(panels, folder / f"fedsl_{name}.svg", columns=2)


def _rise(name: str) -> str:
    return "rise" if name.endswith("s") else "rises"


# ---- tables ----------------------------------------------------------------------------------------------------------------


def table(results: Curves) -> str:
    """Every variant: means over seeds, and half the 95 % interval of the accuracy."""
    lines = ["| variant | accuracy | rounds to target | squared gradient norm | virtual s |", "|---|---|---|---|---|"]
    for variant, runs in results.items():
        accuracy, half = spread([c.late for c in runs])
        rounds, norm, seconds = (
            fmean(column) for column in zip(*((c.rounds, c.norm, c.virtual_s) for c in runs), strict=True)
        )
        lines.append(f"| {variant} | {accuracy:.3f} ± {half:.3f} | {rounds:.1f} | {norm:.3g} | {seconds:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables, and draw the pictures where a folder is told."""
    parser = ArgumentParser(description=f"FedSL's learning claims over {len(SEEDS)} seeds")
    parser.add_argument("--processes", type=int, help="runs at once (default: as many as there are cores)")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="draw the trends into FOLDER (needs matplotlib)")
    told = parser.parse_args()
    results = curves(processes=told.processes)
    head = "\n| claim | threshold | difference, 95% interval | verdict |\n|---|---|---|---|"
    print(table(results), head, *claims(results), sep="\n")
    print("\n| trend | claim | slope of ln, 95% interval | verdict |\n|---|---|---|---|")
    for (name, knob), trend in trends(results).items():
        print(f"| {name} against {knob} | > 0 | {trend.slope} | {trend.verdict} |")
    if told.figures:
        figures(results, told.figures)


if __name__ == "__main__":
    main()
