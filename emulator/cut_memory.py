"""Refuses a cut that does not fit, before a run starts, and says what would fit: found on the clock, for any protocol."""

from dataclasses import replace
from typing import Any

from emulator.blueprint import Blueprint
from emulator.learning.models import summary
from emulator.memory_check import needs
from emulator.model_rules import cut_findings
from emulator.protocols.base import Rounds
from emulator.protocols.settings import CutWork, LocalWork
from emulator.reading import ScenarioError
from emulator.scenario import Scenario

ENOUGH = 2  # minibatches that show all that a device needs: the first is a full one


def refuse_cut(scenario: Scenario, plan: Blueprint) -> None:
    """Raises ScenarioError where a split run would end as a step does not fit a device, with cuts or batch sizes that do.

    A few minibatches are played on the clock, without tensors, by those devices of each profile that hold most data.
    """
    if not isinstance(scenario.protocol, CutWork) or scenario.on_out_of_memory != "fail":
        return
    for cut in sorted(set(scenario.cuts)):
        few = _few(plan, cut)
        found = _misfit(few)
        if found is not None:
            need = found[1].partition(" are free")[0]
            raise ScenarioError(f"{_key(scenario, plan, found[0])}: got {cut}: {need} are free; {_advice(few)}")


def _key(scenario: Scenario, plan: Blueprint, name: str) -> str:
    """Where the cut of a device is written."""
    groups = [index for index, count in enumerate(scenario.counts) for _ in range(count)]
    index = groups[next(device.index for device in plan.devices if device.name == name)]
    return "model.cut" if scenario.devices[index].cut is None else f"devices[{index}].cut"


def _few(plan: Blueprint, cut: int) -> Blueprint:
    """The same plan with one device of each profile at a cut, the one with most samples; the cut is then all devices'."""
    most: dict[str, int] = {}
    for index, device in enumerate(plan.devices):
        if device.cut not in (None, cut):
            continue
        best = most.setdefault(device.profile.name, index)
        if plan.samples[index] > plan.samples[best]:
            most[device.profile.name] = index
    chosen = sorted(most.values())
    accesses = tuple(plan.wiring.accesses[index] for index in chosen)
    return replace(
        plan, devices=tuple(replace(plan.devices[index], cut=None) for index in chosen), conditions=(),
        samples=tuple(plan.samples[index] for index in chosen), wiring=replace(plan.wiring, accesses=accesses),
        problem=replace(plan.problem, cut=cut),
    )  # fmt: skip


def _misfit(plan: Blueprint, **changes: Any) -> tuple[str, str] | None:
    """The first device that a step does not fit, and what is said of it; None where all fit, or data decide."""
    settings = plan.settings
    if not isinstance(settings, Rounds):
        return None
    if isinstance(settings, LocalWork):
        changes = {"local_epochs": None, "local_steps": ENOUGH, **changes}
    found = needs(plan, settings.model_copy(update=changes))
    return next(((name, str(error)) for name, error in found[1].items()), None) if found is not None else None


def _advice(plan: Blueprint) -> str:
    """Cuts that fit, and the largest halved batch size that does at this cut."""
    model, cut = plan.problem.model, plan.problem.cut
    others = [other for other in range(1, len(summary(model))) if other != cut]
    assert isinstance(plan.settings, CutWork)
    sound = [other for other in others if not any(cut_findings("", plan.settings, model, ("", other)))]
    fitting = [other for other in sound if _misfit(replace(plan, problem=replace(plan.problem, cut=other))) is None]
    found = [f"a cut of {', '.join(map(str, fitting))}"] if fitting else []
    size = getattr(plan.settings, "batch_size", 1) // 2
    while size and _misfit(plan, batch_size=size) is not None:
        size //= 2
    found += [f"protocol.batch_size {size}"] if size else []
    return f"expected {' or '.join(found)}" if found else "no cut and no batch size would fit"
