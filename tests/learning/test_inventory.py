"""What a peak is made of: the parts sum to it, and each is what the model's layers say by hand."""

from typing import Any

import pytest
import torch

from actors.values import Spec
from emulator.learning.inventory import PARTS, parts
from emulator.learning.models import weight_specs
from emulator.learning.sgd import train
from emulator.learning.tracing import measure
from tests.learning.models.worlds import EVERYDAY
from tests.learning.test_meter import sgd_for, shard_of, spec_of


def inputs_of(name: str, samples: int) -> tuple[Any, ...]:
    spec = spec_of(name)
    weights = {key: torch.empty(w.shape, dtype=w.dtype, device="meta") for key, w in weight_specs(spec).items()}
    return Spec.of(weights), Spec.of(shard_of(spec, samples, "meta")), 1


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", EVERYDAY)
def test_parts_sum_to_the_peak_that_the_meter_measured(name: str, momentum: float) -> None:
    settings = {"sgd": sgd_for(spec_of(name), 4, momentum=momentum)}
    found = parts(train, inputs_of(name, 10), settings)
    assert tuple(found) == PARTS
    assert sum(found.values()) == measure(train, inputs_of(name, 10), settings)[1].peak_bytes
    weights = sum(w.dtype.itemsize * torch.Size(w.shape).numel() for w in weight_specs(spec_of(name)).values())
    assert found["weights"] == 2 * weights  # those received, and the copy that is trained
    trained = sum(
        w.dtype.itemsize * torch.Size(w.shape).numel() for w in weight_specs(spec_of(name)).values() if not w.buffer
    )
    assert found["optimiser"] == (trained if momentum else 0)
    images = 10 * (torch.Size(spec_of(name).shape).numel() + 8)
    assert found["data"] == images


def test_an_mlp_when_all_gradients_are_there() -> None:
    """The peak is in the last backward step or the update: gradients of all weights, 4 bytes each."""
    found = parts(train, inputs_of("mlp", 4), {"sgd": sgd_for(spec_of("mlp"), 4)})
    numbers = sum(torch.Size(w.shape).numel() for w in weight_specs(spec_of("mlp")).values())
    assert (found["gradients"], found["weights"]) == (4 * numbers, 8 * numbers)
