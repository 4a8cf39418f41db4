"""How long TinyFEL's assignment takes for 10 to 200 devices, and how much latency it saves over equal parts and one ratio."""

import time

from emulator.learning.assignment import UNIFORM, Candidate, Choice, Round, solve
from emulator.learning.random import stream

BAND = Round(0.45, 20e6)
BYTES = 4 * 11_173_962  # ResNet-18


def cell(devices: int, seed: int = 0) -> tuple[Candidate, ...]:
    """Devices of equal weight with ten ratios each; signals over 40 dB, processors over a factor of four."""
    generator = stream(seed, "cell", devices)
    strengths = 10 ** generator.uniform(7, 11, devices)
    alphas = generator.uniform(0.5, 2.0, devices)
    return tuple(
        Candidate(
            1 / devices,
            tuple(Choice(u / 10, alpha * (1 + u / 5), BYTES * u / 10) for u in range(1, 11)),
            float(strength),
        )
        for strength, alpha in zip(strengths.tolist(), alphas.tolist(), strict=True)
    )


def main() -> None:
    """Print a Markdown table."""
    print("| devices | seconds to solve | latency saved |\n|---|---|---|")
    for devices in (10, 20, 50, 100, 200):
        candidates = cell(devices)
        start = time.perf_counter()
        found = solve(candidates, BAND)
        took = time.perf_counter() - start
        saved = 1 - found.latency_s / solve(candidates, BAND, UNIFORM).latency_s
        print(f"| {devices} | {took:.2f} | {100 * saved:.0f} % |")


if __name__ == "__main__":
    main()
