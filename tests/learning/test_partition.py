"""Partitions: exact by hand on tiny sets, closed forms of the distributions, and properties of every kind."""

from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from emulator.learning.partition import (
    Dirichlet,
    Iid,
    PartitionSettings,
    Quantity,
    Shards,
    class_counts,
    hold_out,
    partition,
)
from emulator.learning.random import stream

Settings = Iid | Dirichlet | Shards | Quantity
READ: TypeAdapter[Settings] = TypeAdapter(PartitionSettings)

KINDS: list[dict[str, Any]] = [
    {"kind": "iid"},
    {"kind": "dirichlet", "alpha": 0.5},
    {"kind": "shards", "shards_per_device": 2},
    {"kind": "quantity", "sigma": 1.0},
    {"kind": "quantity", "alpha": 2.0, "min_samples": 3},
]
LIMITED: list[dict[str, Any]] = [
    {"kind": "iid", "samples_per_device": 6},
    {"kind": "dirichlet", "alpha": 0.1, "samples_per_device": 6},
    {"kind": "shards", "shards_per_device": 2, "samples_per_device": 6},
]


def labels_of(*counts: int) -> np.ndarray:
    """Shuffled labels with so many of class 0, 1, ..."""
    return stream(0, "labels").permutation(np.repeat(np.arange(len(counts)), counts))


# ---- properties ------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 12), st.integers(0, 10_000))
def test_all_samples_are_given_out_once(given_settings: dict[str, Any], devices: int, seed: int) -> None:
    labels = labels_of(40, 1, 0, 30, 49)
    parts = partition(labels, devices, READ.validate_python(given_settings), stream(seed))
    assert len(parts) == devices
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(120))
    assert all(part.dtype == np.int64 and np.array_equal(part, np.sort(part)) and len(part) for part in parts)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LIMITED), st.integers(1, 20), st.integers(0, 10_000))
def test_samples_per_device_is_exact_and_disjoint(given_settings: dict[str, Any], devices: int, seed: int) -> None:
    """Up to 20 x 6 = 120 of 120 samples: at 20 devices every class is used up on the way."""
    parts = partition(labels_of(40, 1, 0, 30, 49), devices, READ.validate_python(given_settings), stream(seed))
    assert [len(part) for part in parts] == [6] * devices
    assert len(np.unique(np.concatenate(parts))) == 6 * devices


