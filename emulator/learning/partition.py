"""Who holds which samples: seeded partitions of a training set over the devices."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class _Partition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Iid(_Partition):
    """A random split into parts of equal size (the first ones one larger where it does not divide)."""

    kind: Literal["iid"]


class Dirichlet(_Partition):
    """Label skew: each class is spread over the devices by its own Dirichlet(alpha) draw (Yurochkin et al. 2019).

    Small alpha: few classes a device. Drawn again until every device holds ``min_samples``.
    """

    kind: Literal["dirichlet"]
    alpha: float = Field(gt=0, description="concentration; 0.1 is strong label skew, 100 is nearly iid")
    min_samples: int = Field(default=1, ge=0, description="drawn again until every device holds so many")


class Shards(_Partition):
    """Sorted by label, cut into shards, so many a device (McMahan et al. 2017)."""

    kind: Literal["shards"]
    shards_per_device: int = Field(default=2, ge=1)


class Quantity(_Partition):
    """Same label mix, different amounts: sizes in proportion to exp(sigma z), z standard normal."""

    kind: Literal["quantity"]
    sigma: float = Field(ge=0, description="spread of the log of the sizes; 0 is iid")
    min_samples: int = Field(default=1, ge=0)


PartitionSettings = Annotated[Iid | Dirichlet | Shards | Quantity, Field(discriminator="kind")]

ATTEMPTS = 1000


def partition(
    labels: np.ndarray, devices: int, settings: Iid | Dirichlet | Shards | Quantity, generator: np.random.Generator
) -> list[np.ndarray]:
    """Sorted sample indices (int64) per device; disjoint, and all samples are given out.

    Raises ValueError when the devices are more than the samples can serve.
    """
    if devices < 1 or len(labels) < devices:
        raise ValueError(f"got {devices} devices for {len(labels)} samples; expected at least one sample a device")
    if isinstance(settings, Dirichlet):
        parts = _dirichlet(labels, devices, settings, generator)
    elif isinstance(settings, Shards):
        parts = _shards(labels, devices, settings, generator)
    elif isinstance(settings, Quantity):
        parts = np.split(generator.permutation(len(labels)), _quantities(len(labels), devices, settings, generator))
    else:
        parts = np.array_split(generator.permutation(len(labels)), devices)
    return [np.sort(part).astype(np.int64) for part in parts]


def _dirichlet(labels: np.ndarray, devices: int, settings: Dirichlet, generator: np.random.Generator) -> list[np.ndarray]:
    if devices * settings.min_samples > len(labels):
        raise ValueError(f"min_samples {settings.min_samples} x {devices} devices exceeds {len(labels)} samples")
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for _ in range(ATTEMPTS):
        parts: list[list[np.ndarray]] = [[] for _ in range(devices)]
        for members in classes:
            shares = generator.dirichlet(np.full(devices, settings.alpha))
            bounds = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            for part, piece in zip(parts, np.split(generator.permutation(members), bounds), strict=True):
                part.append(piece)
        joined = [np.concatenate(part) for part in parts]
        if min(len(part) for part in joined) >= settings.min_samples:
            return joined
    raise ValueError(
        f"no Dirichlet({settings.alpha}) draw in {ATTEMPTS} gave each of {devices} devices {settings.min_samples} samples; "
        "raise alpha, lower min_samples, or use fewer devices"
    )


def _shards(labels: np.ndarray, devices: int, settings: Shards, generator: np.random.Generator) -> list[np.ndarray]:
    count = devices * settings.shards_per_device
    if count > len(labels):
        raise ValueError(f"{count} shards exceed {len(labels)} samples; use fewer devices or shards_per_device")
    order = generator.permutation(len(labels))
    by_label = order[np.argsort(labels[order], kind="stable")]
    shards = np.array_split(by_label, count)
    dealt = generator.permutation(count).reshape(devices, settings.shards_per_device)
    return [np.concatenate([shards[index] for index in mine]) for mine in dealt]


def _quantities(samples: int, devices: int, settings: Quantity, generator: np.random.Generator) -> np.ndarray:
    spare = samples - devices * settings.min_samples
    if spare < 0:
        raise ValueError(f"min_samples {settings.min_samples} x {devices} devices exceeds {samples} samples")
    weights = np.exp(settings.sigma * generator.standard_normal(devices))
    bounds = np.round(np.cumsum(weights / weights.sum())[:-1] * spare).astype(np.int64)
    return bounds + settings.min_samples * np.arange(1, devices)


def class_counts(labels: np.ndarray, parts: list[np.ndarray], classes: int) -> np.ndarray:
    """How many samples of each class each device holds: int64 [devices, classes]."""
    return np.array([np.bincount(labels[part], minlength=classes) for part in parts], np.int64)


def hold_out(labels: np.ndarray, fraction: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(training, validation) indices, sorted: ``fraction`` of every class, rounded, goes to validation."""
    chosen = [
        generator.permutation(members)[: round(fraction * len(members))]
        for members in (np.flatnonzero(labels == label) for label in np.unique(labels))
    ]
    validation = np.sort(np.concatenate(chosen)).astype(np.int64)
    keep = np.ones(len(labels), bool)
    keep[validation] = False
    return np.flatnonzero(keep), validation
