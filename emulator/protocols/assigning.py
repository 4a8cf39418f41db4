"""TinyFEL's settings, and from devices as they are now to what each of them does in a round.

Inferred (ours), beyond the assignment itself: what a device can do is what the clock would charge it (``node.predict``), its
channel is the mean one or that of the present coherence block, and the energy is that of the profile's powers.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from emulator.learning.assignment import Assignment, Candidate, Choice, Round, Solver, solve
from emulator.learning.assignment.admm import Admm
from emulator.learning.random import choose
from emulator.learning.sgd import LocalSGD, train
from emulator.learning.suffix import Suffix, payload_bytes, suffix_of, suffixes, train_suffix
from emulator.protocols.settings import LocalTraining
from emulator.protocols.verbs import Node, Value, World


class TinyFELSettings(LocalTraining):
    """Settings of TinyFEL. Each decision is optimised, or taken as a baseline takes it."""

    whole_rounds: ClassVar[str | None] = "TinyFEL assigns ratios and bandwidth so that all end together"
    own_sampling: ClassVar[str | None] = "TinyFEL selects devices itself"

    ratio: Literal["optimised", "uniform", "largest", "full", "fixed"] = Field(
        default="optimised",
        description="update ratios: optimised; one for all; the largest that caps allow; 1; or update_ratio for all",
    )
    update_ratio: float | None = Field(default=None, gt=0, le=1, description="of ratio: fixed")
    ratio_by: Literal["parameters", "layers"] = Field(default="parameters", description="what a ratio is a share of")
    least_ratio: float = Field(default=0.05, ge=0, le=1, description="smaller ratios are not assigned")
    required: float = Field(default=0.45, gt=0, le=1, description="convergence: least sum of q_k u_k over the cohort")
    selection: Literal["optimised", "all", "random"] = Field(
        default="optimised",
        description="devices of the cohort that take part; random: as many as the requirement needs",
    )
    bandwidth: Literal["optimised", "equal", "network"] = Field(
        default="optimised", description="parts of an assigned band; network: as the devices' cells share it"
    )
    knowledge: Literal["mean", "now"] = Field(
        default="now",
        description="of the channel: its mean, or its gain in the coherence block in which a round starts",
    )
    count_downlink: bool = Field(default=False, description="whether the latency that is minimised has the downlink")
    memory_share: float | None = Field(default=None, gt=0, le=1, description="cap, as a share of full training's peak")
    energy_cap_j: float | None = Field(default=None, gt=0, description="cap of a device's joules for a round")
    latest_s: float | None = Field(default=None, gt=0, description="latest end of a round, in seconds")
    penalty: float = Field(default=1.0, gt=0, description="of ADMM")
    iterations: int = Field(default=120, ge=1, description="of ADMM, at most")

    @model_validator(mode="after")
    def _fixed_has_a_ratio(self) -> Self:
        if (self.ratio == "fixed") != (self.update_ratio is not None):
            raise ValueError(
                f"update_ratio: got {self.update_ratio} with ratio: {self.ratio}; expected one with fixed only"
            )
        return self


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

    Raises Infeasible where the constraints leave nothing, and ValueError for a band that cannot be assigned.
    """
    total = sum(device.samples for device in cohort)
    if not total:
        return {}, {}
    _require_one_band(cohort, settings)
    options = _options(task[1], settings)
    downlink = None if settings.bandwidth == "network" else cohort[0].channel().signal.band.bandwidth_hz / len(cohort)
    facts = {device: Facts(device, task, options, settings, downlink) for device in cohort}
    candidates = {device: one.candidate(device.samples / total, missing(device)) for device, one in facts.items()}
    taking = _selected(world, candidates, settings)
    found = solve(tuple(candidates[device] for device in taking), _round(taking, settings), _solver(settings))
    chosen = {
        device: (options[choice].first, None if downlink is None else hertz)
        for device, choice, hertz in zip(taking, found.choices, found.bandwidth_hz, strict=True)
        if choice is not None
    }
    parts = _downlinks([facts[device] for device in chosen], missing)
    shares = {device: Share(*chosen[device], part) for device, part in zip(chosen, parts, strict=True)}
    return shares, _told(found, options)


