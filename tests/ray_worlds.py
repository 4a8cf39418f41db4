"""Tiny worlds on the shared Ray cluster. Actors that were started play the next run on the same data, too."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from actors.cluster import Cluster
from actors.device import Fleet
from actors.program import path_of
from emulator.blueprint import Blueprint
from emulator.learning.tracing import warm_up
from emulator.preparation import make_holdings
from emulator.run import simulate
from tests.worlds import DIGITS, Played, dealt

RAY = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]  # the marks of tests that share the cluster
# Samples of most worlds' devices; worlds with fewer devices leave some of them alone.
USUAL = (40,) * 8
UNEVEN = (40, 33, 17, 1, 52, 0, 16, 20)
KEPT: dict[tuple[tuple[int, ...], int | None], Cluster] = {}  # samples, devices per actor -> started actors
MOST = 5
Test = TypeVar("Test", bound=Callable[..., Any])


def on_cluster(test: Test) -> Test:
    """Marks one test as one of those."""
    for mark in RAY:
        test = mark(test)
    return test


def on_ray(blueprint: Blueprint) -> Played:
    """Play on a host a core, those of an earlier run where they hold the same data."""
    with kept(blueprint) as cluster:
        return played_on(cluster, blueprint)


@contextmanager
def kept(blueprint: Blueprint, devices_per_actor: int | None = None) -> Iterator[Cluster]:
    """Started actors that hold a blueprint's data (a host for each of two cores by default), left for later tests."""
    own = blueprint.samples
    key = next((kind for kind in (USUAL, UNEVEN) if own == kind[: len(own)]), own), devices_per_actor
    cluster = KEPT.pop(key, None)
    if cluster is None:
        if len(KEPT) == MOST:
            close(KEPT.pop(next(iter(KEPT))))
        cluster = Cluster()
        cluster.start(_fleet(*key))
    try:
        yield cluster
    except BaseException:
        close(cluster)
        raise
    KEPT[key] = cluster


def afresh(blueprint: Blueprint, devices_per_actor: int | None, **changes: Any) -> Played:
    """Play on actors of its own, that end with the run."""
    with Cluster() as cluster:
        cluster.start(replace(fleet_of(blueprint, devices_per_actor), **changes))
        return played_on(cluster, blueprint)


def played_on(cluster: Cluster, blueprint: Blueprint) -> Played:
    """One run on started actors."""
    played = Played()
    for messages in cluster.play(path_of(simulate), blueprint, None):
        played.take(messages)
    return played


def fleet_of(blueprint: Blueprint, devices_per_actor: int | None) -> Fleet:
    """The actors for a blueprint's devices."""
    return _fleet(blueprint.samples, devices_per_actor)


def close(cluster: Cluster) -> None:
    """End a cluster's actors."""
    cluster.__exit__(None, None, None)


def same(first: Played, second: Played) -> None:
    """Weights, events, rounds and decisions are the same."""
    assert first.end.weights_sha256 == second.end.weights_sha256
    assert first.events == second.events
    assert first.rounds == second.rounds
    assert first.decisions == second.decisions


def _fleet(samples: tuple[int, ...], devices_per_actor: int | None) -> Fleet:
    held = dealt(samples)
    facts = {key: getattr(DIGITS, key) for key in ("name", "classes", "shape", "scale", "mean", "std")}
    arrays = (DIGITS.x_train, DIGITS.y_train, DIGITS.x_test, DIGITS.y_test)
    devices = {f"device-{number:04d}": {"profile": "test"} for number in range(len(samples))}
    return Fleet(
        devices, path_of(make_holdings), (facts, *arrays, held.parts, held.validation), devices_per_actor,
        warm_up=path_of(warm_up),
    )  # fmt: skip
