"""The meter's peak, found on meta tensors, is the peak of a real run to the byte: a second implementation.

The first is ``emulator.learning.meter``. The second is the allocator's own log of the same step on real CPU tensors
(``tests.learning.allocator``). What is counted in both: the storages of tensors. The inputs (weights and shard) are held
by the caller from before, as the device holds them; then the copy of the weights that is trained, the batch, activations,
gradients, momentum. Not counted: kernels' scratch.
"""

from functools import cache
from typing import Any

import pytest
import torch
from torch.nn import functional

from actors.values import Spec
from emulator.learning.binding import bound
from emulator.learning.meter import Meter
from emulator.learning.models import ModelSpec, initial_weights
from emulator.learning.sgd import LocalSGD, Problem, train, trained
from emulator.learning.shards import Normalisation, Plan, Shard
from emulator.learning.tracing import measure
from tests.learning.allocator import Log, logged, saved_bytes, storage_bytes

MODELS = {
    "mlp": (1, 8, 8),
    "lenet": (1, 28, 28),
    "cnn": (1, 28, 28),
    "resnet18": (3, 32, 32),
    "mobilenetv2": (3, 32, 32),
}
BATCH = 4


class Step:
    """Local training of one model on six samples: a batch of four and one of two."""

    def __init__(self, name: str, momentum: float = 0.0) -> None:
        shape = MODELS[name]
        self.model = ModelSpec(name, 10, shape)
        self.normalise = Normalisation(255.0, (0.5,) * shape[0], (0.5,) * shape[0])
        self.sgd = LocalSGD(Problem(self.model, self.normalise), Plan(BATCH), 0.05, momentum=momentum)
        self.weights = initial_weights(self.model, torch.Generator().manual_seed(0))
        self.shard = Shard(torch.zeros((6, *shape), dtype=torch.uint8), torch.zeros(6, dtype=torch.int64))

    def metered(self) -> int:
        """The meter's peak, on meta tensors."""
        inputs = (Spec.of(self.weights), Spec.of(self.shard), 1)
        return measure(train, inputs, {"sgd": self.sgd})[1].peak_bytes

    def real(self, operators: frozenset[str] | None = None) -> Log:
        """The allocator's log of the real run."""
        return logged(lambda: train(self.weights, self.shard, 1, sgd=self.sgd), operators)

    def held(self) -> int:
        """Bytes that are there before."""
        return storage_bytes([*self.weights.values(), *self.shard])


@cache
def marked(name: str, momentum: float = 0.0) -> Log:
    return Step(name, momentum).real()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", list(MODELS))
def test_the_peak_is_the_allocators_to_the_byte(name: str, momentum: float) -> None:
    step, log = Step(name, momentum), marked(name, momentum)
    live = log.tensors()
    assert live[-1] == storage_bytes(log.result.values())  # nothing is left over but the new weights
    assert step.held() + max(live) == step.metered()


def test_the_mlp_by_hand() -> None:
    # Weights: 64 * 128 + 128 + 128 * 10 + 10 = 9,610 numbers of 4 B = 38,440 B: held by the caller, and the copy in training.
    # Shard: 6 * (64 B of pixels + 8 B of label) = 432 B, held; the batch of four: 4 * (64 + 8) = 288 B.
    # The peak is where the last of the gradients (38,440 B in all) has just been made: beside it only the pixels as floats,
    # 4 * 64 * 4 = 1,024 B, the gradient of the hidden values, 4 * 128 * 4 = 2,048 B, the loss and its gradient 1, 4 B each.
    peak = 3 * 38_440 + 432 + 288 + 1_024 + 2_048 + 4 + 4
    step = Step("mlp")
    assert step.metered() == peak == 119_120
    assert step.held() + max(marked("mlp").tensors()) == peak


