"""Exact: what a step costs on meta equals what it costs on real tensors, a count by hand, and PyTorch's own counter."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from emulator.learning.meter import Cost, Meter
from emulator.learning.models import MODELS, build
from emulator.learning.models.layers import SeededDropout
from tests.learning.models.worlds import EVERYDAY, images, real, spec


def step(model: nn.Sequential, inputs: Tensor) -> list[Tensor]:
    """Gradients of one training step."""
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    return list(torch.autograd.grad(cross_entropy(model(inputs), labels), list(model.parameters())))


def cost(model: nn.Sequential, inputs: Tensor) -> Cost:
    with Meter() as meter:
        meter.hold([*model.state_dict().values(), inputs])
        step(model, inputs)
    return meter.cost()


@pytest.mark.parametrize("name", EVERYDAY)
def test_meta_equals_real(name: str) -> None:
    """Operator by operator, and the peak."""
    inputs = images(name, 3)
    assert _facts(cost(build(spec(name)), inputs.to("meta"))) == _facts(cost(real(name), inputs))


@pytest.mark.parametrize("name", ["lenet", "cnn", "mobilenetv2"])
def test_meta_equals_real_for_a_batch_of_one(name: str) -> None:
    """MobileNetV2's last images are 1x1, so their BatchNorm uses its running statistics."""
    inputs = images(name, 1)
    assert _facts(cost(build(spec(name)), inputs.to("meta"))) == _facts(cost(real(name), inputs))


@pytest.mark.parametrize("name", ["cnn", "resnet8", "mobilenetv2_small"])
def test_meta_equals_real_with_frozen_statistics(name: str) -> None:
    """BatchNorm in evaluation mode while training, as in a frozen front."""
    inputs = images(name, 2)
    assert _facts(cost(build(spec(name)).eval(), inputs.to("meta"))) == _facts(cost(real(name).eval(), inputs))


def _facts(found: Cost) -> tuple[object, ...]:
    return found.ops, found.flops, found.bytes, found.peak_bytes


@pytest.mark.parametrize(
    "name", [name for name in EVERYDAY if "mobilenet" not in name]
)  # torch is wrong about its groups
def test_flops_equal_pytorchs_own_counter(name: str) -> None:
    model, inputs = build(spec(name)), images(name, 4).to("meta")
    with FlopCounterMode(display=False) as counter:
        loss = cross_entropy(model(inputs), torch.zeros(4, dtype=torch.int64, device="meta"))
        torch.autograd.backward(loss)
    assert cost(build(spec(name)), inputs).flops == counter.get_total_flops()


def test_lenet_flops_by_hand() -> None:
    """2 FLOPs a multiply-add, biases not counted; per image of 1x28x28 forward:

    28*28*6*25 + 10*10*16*150 + 400*120 + 120*84 + 84*10 multiply-adds,
    = 117,600 + 240,000 + 48,000 + 10,080 + 840 = 416,520.
    Backward is twice that, less the gradient of the images, which nobody needs: 3 * 416,520 - 117,600 = 1,131,960.
    """
    assert cost(build(spec("lenet")), torch.empty(5, 1, 28, 28, device="meta")).flops == 2 * 5 * 1_131_960


def test_alexnet_flops_by_hand() -> None:
    """Multiply-adds forward, per image of 3x32x32: side^2 c_out c_in k^2 and n m.

    16*16*64*27 + 8*8*192*1600 + 4*4*(384*1728 + 256*3456 + 256*2304) + 1024*4096 + 4096*4096 + 4096*10
    = 442,368 + 19,660,800 + 34,209,792 + 4,194,304 + 16,777,216 + 40,960 = 75,325,440.
    Backward is twice that, less the gradient of the images: 3 * 75,325,440 - 442,368 = 225,533,952.
    """
    assert cost(build(spec("alexnet")), torch.empty(5, 3, 32, 32, device="meta")).flops == 2 * 5 * 225_533_952


@pytest.mark.parametrize(
    "name", ["lenet", "cnn", "cnn_mnist", "alexnet", "vgg11", "resnet8", "resnet9", "mobilenetv2_small"]
)
def test_activations_in_place_would_save_no_memory(name: str) -> None:
    """Why the models have none: the peak of a training step is the same with and without."""
    shape = (8, *MODELS[name].reference)
    model = build(spec(name))
    plain = cost(model, torch.empty(shape, device="meta")).peak_bytes
    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = True
    assert cost(model, torch.empty(shape, device="meta")).peak_bytes == plain


def test_seeded_dropout_costs_the_same_on_meta() -> None:
    found = []
    for device in ("cpu", "meta"):
        layer = SeededDropout(0.25)
        layer.generator = torch.Generator().manual_seed(1)
        inputs = torch.ones(8, 16, device=device)
        with Meter() as meter:
            meter.hold([inputs])
            layer(inputs)
        found.append(_facts(meter.cost()))
    assert found[0] == found[1]
