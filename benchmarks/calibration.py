"""How well does a calibrated profile predict this machine? Whole training steps, which calibration never timed.

``python -m benchmarks.calibration`` measures this machine's single layers and every model's steps at several batch sizes, in
turns (layers, steps, layers, steps, ..., layers), all by the same statistic, so that a disturbance meets both alike. It
prints predicted over measured seconds of a step, and how far the layers drifted from the first pass to the last: with a
drift beyond the errors they say little. The median error must stay within 20 %.
"""

import math
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch.nn import functional

from deploy.calibrate import CONNECTION, Figure, Timed, figures, fit_all, how, memory, merged, one_pass, quick
from deploy.calibrate import repetitions as timed_repetitions
from deploy.calibrate import text as profile_text
from emulator.devices.processor import seconds
from emulator.devices.profile import Profile
from emulator.devices.profile_file import read_profile
from emulator.learning.meter import Meter
from emulator.learning.models import MODELS, ModelSpec, build, initial_weights, refusal

SHAPES = ((1, 28, 28), (3, 32, 32))
BATCHES = (1, 8, 32)
LIMIT = 0.20
TURNS = 3
LAYER_S, STEP_S = 0.07, 0.15  # a turn


class Step:
    """One SGD step of a model on made-up data."""

    def __init__(self, spec: ModelSpec, batch: int, device: str) -> None:
        self.model = build(spec, device).train()
        if device == "cpu":
            self.model.load_state_dict(initial_weights(spec, torch.Generator().manual_seed(0)), strict=False)
        self.weights: list[torch.Tensor] = list(self.model.parameters())
        self.images = torch.rand(batch, *spec.shape, device=device)
        self.labels = torch.zeros(batch, dtype=torch.int64, device=device)

    def __call__(self) -> None:
        loss = functional.cross_entropy(self.model(self.images), self.labels)
        gradients = list(torch.autograd.grad(loss, self.weights))
        with torch.no_grad():
            torch._foreach_add_(self.weights, gradients, alpha=-1e-9)


class Case(NamedTuple):
    """What is predicted and measured: a model and a batch size."""

    spec: ModelSpec
    batch: int


def cases() -> list[Case]:
    """Every model without gates with the images that it takes, at every batch size."""
    specs = [ModelSpec(name, 10, shape) for name, info in MODELS.items() if not info.gated for shape in SHAPES]
    return [Case(spec, batch) for spec in specs if refusal(spec) is None for batch in BATCHES]


def predicted(case: Case, profile: Profile) -> float:
    """What the platform would charge."""
    step = Step(case.spec, case.batch, "meta")
    with Meter() as meter:
        step()
    return seconds(meter.cost().ops, profile)


def measured() -> tuple[list[list[Timed]], dict[Case, float]]:
    """The passes over the layers, and every step's seconds."""
    passes, times = [one_pass(LAYER_S)], dict[Case, tuple[float, ...]]()
    for _ in range(TURNS):
        for case in cases():
            found = timed_repetitions(Step(case.spec, case.batch, "cpu"), STEP_S)
            times[case] = times.get(case, ()) + found
        passes.append(one_pass(LAYER_S))
    return passes, {case: quick(found) for case, found in times.items()}


def this_host(passes: Sequence[Sequence[Timed]], load: float) -> Profile:
    """This machine, one thread."""
    radio = [Figure(key, usual, "not used here", "assumed", None) for key, usual in CONNECTION]
    found = [*figures(fit_all(merged(passes)), how(1, load)), *memory(), *radio]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "this-host.yaml"
        path.write_text(profile_text("this host", found), encoding="utf-8")
        return read_profile(path)


def drift(first: Sequence[Timed], last: Sequence[Timed]) -> tuple[float, float]:
    """Last over first of the layers' seconds: the median, and by how much nine layers in ten differ at most."""
    ratios = [quick(late.times) / quick(early.times) for early, late in zip(first, last, strict=True)]
    far = sorted(abs(math.log(ratio)) for ratio in ratios)
    return median(ratios), math.expm1(far[int(0.9 * len(far))])


def table(ratios: dict[Case, float]) -> None:
    """Print a line for each model and shape of images."""
    head = "".join(f"{f'batch {batch}':>10}" for batch in BATCHES)
    print(f"{'model':16}{'images':10}{head}{'error':>9}   predicted / measured; median error")
    for spec, group in groupby(ratios, lambda case: case.spec):
        row = [ratios[case] for case in group]
        images, error = "x".join(map(str, spec.shape)), median(abs(ratio - 1) for ratio in row)
        print(f"{spec.name:16}{images:10}" + "".join(f"{ratio:10.2f}" for ratio in row) + f"{error:9.0%}")


def main() -> bool:
    """Print the table; gives whether the median error is within the limit."""
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    torch.set_num_threads(1)
    try:
        passes, times = measured()
    finally:
        torch.set_num_threads(threads)
    profile = this_host(passes, load)
    ratios = {case: predicted(case, profile) / took for case, took in times.items()}
    table(ratios)
    errors, (middle, far) = [abs(ratio - 1) for ratio in ratios.values()], drift(passes[0], passes[-1])
    print(f"load average {load:.1f} before, {os.getloadavg()[0]:.1f} after (this benchmark itself is 1.0)")
    print(f"drift of the layers, last pass over first: median {middle:.2f}, nine in ten within {far:.0%}")
    print(f"median error {median(errors):.1%} over {len(errors)} steps (limit {LIMIT:.0%}), largest {max(errors):.0%}")
    return median(errors) <= LIMIT


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
