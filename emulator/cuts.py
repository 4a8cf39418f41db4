"""What ``emulator check --cuts`` prints: what each cut of a model would ask of the devices, for any protocol's scenario."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from actors.program import resume
from actors.values import Spec
from emulator.devices.processor import seconds
from emulator.devices.profile import Profile
from emulator.learning.binding import Weights, part
from emulator.learning.datasets import DATASETS, available
from emulator.learning.meter import Cost
from emulator.learning.models import build, summary
from emulator.learning.models.signs import non_negative_cuts
from emulator.learning.sgd import Problem
from emulator.learning.shards import Normalisation, shard_spec
from emulator.learning.split import Split, begin, blocks, front
from emulator.learning.tracing import measure
from emulator.listing import table
from emulator.memory import rounded
from emulator.preparation import draw_fleet, prepare
from emulator.protocols.split_training import SplitTraining, split_of
from emulator.scenario import Scenario


@dataclass(frozen=True)
class CutCost:
    """One minibatch of ``size`` samples at a cut, on a device that holds ``samples``.

    ``sent_bytes``: (payload, overhead) of the coded smashed data; ``held_bytes`` stay on the device between its two passes;
    ``peak_bytes``: the most it needs, its half, its data and what is held included.
    """

    split: Split
    size: int
    parameters: int
    forward: Cost
    backward: Cost
    sent_bytes: tuple[int, int]
    held_bytes: int
    peak_bytes: int

    def seconds(self, profile: Profile) -> float:
        """What both passes of the minibatch take a device of a profile, nominally."""
        own = profile.kernels
        return seconds(self.forward.on(*own), profile) + seconds(self.backward.on(*own), profile)


def show_cuts(scenario: Scenario) -> None:
    """Two tables, both a row a cut: what it costs, and what it means for each profile of the fleet."""
    samples = _most_samples(scenario)
    found = [cost_of(split_for(scenario, cut), samples) for cut in cuts_of(scenario)]
    size = found[0].size
    header = ("cut", "last block", "device parameters", "FLOPs forward", "FLOPs backward", "smashed", "coded", "below 0",
              "held", "peak memory")  # fmt: skip
    title = f"cuts of {scenario.model.name}: FLOPs and smashed bytes a sample; memory at batches of {size}, {samples} samples"
    table(title, header, [_row(cost) for cost in found])
    profiles = {device.profile.name: device.profile for device in draw_fleet(scenario)}
    rows = [(cost.split.cut, *(_verdict(cost, profile) for profile in profiles.values())) for cost in found]
    table(f"a batch of {size}, forward and backward on the device, and whether it fits", ("cut", *profiles), rows)


def cuts_of(scenario: Scenario) -> range:
    """The cuts with a block on either side."""
    return range(1, len(summary(scenario.model_spec)))


def split_for(scenario: Scenario, cut: int) -> Split:
    """Split training as the scenario's protocol would do it at a cut, with defaults for what that has no setting for."""
    given = {
        key: getattr(scenario.protocol, key) for key in SplitTraining.model_fields if hasattr(scenario.protocol, key)
    }
    info = DATASETS[scenario.data.dataset]
    problem = Problem(scenario.model_spec, Normalisation(info.scale, info.mean, info.std), cut)
    settings = SplitTraining(**({"rounds": 1, "cohort": 1, "learning_rate": 0.1} | given))
    return split_of(problem, settings)


def cost_of(split: Split, samples: int) -> CutCost:
    """What the first minibatch of a device that holds ``samples`` costs at the split's cut."""
    size = min(split.plan.batch_size, samples)
    mine = measure(begin, (_front(split),), {"split": split, "back": False})[0]
    shard = shard_spec(samples, split.problem.model.shape)
    (smashed, _, waiting), forward = measure(front, (mine, shard, 0, 0), {"split": split, "size": size})
    gradient = Spec.of(split.gradient.encode(torch.empty(split.shape(size), device="meta"), 0))
    _, backward = measure(resume, (waiting, gradient), {})
    resident = mine.nbytes + shard.nbytes  # on the device all the time, and in the peak of the forward pass alone
    rows = summary(split.problem.model)[slice(*blocks(split, back=False))]
    return CutCost(
        split, size, sum(row.parameters for row in rows), forward, backward,
        (smashed.nbytes - smashed.overhead_bytes, smashed.overhead_bytes), waiting.nbytes,
        max(forward.peak_bytes, backward.peak_bytes + resident),
    )  # fmt: skip


def _front(split: Split) -> Spec:
    weights: Weights = dict(build(split.problem.model).state_dict())
    return Spec.of(part(weights, *blocks(split, back=False)))


def _most_samples(scenario: Scenario) -> int:
    """Samples of the device that holds most; an equal share where the data are not on this machine."""
    data = scenario.data
    if available(data.dataset, Path(data.root) if data.root else None):
        return max(1, *prepare(scenario).plan.samples)
    return max(1, (data.samples or DATASETS[data.dataset].train) // scenario.fleet_size)


def _row(cost: CutCost) -> Sequence[object]:
    model, cut = cost.split.problem.model, cost.split.cut
    block, sent = summary(model)[cut - 1], cost.sent_bytes
    overhead = f" + {sent[1] / cost.size:.3g}" if sent[1] else ""
    return (
        cut, block.name, f"{cost.parameters:,}", f"{cost.forward.flops // cost.size:,}",
        f"{cost.backward.flops // cost.size:,}", f"{block.smashed_bytes:,}", f"{sent[0] / cost.size:,.10g}{overhead}",
        "no" if cut in non_negative_cuts(model) else "yes", rounded(cost.held_bytes), rounded(cost.peak_bytes),
    )  # fmt: skip


def _verdict(cost: CutCost, profile: Profile) -> str:
    time = f"{float(f'{1000 * cost.seconds(profile):.3g}'):,g} ms"
    if cost.peak_bytes <= profile.free_memory_bytes:
        return f"{time}, fits"
    return f"{time}, too large for {rounded(profile.free_memory_bytes)}"
