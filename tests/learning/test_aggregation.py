"""Sums of models by hand."""

import pytest
import torch

from actors.values import Spec
from emulator.learning.aggregation import mixed
from emulator.learning.tracing import measure


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_mix_lies_between_both(share: float) -> None:
    """Powers of two: exact."""
    weights, update = {"a": torch.tensor([[8.0, -4.0]]), "b": torch.tensor(2.0)}, {"b": torch.tensor(6.0)}
    update["a"] = torch.tensor([[0.0, 4.0]])  # named in another order
    found = mixed(share, weights, update)
    assert list(found) == ["a", "b"]
    assert found["a"].tolist() == [[8.0 * (1 - share), -4.0 + 8.0 * share]]
    assert found["b"].item() == 2.0 + 4.0 * share


def test_a_mix_reads_both_and_writes_one() -> None:
    model = Spec.of({"a": torch.zeros(3, 5), "b": torch.zeros(4)})
    made, cost = measure(mixed, (0.5, model, model), {})
    assert made is model
    assert cost.bytes == 3 * 4 * (15 + 4)
