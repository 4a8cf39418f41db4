"""Which cuts send nothing below 0: as the layers say, and as the values of real models show."""

import pytest
import torch
from torch import nn

from emulator.learning.models.layers import PooledBlock
from emulator.learning.models.signs import gives_non_negative, non_negative_cuts
from tests.learning.models.worlds import NAMES, images, real, spec

# By hand. resnet9: two ReLU blocks, then residual blocks whose shortcut is a convolution (negative) or such a block's
# result; its mean of channels keeps the sign. mobilenetv2: the stem and the last convolution end in ReLU6, its 17 blocks
# between them in BatchNorm.
BY_HAND = {
    "mlp": (1,), "lenet": (1, 2, 3, 4), "cnn": (1, 2, 3), "cnn_mnist": (1, 2, 3), "alexnet": tuple(range(1, 8)),
    "vgg11": tuple(range(1, 9)), "vgg19": tuple(range(1, 17)),
    "vgg11_ecofed": tuple(range(1, 11)), "resnet8": (1, 2, 3, 4), "resnet9": (1, 2),
    "resnet18": tuple(range(1, 10)), "resnet20": tuple(range(1, 11)), "resnet32": tuple(range(1, 17)),
    "mobilenetv2": (1, 19), "vgg_ecofed_small": (1, 2, 3, 4), "mobilenetv2_small": (1, 5, 6),
    "vgg16": tuple(range(1, 14)), "cnn_gated": (1, 2, 3), "resnet8_gated": (1, 2, 3, 4),
    "resnet32_gated": tuple(range(1, 17)), "vgg11_gated": tuple(range(1, 9)), "vgg16_gated": tuple(range(1, 14)),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_cuts_by_hand(name: str) -> None:
    assert non_negative_cuts(spec(name)) == BY_HAND[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_real_data_agree_at_every_cut(name: str, training: bool) -> None:
    """Where the layers promise it nothing is below 0; where they do not, something is: no cut is refused for nothing."""
    model, values = real(name).train(training), images(name, 4)
    with torch.no_grad():
        for cut, block in enumerate(list(model)[:-1], start=1):
            values = block(values)
            assert (values.min() >= 0) == (cut in non_negative_cuts(spec(name))), cut


@pytest.mark.parametrize(
    ("layer", "given", "expected"),
    [
        (nn.ReLU(), False, True),
        (nn.ReLU6(), False, True),
        (nn.MaxPool2d(2), False, False),
        (nn.MaxPool2d(2), True, True),
        (nn.Linear(2, 2), True, False),
        (nn.Tanh(), True, False),  # not known: it may give anything
        (nn.Sequential(nn.ReLU(), nn.Flatten()), False, True),
        (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2)), True, False),
        (PooledBlock(2, 2, halve=False), True, True),  # relu + something not below 0
        (PooledBlock(2, 2, halve=False), False, False),
        (PooledBlock(2, 4, halve=True), True, False),  # relu + a convolution
    ],
)
def test_layers(layer: nn.Module, given: bool, expected: bool) -> None:
    assert gives_non_negative(layer, given) is expected
