"""Models with channel gates (ADP): Yu et al., "Adaptive Dynamic Pruning for Non-IID Federated Learning", arXiv 2106.06921.

Version 2 of 2023 is of IEEE/ACM CCGrid 2023. The gate is that of the authors' released code
(github.com/dphuongn/dynamic_pruning_federated_learning, read 2026-11; the body of the paper could not be read). For each sample

    s = mean of each input channel (the VGGs: its sigmoid)      g = ReLU(W_g s + b_g), W_g Kaiming-normal, b_g = 1
    keep the round(r C_out) largest of g, set the others to 0    y = ReLU(BN(conv(x)) g)

and a residual block adds its shortcut before the last ReLU. The gates are weights like all others: trained, averaged, counted.

Ours (inferred): convolutions without bias, as BatchNorm follows; the ResNet's stem has no gate (this gives the published size);
at least one channel is kept. On hardware with dynamic channels a convolution computes, for each sample, the kept channels of
its output from those of its input. In training BatchNorm takes the statistics of all channels of all samples, so that there
only the input's side is saved, and results stay exact.
"""

import torch
from torch import Tensor, nn

from emulator.learning.gated_conv import gated_conv
from emulator.learning.models.layers import BatchNorm2d, PadShortcut, conv_bn, kept_of

Shape = tuple[int, int, int]

KEEP = 0.7  # the released code's keep ratio: what a gated model has when none is told
VGG11: tuple[tuple[int, ...], ...] = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # Simonyan & Zisserman 2015,
VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)  # table 1, A and D: a pool after each group


class GateLinear(nn.Linear):
    """W_g and b_g, with initial values of their own."""


class KeptConv(nn.Conv2d):
    """A convolution of which only ``kept`` input and output channels of each sample matter."""

    def forward(self, input: Tensor, kept: tuple[int, int] | None = None) -> Tensor:
        """[n, C_in, H, W] to [n, C_out, H / stride, W / stride], all channels computed."""
        kept_in, kept_out = kept or (self.in_channels, self.out_channels)
        return gated_conv(input, self.weight, (self.stride[0], int(self.padding[0]), kept_in, kept_out))


class GatedConv(nn.Module):
    """A 3x3 convolution (padding 1) with BatchNorm and gate; ``forward`` gives BN(conv(x)) g, before any ReLU.

    ``gated_input``: the input is itself the result of a gated layer, and zero where that kept nothing.
    """

    keep_ratio: float = KEEP

    def __init__(
        self, channels: tuple[int, int], stride: int = 1, *, gated_input: bool = True, sigmoid: bool = False
    ) -> None:
        super().__init__()
        self.conv = KeptConv(*channels, 3, stride, 1, bias=False)
        self.norm = BatchNorm2d(channels[1])
        self.gate = GateLinear(*channels)
        self.gated_input = gated_input
        self.sigmoid = sigmoid

    def salience(self, input: Tensor) -> Tensor:
        """g, [n, C_out], of which the largest are kept; a zero is a channel that is not kept."""
        means = input.mean((2, 3))
        found = nn.functional.relu(self.gate(means.sigmoid() if self.sigmoid else means))
        kept = kept_of(found.shape[1], self.keep_ratio)
        if kept == found.shape[1]:
            return found
        chosen = found.detach().topk(kept, sorted=False).indices
        return found * torch.zeros_like(found).scatter_(1, chosen, 1.0)

    def forward(self, input: Tensor) -> Tensor:
        """[n, C_in, H, W] to [n, C_out, H / stride, W / stride]."""
        kept = [kept_of(count, self.keep_ratio) for count in (self.conv.in_channels, self.conv.out_channels)]
        if not self.gated_input:
            kept[0] = self.conv.in_channels
        if self.norm.training or self.norm.batch_statistics:
            kept[1] = self.conv.out_channels
        out: Tensor = self.norm(self.conv(input, (kept[0], kept[1])))
        return out * self.salience(input)[:, :, None, None]


class GatedBlock(nn.Module):
    """A basic block (option A shortcut) of two gated convolutions; its own input is the dense sum of the blocks before."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = GatedConv((channels_in, channels_out), stride, gated_input=False)
        self.second = GatedConv((channels_out, channels_out))
        same = stride == 1 and channels_in == channels_out
        self.shortcut: nn.Module = nn.Identity() if same else PadShortcut(channels_out, stride)

    def forward(self, input: Tensor) -> Tensor:
        """[n, C_in, H, W] to [n, C_out, H / stride, W / stride]."""
        inner = nn.functional.relu(self.first(input))
        return nn.functional.relu(self.second(inner) + self.shortcut(input))


def _convolutions(channels: int, groups: tuple[tuple[int, ...], ...], *, sigmoid: bool) -> list[nn.Module]:
    """Gated convolutions, a pool at the end of each group. Pools keep zeros: the next input is gated too."""
    blocks: list[nn.Module] = []
    for group in groups:
        for number, width in enumerate(group, start=1):
            layers = [GatedConv((channels, width), gated_input=bool(blocks), sigmoid=sigmoid), nn.ReLU()]
            blocks.append(nn.Sequential(*layers, *([nn.MaxPool2d(2)] if number == len(group) else [])))
            channels = width
    return blocks


def cnn_gated(shape: Shape, classes: int) -> nn.Sequential:
    """``cnn`` with gates: 16, 32 and 64 channels."""
    blocks = _convolutions(shape[0], ((16,), (32,)), sigmoid=False)
    last = nn.Sequential(GatedConv((32, 64)), nn.ReLU())
    return nn.Sequential(*blocks, last, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)))


def vgg11_gated(shape: Shape, classes: int) -> nn.Sequential:
    """VGG-11 with BatchNorm and gates for 32x32 images, one fully connected layer."""
    blocks = _convolutions(shape[0], VGG11, sigmoid=True)
    return nn.Sequential(*blocks, nn.Sequential(nn.Flatten(), nn.Linear(512, classes)))


def vgg16_gated(shape: Shape, classes: int) -> nn.Sequential:
    """VGG-16's 13 convolutions with BatchNorm and gates for 32x32 images, one fully connected layer."""
    blocks = _convolutions(shape[0], VGG16, sigmoid=True)
    return nn.Sequential(*blocks, nn.Sequential(nn.Flatten(), nn.Linear(512, classes)))


def _resnet(shape: Shape, classes: int, depth: int) -> nn.Sequential:
    blocks: list[nn.Module] = [nn.Sequential(*conv_bn(shape[0], 16), nn.ReLU())]
    channels = 16
    for width in (16, 32, 64):
        for number in range(depth):
            blocks.append(GatedBlock(channels, width, 2 if number == 0 and width != 16 else 1))
            channels = width
    return nn.Sequential(*blocks, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)))


def resnet8_gated(shape: Shape, classes: int) -> nn.Sequential:
    """CIFAR ResNet-8 with gates."""
    return _resnet(shape, classes, 1)


def resnet32_gated(shape: Shape, classes: int) -> nn.Sequential:
    """CIFAR ResNet-32 with gates: 464,154 parameters and 52,320 of gates."""
    return _resnet(shape, classes, 5)
