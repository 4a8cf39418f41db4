"""The models a scenario can name. Each is an ``nn.Sequential`` whose every index is a possible cut."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emulator.learning.models import deep, small
from emulator.learning.models.layers import BatchNorm2d

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class ModelSpec:
    """A model for images of ``shape`` (C, H, W) and so many classes."""

    name: str
    classes: int
    shape: Shape


@dataclass(frozen=True)
class ModelInfo:
    """How a model is built, and which images it takes: ``sides`` are the accepted heights and widths."""

    build: Callable[[Shape, int], nn.Sequential]
    sides: tuple[int, int]  # smallest and largest
    about: str


MODELS: dict[str, ModelInfo] = {
    "mlp": ModelInfo(small.mlp, (1, 1024), "one hidden layer of 128 units"),
    "lenet": ModelInfo(small.lenet, (28, 32), "LeNet-5 with ReLU and max-pooling (after LeCun et al. 1998)"),
    "cnn": ModelInfo(small.cnn, (8, 256), "three conv-BN-ReLU blocks of 16, 32, 64 channels"),
    "cnn_mnist": ModelInfo(small.cnn_mnist, (8, 64), "the 1.66 M parameter CNN of McMahan et al. 2017"),
    "vgg11": ModelInfo(deep.vgg11, (32, 32), "VGG-11 with BatchNorm and one fully connected layer, 9.2 M"),
    "vgg11_ecofed": ModelInfo(deep.vgg11_ecofed, (32, 32), "EcoFed's VGG-11 with 4096-4096, 34.4 M"),
    "resnet8": ModelInfo(deep.resnet8, (8, 256), "CIFAR ResNet-8 (He et al. 2016), option A shortcuts"),
    "resnet20": ModelInfo(deep.resnet20, (8, 256), "CIFAR ResNet-20, 0.27 M"),
    "resnet32": ModelInfo(deep.resnet32, (8, 256), "CIFAR ResNet-32, 0.46 M"),
    "resnet18": ModelInfo(deep.resnet18, (8, 256), "ResNet-18 with a 3x3 stem, 11.2 M"),
    "mobilenetv2": ModelInfo(deep.mobilenetv2, (32, 256), "MobileNetV2 1.0 (Sandler et al. 2018), 2.2 M"),
}


def refusal(spec: ModelSpec) -> str | None:
    """Why there is no such model for such images; None when there is."""
    info = MODELS.get(spec.name)
    if info is None:
        near = get_close_matches(spec.name, MODELS, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return f'got "{spec.name}"; expected one of {", ".join(MODELS)}{hint}'
    low, high = info.sides
    if not all(low <= side <= high for side in spec.shape[1:]):
        images = "x".join(map(str, spec.shape))
        return f'"{spec.name}" takes images of {low} to {high} pixels a side; got {images}'
    return None


def build(spec: ModelSpec, device: str = "meta") -> nn.Sequential:
    """The model's layers, without data on ``meta`` (no random number is drawn there). Raises ValueError."""
    reason = refusal(spec)
    if reason is not None:
        raise ValueError(f"model: {reason}")
    with torch.device(device):
        return MODELS[spec.name].build(spec.shape, spec.classes)


def cut_refusal(spec: ModelSpec, cut: int) -> str | None:
    """Why the model cannot be cut after ``cut`` blocks; None when it can (0: all on the server)."""
    blocks = len(build(spec))
    return (
        None if 0 <= cut <= blocks else f"got {cut}; {spec.name} has {blocks} blocks, expected a cut of 0 to {blocks}"
    )


def initial_weights(spec: ModelSpec, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights to start from, float32 on the CPU, drawn in a fixed order.

    Convolutions and linear layers: weights and biases uniform in +-1 / sqrt(fan_in), PyTorch's default
    (``kaiming_uniform_`` with a = sqrt(5)). BatchNorm: scale 1, shift 0, running mean 0 and variance 1.
    """
    found: dict[str, Tensor] = {}
    for prefix, module in build(spec).named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = 1 / sqrt(module.weight[0].numel())
            for name, tensor in module.named_parameters(recurse=False):
                found[f"{prefix}.{name}"] = torch.empty(tensor.shape).uniform_(-bound, bound, generator=generator)
        elif isinstance(module, BatchNorm2d):
            ones, zeros = torch.ones(module.num_features), torch.zeros(module.num_features)
            found |= {f"{prefix}.weight": ones, f"{prefix}.bias": zeros}
            found |= {f"{prefix}.running_mean": zeros.clone(), f"{prefix}.running_var": ones.clone()}
    return found


class Block(NamedTuple):
    """One entry of a model: trained parameters, output shape per sample, bytes per sample if the cut came after it."""

    number: int
    parameters: int
    shape: tuple[int, ...]
    smashed_bytes: int


def summary(spec: ModelSpec) -> list[Block]:
    """The model block by block, from one forward pass on meta tensors."""
    model = build(spec).eval()
    values = torch.empty((1, *spec.shape), device="meta")
    rows = []
    for index, block in enumerate(model):
        values = block(values)
        count = sum(parameter.numel() for parameter in block.parameters())
        rows.append(Block(index, count, tuple(values.shape[1:]), values[0].numel() * values.element_size()))
    return rows
