"""ADP's claims about learning, tested on paired seeds: ``python -m benchmarks.adp_learning``.

Source: Yu et al., "Adaptive Dynamic Pruning for Non-IID Federated Learning", arXiv 2106.06921 (2021, 2023), and the logs that
the authors published: FedProx and SCAFFOLD reach high targets in fewer rounds with gates than without. The abstract's -57 % of
communication is told beside what is seen here and never judged; its definition (which baseline, which target) was not found.

Smaller than in the paper: 1,437 digits of 8x8, in place of CIFAR-10; three convolutions in place of VGG and ResNet-32; 15
rounds of 3 local epochs in place of 100 of 10; learning rate 0.05 in place of 0.01. As in the paper's code: 10 devices, all in
each round, Dirichlet 0.1, minibatches of 64, momentum 0.9, weight decay 1e-5, keep ratio 0.7. Other than there, both sides have
the same convolutions with BatchNorm. Sizes, target and thresholds were fixed before the seeds that are reported were looked at.
"""

from collections.abc import Mapping
from math import exp, log
from statistics import fmean

from benchmarks.study import Claim, Overrides, Result, Study, table
from emulator.paired import Verdict, differences, first_reaching

TARGET, ROUNDS = 0.85, 15
PLAIN: Overrides = ("model.name=cnn", "model.keep_ratio=null")
SCAFFOLD: Overrides = (
    "protocol={name: scaffold, rounds: 15, cohort: 10, local_epochs: 3, batch_size: 64, learning_rate: 0.05, momentum: 0.9, "
    "weight_decay: 1.0e-5}",
)
ALWAYS: Overrides = ("evaluate.per_device=true", "protocol.rounds=15", "protocol.local_epochs=3")

STUDY = Study(
    "adp_learning",
    "adp_small",
    {
        "fedprox": (*ALWAYS, *PLAIN),
        "fedprox with gates": ALWAYS,
        "scaffold": (*ALWAYS, *PLAIN, *SCAFFOLD),
        "scaffold with gates": (*ALWAYS, *SCAFFOLD),
    },
)


# Variant B, pruning by size: FedAvg and Dirichlet 0.5 as in its code; acceptance: at 1e-3 accuracy stays within a point.
THRESHOLDS = (0.0, 0.001, 0.01)
BY_SIZE = Study(
    "adp_by_size",
    "adp_small",
    {
        f"threshold {threshold:g}": (
            *PLAIN,
            "data.partition={kind: dirichlet, alpha: 0.5}",
            "protocol={name: fedavg, rounds: 15, cohort: 10, local_epochs: 3, batch_size: 64, learning_rate: 0.05, "
            f"momentum: 0.9, weight_decay: 1.0e-5, prune_threshold: {threshold}}}",
        )
        for threshold in THRESHOLDS
    },
)


def rounds(result: Result) -> float:
    """Rounds to the target accuracy on test data; one more than there are where it is never reached."""
    return min(first_reaching(result.series("round", "accuracy"), TARGET), ROUNDS + 1)


def log_rounds(result: Result) -> float:
    """Their logarithm: differences of it are ratios of rounds."""
    return log(rounds(result))


def best(result: Result) -> float:
    """The best test accuracy."""
    return float(result.summary["best_accuracy"])


def gap(result: Result) -> float:
    """Over-fitting: the mean accuracy on the devices' own training data less that on test data, over the last five rounds."""
    seen = zip(result.series("round", "device_accuracy"), result.series("round", "accuracy"), strict=True)
    return sum(own - test for (_, own), (_, test) in list(seen)[-5:]) / 5


def final(result: Result) -> float:
    """Test accuracy after the last round."""
    return float(result.summary["accuracy"])


def sparsity(result: Result) -> float:
    """The mean share of zeros in the convolutions of the last round's updates."""
    return result.series("round", "sparsity")[-1][1]


BY_SIZE_CLAIMS = (
    Claim("by size: accuracy at 0.001 within a point", "threshold 0.001", "threshold 0", final, within=0.01),
    Claim("by size: accuracy at 0.01 within a point", "threshold 0.01", "threshold 0", final, within=0.01),
    Claim("by size: sparsity rises from 0.001 to 0.01", "threshold 0.01", "threshold 0.001", sparsity),
)

CLAIMS = tuple(
    claim
    for name in ("fedprox", "scaffold")
    for claim in (
        Claim(
            f"{name}: at most 0.7 of the rounds to {TARGET} (logarithm)",
            name,
            f"{name} with gates",
            log_rounds,
            -log(0.7),
        ),
        Claim(f"{name}: best accuracy within 1.5 points", f"{name} with gates", name, best, within=0.015),
        Claim(f"{name}: smaller gap between own and test accuracy", name, f"{name} with gates", gap),
    )
)


def verdicts() -> list[Verdict]:
    """What came of each claim, in their order."""
    studies = ((STUDY, CLAIMS), (BY_SIZE, BY_SIZE_CLAIMS))
    return [claim.tested(results)[1] for study, claims in studies for results in [study.results()] for claim in claims]


def observed(results: Mapping[str, list[Result]]) -> str:
    """The change of rounds, and so of weights sent, to the target: beside the published -57 %; the gates' own bytes count."""
    lines = []
    for name in ("fedprox", "scaffold"):
        sides = ([log_rounds(result) for result in results[side]] for side in (f"{name} with gates", name))
        ratio = exp(differences(*sides).mean)
        sizes = [results[side][0].summary["uplink_bytes"] for side in (f"{name} with gates", name)]
        sent = ratio * sizes[0] / sizes[1]
        lines.append(f"{name}: rounds to {TARGET} {ratio - 1:+.0%}, bytes to it {sent - 1:+.0%} (published: -57 %)")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and print the tables."""
    results = STUDY.results()
    print(table(CLAIMS, results), observed(results), sep="\n\n")
    for variant, runs in results.items():
        seen = [(rounds(run), best(run), round(gap(run), 3)) for run in runs]
        print(f"{variant}: rounds, best accuracy, gap by seed: {seen}")
    pruned = BY_SIZE.results()
    print(table(BY_SIZE_CLAIMS, pruned))
    for variant, runs in pruned.items():
        zeros = 0.0 if variant == "threshold 0" else fmean(map(sparsity, runs))
        print(f"{variant}: accuracy {fmean(map(final, runs)):.3f}, sparsity {zeros:.4f}")


if __name__ == "__main__":
    main()
