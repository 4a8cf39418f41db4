"""TinyFEL's headline on VGG-11: 40 % less training memory, and the accuracy after as many rounds, from a warm start.

Acceptance: test accuracy within 2 points of full federated learning after equal rounds, memory lower by 40 % or more. Two
ways to save: the last four of nine blocks (43.7 % by weights, gradients and saved activations), and what a cap of 60 % of
full training's peak leaves, as the protocol finds it. Plain SGD with minibatches of 32, for which those figures are.

Smaller than anything one would publish: 20 devices, 5 a round, 5 rounds of 4 minibatches, so that a run takes about a minute
of one core; weights to start from are those of three passes over a fifth of CIFAR-10's training images, which no device
holds. Seeds share that fifth and these weights, and differ in who takes part, the minibatches and the devices' drawn speeds.
All of it was fixed before any run was looked at.

    python -m benchmarks.tinyfel_memory [PROCESSES]
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import torch

from benchmarks.study import ROOT, Claim, Overrides, Result, Study, table
from emulator.learning.evaluation import evaluate, initial_weights
from emulator.learning.random import seed_of
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.shards import Holdings, Normalisation, Plan, chunk
from emulator.preparation import load_data, split_data
from emulator.reading import read_scenario
from emulator.weight_files import save

PASSES, BATCH, RATE, MOMENTUM, DECAY = 3, 50, 0.01, 0.9, 5e-4  # of the warm start
TEST, MARGIN = 4000, 0.02
WARM = ROOT / "tinyfel_memory" / "warm.safetensors"
ALWAYS: Overrides = (
    "seeds.data=1",
    "data.public=0.2",
    "model.name=vgg11",
    "devices=[{profile: jetson-nano, count: 20, cell: macro, slowdown: {distribution: lognormal, sigma: 0.3}}]",
    f"evaluate={{every: 5, samples: {TEST}}}",
)
PROTOCOL = (
    "protocol={{name: tinyfel, rounds: 5, cohort: 5, local_steps: 4, batch_size: 32, learning_rate: 0.05, required: 0.45, "
    "selection: all, bandwidth: equal, {}}}"
)
FULL, FOUR, CAPPED = "full", "last four blocks", "cap of 60 %"
STUDY = Study(
    "tinyfel_memory",
    "tinyfel_cell",
    {
        variant: (*ALWAYS, f"model.weights={WARM}", PROTOCOL.format(words))
        for variant, words in (
            (FULL, "ratio: full"),
            (FOUR, "ratio: fixed, update_ratio: 0.76"),
            (CAPPED, "ratio: largest, memory_share: 0.6"),
        )
    },
    (1, 2, 3, 4, 5),
)


def warm_start() -> Path:
    """The weights to start from: made once, about eight minutes of one core; their accuracy is in ``warm.json`` beside them."""
    if not WARM.exists():
        WARM.parent.mkdir(parents=True, exist_ok=True)
        scenario = read_scenario("tinyfel_cell", list(ALWAYS))
        dataset = load_data(scenario)
        public = split_data(scenario, dataset)[2]
        problem = Problem(scenario.model_spec, Normalisation(dataset.scale, dataset.mean, dataset.std))
        holdings = Holdings(dataset, (public,), public)
        sgd = LocalSGD(problem, Plan(BATCH, PASSES), RATE, MOMENTUM, DECAY)
        torch.set_num_threads(1)
        weights = initial_weights(seed_of(1, "initial"), model=problem.model)
        weights = train(weights, holdings.shard(public), seed_of(1, "pretrain"), sgd=sgd)
        score = evaluate(chunk(holdings, split="test", start=0, stop=TEST), weights, problem=problem)
        told = {"samples": len(public), "passes": PASSES, "accuracy": int(score.correct) / score.samples}
        WARM.with_suffix(".json").write_text(json.dumps(told))
        save(WARM, problem.model, weights, {"data": "cifar10", "samples": str(len(public)), "epochs": str(PASSES)})
    return WARM


def results(processes: int | None = None) -> dict[str, list[Result]]:
    """All runs, about a minute each; those that are kept are not run again."""
    warm_start()
    return STUDY.results(processes)


def final(result: Result) -> float:
    """Test accuracy after the last round."""
    return float(result.summary["accuracy"])


def peak(result: Result) -> float:
    """Largest memory of a device, live, in bytes: also weights as received, its images and maps that pass."""
    return float(result.summary["device_peak_memory_bytes"])


CLAIMS = tuple(
    Claim(f"{variant}: accuracy as that of full training", variant, FULL, final, within=MARGIN)
    for variant in (FOUR, CAPPED)
)


def table_of_runs(found: Mapping[str, list[Result]]) -> str:
    """Means over seeds: what was learned, and what it cost."""
    start = json.loads(WARM.with_suffix(".json").read_text())["accuracy"]
    lines = ["| updated | accuracy | gain over the start | live peak | saved | virtual s | sent up |", "|---" * 7 + "|"]
    whole = fmean(map(peak, found[FULL]))
    for variant, some in found.items():
        accuracy, memory = fmean(map(final, some)), fmean(map(peak, some))
        seconds, sent = (fmean(float(one.summary[key]) for one in some) for key in ("virtual_s", "uplink_bytes"))
        lines.append(
            f"| {variant} | {accuracy:.4f} | {accuracy - start:+.4f} | {memory / 2**20:.1f} MiB | {1 - memory / whole:.1%} "
            f"| {seconds:.1f} | {sent / 1e6:.0f} MB |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    found = results(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    print(table_of_runs(found), table(CLAIMS, found), sep="\n\n")


if __name__ == "__main__":
    main()
