"""Profiles: what a class of devices can do, each figure with its source, date, kind and uncertainty."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp
from typing import Literal, NamedTuple

# Standard deviation of a figure's natural logarithm where its file tells none: about so many percent either way.
UNCERTAINTY = {"datasheet": 0.1, "measured": 0.1, "derived": 0.3, "assumed": 0.5}


class ProfileError(ValueError):
    """A profile is broken or unknown: the message names file, key, what was got and what is accepted."""


@dataclass(frozen=True)
class Source:
    """Where a figure comes from.

    ``text``: the figure as written; ``source``: where it was read or how it was worked out; ``date``: when
    (YYYY-MM-DD). ``kind``: datasheet, measured, derived (arithmetic on figures that the source names) or assumed.
    ``uncertainty``: standard deviation of the figure's natural logarithm (0.1: about 10 % either way).
    """

    text: str
    source: str
    date: str
    kind: str
    uncertainty: float = 0.0


@dataclass(frozen=True)
class Throttling:
    """Heat: after ``after_s`` of busy time a device computes at ``speed`` times its rate.

    Idling for ``recovery_s`` forgets all of that busy time, and a part of it in proportion. ``after_s`` of zero: at once.
    """

    after_s: float
    speed: float
    recovery_s: float


class OpRate(NamedTuple):
    """How fast one class of operators runs: FLOP/s, byte/s, and seconds added to each operator."""

    flop_per_s: float
    bytes_per_s: float
    overhead_s: float


@dataclass(frozen=True)
class Profile:
    """A device class. SI units; None: the device has no such figure, and the general one holds.

    ``flop_per_s`` is the rate that float32 training reaches, not a peak; ``memory_bandwidth_bytes_per_s`` what streaming
    code reaches. ``overhead_s`` is added once per operator (kernel). ``compute`` says how an operator's seconds follow:
    ``roofline`` (the larger of arithmetic and memory time), ``additive`` (their sum) or ``flops`` (arithmetic alone).
    Classes of operators that may have their own: convolutions, matrix products, pooling, normalisation, elementwise.
    ``idle_w`` is drawn always, ``load_w`` in all while computing, ``send_w`` and ``receive_w`` on top by the radio;
    ``battery_j`` is None on mains. ``reserved_memory_bytes`` is what system and framework take. Radio figures (bit/s,
    one-way s) hold where neither a cell nor the scenario says otherwise. ``sources``: one for each figure.
    ``dynamic_channels``: whether kernels compute, sample by sample, only the channels that a gate keeps.
    ``sparse_kernels``: whether products and convolutions skip single weights that are pruned.
    """

    name: str
    about: str
    flop_per_s: float
    memory_bandwidth_bytes_per_s: float
    memory_bytes: int
    overhead_s: float
    uplink_bps: float
    downlink_bps: float
    latency_s: float
    compute: Literal["roofline", "additive", "flops"]
    sources: tuple[tuple[str, Source], ...]
    convolution_flop_per_s: float | None = None
    convolution_bytes_per_s: float | None = None
    convolution_overhead_s: float | None = None
    matmul_flop_per_s: float | None = None
    matmul_bytes_per_s: float | None = None
    pooling_bytes_per_s: float | None = None
    normalisation_bytes_per_s: float | None = None
    elementwise_bytes_per_s: float | None = None
    reserved_memory_bytes: int = 0
    idle_w: float | None = None
    load_w: float | None = None
    send_w: float | None = None
    receive_w: float | None = None
    battery_j: float | None = None
    throttling: Throttling | None = None
    dynamic_channels: bool = False
    sparse_kernels: bool = False

    @property
    def free_memory_bytes(self) -> int:
        """What is left for training."""
        return self.memory_bytes - self.reserved_memory_bytes

    @property
    def kernels(self) -> tuple[bool, bool]:
        """Whether its kernels leave out channels that no gate keeps, and pruned weights: ``Cost.on`` asks for both."""
        return self.dynamic_channels, self.sparse_kernels

    def rates(self) -> dict[str, OpRate]:
        """The rates of each class of operators (``conv matmul pooling normalisation elementwise``)."""
        flops, size, overhead = self.flop_per_s, self.memory_bandwidth_bytes_per_s, self.overhead_s
        conv = (self.convolution_flop_per_s, self.convolution_bytes_per_s, self.convolution_overhead_s)
        own = {
            "conv": conv,
            "matmul": (self.matmul_flop_per_s, self.matmul_bytes_per_s, None),
            "pooling": (None, self.pooling_bytes_per_s, None),
            "normalisation": (None, self.normalisation_bytes_per_s, None),
            "elementwise": (None, self.elementwise_bytes_per_s, None),
        }
        return {
            kind: OpRate(rate or flops, width or size, overhead if extra is None else extra)
            for kind, (rate, width, extra) in own.items()
        }

    def scaled(self, factors: Mapping[str, float]) -> "Profile":
        """This profile with figures multiplied, by key of its file (``compute_rate`` takes along the rates of classes).

        Raises ValueError for a key that this profile has no figure for.
        """
        changed: dict[str, float | int] = {}
        for key, factor in factors.items():
            fields = [name for name in FACTORED[key] if getattr(self, name) is not None] if key in FACTORED else []
            if not fields:
                raise ValueError(f"{self.name} has no figure {key!r} to multiply")
            for name in fields:
                value = getattr(self, name) * factor
                changed[name] = round(value) if name.endswith("memory_bytes") else value
        return replace(self, **changed)  # type: ignore[arg-type]

    def within_uncertainty(self, normal: Mapping[str, float]) -> "Profile":
        """One profile out of those that the figures' uncertainties allow: each times exp(uncertainty x its number)."""
        sigma = {key: source.uncertainty for key, source in self.sources}
        return self.scaled({key: exp(sigma[key] * z) for key, z in normal.items() if sigma.get(key)})


# What a factor on a figure (key of a profile's file) multiplies.
FACTORED: dict[str, tuple[str, ...]] = {
    "compute_rate": ("flop_per_s", "convolution_flop_per_s", "matmul_flop_per_s"),
    "memory_bandwidth": (
        "memory_bandwidth_bytes_per_s", "convolution_bytes_per_s", "matmul_bytes_per_s", "pooling_bytes_per_s",
        "normalisation_bytes_per_s", "elementwise_bytes_per_s",
    ),
    "memory": ("memory_bytes",),
    "overhead": ("overhead_s", "convolution_overhead_s"),
    "uplink": ("uplink_bps",),
    "downlink": ("downlink_bps",),
    "latency": ("latency_s",),
    "idle_power": ("idle_w",),
    "load_power": ("load_w",),
    "send_power": ("send_w",),
    "receive_power": ("receive_w",),
    "battery": ("battery_j",),
}  # fmt: skip
