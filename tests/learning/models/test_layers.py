"""Exact: BatchNorm and dropout by hand. Theory: dropout's mean and variance."""

import pickle
from math import sqrt

import pytest
import torch

from emulator.learning.models.layers import BatchNorm2d, PooledBlock, SeededDropout


def dropout(p: float, seed: int) -> SeededDropout:
    layer = SeededDropout(p)
    layer.generator = torch.Generator().manual_seed(seed)
    return layer


def test_batch_norm_by_hand() -> None:
    """Values 1, 3: mean 2, variance 1 (unbiased 2). Out -+1 / sqrt(1 + 1e-5).

    Statistics are 0.9 old + 0.1 new: 0.9*0 + 0.1*2 = 0.2, and 0.9*1 + 0.1*2 = 1.1.
    """
    layer = BatchNorm2d(1)
    out = layer(torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1))
    assert out.flatten().tolist() == pytest.approx([-1 / sqrt(1 + 1e-5), 1 / sqrt(1 + 1e-5)], abs=1e-6)
    assert layer.running_mean is not None and layer.running_mean.item() == pytest.approx(0.2)
    assert layer.running_var is not None and layer.running_var.item() == pytest.approx(1.1)


def test_batch_norm_has_no_counter_and_takes_weights_that_bring_one() -> None:
    layer = BatchNorm2d(3)
    names = {"weight", "bias", "running_mean", "running_var"}
    assert set(layer.state_dict()) == names
    layer.load_state_dict({**torch.nn.BatchNorm2d(3).state_dict(), "weight": torch.full((3,), 2.0)})
    layer.load_state_dict({name: torch.full((3,), 3.0) for name in names})
    assert layer.weight.tolist() == [3, 3, 3]
    with pytest.raises(RuntimeError, match="running_var"):
        layer.load_state_dict({name: torch.ones(3) for name in names - {"running_var"}})


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_single_value_per_channel_uses_the_running_statistics(device: str) -> None:
    """(5 - 1) / sqrt(4 + 1e-5) * 3 + 1 = 7 within 1e-5; the statistics stay as they were, and gradients flow."""
    state = {"weight": 3.0, "bias": 1.0, "running_mean": 1.0, "running_var": 4.0}
    layer = BatchNorm2d(1)
    layer.load_state_dict({name: torch.tensor([value]) for name, value in state.items()})
    out = layer.to(device)(torch.full((1, 1, 1, 1), 5.0, device=device, requires_grad=True))
    assert out.shape == (1, 1, 1, 1) and out.requires_grad
    if device == "cpu":
        assert out.item() == pytest.approx(7, abs=1e-4)
        assert {name: tensor.item() for name, tensor in layer.state_dict().items()} == state


def test_one_image_of_several_pixels_is_normalised_by_itself() -> None:
    out = BatchNorm2d(1)(torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2))
    assert out.mean().item() == pytest.approx(0, abs=1e-6) and out[0, 0, 0, 1].item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("side", [7, 8])
def test_a_pooled_block_halves_and_rounds_up(side: int) -> None:
    assert PooledBlock(2, 3, halve=True)(torch.zeros(2, 2, side, side)).shape == (2, 3, 4, 4)


def test_dropout_keeps_a_share_and_the_mean() -> None:
    """100,000 ones, p = 0.3: each is 1 / 0.7 with probability 0.7, so its variance is 0.3 / 0.7. Five deviations."""
    out = dropout(0.3, 5)(torch.ones(100_000))
    assert sorted(set(out.tolist())) == pytest.approx([0, 1 / 0.7])
    assert abs(out.mean().item() - 1) < 5 * sqrt(3 / 7 / 100_000)
    assert abs((out == 0).float().mean().item() - 0.3) < 5 * sqrt(0.21 / 100_000)


def test_dropout_is_seeded_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (dropout(0.5, seed)(torch.ones(64)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_passes_gradients_through_its_mask_only() -> None:
    values = torch.ones(64, requires_grad=True)
    out = dropout(0.5, 3)(values)
    (gradient,) = torch.autograd.grad(out.sum(), [values])
    assert torch.equal(gradient, out.detach())  # d out / d value = mask, and out = mask * 1


def test_dropout_on_meta_and_in_evaluation() -> None:
    assert dropout(0.5, 1)(torch.ones(3, 4, device="meta")).is_meta
    values = torch.ones(5)
    assert SeededDropout(0.5).eval()(values) is values
    assert SeededDropout(0.0)(values) is values


def test_dropout_refuses() -> None:
    with pytest.raises(RuntimeError, match=r"got no generator in training; expected a CPU torch\.Generator"):
        SeededDropout(0.5)(torch.ones(2))
    for p in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"expected 0 <= p < 1"):
            SeededDropout(p)


def test_dropout_travels_with_its_generator() -> None:
    layer = dropout(0.5, 9)
    travelled = pickle.loads(pickle.dumps(layer))
    assert torch.equal(travelled(torch.ones(64)), layer(torch.ones(64)))
