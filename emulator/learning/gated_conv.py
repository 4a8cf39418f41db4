"""``gated_conv``: a convolution of which only some channels matter, a static number of them for each sample.

The host computes it densely and its caller multiplies the channels that are not kept by zero, so results are exact. What it
costs has two figures: dense hardware computes every channel; hardware with ``dynamic_channels`` computes, for each sample,
``kept_out`` output channels from ``kept_in`` input channels (the others are zero). Of a batch of one the second figures are
those of a really sliced convolution.
"""

from typing import Any

import torch
from torch import Tensor, library
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

from emulator.learning.meter import REDUCED

OPERATORS = library.Library("emulator", "DEF")
OPERATORS.define(
    "gated_conv(Tensor input, Tensor weight, int stride, int padding, int kept_in, int kept_out) -> Tensor"
)
OPERATORS.define(
    "gated_conv_backward(Tensor gradient, Tensor input, Tensor weight, int stride, int padding, int kept_in, "
    "int kept_out, bool[] wanted) -> Tensor[]"
)


def _forward(input: Tensor, weight: Tensor, stride: int, padding: int, kept_in: int, kept_out: int) -> Tensor:
    return torch.nn.functional.conv2d(input, weight, None, stride, padding)


def _backward(
    gradient: Tensor, input: Tensor, weight: Tensor, stride: int, padding: int, kept_in: int, kept_out: int,
    wanted: list[bool],
) -> list[Tensor]:  # fmt: skip
    """Gradients of the input and of the weights, those that are wanted."""
    geometry = ([stride, stride], [padding, padding], [1, 1], False, [0, 0], 1)
    found = torch.ops.aten.convolution_backward(gradient, input, weight, None, *geometry, [*wanted, False])
    return [tensor for tensor, asked in zip(found, wanted, strict=False) if asked]


OPERATORS.impl("gated_conv", _forward, "CompositeExplicitAutograd")
OPERATORS.impl("gated_conv_backward", _backward, "CompositeExplicitAutograd")
FORWARD: Any = torch.ops.emulator.gated_conv
BACKWARD: Any = torch.ops.emulator.gated_conv_backward


class _GatedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, how: tuple[int, int, int, int]) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.how = how
        out: Tensor = FORWARD(input, weight, *how)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        wanted = list(ctx.needs_input_grad[:2])
        found = iter(BACKWARD(gradient, *ctx.saved_tensors, *ctx.how, wanted))
        return (next(found) if wanted[0] else None, next(found) if wanted[1] else None, None)


def gated_conv(input: Tensor, weight: Tensor, how: tuple[int, int, int, int]) -> Tensor:
    """[n, C_in, H, W] and [C_out, C_in, k, k] to [n, C_out, H', W']; ``how``: stride, padding, kept input channels a sample,
    kept output channels a sample.
    """
    out: Tensor = _GatedConv.apply(input, weight, how)  # type: ignore[no-untyped-call]
    return out


# ---- what it costs: dense FLOPs by the shapes, and both figures where only kept channels are computed -----------------------


@register_flop_formula(FORWARD, get_raw=True)
def _dense(input: Tensor, weight: Tensor, *how: int, out_val: Tensor, **_: Any) -> int:
    """Two for each multiply-add."""
    return 2 * out_val.shape[0] * out_val.shape[2:].numel() * weight.numel()


@register_flop_formula(BACKWARD, get_raw=True)
def _dense_backward(gradient: Tensor, input: Tensor, weight: Tensor, *how: Any, out_val: Any, **_: Any) -> int:
    """What the forward pass cost, for each gradient."""
    return int(2 * gradient.shape[0] * gradient.shape[2:].numel() * weight.numel() * sum(how[-1]))


def _kept(input: Tensor, weight: Tensor, large: Tensor, kept: tuple[int, int]) -> tuple[int, int, int, int]:
    """FLOPs, and the elements of the input, of the weights and of the output that are touched.

    The weights' slices of a batch are those of its samples, and at most all of them.
    """
    n, (kept_in, kept_out) = input.shape[0], kept
    window = kept_in * kept_out * weight.shape[2:].numel()
    flops = 2 * n * large.shape[2:].numel() * window
    images = (n * kept_in * input.shape[2:].numel(), n * kept_out * large.shape[2:].numel())
    return flops, images[0], min(n * window, weight.numel()), images[1]


def _reduced(
    input: Tensor, weight: Tensor, stride: int, padding: int, kept_in: int, kept_out: int, out: Tensor
) -> tuple[int, int]:
    flops, *touched = _kept(input, weight, out, (kept_in, kept_out))
    return flops, sum(touched) * input.element_size()


def _reduced_backward(
    gradient: Tensor, input: Tensor, weight: Tensor, stride: int, padding: int, kept_in: int, kept_out: int,
    wanted: list[bool], out: Any,
) -> tuple[int, int]:  # fmt: skip
    flops, images, filters, slopes = _kept(input, weight, gradient, (kept_in, kept_out))
    written = images * wanted[0] + filters * wanted[1]
    return flops * sum(wanted), (images + filters + slopes + written) * input.element_size()


REDUCED[FORWARD] = _reduced
REDUCED[BACKWARD] = _reduced_backward
