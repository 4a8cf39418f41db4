"""Small models: they train in seconds on one core."""

from torch import nn

from emulator.learning.models.layers import conv_bn

Shape = tuple[int, int, int]


def mlp(shape: Shape, classes: int) -> nn.Sequential:
    """One hidden layer of 128 units: 9,610 parameters on 1x8x8, 101,770 on 1x28x28."""
    channels, height, width = shape
    first = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 128), nn.ReLU())
    return nn.Sequential(first, nn.Linear(128, classes))


def lenet(shape: Shape, classes: int) -> nn.Sequential:
    """LeNet-5 with ReLU and max-pooling (after LeCun et al. 1998): 61,706 parameters on 1x28x28, 62,006 on 3x32x32."""
    channels, height, width = shape
    padding = ((33 - height) // 2, (33 - width) // 2)  # the net is made for 32x32; 33 is as good
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, 6, 5, padding=padding), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(400, 120), nn.ReLU()),
        nn.Sequential(nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, classes),
    )


def cnn(shape: Shape, classes: int) -> nn.Sequential:
    """Three conv-BN-ReLU blocks of 16, 32 and 64 channels, the first two with pooling, then the mean of each channel.

    24,058 parameters on one channel and ten classes; takes images from 8x8 on.
    """
    return nn.Sequential(
        nn.Sequential(*conv_bn(shape[0], 16), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(*conv_bn(16, 32), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(*conv_bn(32, 64), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)),
    )


def cnn_mnist(shape: Shape, classes: int) -> nn.Sequential:
    """The CNN of McMahan et al. 2017 (5x5 convolutions of 32 and 64 channels, 512 units): 1,663,370 parameters."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(shape[0], 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(64 * (shape[1] // 4) * (shape[2] // 4), 512), nn.ReLU()),
        nn.Linear(512, classes),
    )
