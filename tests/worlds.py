"""Tiny worlds for the tests: profiles with round numbers, fleets, and a way to play them."""

import gc
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import torch

from actors.inline import Inline, TimingOnly
from actors.program import Executor, path_of
from emulator.blueprint import Blueprint, Observation
from emulator.devices.population import GroupSpec, draw
from emulator.devices.profile import Profile
from emulator.devices.spread import Spread
from emulator.learning.datasets import Dataset, load
from emulator.learning.models import ModelSpec
from emulator.learning.random import stream
from emulator.learning.sgd import Problem
from emulator.learning.shards import Holdings, Normalisation
from emulator.protocols.base import Settings
from emulator.rows import Decision, Event, Round
from emulator.simulation import Outcome, Simulation
from emulator.wiring import Wiring, plain
from emulator.world import Seeds
from network.plan import CellPlan, NetworkPlan, SitePlan

DIGITS: Dataset = load("digits")
NORMALISE = Normalisation(DIGITS.scale, DIGITS.mean, DIGITS.std)
MLP = Problem(ModelSpec("mlp", 10, DIGITS.shape), NORMALISE)
CNN = Problem(ModelSpec("cnn", 10, DIGITS.shape), NORMALISE)


def profile(**changes: Any) -> Profile:
    """1 GFLOP/s counted by FLOPs alone, 8 Mbit/s up, 16 Mbit/s down, no latency."""
    figures: dict[str, Any] = {
        "name": "test", "about": "", "flop_per_s": 1e9, "memory_bandwidth_bytes_per_s": 1e12, "memory_bytes": 2**30,
        "overhead_s": 0.0, "uplink_bps": 8e6, "downlink_bps": 16e6, "latency_s": 0.0, "compute": "flops", "sources": (),
    }  # fmt: skip
    return Profile(**(figures | changes))


def fleet(count: int, **changes: Any) -> list[GroupSpec]:
    """One group of ``count`` devices."""
    return [GroupSpec(profile(**changes), count, slowdown=Spread("constant"))]


def plan(protocol: Any, settings: Settings, groups: list[GroupSpec], **changes: Any) -> Blueprint:
    """A blueprint on digits, ``per_device`` samples each (or ``samples`` device by device), unlimited server link."""
    devices = draw(groups, lambda *names: stream(0, *names))
    samples = changes.pop("samples", (40,) * len(devices))
    rate, latency = changes.pop("link_bps", inf), round(changes.pop("link_latency_s", 0.0) * 1e9)
    cells = tuple(CellPlan(name) for name in dict.fromkeys(device.cell for device in devices) if name is not None)
    network = NetworkPlan(SitePlan("core", rate, rate, latency), cells=cells)
    fields: dict[str, Any] = {
        "protocol": path_of(protocol), "settings": settings, "problem": MLP, "seeds": Seeds(1, 1, 1, 1, 1),
        "devices": devices, "samples": tuple(samples), "server": profile(), "wiring": Wiring(network, plain(devices)),
        "observation": Observation(1, 360, 100, False),
    }  # fmt: skip
    return Blueprint(**(fields | changes))


def holdings(blueprint: Blueprint) -> Holdings:
    """The data of a blueprint's devices."""
    return dealt(blueprint.samples)


def dealt(samples: tuple[int, ...]) -> Holdings:
    """Consecutive training samples for the devices, the last hundred for validation."""
    bounds = np.cumsum((0, *samples))
    parts = tuple(np.arange(start, stop) for start, stop in pairwise(bounds))
    return Holdings(DIGITS, parts, np.arange(1337, 1437))


@dataclass
class Played:
    """All that a run told."""

    events: list[Event] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    outcome: Outcome | None = None

    def take(self, messages: list[Any]) -> None:
        for message in messages:
            if isinstance(message, Event):
                self.events.append(message)
            elif isinstance(message, Round):
                self.rounds.append(message)
            elif isinstance(message, Decision):
                self.decisions.append(message)
            else:
                self.outcome = message

    @property
    def end(self) -> Outcome:
        assert self.outcome is not None
        return self.outcome

    def transfers(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind and event.verb == "send"]


def play(blueprint: Blueprint, executor: Executor | None = None, decisions: list[Decision] | None = None) -> Played:
    """Play a blueprint, inline unless told otherwise."""
    played = Played()
    for messages in Simulation(blueprint, executor or Inline(holdings(blueprint)), decisions).messages():
        played.take(messages)
    return played


def final_weights(blueprint: Blueprint) -> dict[str, torch.Tensor]:
    """The last weights of an inline run, all parts together."""
    simulation = Simulation(blueprint, Inline(holdings(blueprint)))
    for _ in simulation.messages():
        pass
    assert simulation._last is not None
    parts = [simulation.engine.tape.fetch(part) for part in simulation._last.weights]
    return {name: tensor for part in parts for name, tensor in part.items()}


def living_handles(blueprint: Blueprint) -> list[int]:
    """Handles alive at the end of each round of an inline run, with the garbage collector off."""
    gc.disable()
    try:
        simulation = Simulation(blueprint, Inline(holdings(blueprint)))
        return [
            simulation.engine.tape.living
            for messages in simulation.messages()
            for message in messages
            if isinstance(message, Round)
        ]
    finally:
        gc.enable()


def time_only(blueprint: Blueprint, decisions: list[Decision] | None = None) -> Played:
    """Play the clock alone."""
    return play(blueprint, TimingOnly(), decisions)