def test_the_plain_run_has_the_same_peak_but_where_two_gradients_join() -> None:
    """No mode watches here: torch runs as it always does. Operators are known by their names of the marked run.

    One difference is real. Where two paths meet (a shortcut), autograd adds one gradient into the other in place - unless
    a dispatch mode is on or the tensors are meta ones, and then it makes a third tensor (PyTorch,
    torch/csrc/autograd/input_buffer.cpp, can_accumulate_inplace, and ATen/TensorSubclassLikeUtils.h; read 2026-11). In
    ResNet-18 the peak is at such a place: the sum before the block of 256 channels is 128 x 16 x 16 floats a sample,
    4 * 32,768 * 4 = 524,288 B, taken after the shortcut's own gradient, 4 * 256 * 8 * 8 * 4 = 262,144 B, went. So the meter
    is above the plain run by 262,144 B of 148 MB, the difference of the two.
    """
    above = dict.fromkeys(MODELS, 0) | {"resnet18": 524_288 - 262_144}
    for name, expected in above.items():
        step = Step(name)
        plain = step.real(marked(name).operators()).tensors()
        assert step.metered() - (step.held() + max(plain)) == expected, name


def test_scratch_is_what_kernels_need_for_themselves() -> None:
    """Convolutions and batch norm take work space; elsewhere it is Python's numbers, a double each."""
    own = {
        "aten::convolution",
        "aten::convolution_backward",
        "aten::native_batch_norm",
        "aten::native_batch_norm_backward",
    }
    for name in MODELS:
        log = marked(name)
        other = {log.events[index].size for index, operator in log.scratch().items() if operator not in own}
        assert max(other) <= 8, name
        # With scratch the peak is higher where there are convolutions (lenet: by 87,768 B on one machine), and only there.
        higher = max(log.everything()) - max(log.tensors())
        assert higher == 0 if name == "mlp" else higher > 0


def test_other_kernels_have_other_scratch_and_the_same_tensors() -> None:
    step = Step("lenet")
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):  # None: untouched
        other = step.real()
    assert max(other.tensors()) == max(marked("lenet").tensors())
    assert max(other.everything()) != max(marked("lenet").everything())


def forward(step: Step, weights: dict[str, torch.Tensor], batch: Shard) -> torch.Tensor:
    with bound(step.model, weights, training=True) as model:
        return functional.cross_entropy(model(step.normalise(batch.images)), batch.labels)


def batch_of(step: Step, device: str) -> tuple[dict[str, torch.Tensor], Shard]:
    names = trained(step.model)
    weights = {name: tensor.to(device).clone() for name, tensor in step.weights.items()}
    for name in names:
        weights[name].requires_grad_()
    return weights, Shard(*(part[:BATCH].to(device).clone() for part in step.shard))


@pytest.mark.parametrize("name", list(MODELS))
def test_what_is_live_after_the_forward_pass_is_what_autograd_saved(name: str) -> None:
    """Saved tensors, real and meta (each storage once, without weights and the batch's labels, which are held anyway),
    are what the meter and the allocator find live above the inputs once the loss, 4 B, is there."""
    step, found = Step(name), dict[str, Any]()
    for device in ("cpu", "meta"):
        weights, batch = batch_of(step, device)
        held = [*weights.values(), *batch]
        found[f"saved on {device}"], loss = saved_bytes(lambda w=weights, b=batch: forward(step, w, b), held)  # type: ignore[misc]
        del loss
        with Meter() as meter:
            meter.hold(held)
            before = meter.live_bytes
            loss = forward(step, weights, batch)
            found[f"metered on {device}"] = meter.live_bytes - before - storage_bytes([loss])
    weights, batch = batch_of(step, "cpu")
    log = logged(lambda: forward(step, weights, batch))
    found["allocated"] = log.tensors()[-1] - storage_bytes([log.result])
    assert len(set(found.values())) == 1, found
    assert found["allocated"] > 0


def test_saved_activations_of_the_mlp_by_hand() -> None:
    # Pixels as floats 4 * 64 * 4, hidden values after ReLU 4 * 128 * 4, log-probabilities 4 * 10 * 4, and the total
    # weight of the loss, one float: 1,024 + 2,048 + 160 + 4.
    step = Step("mlp")
    weights, batch = batch_of(step, "cpu")
    saved, loss = saved_bytes(lambda: forward(step, weights, batch), [*weights.values(), *batch])
    assert loss.numel() == 1
    assert saved == 1_024 + 2_048 + 160 + 4
