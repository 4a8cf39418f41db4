"""Layers that the models share. They run on ``meta`` tensors as on real ones, and cost the same there."""

from typing import Any

import torch
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's BatchNorm without its counter of batches: running statistics are weights here, a counter is not.

    A training batch of a single value per channel (one sample at 1x1) has no variance; it uses the running statistics,
    as a device whose last minibatch has one sample must go on (PyTorch raises there).
    """

    batch_statistics = False  # always those of the batch, in evaluation too, as EcoFed's authors do

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("num_batches_tracked", None)

    def forward(self, input: Tensor) -> Tensor:
        """[n, C, H, W] to the same shape."""
        several = input.numel() > input.shape[1]
        if self.batch_statistics and several:
            return nn.functional.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)
        if (self.training or self.batch_statistics) and not several:
            statistics = (self.running_mean, self.running_var)
            return nn.functional.batch_norm(input, *statistics, self.weight, self.bias, training=False, eps=self.eps)
        return super().forward(input)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Leave out a counter that weights from elsewhere bring; PyTorch's own loading would ask for one."""
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        nn.Module._load_from_state_dict(self, state_dict, prefix, *rest)


class SeededDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose mask comes from ``generator``, a CPU generator that the caller sets.

    In training each value is kept with probability 1 - p and divided by it (its mean stays as it was); in evaluation
    nothing changes. The mask is drawn on the CPU wherever the values are, so that a seed means the same everywhere; on
    ``meta`` nothing is drawn.

    Raises ValueError for a ``p`` outside [0, 1), and RuntimeError in training without a generator.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"SeededDropout: got p = {p}; expected 0 <= p < 1")
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if not self.training or self.p == 0:
            return input
        if self.generator is None:
            raise RuntimeError(
                "SeededDropout: got no generator in training; expected a CPU torch.Generator in .generator"
            )
        mask = torch.empty(input.shape, dtype=input.dtype, device="meta" if input.is_meta else "cpu")
        mask.bernoulli_(1 - self.p, generator=self.generator).div_(1 - self.p)
        return input * mask.to(input.device)


def conv_bn(channels_in: int, channels_out: int, *, stride: int = 1, bias: bool = False) -> list[nn.Module]:
    """A 3x3 convolution (padding 1) and its BatchNorm."""
    return [nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=bias), BatchNorm2d(channels_out)]


class PadShortcut(nn.Module):
    """He et al. 2016, option A: every second pixel, and zeros for the new channels. No parameters."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """[n, C, H, W] to [n, channels, H / stride, W / stride]."""
        picked = input[:, :, :: self.stride, :: self.stride]
        missing = self.channels - input.shape[1]
        return nn.functional.pad(picked, (0, 0, 0, 0, missing // 2, missing - missing // 2))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2); one entry of a model, so never cut inside."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, projection: bool) -> None:
        super().__init__()
        first, second = conv_bn(channels_in, channels_out, stride=stride), conv_bn(channels_out, channels_out)
        self.residual = nn.Sequential(*first, nn.ReLU(), *second)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            conv = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.shortcut = (
                nn.Sequential(conv, BatchNorm2d(channels_out)) if projection else PadShortcut(channels_out, stride)
            )

    def forward(self, input: Tensor) -> Tensor:
        """[n, C_in, H, W] to [n, C_out, H / stride, W / stride]."""
        return nn.functional.relu(self.residual(input) + self.shortcut(input))


class PooledBlock(nn.Module):
    """EcoFed's residual block: two biased convolutions, each with BatchNorm and ReLU, and no ReLU after the sum.

    With ``halve`` the convolutions' path ends in a max-pooling of 2 (rounded up) and the shortcut is a biased 1x1
    convolution of stride 2 without BatchNorm; otherwise the shortcut is the input and the channels must be equal.
    """

    def __init__(self, channels_in: int, channels_out: int, *, halve: bool) -> None:
        super().__init__()
        first = conv_bn(channels_in, channels_out, bias=True)
        second = conv_bn(channels_out, channels_out, bias=True)
        pool = [nn.MaxPool2d(2, ceil_mode=True)] if halve else []
        self.residual = nn.Sequential(*first, nn.ReLU(), *second, nn.ReLU(), *pool)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, 2) if halve else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        """[n, C_in, H, W] to [n, C_out, H, W], with ``halve`` to [n, C_out, ceil(H / 2), ceil(W / 2)]."""
        out: Tensor = self.residual(input) + self.shortcut(input)
        return out


class Depthwise(nn.Conv2d):
    """A filter for each channel, 3x3, padding 1, without bias; as many as there are weights, in a sub-network too."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, 1, groups=channels, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """[n, C, H, W] to [n, C, H / stride, W / stride]."""
        return nn.functional.conv2d(input, self.weight, None, self.stride, self.padding, groups=len(self.weight))


class InvertedResidual(nn.Module):
    """Expand, depth-wise convolve, project (Sandler et al. 2018, table 1); layer order as in torchvision."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = channels_in * expand
        layers: list[nn.Module] = []
        if expand != 1:
            layers += [nn.Conv2d(channels_in, hidden, 1, bias=False), BatchNorm2d(hidden), nn.ReLU6()]
        layers += [Depthwise(hidden, stride), BatchNorm2d(hidden), nn.ReLU6()]
        layers += [nn.Conv2d(hidden, channels_out, 1, bias=False), BatchNorm2d(channels_out)]
        self.conv = nn.Sequential(*layers)
        self.skips = stride == 1 and channels_in == channels_out

    def forward(self, input: Tensor) -> Tensor:
        """[n, C_in, H, W] to [n, C_out, H / stride, W / stride]."""
        out: Tensor = self.conv(input)
        return input + out if self.skips else out


def kept_of(count: int, share: float) -> int:
    """Neurons or channels that a layer of ``count`` keeps: round(share count), halves to even, at least one (ELFISH, ADP)."""
    return max(1, round(share * count))
