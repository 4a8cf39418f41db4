"""Who holds which samples: seeded partitions of a training set over the devices."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

ATTEMPTS = 1000  # draws before a partition that leaves a device with too little is given up


class _Partition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


_PER_DEVICE = "exactly so many samples a device; what is left over is not used"
_MINIMUM = "fewest samples that a device may hold"


class Iid(_Partition):
    """A random split into parts of equal size (the first ones one larger where it does not divide)."""

    kind: Literal["iid"]
    samples_per_device: int | None = Field(default=None, ge=1, description=_PER_DEVICE)


class Dirichlet(_Partition):
    """Label skew. Small alpha: few classes a device.

    Without ``samples_per_device``, each class is spread over the devices by its own Dirichlet(alpha) draw (Yurochkin et
    al. 2019, arXiv:1905.12022), so sizes differ too; drawn again until every device holds ``min_samples``.
    With it, sizes are equal and each device draws its own label mix from Dirichlet(alpha p), p the label shares of the
    whole (Hsu et al. 2019, arXiv:1909.06335); a class that is used up is made good from the classes that are left.
    The same alpha is a stronger skew in the second: its concentrations sum to alpha, not to alpha per class.
    """

    kind: Literal["dirichlet"]
    alpha: float = Field(ge=1e-6, le=1e6, description="concentration; 0.1 is strong label skew, 100 is nearly iid")
    min_samples: int = Field(default=1, ge=0, description=_MINIMUM)
    samples_per_device: int | None = Field(default=None, ge=1, description=_PER_DEVICE)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.samples_per_device is not None and self.min_samples > self.samples_per_device:
            raise ValueError(f"min_samples {self.min_samples} is above samples_per_device {self.samples_per_device}")
        return self


class Shards(_Partition):
    """Sorted by label, cut into equal shards, so many a device (McMahan et al. 2017, arXiv:1602.05629, section 3)."""

    kind: Literal["shards"]
    shards_per_device: int = Field(default=2, ge=1)
    samples_per_device: int | None = Field(default=None, ge=1, description=_PER_DEVICE)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.samples_per_device is not None and self.samples_per_device % self.shards_per_device:
            raise ValueError(
                f"samples_per_device: got {self.samples_per_device}; expected a multiple of shards_per_device "
                f"{self.shards_per_device}"
            )
        return self


class Quantity(_Partition):
    """The same label mix in different amounts: ``min_samples`` each, the rest by ``sigma`` or by ``alpha``.

    ``sigma``: in proportion to exp(sigma z), z standard normal. ``alpha``: shares drawn from Dirichlet(alpha).
    """

    kind: Literal["quantity"]
    sigma: float | None = Field(default=None, ge=0, le=20, description="spread of the log of the sizes; 0 is iid")
    alpha: float | None = Field(default=None, ge=1e-6, le=1e6, description="concentration of the sizes")
    min_samples: int = Field(default=1, ge=0, description=_MINIMUM)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.sigma is None) == (self.alpha is None):
            got = "neither" if self.sigma is None else "both"
            raise ValueError(f"quantity: got {got} of sigma and alpha; expected one of them")
        return self


PartitionSettings = Annotated[Iid | Dirichlet | Shards | Quantity, Field(discriminator="kind")]


def partition(
    labels: np.ndarray, devices: int, settings: Iid | Dirichlet | Shards | Quantity, generator: np.random.Generator
) -> list[np.ndarray]:
    """Sorted sample indices (int64) per device, disjoint; all samples are given out unless the settings name a number.

    Raises ValueError when the devices are more than the samples can serve, or no draw serves them.
    """
    if devices < 1 or len(labels) < devices:
        raise ValueError(f"got {devices} devices for {len(labels)} samples; expected at least one sample a device")
    if isinstance(settings, Dirichlet):
        make = _by_class if settings.samples_per_device is None else _by_device
        parts = make(labels, devices, settings, generator)
    elif isinstance(settings, Shards):
        parts = _shards(labels, devices, settings, generator)
    elif isinstance(settings, Quantity):
        parts = np.split(generator.permutation(len(labels)), _bounds(len(labels), devices, settings, generator))
    else:
        used = _used(len(labels), devices, settings.samples_per_device)
        parts = np.array_split(generator.permutation(len(labels))[:used], devices)
    return [np.sort(part).astype(np.int64) for part in parts]


def _used(samples: int, devices: int, each: int | None) -> int:
    """How many samples are given out."""
    if each is not None and each * devices > samples:
        raise ValueError(
            f"samples_per_device {each} x {devices} devices = {each * devices}, more than {samples} samples; "
            "lower it, or use fewer devices"
        )
    return samples if each is None else each * devices


def _enough(samples: int, devices: int, least: int) -> None:
    if devices * least > samples:
        raise ValueError(
            f"min_samples {least} x {devices} devices = {devices * least}, more than {samples} samples; "
            "lower it, or use fewer devices"
        )


def _by_class(
    labels: np.ndarray, devices: int, settings: Dirichlet, generator: np.random.Generator
) -> list[np.ndarray]:
    _enough(len(labels), devices, settings.min_samples)
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for _ in range(ATTEMPTS):
        sizes = np.zeros(devices, np.int64)
        dealt = []
        for members in classes:
            shares = generator.dirichlet(np.full(devices, settings.alpha))
            bounds = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            dealt.append((generator.permutation(members), bounds))
            sizes += np.diff(bounds, prepend=0, append=len(members))
        if sizes.min() >= settings.min_samples:
            pieces = [np.split(members, bounds) for members, bounds in dealt]
            return [np.concatenate(mine) for mine in zip(*pieces, strict=True)]
    raise ValueError(
        f"none of {ATTEMPTS} Dirichlet({settings.alpha}) draws gave each of {devices} devices {settings.min_samples} "
        "samples; raise alpha, lower min_samples, use fewer devices, or set samples_per_device"
    )


def _by_device(
    labels: np.ndarray, devices: int, settings: Dirichlet, generator: np.random.Generator
) -> list[np.ndarray]:
    each = _used(len(labels), devices, settings.samples_per_device) // devices
    pools = [generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    left = np.array([len(pool) for pool in pools], np.int64)
    prior = left / left.sum()
    parts: list[np.ndarray] = [np.empty(0, np.int64)] * devices
    for device in generator.permutation(devices):  # in random order: who comes late may find a class used up
        taken = _mix(generator.dirichlet(settings.alpha * prior), left, each, generator)
        left -= taken
        parts[device] = np.concatenate(
            [pool[rest : rest + count] for pool, rest, count in zip(pools, left, taken, strict=True)]
        )
    return parts


def _mix(shares: np.ndarray, left: np.ndarray, each: int, generator: np.random.Generator) -> np.ndarray:
    """How many of each class one device takes: ``each`` in all, by ``shares``, never more than are ``left``."""
    taken = np.zeros_like(left)
    while (missing := each - int(taken.sum())) > 0:
        spare = left - taken
        open_shares = np.where(spare > 0, shares, 0.0)
        if open_shares.sum() < 1e-12:  # the device's classes are used up: the rest in proportion to what is there
            open_shares = spare.astype(np.float64)
        taken += np.minimum(generator.multinomial(missing, open_shares / open_shares.sum()), spare)
    return taken


def _shards(labels: np.ndarray, devices: int, settings: Shards, generator: np.random.Generator) -> list[np.ndarray]:
    count = devices * settings.shards_per_device
    used = _used(len(labels), devices, settings.samples_per_device)
    if count > used:
        raise ValueError(f"{count} shards exceed {used} samples; use fewer devices or a lower shards_per_device")
    order = generator.permutation(len(labels))[:used]
    shards = np.array_split(order[np.argsort(labels[order], kind="stable")], count)
    dealt = generator.permutation(count).reshape(devices, settings.shards_per_device)
    return [np.concatenate([shards[index] for index in mine]) for mine in dealt]


def _bounds(samples: int, devices: int, settings: Quantity, generator: np.random.Generator) -> np.ndarray:
    """Where one device's samples end and the next one's begin: int64 [devices - 1]."""
    _enough(samples, devices, settings.min_samples)
    if settings.alpha is not None:
        weights = generator.dirichlet(np.full(devices, settings.alpha))
    else:
        weights = np.exp((settings.sigma or 0.0) * generator.standard_normal(devices))
    spare = samples - devices * settings.min_samples
    bounds = np.round(np.cumsum(weights / weights.sum())[:-1] * spare).astype(np.int64)
    return bounds + settings.min_samples * np.arange(1, devices)


def class_counts(labels: np.ndarray, parts: list[np.ndarray], classes: int) -> np.ndarray:
    """How many samples of each class each device holds: int64 [devices, classes].

    Raises ValueError for a label outside ``classes``.
    """
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"got labels {labels.min()} to {labels.max()}; expected 0 to {classes - 1}")
    counts = [np.bincount(labels[part], minlength=classes) for part in parts]
    return np.array(counts, np.int64).reshape(len(parts), classes)


def hold_out(labels: np.ndarray, fraction: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(training, validation) indices, int64, sorted: ``fraction`` of every class, rounded, goes to validation.

    Raises ValueError for a fraction outside 0 <= fraction < 1.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"held out: got a fraction of {fraction}; expected 0 or more and below 1")
    validation = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        validation[generator.permutation(members)[: round(fraction * len(members))]] = True
    return np.flatnonzero(~validation), np.flatnonzero(validation)
