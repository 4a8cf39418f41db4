"""What a run's training left, by round: carried over to other virtual times where the training is the same."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emulator.insight.load import Run
from emulator.observer import Accuracy
from emulator.preparation import Prepared
from emulator.reading import ScenarioError
from emulator.rows import Decision
from emulator.run import Refused
from emulator.simulation import Outcome
from emulator.world import Report


@dataclass(frozen=True)
class Carried:
    """The recorded rounds' cells as text, so that every bit comes over, and the final weights' hash."""

    rounds: Mapping[int, Mapping[str, str]]
    per_device: Mapping[int, Mapping[str, float]]
    weights_sha256: str | None
    by_label: tuple[float | None, ...] | None = None  # of the last round that was evaluated

    def score(self, report: Report) -> Accuracy:
        """What was seen of a report's weights. Raises ScenarioError where the recorded run did not look."""
        row = self.rounds[report.round]
        if not row["accuracy"]:
            raise Refused(
                f"evaluate.every: got round {report.round} to evaluate; expected rounds that the recorded run evaluated"
            )
        names = [name for name in (*report.watched, "device_accuracy") if row.get(name)]
        test, loss, validation = (
            float(row[key]) if row[key] else None for key in ("accuracy", "loss", "validation_accuracy")
        )
        each = self.per_device.get(report.round)
        last = max(number for number, told in self.rounds.items() if told["accuracy"])
        return Accuracy(
            test, loss, validation, dict(each) if each else None, {name: float(row[name]) for name in names},
            self.by_label if report.round == last else None,
        )  # fmt: skip

    def stops(self, target: float | None, every: int) -> list[Decision]:
        """The stop that an accuracy target brings, if one is reached in a round that is evaluated."""
        last = max(self.rounds, default=0)
        for number, row in sorted(self.rounds.items()):
            seen = row["validation_accuracy"] if number % every == 0 or number == last else ""
            if target is not None and seen and float(seen) >= target:
                return [Decision(0, "stop", 0, number, 0, target)]
        return []

    def outcome(self, outcome: Outcome) -> Outcome:
        """With the weights' hash, where the run ends with the recorded final weights."""
        last = outcome.rounds == max(self.rounds, default=0)
        return outcome._replace(weights_sha256=self.weights_sha256 if last else None)


def carried_of(run: Run) -> Carried:
    """What a run left. ``rounds.csv`` is read as text, as pandas would round."""
    with (run.folder / "rounds.csv").open(encoding="utf-8", newline="") as file:
        rounds = {int(row["round"]): row for row in csv.DictReader(file)}
    labels = run.summary.get("accuracy_by_label")
    return Carried(rounds, run.device_accuracy, run.summary["weights_sha256"], tuple(labels) if labels else None)


def refuse_other_data(before: Prepared, after: Prepared) -> None:
    """Raise ScenarioError where the models, the samples that devices hold, or what is evaluated are not the same."""
    old, new = before.plan, after.plan
    if old.problem != new.problem:
        raise _refusal("model", f"got {new.problem.model}", f"recorded {old.problem.model}")
    if before.dataset.name != after.dataset.name:
        raise _refusal("data.dataset", f"got {after.dataset.name}", f"recorded {before.dataset.name}")
    if len(old.devices) != len(new.devices):
        raise _refusal("devices", f"got {len(new.devices)}", f"recorded {len(old.devices)}, each with its own samples")
    for device, mine, theirs in zip(old.devices, before.parts, after.parts, strict=True):
        if not np.array_equal(mine, theirs):
            got = f"got other samples for {device.name} ({len(theirs)})"
            raise _refusal("data", got, f"recorded {len(mine)}")
    if not np.array_equal(before.validation, after.validation):
        raise _refusal("evaluate.validation", "got other samples", f"recorded {len(before.validation)}")
    for key, name in (("test_samples", "samples"), ("per_device", "per_device")):
        mine, theirs = getattr(old.observation, key), getattr(new.observation, key)
        if mine != theirs:
            raise _refusal(f"evaluate.{name}", f"got {theirs}", f"recorded {mine}")
    if set(before.given) != set(after.given) or any(
        not np.array_equal(array, after.given[name]) for name, array in before.given.items()
    ):
        raise _refusal("model.weights", "got other weights to start from", "recorded others")


def _refusal(key: str, got: str, recorded: str) -> ScenarioError:
    return ScenarioError(f"{key}: {got}; {recorded}: the training would be another one. Train it: emulator run")
