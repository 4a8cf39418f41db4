"""The operator ``gated_conv``: a convolution on the host, its gradients, and both of its costs."""

import pytest
import torch
from torch.nn.functional import conv2d

from emulator.devices.processor import seconds
from emulator.learning.gated_conv import gated_conv
from emulator.learning.meter import Cost, Meter
from tests.worlds import profile

Geometry = tuple[int, int, int, int, int]  # channels in and out, side, stride, kernel
SHAPES: list[Geometry] = [(6, 8, 10, 1, 3), (6, 8, 9, 2, 3), (3, 5, 7, 2, 1)]


def tensors(shape: Geometry, batch: int, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    channels_in, channels_out, side, _, kernel = shape
    generator = torch.Generator().manual_seed(3)
    images = torch.randn((batch, channels_in, side, side), generator=generator)
    weight = torch.randn((channels_out, channels_in, kernel, kernel), generator=generator)
    return images.to(device).requires_grad_(), weight.to(device).requires_grad_()


def cost(shape: Geometry, batch: int, kept: tuple[int, int], device: str = "meta") -> Cost:
    """Forward and backward of the operator."""
    images, weight = tensors(shape, batch, device)
    with Meter() as meter:
        out = gated_conv(images, weight, (shape[3], shape[4] // 2, *kept))
        torch.autograd.grad(out, [images, weight], torch.empty_like(out))
    return meter.cost()


def sliced(shape: Geometry, kept: tuple[int, int]) -> Cost:
    """The same of a batch of one, with the tensors really sliced to the first kept channels."""
    _, _, side, stride, kernel = shape
    images = torch.empty((1, kept[0], side, side), device="meta", requires_grad=True)
    weight = torch.empty((kept[1], kept[0], kernel, kernel), device="meta", requires_grad=True)
    with Meter() as meter:
        out = conv2d(images, weight, None, stride, kernel // 2)
        torch.autograd.grad(out, [images, weight], torch.empty_like(out))
    return meter.cost()


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_a_convolution_on_the_host(shape: Geometry) -> None:
    """Exact: result and gradients are those of PyTorch's convolution, to the bit."""
    (images, weight), geometry = tensors(shape, 4), (shape[3], shape[4] // 2)
    mine, theirs = gated_conv(images, weight, (*geometry, 2, 3)), conv2d(images, weight, None, *geometry)
    assert torch.equal(mine, theirs)
    along = torch.randn(mine.shape, generator=torch.Generator().manual_seed(4))
    for one, other in zip(
        torch.autograd.grad(mine, [images, weight], along),
        torch.autograd.grad(theirs, [images, weight], along),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", [(1, 1), (2, 3), (3, 5)])
def test_a_batch_of_one_costs_what_a_really_sliced_one_costs(shape: Geometry, kept: tuple[int, int]) -> None:
    """Exact: FLOPs of both passes and bytes, operator by operator; the channels that the backward pass skips are zero."""
    mine, theirs = cost(shape, 1, kept), sliced(shape, kept)
    assert [op for op in mine.on(True) if op[0] == "conv"] == [op for op in theirs.ops if op[0] == "conv"]
    assert mine.flops_on(True) == theirs.flops


@pytest.mark.parametrize("shape", SHAPES)
def test_skipping_the_channels_changes_nothing(shape: Geometry) -> None:
    """Exact up to the order of sums: kept filters on kept inputs give the kept outputs where the other inputs are zero."""
    images, weight = tensors(shape, 1)
    inside, outside = [0, 2], [1, 3, 4]
    with torch.no_grad():
        images[:, [channel for channel in range(shape[0]) if channel not in inside]] = 0
    whole = gated_conv(images, weight, (shape[3], shape[4] // 2, 2, 3))[:, outside]
    small = conv2d(images[:, inside], weight[outside][:, inside], None, shape[3], shape[4] // 2)
    torch.testing.assert_close(whole, small, atol=1e-5, rtol=1e-5)


def test_dense_hardware_saves_nothing() -> None:
    """6 to 8 channels, 10x10, 3x3, two samples: 2 * 2 * 100 * 6 * 8 * 9 = 172,800 FLOPs, and twice that backward.

    With 3 of 6 and 4 of 8 kept: a quarter.
    """
    found = cost(SHAPES[0], 2, (3, 4))
    assert found.flops_on(False) == found.flops == 3 * 172_800
    assert found.flops_on(True) == 3 * 172_800 // 4
    assert seconds(found.on(True), profile()) == seconds(found.on(False), profile()) / 4
    # Bytes: images of both samples, filters (the samples' slices, here 2 * 108 of 432), results; 4 bytes each. The backward
    # pass reads gradient, images and filters, and writes two gradients.
    images, filters, results = 2 * 3 * 100, 2 * 3 * 4 * 9, 2 * 4 * 100
    sizes = sorted(size for kind, _, size, _ in found.on(True) if kind == "conv")
    assert sizes == sorted([4 * (images + filters + results), 4 * (2 * images + 2 * filters + results)])


def test_filters_of_a_batch_are_counted_once_each() -> None:
    # 100 samples with 12 of 48 slices each: all slices, once.
    touched = [size for kind, _, size, _ in cost(SHAPES[0], 100, (3, 4)).on(True) if kind == "conv"]
    assert min(touched) == 4 * (100 * 300 + 432 + 100 * 400)


@pytest.mark.parametrize("shape", SHAPES)
def test_meta_costs_what_real_tensors_cost(shape: Geometry) -> None:
    on_meta, real = cost(shape, 3, (2, 3)), cost(shape, 3, (2, 3), "cpu")
    assert (on_meta.ops, on_meta.kept, on_meta.peak_bytes) == (real.ops, real.kept, real.peak_bytes)


def test_steps_without_it_have_one_cost() -> None:
    images, weight = tensors(SHAPES[0], 1, "meta")
    with Meter() as meter:
        conv2d(images, weight)
    assert meter.cost().kept is None
    assert meter.cost().on(True) == meter.cost().ops
