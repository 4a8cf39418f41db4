"""What a run came to: accuracy, and what it took to a target accuracy in time, bytes and joules."""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import pandas as pd

from emulator.insight.load import Run
from emulator.paired import first_reaching

# A run's figures: key -> (words, unit). Those "to the target" are infinite where a run does not reach it.
FIGURES = {
    "accuracy": ("final accuracy", ""),
    "best_accuracy": ("best accuracy", ""),
    "virtual_s": ("virtual time", "s"),
    "moved_bytes": ("bytes moved", "B"),
    "device_energy_j": ("device energy", "J"),
    "time_to_s": ("time to target", "s"),
    "rounds_to": ("rounds to target", ""),
    "bytes_to": ("bytes to target", "B"),
    "joules_to": ("joules to target", "J"),
}
TO_TARGET = ("time_to_s", "rounds_to", "bytes_to", "joules_to")


@dataclass(frozen=True)
class Outcome:
    """A run and its figures; None: not known (not evaluated; profiles that tell no powers)."""

    run: Run
    target: float | None

    @cached_property
    def course(self) -> pd.DataFrame:
        """The rounds with running sums: ``moved_bytes`` (payload and overhead, both ways) and ``joules``."""
        rounds = self.run.rounds
        moved = rounds["uplink_bytes"] + rounds["downlink_bytes"] + rounds["overhead_bytes"]
        return rounds.assign(moved_bytes=moved.cumsum(), joules=rounds["device_energy_j"].cumsum())

    @cached_property
    def seeds(self) -> tuple[tuple[str, int], ...]:
        """What pairs runs of different systems."""
        found = self.run.resolved
        return (("seed", found["seed"]), *sorted(found["seeds"].items()))

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached; None without a target."""
        return None if self.target is None else self.figure("time_to_s") != inf

    @cached_property
    def device_classes(self) -> dict[str, list[float]]:
        """By profile, the devices' accuracies on their own data in the last round that told them."""
        told = self.run.device_accuracy
        if not told:
            return {}
        profile = dict(zip(self.run.devices["name"], self.run.devices["profile"], strict=True))
        found: dict[str, list[float]] = {}
        for device, accuracy in told[max(told)].items():
            found.setdefault(profile.get(device, "unknown"), []).append(accuracy)
        return found

    def figure(self, key: str) -> float | None:
        """One of FIGURES."""
        summary = self.run.summary
        if key == "moved_bytes":
            return float(sum(summary[f"{name}_bytes"] for name in ("uplink", "downlink", "overhead")))
        if key not in TO_TARGET:
            return None if summary[key] is None else float(summary[key])
        over = {"time_to_s": "end_s", "rounds_to": "round", "bytes_to": "moved_bytes", "joules_to": "joules"}[key]
        return None if self.target is None else self._first(over, self.target)

    def _first(self, over: str, target: float) -> float | None:
        seen = self.course[self.course["accuracy"].notna()]
        if seen[over].isna().any() or (seen.empty and over == "joules"):
            return None
        return first_reaching(list(zip(map(float, seen[over]), map(float, seen["accuracy"]), strict=True)), target)


def common_target(runs: list[Run]) -> float | None:
    """The scenarios' own target where all have the same, else the best accuracy that all reach, rounded down to 0.01."""
    own: set[Any] = {run.resolved.get("stop", {}).get("accuracy") for run in runs}
    if len(own) == 1 and None not in own:
        return float(own.pop())
    best = [run.summary["best_accuracy"] for run in runs]
    return None if None in best or not best else int(min(best) * 100 + 1e-9) / 100