def _downlinks(taking: Sequence["Facts"], missing: Missing) -> list[float | None]:
    """Parts of the band: those that were counted on, equal ones, or such that all downloads end together."""
    settings, counted = taking[0].settings, taking[0].downlink_hz
    if counted is None or settings.count_downlink:
        return [counted] * len(taking)
    whole = taking[0].device.channel().signal.band.bandwidth_hz
    if settings.bandwidth == "equal":
        return [whole / len(taking)] * len(taking)
    asked = tuple(one.download(missing(one.device)) for one in taking)
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


def _told(found: Assignment, options: tuple[Suffix, ...]) -> dict[str, float]:
    chosen = [options[choice].ratio for choice in found.choices if choice is not None]
    return {"assigned_s": found.latency_s, "selected": len(chosen), "mean_ratio": sum(chosen) / len(chosen)}


class Facts(NamedTuple):
    """A device as it is now."""

    device: Node
    task: tuple[Value, LocalSGD]
    options: tuple[Suffix, ...]
    settings: TinyFELSettings
    downlink_hz: float | None

    def candidate(self, weight: float, missing: tuple[int, ...]) -> Candidate:
        """The device for the solver: what each suffix would cost it, its air and its caps."""
        device, settings, channel = self.device, self.settings, self.device.channel()
        ahead_s = channel.latency_s + (self._downlink_s(missing) if settings.count_downlink else 0.0)
        powers = device.profile
        if settings.energy_cap_j is not None and powers.load_w is None:
            raise ValueError(f"energy_cap_j: {device.name} has a profile ({powers.name}) without powers; expected some")
        scale = 1.0 if self.downlink_hz is None else channel.signal.band.scale
        choices = tuple(self._choice(one, ahead_s, scale) for one in self.options)
        strength = 0.0 if self.downlink_hz is None else channel.signal.strengths_hz(now=settings.knowledge == "now")[1]
        rate = channel.uplink_bps if self.downlink_hz is None else None
        return Candidate(
            weight, choices, strength, rate, self._memory_cap(), settings.energy_cap_j or inf, powers.send_w or 0.0
        )

    def _choice(self, one: Suffix, ahead_s: float, scale: float) -> Choice:
        cost = self._cost(one.first)
        joules = cost.seconds * (self.device.profile.load_w or 0.0)
        return Choice(one.ratio, ahead_s + cost.seconds, one.payload_bytes / scale, cost.peak_bytes, joules)

    def _cost(self, first: int) -> Value:
        weights, sgd = self.task
        if first == 0:
            return self.device.predict(train, weights, self.device.data, 0, sgd=sgd)
        return self.device.predict(train_suffix, weights, self.device.data, 0, sgd=sgd, first=first)

    def _memory_cap(self) -> float:
        free = float(self.device.profile.free_memory_bytes)
        share = self.settings.memory_share
        return free if share is None else min(free, share * self._cost(0).peak_bytes)

    def download(self, missing: tuple[int, ...]) -> Candidate:
        """The device's download for the solver: one choice, without any computing."""
        signal = self.device.channel().signal
        payload = payload_bytes(self.task[1].problem.model, missing) / signal.band.scale
        strength = signal.strengths_hz(now=self.settings.knowledge == "now")[0]
        return Candidate(1.0, (Choice(1.0, 0.0, payload),), strength)

    def _downlink_s(self, missing: tuple[int, ...]) -> float:
        """Of the blocks that the device is missing, on its part of the band."""
        channel, bits = self.device.channel(), 8 * payload_bytes(self.task[1].problem.model, missing)
        if self.downlink_hz is None:
            return float(channel.latency_s + bits / channel.downlink_bps)
        signal = channel.signal
        gain = signal.downlink_gain if self.settings.knowledge == "now" else 1.0
        rate = signal.band.rate(signal.downlink_snr * gain, self.downlink_hz / signal.band.bandwidth_hz)
        return float(channel.latency_s + bits / rate)
