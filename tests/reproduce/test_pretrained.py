"""The real pre-trained weights: the features that they should give, and that they know something of images."""

import pytest
import torch
from torch import Tensor, nn

from emulator.learning.datasets import available, load
from emulator.learning.models import ModelSpec, build, initial_weights
from emulator.pretrained import IMAGENET, open_weights, pretrained_here
from emulator.weight_files import front_names, load_into
from tests.learning.mobilenet_reference import features

NAME = "mobilenetv2-imagenet"
SPEC = ModelSpec("mobilenetv2", 10, (3, 32, 32))
CUT = 4

pytestmark = pytest.mark.skipif(not pretrained_here(NAME), reason=f"needs `emulator fetch {NAME}`")


def model(*, trained: bool) -> nn.Sequential:
    found = build(SPEC, "cpu").eval()
    weights = initial_weights(SPEC, torch.Generator().manual_seed(1))
    found.load_state_dict(weights | (load_into(SPEC, open_weights(NAME), front_names(SPEC, 19)) if trained else {}))
    return found


@pytest.mark.parametrize("side", [32, 224])
def test_features_equal_those_of_a_second_implementation(side: int) -> None:
    """After each of the 19 blocks, bit by bit."""
    weights = {f"features.{name}": tensor for name, tensor in open_weights(NAME).tensors.items()}
    ours = images = IMAGENET(torch.randint(256, (2, 3, side, side), generator=torch.Generator().manual_seed(2)))
    with torch.no_grad():
        for block, theirs in zip(model(trained=True), features(weights, images), strict=False):
            ours = block(ours)
            assert torch.equal(ours, theirs)
    assert ours.shape == (2, 1280, side // 32, side // 32)


@pytest.mark.skipif(not available("cifar10"), reason="needs `emulator fetch cifar10`")
def test_four_blocks_know_something_of_images() -> None:
    """A linear classifier on what four blocks send, for 5000 images of CIFAR-10: 0.62 seen, and 0.41 on random blocks.

    The random ones have BatchNorm's statistics of these images, or they would be worse still.
    """
    data = load("cifar10")
    images = IMAGENET(torch.from_numpy(data.x_train[:7000].copy()))
    labels = torch.from_numpy(data.y_train[:7000])
    random = model(trained=False)
    for module in random.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        random.train()[:CUT](images[:1000])
    pretrained = probe(model(trained=True), images, labels)
    assert pretrained > 0.58
    assert pretrained > probe(random.eval(), images, labels) + 0.15


def probe(network: nn.Sequential, images: Tensor, labels: Tensor) -> float:
    """Accuracy on the last 2000 of a ridge regression (penalty 300) on the features of those before."""
    with torch.no_grad():
        sent = [nn.functional.adaptive_avg_pool2d(network[:CUT](some), 4).flatten(1) for some in images.split(250)]
    found = torch.cat(sent).double()
    found = nn.functional.pad((found - found[:-2000].mean(0)) / (found[:-2000].std(0) + 1e-6), (0, 1), value=1.0)
    known, asked = found[:-2000], found[-2000:]
    targets = nn.functional.one_hot(labels[:-2000], 10).double()
    solved = torch.linalg.solve(known.T @ known + 300 * torch.eye(known.shape[1], dtype=known.dtype), known.T @ targets)
    return float((asked @ solved).argmax(1).eq(labels[-2000:]).double().mean())
