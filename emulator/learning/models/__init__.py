"""The models a scenario can name. Each is an ``nn.Sequential`` whose every index is a possible cut.

The first ``cut`` entries (blocks) are the front, the others the back: ``model[:cut]`` and ``model[cut:]``. A residual
block is one entry, and pooling or flattening belongs to an entry, so that a cut sends what a device would send.

Activations are not in place: no block ever writes into the smashed data that it is given. In training this costs no
memory: BatchNorm keeps its input and ReLU its result, so the value between them is freed either way (a test compares
the peaks of a step), and PyTorch's in-place ReLU6 even copies its input first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

import torch
from torch import Tensor, nn

from emulator.learning.meter import unmetered
from emulator.learning.models import deep, gated, small, weights
from emulator.learning.models.gated import KEEP, GatedConv
from emulator.learning.models.layers import BatchNorm2d
from emulator.learning.models.weights import WeightSpec

Shape = tuple[int, int, int]

HE = "He et al., Deep Residual Learning, CVPR 2016 (arXiv 1512.03385)"
ADP = "Yu et al., Adaptive Dynamic Pruning (arXiv 2106.06921, CCGrid 2023), gates as in the authors' code"
ECOFED = "Wu et al., EcoFed, IEEE TPDS 35(3), 2024 (arXiv 2304.05495), the shapes of the authors' code"


@dataclass(frozen=True)
class ModelSpec:
    """A model for images of ``shape`` (C, H, W) and so many classes.

    ``batch_statistics``: BatchNorm always normalises by the batch at hand; its running statistics are of no matter then.
    ``keep_ratio``: share of the channels that a gated model keeps for each sample; None: ``KEEP``, where there are gates.
    """

    name: str
    classes: int
    shape: Shape
    batch_statistics: bool = False
    keep_ratio: float | None = None


@dataclass(frozen=True)
class ModelInfo:
    """How a model is built, and which images it takes: ``sides`` are the accepted heights and widths.

    ``parameters`` is the count of trained numbers for images of shape ``reference`` and ten classes.
    """

    build: Callable[[Shape, int], nn.Sequential]
    sides: tuple[int, int]  # smallest and largest
    about: str
    source: str
    reference: Shape
    parameters: int
    gated: bool = False


MODELS: dict[str, ModelInfo] = {
    "mlp": ModelInfo(small.mlp, (1, 1024), "one hidden layer of 128 units", "this platform", (1, 28, 28), 101_770),
    "lenet": ModelInfo(
        small.lenet, (28, 32), "LeNet-5 with ReLU and max-pooling (after LeCun et al. 1998)",
        "LeCun et al., Gradient-Based Learning, Proc. IEEE 86(11), 1998, figure 2", (1, 28, 28), 61_706,
    ),
    "cnn": ModelInfo(
        small.cnn, (8, 256), "three conv-BN-ReLU blocks of 16, 32, 64 channels", "this platform", (1, 28, 28), 24_058
    ),
    "cnn_mnist": ModelInfo(
        small.cnn_mnist, (8, 64), "the 1.66 M parameter CNN of McMahan et al. 2017",
        "McMahan et al., AISTATS 2017 (arXiv 1602.05629), section 3", (1, 28, 28), 1_663_370,
    ),
    "alexnet": ModelInfo(
        deep.alexnet, (32, 32), "AlexNet for 32x32 images, 3x3 stem, 23.5 M",
        "Krizhevsky, One weird trick, 2014 (arXiv 1404.5997); stem and pools as in CIFAR-10 variants", (3, 32, 32),
        23_468_874,
    ),
    "vgg11": ModelInfo(
        deep.vgg11, (32, 32), "VGG-11 with BatchNorm and one fully connected layer, 9.2 M",
        "Simonyan & Zisserman, ICLR 2015 (arXiv 1409.1556), table 1, A", (3, 32, 32), 9_231_114,
    ),
    "vgg16": ModelInfo(
        deep.vgg16, (32, 32), "VGG-16 with BatchNorm and one fully connected layer, 14.7 M",
        "Simonyan & Zisserman, ICLR 2015 (arXiv 1409.1556), table 1, D", (3, 32, 32), 14_728_266,
    ),
    "vgg19": ModelInfo(
        deep.vgg19, (32, 32), "VGG-19 with BatchNorm and one fully connected layer, 20.0 M",
        "Simonyan & Zisserman, ICLR 2015 (arXiv 1409.1556), table 1, E", (3, 32, 32), 20_040_522,
    ),
    "vgg11_ecofed": ModelInfo(
        deep.vgg11_ecofed, (32, 32), "EcoFed's VGG-11 with 4096-4096, 34.4 M", ECOFED, (3, 32, 32), 34_440_970
    ),
    "vgg_ecofed_small": ModelInfo(
        deep.vgg_ecofed_small, (32, 32), "EcoFed's device part with a light back, 0.19 M",
        f"{ECOFED}; the back is this platform's", (3, 32, 32), 189_578,
    ),
    "resnet8": ModelInfo(
        deep.resnet8, (8, 256), "CIFAR ResNet-8 (He et al. 2016), option A shortcuts", HE, (3, 32, 32), 75_290
    ),
    "resnet9": ModelInfo(deep.resnet9, (8, 256), "EcoFed's ResNet-9, 9.4 M", ECOFED, (3, 32, 32), 9_395_722),
    "resnet18": ModelInfo(deep.resnet18, (8, 256), "ResNet-18 with a 3x3 stem, 11.2 M", HE, (3, 32, 32), 11_173_962),
    "resnet20": ModelInfo(deep.resnet20, (8, 256), "CIFAR ResNet-20, 0.27 M", HE, (3, 32, 32), 269_722),
    "resnet32": ModelInfo(deep.resnet32, (8, 256), "CIFAR ResNet-32, 0.46 M", HE, (3, 32, 32), 464_154),
    "mobilenetv2": ModelInfo(
        deep.mobilenetv2, (32, 256), "MobileNetV2 1.0 (Sandler et al. 2018), 2.2 M",
        "Sandler et al., CVPR 2018 (arXiv 1801.04381), table 2", (3, 32, 32), 2_236_682,
    ),
    "mobilenetv2_small": ModelInfo(
        deep.mobilenetv2_small, (32, 32), "MobileNetV2's first four blocks with a light back, 0.07 M",
        "Sandler et al., CVPR 2018 (arXiv 1801.04381), table 2; the back is this platform's", (3, 32, 32), 69_434,
    ),
    "cnn_gated": ModelInfo(gated.cnn_gated, (8, 256), "cnn with channel gates", ADP, (1, 28, 28), 26_746, True),
    "resnet8_gated": ModelInfo(gated.resnet8_gated, (8, 256), "CIFAR ResNet-8 with gates", ADP, (3, 32, 32), 83_706, True),
    "resnet32_gated": ModelInfo(
        gated.resnet32_gated, (8, 256), "CIFAR ResNet-32 with gates, 0.52 M", ADP, (3, 32, 32), 516_474, True
    ),
    "vgg11_gated": ModelInfo(gated.vgg11_gated, (32, 32), "VGG-11 with gates, 10.3 M", ADP, (3, 32, 32), 10_255_306, True),
    "vgg16_gated": ModelInfo(gated.vgg16_gated, (32, 32), "VGG-16 with gates, 16.4 M", ADP, (3, 32, 32), 16_362_762, True),
}  # fmt: skip


def refusal(spec: ModelSpec) -> str | None:
    """Why there is no such model for such images; None when there is."""
    info = MODELS.get(spec.name)
    if info is None:
        near = get_close_matches(spec.name, MODELS, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return f'got "{spec.name}"; expected one of {", ".join(MODELS)}{hint}'
    images = "x".join(map(str, spec.shape))
    if len(spec.shape) != 3 or spec.shape[0] < 1:
        return f'"{spec.name}" takes images of channels x height x width; got {images}'
    low, high = info.sides
    if not all(low <= side <= high for side in spec.shape[1:]):
        return f'"{spec.name}" takes images of {low} to {high} pixels a side; got {images}'
    if spec.classes < 1:
        return f'"{spec.name}" needs at least one class; got {spec.classes}'
    wrong = keep_refusal(spec.name, spec.keep_ratio)
    return wrong and f"keep_ratio: {wrong}"


def keep_refusal(name: str, ratio: float | None) -> str | None:
    """Why a known model cannot keep such a share of its channels; None when it can."""
    if ratio is None or (MODELS[name].gated and 0 < ratio <= 1):
        return None
    if MODELS[name].gated:
        return f"got {ratio:g}; expected a share above 0 and at most 1, as {name} keeps one channel at least"
    others = ", ".join(other for other, info in MODELS.items() if info.gated)
    return f"got {ratio:g}; expected none, as {name} has no gates, or a model with gates: {others}"


def build(spec: ModelSpec, device: str = "meta") -> nn.Sequential:
    """The model's layers, in training mode, without values: no random number is drawn.

    On ``meta`` there is no data; on another device the weights are uninitialised memory to load something into.
    Raises ValueError for what ``refusal`` refuses.
    """
    reason = refusal(spec)
    if reason is not None:
        raise ValueError(f"model: {reason}")
    with torch.device("meta"):
        model = MODELS[spec.name].build(spec.shape, spec.classes)
    for layer in model.modules():
        if isinstance(layer, BatchNorm2d):
            layer.batch_statistics = spec.batch_statistics
        if isinstance(layer, GatedConv):
            layer.keep_ratio = KEEP if spec.keep_ratio is None else spec.keep_ratio
    return model if device == "meta" else model.to_empty(device=device)


def cut_refusal(spec: ModelSpec, cut: int) -> str | None:
    """Why the model cannot be cut after ``cut`` blocks; None when it can (0: all on the server)."""
    blocks = len(build(spec))
    if 0 <= cut <= blocks:
        return None
    return f"got {cut}; {spec.name} has {blocks} blocks, expected a cut of 0 to {blocks}"


def initial_weights(spec: ModelSpec, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights to start from, float32 on the CPU, drawn in a fixed order as ``weights.draw`` says.

    BatchNorm's running statistics are among them. Raises ValueError for what ``refusal`` refuses.
    """
    return weights.draw(build(spec), generator)


