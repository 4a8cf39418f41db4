"""A second MobileNetV2: plain functions on the names of the published weights, for comparison with ours."""

from collections.abc import Iterator, Mapping

from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, hardtanh

# Sandler et al. 2018, table 2, row by row and block by block: the stride of each of the 17 inverted residuals.
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)


def features(weights: Mapping[str, Tensor], images: Tensor) -> Iterator[Tensor]:
    """What comes out of each of the 19 blocks before the classifier, in evaluation mode."""
    values = relu6(norm(weights, "features.0.1", conv2d(images, weights["features.0.0.weight"], None, 2, 1)))
    yield values
    for number, stride in enumerate(STRIDES, start=1):
        values = inverted(weights, f"features.{number}.conv", values, stride)
        yield values
    yield relu6(norm(weights, "features.18.1", conv2d(values, weights["features.18.0.weight"])))


def inverted(weights: Mapping[str, Tensor], name: str, values: Tensor, stride: int) -> Tensor:
    """Expand where the block does (seven entries: 0, 1, 3, 4, 6, 7; else four), depth-wise, project, add."""
    given, first = values, 0
    if f"{name}.6.weight" in weights:
        values = relu6(norm(weights, f"{name}.1", conv2d(values, weights[f"{name}.0.weight"])))
        first = 3
    depthwise = weights[f"{name}.{first}.weight"]
    values = conv2d(values, depthwise, None, stride, 1, groups=depthwise.shape[0])
    values = relu6(norm(weights, f"{name}.{first + 1}", values))
    values = norm(weights, f"{name}.{first + 4}", conv2d(values, weights[f"{name}.{first + 3}.weight"]))
    return given + values if given.shape == values.shape else values


def norm(weights: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    """BatchNorm by running statistics."""
    mean, var, scale, shift = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return batch_norm(values, mean, var, scale, shift)


def relu6(values: Tensor) -> Tensor:
    """Between 0 and 6."""
    return hardtanh(values, 0.0, 6.0)
