"""The deep models of the papers: AlexNet, VGG, CIFAR ResNets, MobileNetV2. Every entry is a block, every index a possible cut.

EcoFed's authors train with BatchNorm that keeps no running statistics; here all models keep them, and a protocol that
normalises by the batch in evaluation too leaves its models in training mode.
"""

from torch import nn

from emulator.learning.models.layers import BasicBlock, BatchNorm2d, InvertedResidual, PooledBlock, conv_bn

Shape = tuple[int, int, int]

ALEXNET = ((64, 3, 2, True), (192, 5, 1, True), (384, 3, 1, False), (256, 3, 1, False), (256, 3, 1, True))
VGG11 = (64, 128, 256, 256, 512, 512, 512, 512)  # Simonyan & Zisserman 2015, table 1, configuration A
VGG16 = (64, 64, 128, 128, *(256,) * 3, *(512,) * 6)  # configuration D
VGG19 = (*(64,) * 2, *(128,) * 2, *(256,) * 4, *(512,) * 8)  # the same, configuration E


def alexnet(shape: Shape, classes: int) -> nn.Sequential:
    """AlexNet for 32x32 images: 5 convolutions and 3 fully connected layers, 8 blocks, 23,468,874 parameters.

    Widths and the later kernels as in the one-tower AlexNet (Krizhevsky 2014, arXiv 1404.5997); the first kernel of 11x11
    at stride 4 is one of 3x3 at stride 2 here and pools are 2x2, as CIFAR-10 variants do it. Without dropout.
    """
    blocks: list[nn.Module] = []
    channels = shape[0]
    for width, kernel, stride, pooled in ALEXNET:
        layers: list[nn.Module] = [nn.Conv2d(channels, width, kernel, stride, kernel // 2), nn.ReLU()]
        blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)) if pooled else nn.Sequential(*layers))
        channels = width
    return nn.Sequential(
        *blocks,
        nn.Sequential(nn.Flatten(), nn.Linear(4 * channels, 4096), nn.ReLU()),  # 32x32 is 2x2 after the last pool
        nn.Sequential(nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, classes),
    )


def _vgg_convolutions(channels: int, pools_after: frozenset[int], widths: tuple[int, ...] = VGG11) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for number, width in enumerate(widths, start=1):
        layers = [*conv_bn(channels, width, bias=True), nn.ReLU()]
        if number in pools_after:
            layers.append(nn.MaxPool2d(2))
        blocks.append(nn.Sequential(*layers))
        channels = width
    return blocks


def vgg11(shape: Shape, classes: int) -> nn.Sequential:
    """VGG-11 with BatchNorm for 32x32 images and one fully connected layer: 9 blocks, 9,231,114 parameters."""
    blocks = _vgg_convolutions(shape[0], frozenset({1, 2, 4, 6, 8}))
    return nn.Sequential(*blocks, nn.Sequential(nn.Flatten(), nn.Linear(512, classes)))


def vgg16(shape: Shape, classes: int) -> nn.Sequential:
    """VGG-16 with BatchNorm for 32x32 images and one fully connected layer: 14 blocks, 14,728,266 parameters."""
    blocks = _vgg_convolutions(shape[0], frozenset({2, 4, 7, 10, 13}), VGG16)
    return nn.Sequential(*blocks, nn.Sequential(nn.Flatten(), nn.Linear(512, classes)))


def vgg19(shape: Shape, classes: int) -> nn.Sequential:
    """VGG-19 with BatchNorm for 32x32 images and one fully connected layer: 17 blocks, 20,040,522 parameters."""
    blocks = _vgg_convolutions(shape[0], frozenset({2, 4, 8, 12, 16}), VGG19)
    return nn.Sequential(*blocks, nn.Sequential(nn.Flatten(), nn.Linear(512, classes)))


def vgg11_ecofed(shape: Shape, classes: int) -> nn.Sequential:
    """EcoFed's VGG-11: pools after convolutions 1, 2, 4 and 6, then 2048-4096-4096 without dropout.

    Its first two blocks are the paper's device part: 76,032 parameters, 128x8x8 values out.
    """
    return nn.Sequential(
        *_vgg_convolutions(shape[0], frozenset({1, 2, 4, 6})),
        nn.Sequential(nn.Flatten(), nn.Linear(2048, 4096), nn.ReLU()),
        nn.Sequential(nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, classes),
    )


