"""Spreads: the laws of the factors, files of factors, and what is refused."""

from math import inf, log, nan
from pathlib import Path
from statistics import median, stdev
from typing import Any

import numpy as np
import pytest

from emulator.devices.spread import Spread, read_values


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


# Theory: lognormal with median 1 and sigma 0.5; 4,000 draws: the median of the logs has a standard error of
# 1.2533 x 0.5 / sqrt(4000) = 0.0099, their deviation one of 0.5 / sqrt(8000) = 0.0056. Four of each.
def test_lognormal_has_median_one() -> None:
    logs = [log(Spread("lognormal", sigma=0.5).draw(generator)) for generator in generators(4000)]
    assert abs(median(logs)) < 0.04
    assert abs(stdev(logs) - 0.5) < 0.0224


# Theory: uniform on [2, 4) has mean 3; 4,000 draws: standard error 2 / sqrt(12) / sqrt(4000) = 0.0091. Four of them.
def test_uniform_lies_between_its_bounds() -> None:
    factors = [Spread("uniform", low=2.0, high=4.0).draw(generator) for generator in generators(4000)]
    assert min(factors) >= 2.0
    assert max(factors) < 4.0
    assert abs(sum(factors) / 4000 - 3.0) < 0.0365


# Theory: exponent 2, ranks 1 to 4: factors 1, 1/4, 1/9, 1/16, each of probability 1/4; of 4,000 draws 1,000 each, with a
# standard deviation of sqrt(4000 x 3/16) = 27.4. Four of them.
def test_zipf_is_a_law_over_ranks() -> None:
    law = Spread("zipf", exponent=2.0, ranks=4)
    factors = [law.draw(generator) for generator in generators(4000)]
    assert set(factors) == {1.0, 1 / 4, 1 / 9, 1 / 16}
    assert all(abs(factors.count(factor) - 1000) < 110 for factor in set(factors))


def test_a_factor_on_a_time_turns_zipf_over_and_nothing_else() -> None:
    law = Spread("zipf", exponent=1.0, ranks=4)
    for one, other in zip(generators(20), generators(20), strict=True):
        assert law.draw_slowdown(one) == 1 / law.draw(other) >= 1
    flat = Spread("constant", factor=3.0)
    assert (flat.draw(generators(1)[0]), flat.draw_slowdown(generators(1)[0])) == (3.0, 3.0)


# Theory: three values, each with probability 1/3 (with replacement: more draws than values); 3,000 draws, standard
# deviation sqrt(3000 x 2/9) = 25.8. Four of them.
def test_empirical_draws_uniformly_with_replacement() -> None:
    law = Spread("empirical", values=(0.5, 1.0, 4.0))
    factors = [law.draw(generator) for generator in generators(3000)]
    assert set(factors) == {0.5, 1.0, 4.0}
    assert all(abs(factors.count(factor) - 1000) < 104 for factor in set(factors))


def test_values_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "speeds.csv"
    file.write_text("model,factor\na,1.5\n\nb,0.25\n")
    assert read_values(file, "factor") == (1.5, 0.25)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", 'got no column "factor"; expected one of: none is there'),
        ("model,speed\na,1\n", 'got no column "factor"; expected one of: model, speed'),
        ("model,factor\n", "got no rows; expected numbers in column factor"),
        ("model,factor\na,1\nb,fast\n", "line 3: got 'fast' in column factor; expected a number above zero"),
        ("model,factor\na\n", "line 2: got '' in column factor"),
        ("model,factor\na,0\n", "line 2: got '0' in column factor"),
        ("model,factor\na,inf\n", "line 2: got 'inf' in column factor"),
    ],
)
def test_broken_files(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "speeds.csv"
    file.write_text(text)
    with pytest.raises(ValueError) as error:
        read_values(file, "factor")
    assert str(error.value).startswith(f"{file}: {says}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no\.csv: cannot be read: .*expected a CSV file"):
        read_values(tmp_path / "no.csv", "factor")


@pytest.mark.parametrize(
    ("distribution", "settings", "message"),
    [
        ("lognormal", {"sigma": -0.1}, r"sigma: got -0\.1; expected"),
        ("lognormal", {"sigma": nan}, r"sigma: got nan"),
        ("uniform", {"low": 3.0, "high": 2.0}, r"low: got low 3\.0, high 2\.0; expected 0 < low <= high"),
        ("uniform", {"low": 0.0}, r"low: got low 0\.0"),
        ("uniform", {"high": inf}, r"low: got low 1\.0, high inf"),
        ("constant", {"factor": 0.0}, r"factor: got 0\.0; expected"),
        ("zipf", {"exponent": 0.0}, r"exponent: got 0\.0; expected a finite number above zero"),
        ("zipf", {"ranks": 0}, r"ranks: got 0; expected one rank or more"),
        ("empirical", {"values": ()}, r"values: got 'none'; expected finite numbers above zero, one or more"),
        ("empirical", {"values": (1.0, -1.0)}, r"values: got -1\.0"),
        ("normal", {}, r"distribution: got 'normal'; expected lognormal, uniform, constant, zipf or empirical"),
    ],
)
def test_broken_spreads(distribution: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spread(distribution, **settings)