def weight_specs(spec: ModelSpec) -> dict[str, WeightSpec]:
    """The model's weights by name: shape, dtype, and whether it is a buffer. Raises ValueError as ``build`` does."""
    return weights.specs(build(spec))


@dataclass(frozen=True)
class BlockRow:
    """One entry of a model: trained parameters, output shape per sample, bytes per sample if the cut came after it.

    ``name`` says what is inside: the classes of its layers, or of the block itself.
    """

    index: int
    name: str
    parameters: int
    shape: tuple[int, ...]
    smashed_bytes: int


@lru_cache(maxsize=256)
def summary(spec: ModelSpec) -> tuple[BlockRow, ...]:
    """The model block by block, from one forward pass on meta tensors, which no device does.

    Raises ValueError as ``build`` does.
    """
    rows = []
    with unmetered():  # nor does it cost anything where a step is the first to ask
        values = torch.empty((1, *spec.shape), device="meta")
        for index, block in enumerate(build(spec).eval()):
            values = block(values)
            count = sum(parameter.numel() for parameter in block.parameters())
            size = values[0].numel() * values.element_size()
            rows.append(BlockRow(index, _name(block), count, tuple(values.shape[1:]), size))
    return tuple(rows)


def _name(block: nn.Module) -> str:
    parts = block if isinstance(block, nn.Sequential) else [block]
    return "-".join(type(part).__name__ for part in parts)