def _light_back(channels: int, classes: int) -> list[nn.Module]:
    """A back for 8x8 maps that a study on a CPU can afford: two convolutions to 64, each pooled, and a linear layer."""
    return [
        nn.Sequential(*conv_bn(channels, 64, bias=True), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(*conv_bn(64, 64, bias=True), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(256, classes)),
    ]


def vgg_ecofed_small(shape: Shape, classes: int) -> nn.Sequential:
    """EcoFed's device part (the first two blocks of ``vgg11_ecofed``) with a light back; the back is ours."""
    return nn.Sequential(*_vgg_convolutions(shape[0], frozenset({1, 2}))[:2], *_light_back(128, classes))


def _resnet(shape: Shape, classes: int, widths: tuple[int, ...], depth: int, *, projection: bool) -> nn.Sequential:
    """A stem, ``depth`` basic blocks per width (the first of a later width halves the image), mean and linear layer."""
    blocks: list[nn.Module] = [nn.Sequential(*conv_bn(shape[0], widths[0]), nn.ReLU())]
    channels = widths[0]
    for width in widths:
        for number in range(depth):
            stride = 2 if number == 0 and width != widths[0] else 1
            blocks.append(BasicBlock(channels, width, stride, projection=projection))
            channels = width
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    return nn.Sequential(*blocks, head)


def resnet8(shape: Shape, classes: int) -> nn.Sequential:
    """CIFAR ResNet with n = 1 (6n + 2 layers; He et al. 2016, section 4.2), shortcuts of option A."""
    return _resnet(shape, classes, (16, 32, 64), 1, projection=False)


def resnet20(shape: Shape, classes: int) -> nn.Sequential:
    """CIFAR ResNet with n = 3: 0.27 M parameters (He et al. 2016, table 6)."""
    return _resnet(shape, classes, (16, 32, 64), 3, projection=False)


def resnet32(shape: Shape, classes: int) -> nn.Sequential:
    """CIFAR ResNet with n = 5: 464,154 parameters (0.46 M in He et al. 2016, table 6)."""
    return _resnet(shape, classes, (16, 32, 64), 5, projection=False)


def resnet18(shape: Shape, classes: int) -> nn.Sequential:
    """ResNet-18 with a 3x3 stem for 32x32 images and projection shortcuts: 10 blocks, 11,173,962 parameters."""
    return _resnet(shape, classes, (64, 128, 256, 512), 2, projection=True)


def resnet9(shape: Shape, classes: int) -> nn.Sequential:
    """EcoFed's ResNet-9: two plain blocks (the device part that it shares with ``vgg11_ecofed``), three residual ones.

    6 blocks, 9,395,722 parameters. Shapes, biases and shortcuts as in the authors' released code (read 2026-11).
    """
    return nn.Sequential(
        nn.Sequential(*conv_bn(shape[0], 64, bias=True), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(*conv_bn(64, 128, bias=True), nn.ReLU(), nn.MaxPool2d(2)),
        PooledBlock(128, 256, halve=True),
        PooledBlock(256, 512, halve=True),
        nn.Sequential(PooledBlock(512, 512, halve=False), nn.AdaptiveAvgPool2d(1)),
        nn.Sequential(nn.Flatten(), nn.Linear(512, classes)),
    )


MOBILENETV2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _inverted_residuals(channels: int, rows: tuple[tuple[int, int, int, int], ...]) -> tuple[list[nn.Module], int]:
    """MobileNetV2's stem and the blocks of ``rows`` (expansion, width, count, stride); and the channels that they give."""
    blocks: list[nn.Module] = [nn.Sequential(*conv_bn(channels, 32, stride=2), nn.ReLU6())]
    channels = 32
    for expand, width, count, stride in rows:
        for number in range(count):
            blocks.append(InvertedResidual(channels, width, stride if number == 0 else 1, expand))
            channels = width
    return blocks, channels


def mobilenetv2(shape: Shape, classes: int) -> nn.Sequential:
    """MobileNetV2 1.0 (Sandler et al. 2018, table 2), stem of stride 2, layer order as in torchvision.

    Without the classifier's dropout of 0.2 (torchvision's choice, not in the paper's table). Nothing else differs: the
    blocks before the classifier take published ImageNet weights as they are (``emulator.pretrained``), for
    images of any accepted size. Of a 32x32 image, halved five times, the last of them leaves 1x1.
    """
    blocks, channels = _inverted_residuals(shape[0], MOBILENETV2)
    blocks.append(nn.Sequential(nn.Conv2d(channels, 1280, 1, bias=False), BatchNorm2d(1280), nn.ReLU6()))
    blocks.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes)))
    return nn.Sequential(*blocks)


def mobilenetv2_small(shape: Shape, classes: int) -> nn.Sequential:
    """The first four blocks of ``mobilenetv2`` (24 channels, a fourth of the side) with a light back; the back is ours."""
    blocks, channels = _inverted_residuals(shape[0], MOBILENETV2[:2])
    return nn.Sequential(*blocks, *_light_back(channels, classes))
