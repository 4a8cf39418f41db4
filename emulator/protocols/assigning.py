"""TinyFEL's assignment of a round: from devices as they are now to what each of them does."""

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

from emulator.learning.assignment import Assignment, Candidate, Infeasible, Round, Solver, solve
from emulator.learning.assignment.admm import Admm
from emulator.learning.random import choose
from emulator.learning.sgd import LocalSGD
from emulator.learning.suffix import Suffix, suffix_of, suffixes
from emulator.protocols.prospects import Prospect
from emulator.protocols.tinyfel_settings import TinyFELSettings
from emulator.protocols.verbs import Node, Unmet, Value, World

KEYS = {  # the setting behind each of the solver's constraints
    "convergence requirement": "required",
    "memory caps": "memory_share",
    "energy caps": "energy_cap_j",
    "bandwidth": "energy_cap_j",
    "latency": "latest_s",
}
WHICH = {  # what is told of the device at which it fails most
    "convergence requirement": "{} loses most of its largest ratio",
    "memory caps": "{} loses most of its largest ratio",
    "energy caps": "{} is held back most",
    "bandwidth": "{} needs most",
    "latency": "{} computes longest",
}


class Share(NamedTuple):
    """What a device does in a round: the first block that it updates, and its parts of the band (None: not assigned)."""

    first: int
    uplink_hz: float | None
    downlink_hz: float | None


Missing = Callable[[Node], tuple[int, ...]]


def assign(
    world: World, cohort: Sequence[Node], task: tuple[Value, LocalSGD], settings: TinyFELSettings, missing: Missing
) -> tuple[dict[Node, Share], dict[str, float]]:
    """Who takes part and how, and the figures that are told of it. Nobody, where nobody has data.

    Raises Unmet where the constraints leave nothing, and ValueError for a band that cannot be assigned.
    """
    total = sum(device.samples for device in cohort)
    if not total:
        return {}, {}
    _require_one_band(cohort, settings)
    options = _options(task[1], settings)
    downlink = None if settings.bandwidth == "network" else cohort[0].channel().signal.band.bandwidth_hz / len(cohort)
    prospects = {device: Prospect(device, task, settings, missing(device), downlink) for device in cohort}
    candidates = {device: one.candidate(device.samples / total, options) for device, one in prospects.items()}
    taking = _selected(world, candidates, settings)
    found = _found(world, {device: candidates[device] for device in taking}, settings)
    chosen = {
        device: (options[choice], None if downlink is None else hertz)
        for device, choice, hertz in zip(taking, found.choices, found.bandwidth_hz, strict=True)
        if choice is not None
    }
    parts = _downlinks([prospects[device] for device in chosen])
    shares = {
        device: Share(one.first, hertz, part)
        for (device, (one, hertz)), part in zip(chosen.items(), parts, strict=True)
    }
    ratios = [one.ratio for one, _ in chosen.values()]
    return shares, {
        "assigned_s": found.latency_s,
        "downlink_s": max(prospects[device].download_s(share.downlink_hz) for device, share in shares.items()),
        "selected": len(chosen),
        "mean_ratio": sum(ratios) / len(ratios),
    }


def _found(world: World, candidates: dict[Node, Candidate], settings: TinyFELSettings) -> Assignment:
    """The solver's answer. Raises Unmet with the setting's key where there is none."""
    devices = list(candidates)
    try:
        return solve(tuple(candidates.values()), _round(devices, settings), _solver(settings))
    except Infeasible as error:
        key = KEYS[error.constraint]
        if getattr(settings, key) is None:
            key = "required"  # the memory is what the device has free
        which = "" if error.device is None else f" ({WHICH[error.constraint].format(devices[error.device].name)})"
        got = f"protocol.{key}: got {getattr(settings, key)}"
        raise Unmet(f"{got}, which round {world.round} cannot meet: {error}{which}") from None


def _downlinks(taking: Sequence[Prospect]) -> list[float | None]:
    """Parts of the band: those that were counted on, equal ones, or such that all downloads end together."""
    settings, counted = taking[0].settings, taking[0].downlink_hz
    if counted is None or settings.count_downlink:
        return [counted] * len(taking)
    whole = taking[0].device.channel().signal.band.bandwidth_hz
    if settings.bandwidth == "equal":
        return [whole / len(taking)] * len(taking)
    asked = tuple(one.download() for one in taking)
    return list(solve(asked, Round(1e-9, whole), Solver("largest", "all")).bandwidth_hz)


def _require_one_band(cohort: Sequence[Node], settings: TinyFELSettings) -> None:
    cells = sorted({device.channel().link for device in cohort})
    if settings.bandwidth != "network" and len(cells) > 1:
        raise ValueError(f"bandwidth: got devices in {', '.join(cells)}; expected one cell, whose band is assigned")
    for device in cohort:
        if settings.bandwidth != "network" and device.channel().signal is None:
            raise ValueError(
                f"bandwidth: {device.name} has no radio; expected a cell with sharing: assigned, or network"
            )


def _options(sgd: LocalSGD, settings: TinyFELSettings) -> tuple[Suffix, ...]:
    model = sgd.problem.model
    if settings.update_ratio is not None:
        return (suffix_of(model, settings.update_ratio, settings.ratio_by),)
    return tuple(one for one in suffixes(model, settings.ratio_by) if one.ratio >= settings.least_ratio)


def _solver(settings: TinyFELSettings) -> Solver:
    admm = Admm(settings.penalty, settings.iterations)
    return Solver(
        "largest" if settings.ratio == "fixed" else settings.ratio,
        "optimised" if settings.selection == "optimised" else "all",
        "equal" if settings.bandwidth == "equal" else "optimised",
        admm=admm,
    )


def _round(taking: Sequence[Node], settings: TinyFELSettings) -> Round:
    whole = inf if settings.bandwidth == "network" else taking[0].channel().signal.band.bandwidth_hz
    return Round(settings.required, whole, settings.latest_s or inf)


def _selected(world: World, candidates: dict[Node, Candidate], settings: TinyFELSettings) -> list[Node]:
    """All that can be chosen from; or, in a random order, as many as meet the requirement at their largest ratios."""
    devices = list(candidates)
    if settings.selection != "random":
        return devices
    taking, mass = set[Node](), 0.0
    for index in choose(world.seed("selection", world.round), len(devices), len(devices)):
        one = candidates[devices[index]]
        most = max((way.ratio for way in one.choices if way.memory_bytes <= one.memory_bytes), default=0.0)
        if most and mass < settings.required:
            taking.add(devices[index])
            mass += one.weight * most
    return [device for device in devices if device in taking] or devices
