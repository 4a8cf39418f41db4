"""Tiny worlds of every protocol of the catalogue, and what the tools read of a run that was played."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from emulator.blueprint import Blueprint
from emulator.insight.critical_path import Path, Window, paths
from emulator.protocols.catalogue import PROTOCOLS
from emulator.rows import Round
from tests.world.test_edges import edged
from tests.world.test_tinyfel import air
from tests.worlds import CNN, MLP, Played, fleet, plan

ROUNDS: dict[str, Any] = {"rounds": 2, "cohort": 3, "learning_rate": 0.1, "batch_size": 16}
LATENCY: dict[str, Any] = {"link_latency_s": 0.001}
OWN: dict[str, dict[str, Any]] = {"fedprox": {"mu": 0.01}, "federated_dropout": {"volume": 0.5}}  # needed besides
CUT = ("split_learning", "splitfed_v1", "splitfed_v2", "parallel_split", "local_loss", "fedgkt", "fedsl", "ecofed")
CONVOLVED = ("fedsl", "adp_upload", "tinyfel", "elfish", "heterofl", "fjord", "federated_dropout")


def world_of(
    name: str,
    second: dict[str, Any] | None = None,
    first: dict[str, Any] | None = None,
    told: dict[str, Any] | None = None,
    **changes: Any,
) -> Blueprint:
    """Three unlike devices play a protocol for two rounds; ``first``, ``second``, ``told``: changes of those devices and of the
    settings. With edge servers they are three like devices, which all change with the second.
    """
    entry, second = PROTOCOLS[name], second or {}
    settings = entry.settings(**ROUNDS | OWN.get(name, {}) | (told or {}))
    if entry.edges:
        return edged(entry.run, settings, 3, **second)
    problem = CNN if name in CONVOLVED else MLP
    if name in CUT:
        problem = replace(problem, cut=1)
    groups = [
        *fleet(1, **first or {}),
        *fleet(1, **{"flop_per_s": 3e8, "uplink_bps": 3e6} | second),
        *fleet(1, flop_per_s=5e8, latency_s=0.003),
    ]
    found = plan(entry.run, settings, groups, samples=(40, 24, 32), problem=problem, **LATENCY | changes)
    return air(found) if name == "tinyfel" else found


def windows_of(rounds: list[Round], ending: Mapping[int, float] | None = None) -> list[Window]:
    """The rounds of a run that was played, as the tools see them."""
    return [
        Window(row.round, row.start_ns, row.end_ns, _ns(row.metrics.get("deadline_s", (ending or {}).get(row.round))))
        for row in rounds
    ]


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


def paths_of(played: Played) -> list[Path]:
    return paths(played.events, windows_of(played.rounds))
