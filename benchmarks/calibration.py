"""How well does a calibrated profile predict this machine? Whole training steps, which calibration never timed.

``python -m benchmarks.calibration`` measures this machine's single layers, then every model at several batch sizes, and
prints predicted over measured seconds of a step. The median error must stay within 20 %.
"""

import argparse
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from torch.nn import functional

from emulator.calibrate import add_arguments, calibrate
from emulator.devices.processor import seconds
from emulator.devices.profile import Profile
from emulator.devices.profile_file import read_profile
from emulator.learning.meter import Meter
from emulator.learning.models import MODELS, ModelSpec, build, initial_weights, refusal

SHAPES = ((1, 28, 28), (3, 32, 32))
BATCHES = (1, 8, 32)
LIMIT = 0.20


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


def measured(step: Step, budget_s: float = 0.4) -> float:
    """The median of as many steps as fit the budget, three at least."""
    step()
    times: list[float] = []
    end = perf_counter() + budget_s
    while len(times) < 3 or perf_counter() < end:
        start = perf_counter()
        step()
        times.append(perf_counter() - start)
    return median(times)


def predicted(spec: ModelSpec, batch: int, profile: Profile) -> float:
    """What the platform would charge."""
    step = Step(spec, batch, "meta")
    with Meter() as meter:
        step()
    return seconds(meter.cost().ops, profile)


def this_host() -> Profile:
    """This machine, one thread, measured now."""
    with TemporaryDirectory() as folder:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        path = Path(folder) / "this-host.yaml"
        calibrate(parser.parse_args(["--threads", "1", "--out", str(path)]))
        return read_profile(path)


def main() -> bool:
    """Print the table; gives whether the median error is within the limit."""
    profile, errors = this_host(), list[float]()
    print(
        f"{'model':16}{'images':10}"
        + "".join(f"{f'batch {batch}':>10}" for batch in BATCHES)
        + "   predicted / measured"
    )
    for name in MODELS:
        for shape in SHAPES:
            spec = ModelSpec(name, 10, shape)
            if refusal(spec) is not None:
                continue
            ratios = [predicted(spec, batch, profile) / measured(Step(spec, batch, "cpu")) for batch in BATCHES]
            errors += [abs(ratio - 1) for ratio in ratios]
            print(f"{name:16}{'x'.join(map(str, shape)):10}" + "".join(f"{ratio:10.2f}" for ratio in ratios))
    print(f"median error {median(errors):.1%} over {len(errors)} steps (limit {LIMIT:.0%}), largest {max(errors):.0%}")
    return median(errors) <= LIMIT


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
