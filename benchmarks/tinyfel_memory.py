"""TinyFEL's headline on VGG-11: 40 % less training memory, and the accuracy after as many rounds, from a warm start.

Acceptance: test accuracy within 2 points of full federated learning after equal rounds, memory lower by 40 % or more. The
cap is 60 % of full training's live peak; the protocol finds what fits under it: the last three of nine blocks, 54.1 % less by
weights, gradients and saved activations. Plain SGD with minibatches of 32, for which those figures are.

Smaller than anything one would publish: 20 devices, 5 a round, 5 rounds of 4 minibatches, so that a run takes about a minute
and a half of one core; weights to start from are those of three passes over 9,000 of CIFAR-10's training images, which no
device holds. Accuracy is that on 5,000 more, which nobody trains on and no decision looks at. Seeds share these images and the
start, and differ in who takes part, the minibatches and the devices' drawn speeds.
All of it was fixed before any run was looked at.

    python -m benchmarks.tinyfel_memory [PROCESSES]
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import torch

from benchmarks.study import ROOT, Claim, Overrides, Result, Study, table
from emulator.learning.evaluation import evaluate, initial_weights
from emulator.learning.models import weight_specs
from emulator.learning.random import seed_of
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.shards import Holdings, Normalisation, Plan, chunk
from emulator.preparation import load_data, split_data
from emulator.pretrained import open_weights
from emulator.reading import read_scenario
from emulator.weight_files import load_into, save

PASSES, BATCH, RATE, MOMENTUM, DECAY = 3, 50, 0.01, 0.9, 5e-4  # of the warm start
MARGIN = 0.02
WARM = ROOT / "tinyfel_memory" / "warm.safetensors"
ALWAYS: Overrides = (
    "seeds.data=1",
    "data.public=0.2",
    "model.name=vgg11",
    "devices=[{profile: jetson-nano, count: 20, cell: macro, slowdown: {distribution: lognormal, sigma: 0.3}}]",
    "evaluate={every: 5, samples: 200, validation: 0.1}",
)
PROTOCOL = (
    "protocol={{name: tinyfel, rounds: 5, cohort: 5, local_steps: 4, batch_size: 32, learning_rate: 0.05, required: 0.45, "
    "selection: all, bandwidth: equal, {}}}"
)
FULL, CAPPED = "full", "cap of 60 %"
STUDY = Study(
    "tinyfel_memory",
    "tinyfel_cell",
    {
        variant: (*ALWAYS, f"model.weights={WARM}", PROTOCOL.format(words))
        for variant, words in (
            (FULL, "ratio: full"),
            (CAPPED, "ratio: largest, memory_share: 0.6"),
        )
    },
    (1, 2, 3, 4, 5),
)


def warm_start() -> Path:
    """The weights to start from: made once, about eight minutes of one core."""
    if not WARM.exists():
        WARM.parent.mkdir(parents=True, exist_ok=True)
        problem, holdings = _world()
        sgd = LocalSGD(problem, Plan(BATCH, PASSES), RATE, MOMENTUM, DECAY)
        torch.set_num_threads(1)
        shard, weights = holdings.shard(holdings.parts[0]), initial_weights(seed_of(1, "initial"), model=problem.model)
        weights = train(weights, shard, seed_of(1, "pretrain"), sgd=sgd)
        told = {"data": "cifar10", "samples": str(len(shard.labels)), "epochs": str(PASSES)}
        save(WARM, problem.model, weights, told)
    return WARM


def start_accuracy() -> float:
    """What the warm start knows already, of the images that runs are judged by."""
    problem, holdings = _world()
    weights = load_into(problem.model, open_weights(str(warm_start())), list(weight_specs(problem.model)))
    score = evaluate(
        chunk(holdings, split="validation", start=0, stop=len(holdings.validation)), weights, problem=problem
    )
    return int(score.correct) / score.samples


def _world() -> tuple[Problem, Holdings]:
    """The problem, and the public images as the only part beside those held out."""
    scenario = read_scenario("tinyfel_cell", list(ALWAYS))
    dataset = load_data(scenario)
    _, held_out, public = split_data(scenario, dataset)
    problem = Problem(scenario.model_spec, Normalisation(dataset.scale, dataset.mean, dataset.std))
    return problem, Holdings(dataset, (public,), held_out)


def results(processes: int | None = None) -> dict[str, list[Result]]:
    """All runs, about a minute each; those that are kept are not run again."""
    warm_start()
    return STUDY.results(processes)


def final(result: Result) -> float:
    """Accuracy after the last round on the images that nobody trains on."""
    return result.series("round", "validation_accuracy")[-1][1]


def peak(result: Result) -> float:
    """Largest memory of a device, live, in bytes: also weights as received, its images and maps that pass."""
    return float(result.summary["device_peak_memory_bytes"])


CLAIMS = (Claim("under the cap: accuracy as that of full training", CAPPED, FULL, final, within=MARGIN),)


def table_of_runs(found: Mapping[str, list[Result]]) -> str:
    """Means over seeds: what was learned, and what it cost."""
    start = start_accuracy()
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
