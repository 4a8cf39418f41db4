"""What one forward pass costs on devices, with gates and without: ``python -m benchmarks.adp_inference``.

Latency as the clock charges it (one image, BatchNorm in evaluation) and joules at the profile's load power; of each device as
it is, and as if its kernels computed only the channels that a gate keeps (``dynamic_channels``). No measured seconds: what is
told is the model of ``docs/devices.md``, whose elementwise operators, poolings and BatchNorms stay dense.
"""

from dataclasses import replace
from typing import NamedTuple

import torch

from emulator.devices.processor import seconds
from emulator.devices.profile import Profile
from emulator.devices.profile_file import load_profile
from emulator.learning.meter import Cost, Meter
from emulator.learning.models import ModelSpec, build
from emulator.listing import table

PROFILES = ("raspberry-pi-4", "jetson-nano", "phone-mid")
PAIRS = (("vgg16", "vgg16_gated"), ("resnet32", "resnet32_gated"))
RATIO = 0.7


class Pass(NamedTuple):
    """A forward pass: FLOPs that are executed, seconds, joules (None: the profile tells no powers)."""

    flops: int
    seconds: float
    joules: float | None


def cost_of(name: str, ratio: float | None = None, batch: int = 1) -> Cost:
    """Of a forward pass over ``batch`` images of 3x32x32."""
    model = build(ModelSpec(name, 10, (3, 32, 32), keep_ratio=ratio)).eval()
    with torch.no_grad(), Meter() as meter:
        model(torch.empty((batch, 3, 32, 32), device="meta"))
    return meter.cost()


def on(cost: Cost, profile: Profile) -> Pass:
    """The pass on a device."""
    took = seconds(cost.on(profile.dynamic_channels), profile)
    return Pass(cost.flops_on(profile.dynamic_channels), took, profile.load_w and profile.load_w * took)


def rows() -> list[tuple[str, str, Pass, Pass, Pass]]:
    """Profile and model; without gates, with them on the device as it is, and on one with dynamic channels."""
    found = []
    for name in PROFILES:
        profile = load_profile(name)
        for plain, gated in PAIRS:
            costs = cost_of(plain), cost_of(gated, RATIO)
            dynamic = replace(profile, dynamic_channels=True)
            found.append((name, gated, on(costs[0], profile), on(costs[1], profile), on(costs[1], dynamic)))
    return found


def _cells(one: Pass) -> str:
    joules = "" if one.joules is None else f", {1000 * one.joules:.1f} mJ"
    return f"{one.flops / 1e6:.1f} MFLOP, {1000 * one.seconds:.2f} ms{joules}"


def main() -> None:
    """Print the table."""
    header = ("device", "model", "without gates", "gates, as it is", "gates, dynamic channels")
    table(f"a forward pass, keep ratio {RATIO}", header, [(row[0], row[1], *map(_cells, row[2:])) for row in rows()])


if __name__ == "__main__":
    main()
