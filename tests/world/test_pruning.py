"""ADP's variant B: what pruning by size sets to zero, when, what it leaves alone, and what the records say of it."""

from typing import Any

import pytest
import torch

from emulator.learning.meter import Meter
from emulator.learning.pruning import mean_sparsity, prune
from emulator.learning.shards import Batches, Plan, Shard
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.fedprox import FedProxSettings, fedprox
from emulator.protocols.scaffold import ScaffoldSettings, scaffold
from tests.worlds import CNN, final_weights, fleet, plan, play, time_only

COMMON: dict[str, Any] = {"rounds": 2, "cohort": 2, "learning_rate": 0.1, "local_epochs": 2}
KINDS: list[Any] = [
    (fedavg, FedAvgSettings, {}),
    (fedprox, FedProxSettings, {"mu": 0.1}),
    (scaffold, ScaffoldSettings, {"option": 1}),
]


def test_small_weights_of_convolutions_become_zero() -> None:
    # At 0.1: 0.1 itself goes, 0.2 stays; vectors and matrices stay as they are.
    filters, matrix = torch.tensor([0.1, -0.1, 0.2, -0.05]).reshape(1, 1, 2, 2), torch.tensor([[0.05]])
    prune([filters, matrix], 0.1)
    assert filters.flatten().tolist() == pytest.approx([0, 0, 0.2, 0])
    assert matrix.item() == pytest.approx(0.05)


def test_sparsity_is_a_mean_of_layers() -> None:
    # Layers with 3 of 4 and 0 of 1 zeros; another device's with none: (0.75 + 0 + 0 + 0) / 4. It costs nothing.
    one = {"a": torch.tensor([0.0, 0, 0, 1]).reshape(1, 1, 2, 2), "b": torch.ones(1, 1, 1, 1), "c": torch.zeros(3)}
    other = {name: torch.ones_like(tensor) for name, tensor in one.items()}
    assert mean_sparsity(one, other).item() == pytest.approx(0.75 / 4)
    with Meter() as meter:
        mean_sparsity(one, other)
    assert not meter.cost().ops
    assert mean_sparsity({"c": torch.zeros(3)}).item() == 0


@pytest.mark.parametrize("limits", [Plan(4, 3), Plan(4, 1, 2), Plan(4, 1, 7), Plan(20, 2)])
def test_pass_by_pass_the_minibatches_are_the_same(limits: Plan) -> None:
    # 10 samples in batches of 4: 3 a pass. 7 steps: two passes and one step of a third.
    shard = Shard(torch.arange(10).reshape(10, 1, 1, 1), torch.arange(10))
    whole = [batch.labels.tolist() for batch in Batches(shard, 5, limits)]
    parts = [[batch.labels.tolist() for batch in one] for one in Batches(shard, 5, limits).passes()]
    assert [labels for part in parts for labels in part] == whole
    assert all(len(part) == -(-10 // limits.batch_size) for part in parts[:-1])
    sizes = [
        (len(make().labels), count) for one in Batches(shard, 5, limits).passes() for make, count in one.distinct()
    ]
    assert sum(count for _, count in sizes) == len(whole)


@pytest.mark.parametrize(("protocol", "settings", "more"), KINDS)
def test_no_threshold_is_the_parent_bit_for_bit(protocol: Any, settings: Any, more: dict[str, Any]) -> None:
    """Identity: threshold 0, and one below every weight, which goes pass by pass."""
    runs = [
        play(plan(protocol, settings(**COMMON, **more, **own), fleet(2), problem=CNN))
        for own in ({}, {"prune_threshold": 0.0}, {"prune_threshold": 1e-30})
    ]
    assert len({run.end.weights_sha256 for run in runs}) == 1
    assert "sparsity" not in runs[1].rounds[0].metrics
    assert runs[2].rounds[0].metrics["sparsity"] == 0


@pytest.mark.parametrize(("protocol", "settings", "more"), KINDS)
def test_records_tell_the_sparsity_of_what_came(protocol: Any, settings: Any, more: dict[str, Any]) -> None:
    """Property: it rises with the threshold; the clock alone gives the same rows."""
    found = []
    for threshold in (1e-3, 1e-2, 5e-2):
        blueprint = plan(protocol, settings(**COMMON, **more, prune_threshold=threshold), fleet(2), problem=CNN)
        played = play(blueprint)
        assert time_only(blueprint).events == played.events
        found.append([row.metrics["sparsity"] for row in played.rounds])
    assert found[0] < found[1] < found[2]
    assert (
        0 < found[0][0] < 0.2 < found[2][0] < 1
    )  # weights of the second convolution start in +-1/12, of the third +-1/17


def test_one_device_sends_what_it_pruned() -> None:
    # The average of one device is its update: no weight of a convolution is between zero and the threshold.
    blueprint = plan(fedavg, FedAvgSettings(**COMMON | {"cohort": 1}, prune_threshold=0.02), fleet(1), problem=CNN)
    found, told = final_weights(blueprint), play(blueprint).rounds[-1].metrics["sparsity"]
    filters = [tensor for tensor in found.values() if tensor.dim() == 4]
    assert all(((tensor == 0) | (tensor.abs() > 0.02)).all() for tensor in filters)
    assert told == pytest.approx(sum(float((tensor == 0).float().mean()) for tensor in filters) / len(filters))


def test_a_negative_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="prune_threshold"):
        FedAvgSettings(**COMMON, prune_threshold=-1.0)
