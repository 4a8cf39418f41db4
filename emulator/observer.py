"""Evaluation beside the training: off the clock, free of bytes, in chunks of fixed size on whoever is idle."""

from statistics import fmean
from typing import NamedTuple

from actors.program import OBSERVED, Place, Program, Result, Source, Step, path_of
from actors.tape import Handle
from actors.values import Tree
from emulator.blueprint import Blueprint
from emulator.learning.evaluation import evaluate, look
from emulator.learning.shards import chunk, shard_source
from emulator.world import Report

CHUNK = 1000  # samples; fixed, so that sums do not depend on the number of actors


class Accuracy(NamedTuple):
    """What was seen: test accuracy and mean cross-entropy (nats), validation accuracy, accuracy per device, other figures."""

    test: float | None = None
    loss: float | None = None
    validation: float | None = None
    per_device: dict[str, float] | None = None
    watched: dict[str, float] | None = None
    per_label: tuple[float | None, ...] | None = (
        None  # test accuracy of each label; None for one that no test sample has
    )


def evaluation(plan: Blueprint, report: Report) -> list[Program]:
    """The programs that evaluate a report's weights: test chunks, validation chunks, then devices when asked for.

    After them those that look at other values of the report.
    """
    sources = (*_chunks(plan), *_devices(plan))
    looks = [_look(report, value, len(sources) + number) for number, value in enumerate(report.watched.values())]
    return [*(_program(plan, report, source, lane) for lane, source in enumerate(sources)), *looks]


def _look(report: Report, value: Handle, lane: int) -> Program:
    reference = value.reference()
    place = Place("the observer", report.round, report.time_ns / 1e9, "look")
    arguments = (reference,) if isinstance(reference, Result) else ()
    return Program(
        lane, (Step(OBSERVED.op, path_of(look), (reference,), {}, None, place),), arguments, (OBSERVED,), (0,)
    )


def _chunks(plan: Blueprint) -> list[Source]:
    sizes = {"test": plan.observation.test_samples, "validation": plan.observation.validation_samples}
    return [
        Source(path_of(chunk), (("split", split), ("start", start), ("stop", min(start + CHUNK, size))))
        for split, size in sizes.items()
        for start in range(0, size, CHUNK)
    ]


def _devices(plan: Blueprint) -> list[Source]:
    if not plan.observation.per_device:
        return []
    return [shard_source(device.index) for device, samples in zip(plan.devices, plan.samples, strict=True) if samples]


def _program(plan: Blueprint, report: Report, source: Source, lane: int) -> Program:
    weights = tuple(part.reference() for part in report.weights)
    place = Place("the observer", report.round, report.time_ns / 1e9, "evaluate")
    step = Step(OBSERVED.op, path_of(evaluate), (source, *weights), {"problem": plan.problem}, None, place)
    arguments = tuple(part for part in weights if isinstance(part, Result))
    return Program(lane, (step,), arguments, (OBSERVED,), (0,))


def scores(plan: Blueprint, report: Report, results: list[Tree]) -> Accuracy:
    """Add the programs' scores up, in their order."""
    if not results:
        return Accuracy()
    seen = dict(zip(report.watched, map(float, results[len(results) - len(report.watched) :]), strict=True))
    results = results[: len(results) - len(report.watched)]
    tests = -(-plan.observation.test_samples // CHUNK)
    validations = -(-plan.observation.validation_samples // CHUNK)
    test = results[:tests]
    samples = sum(score.samples for score in test)
    each = _per_device(plan, results[tests + validations :])
    if each:
        seen["device_accuracy"] = fmean(each.values())
    return Accuracy(
        _share(test),
        sum(float(score.loss) for score in test) / samples if samples else None,
        _share(results[tests : tests + validations]),
        each,
        seen,
        _per_label(test),
    )


def _share(parts: list[Tree]) -> float | None:
    samples = sum(score.samples for score in parts)
    return sum(int(score.correct) for score in parts) / samples if samples else None


def _per_label(parts: list[Tree]) -> tuple[float | None, ...] | None:
    if not parts:
        return None
    correct, samples = sum(part.labels for part in parts).tolist()
    return tuple(right / count if count else None for right, count in zip(correct, samples, strict=True))


def _per_device(plan: Blueprint, results: list[Tree]) -> dict[str, float] | None:
    if not plan.observation.per_device:
        return None
    holders = [device.name for device, samples in zip(plan.devices, plan.samples, strict=True) if samples]
    return {name: int(score.correct) / score.samples for name, score in zip(holders, results, strict=True)}
