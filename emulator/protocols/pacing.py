"""Who is a straggler, the pace that all should keep, and how much of the model each straggler can train at that pace.

ELFISH (arXiv 1912.01684): profile what training takes on each device, and give stragglers a part that they can do in time. The
three terms T = W / C + M / V + U / B are of its successor Helios, recalled; the first two are what the platform predicts of
the very step that will run (their sum where the device's profile says ``compute: additive``). The rules are inferred: ours.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Literal, Self

from pydantic import Field, model_validator

from emulator.learning.mask import told_bytes
from emulator.learning.sgd import LocalSGD, train
from emulator.learning.submodel import Submodel, carve, kept_shape_of, shape_of, submodel
from emulator.protocols.partial_training import PartialTraining
from emulator.protocols.verbs import Node


class Paced(PartialTraining):
    """How stragglers and their pace are found: all of it inferred, as are the defaults."""

    pace_s: float | None = Field(default=None, gt=0, description="T*, seconds of a cycle; default: the slowest other's")
    slowest: int | None = Field(default=None, ge=1, description="stragglers: the so many slowest of a cohort")
    threshold: float = Field(default=1.25, ge=1, description="stragglers, otherwise: slower than so many medians")
    pace_counts: Literal["upload", "both"] = Field(default="upload", description="transfers that a cycle's T counts")
    smoothing: float = Field(
        default=0.5, gt=0, le=1, description="weight of the newest cycle in a device's speed (EMA)"
    )
    tolerance: float = Field(default=0.05, ge=0, description="drift of a speed from which volumes are derived anew")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.pace_s is not None and self.slowest is not None:
            raise ValueError("pace_s and slowest exclude each other; give one rule that finds the stragglers")
        return self


class Pacing:
    """The pace of a cohort and its volumes. ``at(v)`` is the sub-network of volume v; ``volumes``: those to choose from."""

    def __init__(self, rule: Paced, sgd: LocalSGD, at: Callable[[float], Submodel], volumes: Sequence[float]) -> None:
        self.rule, self.sgd, self.at = rule, sgd, at
        self.volumes = sorted(volumes)
        self.whole = submodel(sgd.problem.model, 1.0)
        self.pace_s = 0.0
        self._speed: dict[
            str, tuple[float, float]
        ] = {}  # device -> slowness by the EMA, and the one that is counted on
        self._known: dict[tuple[str, *tuple[float, ...]], float] = {}

    # ---- profiling ---------------------------------------------------------------------------------------------------------

    def seconds(self, device: Node, sub: Submodel) -> float:
        """T_k: seconds of a cycle with this sub-network."""
        cut_there = self.rule.download == "full" and sub != self.whole
        needed_s = device.predict(train, shape_of(sub), device.data, 0, sgd=self.sgd).seconds
        if cut_there:
            model = self.whole.model
            needed_s += device.predict(carve, shape_of(self.whole), kept_shape_of(sub), model=model).seconds
        way, size = device.channel(), shape_of(sub).nbytes
        found = needed_s * self._speed.get(device.name, (1.0, 1.0))[1] + 8 * size / way.uplink_bps + way.latency_s
        if self.rule.pace_counts == "both":
            down = shape_of(self.whole).nbytes + told_bytes(sub) if self.rule.download == "full" else size
            found += 8 * down / way.downlink_bps + (2 if cut_there else 1) * way.latency_s  # the mask travels apart
        return found

    def fits(self, device: Node, sub: Submodel) -> bool:
        """Whether training it fits the device's memory; and, where it is cut on the device, the cutting."""
        needed = device.predict(train, shape_of(sub), device.data, 0, sgd=self.sgd).peak_bytes
        if self.rule.download == "full" and sub != self.whole:
            cutting = shape_of(self.whole).nbytes + shape_of(sub).nbytes + device.data.nbytes
            needed = max(needed, cutting)
        return bool(needed <= device.profile.free_memory_bytes)

    def observe(self, slowness: Mapping[Node, float]) -> None:
        """What devices needed, in parts of what was predicted: their speeds drift."""
        share, tolerance = self.rule.smoothing, self.rule.tolerance
        for device, ratio in slowness.items():
            mean, used = self._speed.get(device.name, (1.0, 1.0))
            mean = (1 - share) * mean + share * ratio
            self._speed[device.name] = (mean, mean if abs(mean / used - 1) > tolerance else used)

    # ---- stragglers, and the pace ------------------------------------------------------------------------------------------

    def stragglers(self, cohort: Sequence[Node]) -> list[Node]:
        """Those that cannot keep the pace, which this sets; then those that the whole model does not fit."""
        times = {device: self.seconds(device, self.whole) for device in cohort}
        slow = self._slow(times)
        rest = [seconds for device, seconds in times.items() if device not in slow]
        self.pace_s = self.rule.pace_s or max(rest, default=min(times.values()))
        return [device for device in cohort if device in slow or not self.fits(device, self.whole)]

    def _slow(self, times: Mapping[Node, float]) -> set[Node]:
        if self.rule.pace_s is not None:
            return {device for device, seconds in times.items() if seconds > self.rule.pace_s}
        if self.rule.slowest is not None:
            order = sorted(times, key=lambda device: times[device])
            return set(order[max(1, len(order) - self.rule.slowest) :])
        limit = self.rule.threshold * median(times.values())
        return {device for device, seconds in times.items() if seconds > limit}

    # ---- volumes -----------------------------------------------------------------------------------------------------------

    def subs(self, cohort: Sequence[Node], volume: float | None = None) -> dict[Node, Submodel]:
        """What each device trains: stragglers the largest part that keeps the pace and fits (or ``volume``), others all."""
        found = dict.fromkeys(cohort, self.whole)
        for device in self.stragglers(cohort):
            found[device] = self.at(self.volume(device) if volume is None else volume)
        return found

    def volume(self, device: Node) -> float:
        """The largest volume with T_k <= T* that fits; the smallest one where none does."""
        way = device.channel()
        link = (way.uplink_bps, way.downlink_bps, way.latency_s)  # it moves where there is a radio
        key = (device.name, self._speed.get(device.name, (1.0, 1.0))[1], self.pace_s, *link)
        if key not in self._known:
            self._known[key] = self.volumes[
                max(0, bisect_right(self.volumes, 0, key=partial(self._too_much, device)) - 1)
            ]
        return self._known[key]

    def _too_much(self, device: Node, volume: float) -> int:
        """0 or, from some volume on, 1: more neurons take no less time nor memory."""
        sub = self.at(volume)
        return int(self.seconds(device, sub) > self.pace_s or not self.fits(device, sub))

    def metrics(self, subs: Mapping[Node, Submodel]) -> dict[str, float]:
        """A round's row: pace (0: none), devices that train a part, the smallest share of neurons, those that miss the pace."""
        least = min((sub.neurons for sub in subs.values()), default=self.whole.neurons) / self.whole.neurons
        cut = [device for device, sub in subs.items() if not sub.whole]
        late = sum(self.seconds(device, subs[device]) > self.pace_s for device in cut) if self.pace_s else 0
        return {"pace_s": self.pace_s, "stragglers": float(len(cut)), "least_share": least, "missed": float(late)}
