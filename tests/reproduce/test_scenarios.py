"""The shipped scenarios reach what they say, on real data, on Ray. Figures are lower bounds, stated in the scenario files."""

from pathlib import Path
from typing import Any

import pytest

from emulator.reading import read_scenario
from emulator.run import RunOptions, run


def summary(name: str, out: Path, *overrides: str) -> dict[str, Any]:
    return run(read_scenario(name, list(overrides)), RunOptions(out=out, quiet=True)).summary


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_quickstart_reaches_95_percent_whatever_the_seed(seed: int, tmp_path: Path) -> None:
    assert summary("quickstart", tmp_path, f"seed={seed}")["best_accuracy"] >= 0.95


def test_mixed_100_fashion(tmp_path: Path) -> None:
    assert summary("mixed_100_fashion", tmp_path)["best_accuracy"] >= 0.78


def test_hundreds_300(tmp_path: Path) -> None:
    found = summary("hundreds_300", tmp_path)
    assert found["best_accuracy"] >= 0.72
    assert found["ray_calls"] <= 30 * 30  # at most one a device-round


def test_split_cuts(tmp_path: Path) -> None:
    found = summary("split_cuts", tmp_path)
    assert found["best_accuracy"] >= 0.95
    assert found["ray_calls"] <= 15 * 6 + 15 * 3 + 1  # a device-round is one call at most


def test_fedsl_mnist(tmp_path: Path) -> None:
    found = summary("fedsl_mnist", tmp_path)
    assert found["best_accuracy"] >= 0.75
    assert found["bytes_by_kind"]["smashed"] == 960 * 12 * 1600 * 7 // 10  # 16 x 5 x 5 floats a sample, 30 % dropped