@pytest.mark.parametrize("given_settings", KINDS + LIMITED, ids=str)
def test_the_generator_decides(given_settings: dict[str, Any]) -> None:
    labels, chosen = labels_of(50, 50, 50), READ.validate_python(given_settings)
    one, same, other = (partition(labels, 5, chosen, stream(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("given_settings", [*KINDS, {"kind": "dirichlet", "alpha": 0.1, "samples_per_device": 200}])
def test_300_devices_on_60000_samples_take_well_under_a_second(given_settings: dict[str, Any]) -> None:
    labels = np.repeat(np.arange(10), 6000)
    start = perf_counter()
    partition(labels, 300, READ.validate_python(given_settings), stream(1))
    assert perf_counter() - start < 1.0  # 0.002 to 0.03 s on one quiet core


# ---- exact by hand ---------------------------------------------------------------------------------------------------


def test_iid_sizes_differ_by_one_at_most() -> None:
    assert [len(part) for part in partition(labels_of(5, 6), 3, Iid(kind="iid"), stream(1))] == [4, 4, 3]


def test_shards_hold_one_label_where_shards_divide_classes() -> None:
    """4 classes of 6 in 8 shards of 3: a shard lies within one class, and 4 devices hold 2 shards, so 2 labels at most.

    With one shard a device for 4 devices, each holds one whole class.
    """
    labels = labels_of(6, 6, 6, 6)
    counts = class_counts(labels, partition(labels, 4, Shards(kind="shards"), stream(1)), 4)
    assert set(counts.ravel().tolist()) <= {0, 3, 6} and counts.sum(axis=1).tolist() == [6] * 4
    whole = class_counts(labels, partition(labels, 4, Shards(kind="shards", shards_per_device=1), stream(1)), 4)
    assert np.array_equal(np.sort(whole, axis=1), np.tile([0, 0, 0, 6], (4, 1)))


def test_quantity_without_spread_is_even() -> None:
    parts = partition(labels_of(30, 30), 4, Quantity(kind="quantity", sigma=0), stream(1))
    assert [len(part) for part in parts] == [15] * 4


def test_quantity_gives_the_minimum_to_all_and_the_rest_to_one_when_the_spread_is_extreme() -> None:
    """Dirichlet(1e-6) puts all weight on one of 4: 3 devices keep 5 each, one gets 5 + (100 - 20) = 85."""
    chosen = Quantity(kind="quantity", alpha=1e-6, min_samples=5)
    assert sorted(len(part) for part in partition(labels_of(50, 50), 4, chosen, stream(1))) == [5, 5, 5, 85]


def test_dirichlet_of_huge_alpha_is_even_in_each_class() -> None:
    """Shares are 1/4 +- about 1e-4 at alpha 1e6, so 40 and 80 samples of a class give 10 and 20 each."""
    labels = labels_of(40, 80)
    parts = partition(labels, 4, Dirichlet(kind="dirichlet", alpha=1e6), stream(1))
    assert class_counts(labels, parts, 2).tolist() == [[10, 20]] * 4


def test_equal_sizes_of_tiny_alpha_hold_one_class_while_it_lasts() -> None:
    """Dirichlet(1e-6 p) is one class a device; 3 devices x 10 never use up a class of 30."""
    labels = labels_of(30, 30, 30)
    parts = partition(labels, 3, Dirichlet(kind="dirichlet", alpha=1e-6, samples_per_device=10), stream(1))
    assert np.array_equal(np.sort(class_counts(labels, parts, 3), axis=1), np.tile([0, 0, 10], (3, 1)))


def test_class_counts_by_hand() -> None:
    labels = np.array([0, 2, 2, 1, 0])
    parts = [np.array([0, 1, 2]), np.array([], np.int64), np.array([3, 4])]
    counts = class_counts(labels, parts, 4)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert class_counts(labels, [], 4).shape == (0, 4)


def test_hold_out_takes_its_share_of_every_class() -> None:
    """A quarter of 8, 4 and 2: 2, 1 and round(0.5) = 0 (Python rounds halves to even)."""
    labels = labels_of(8, 4, 2)
    training, validation = hold_out(labels, 0.25, stream(1))
    assert np.bincount(labels[validation], minlength=3).tolist() == [2, 1, 0]
    assert np.array_equal(np.sort(np.concatenate([training, validation])), np.arange(14))
    assert np.array_equal(validation, np.sort(validation)) and training.dtype == validation.dtype == np.int64


def test_hold_out_of_nothing() -> None:
    training, validation = hold_out(labels_of(3, 3), 0, stream(1))
    assert training.tolist() == list(range(6)) and validation.tolist() == []


# ---- closed forms ----------------------------------------------------------------------------------------------------


def test_dirichlet_by_class_has_the_variance_of_its_marginal() -> None:
    """A device's share of a class is Beta(a, a (K - 1)): variance (1/K)(1 - 1/K) / (K a + 1).

    With K = 20, a = 0.5, over 400 classes x 20 devices: (0.05 x 0.95) / 11 = 0.004318. Rounding to 1/500 adds about
    1e-6. Beta(0.5, 9.5) has kurtosis 9.75, so an estimate from 8000 draws spreads by sqrt(8.75 / 8000) = 3.3 per cent.
    """
    labels = np.repeat(np.arange(400), 500)
    parts = partition(labels, 20, Dirichlet(kind="dirichlet", alpha=0.5, min_samples=0), stream(1, "variance"))
    shares = class_counts(labels, parts, 400) / 500
    assert float(((shares - 0.05) ** 2).mean()) == pytest.approx(0.05 * 0.95 / 11, rel=0.1)


def test_dirichlet_by_device_has_the_variance_of_a_dirichlet_multinomial() -> None:
    """Counts of n = 50 drawn by Dirichlet(a p), p = 1/4 and 3/4, a = 2: the share of class 0 has mean p and variance
    p (1 - p) (n + a) / (n (1 + a)) = 0.1875 x 52 / 150 = 0.065. The pools last. Kurtosis is about 3, so an estimate
    from 2000 devices spreads by sqrt(2 / 2000) = 3.2 per cent.
    """
    labels = np.repeat([0, 1], [250_000, 750_000])
    chosen = Dirichlet(kind="dirichlet", alpha=2.0, samples_per_device=50)
    shares = class_counts(labels, partition(labels, 2000, chosen, stream(1, "device")), 2)[:, 0] / 50
    assert float(shares.mean()) == pytest.approx(0.25, abs=3 * (0.065 / 2000) ** 0.5)
    assert float(shares.var()) == pytest.approx(0.065, rel=0.1)


def test_quantity_sizes_are_lognormal() -> None:
    """The logs of 500 sizes, mean 2000, spread by sigma = 0.5: standard error 0.5 / sqrt(1000) = 0.016."""
    labels = np.zeros(1_000_000, np.int64)
    parts = partition(labels, 500, Quantity(kind="quantity", sigma=0.5, min_samples=0), stream(1))
    assert float(np.log([len(part) for part in parts]).std()) == pytest.approx(0.5, abs=0.048)


def test_quantity_sizes_are_dirichlet() -> None:
    """Shares of K = 500 under alpha = 4: relative variance (K - 1) / (K a + 1) = 499 / 2001 = 0.2494.

    A share is close to Gamma(4), kurtosis 4.5: an estimate from 500 spreads by sqrt(3.5 / 500) = 8.4 per cent.
    """
    labels = np.zeros(1_000_000, np.int64)
    parts = partition(labels, 500, Quantity(kind="quantity", alpha=4.0, min_samples=0), stream(1))
    assert float((np.array([len(part) for part in parts]) / 2000).var()) == pytest.approx(499 / 2001, rel=0.25)


def test_quantity_keeps_the_label_mix() -> None:
    """The share of class 0 (0.3) in a part of n has standard error sqrt(0.21 / n): within 4 of them everywhere."""
    labels = labels_of(30_000, 70_000)
    counts = class_counts(labels, partition(labels, 10, Quantity(kind="quantity", sigma=1.0), stream(1)), 2)
    sizes = counts.sum(axis=1)
    assert np.all(np.abs(counts[:, 0] / sizes - 0.3) < 4 * np.sqrt(0.21 / sizes))


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_settings", "devices", "message"),
    [
        ({"kind": "iid"}, 11, "got 11 devices for 10 samples"),
        ({"kind": "iid"}, 0, "got 0 devices"),
        ({"kind": "iid", "samples_per_device": 4}, 3, "4 x 3 devices = 12, more than 10 samples"),
        ({"kind": "dirichlet", "alpha": 1, "samples_per_device": 6}, 2, "6 x 2 devices = 12, more than 10"),
        ({"kind": "dirichlet", "alpha": 1, "min_samples": 6}, 2, "6 x 2 devices = 12, more than 10"),
        ({"kind": "dirichlet", "alpha": 0.001}, 8, "raise alpha, lower min_samples, use fewer devices"),
        ({"kind": "quantity", "sigma": 1, "min_samples": 6}, 2, "6 x 2 devices = 12, more than 10"),
        ({"kind": "shards", "shards_per_device": 6}, 2, "12 shards exceed 10 samples"),
    ],
)
def test_what_cannot_be_served_says_why(given_settings: dict[str, Any], devices: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        partition(labels_of(5, 5), devices, READ.validate_python(given_settings), stream(1))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"kind": "pathological"},
        {"kind": "iid", "alpha": 1},
        {"kind": "iid", "samples_per_device": 0},
        {"kind": "dirichlet"},
        {"kind": "dirichlet", "alpha": 0},
        {"kind": "dirichlet", "alpha": float("nan")},
        {"kind": "dirichlet", "alpha": "0.5"},
        {"kind": "dirichlet", "alpha": 1, "min_samples": 5, "samples_per_device": 4},
        {"kind": "shards", "shards_per_device": 2, "samples_per_device": 5},
        {"kind": "quantity"},
        {"kind": "quantity", "sigma": 1, "alpha": 1},
        {"kind": "quantity", "sigma": -1},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python(wrong)


def test_a_label_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="got labels 0 to 3; expected 0 to 2"):
        class_counts(np.array([0, 3]), [np.array([0])], 3)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="expected 0 or more and below 1"):
        hold_out(labels_of(3), fraction, stream(1))
