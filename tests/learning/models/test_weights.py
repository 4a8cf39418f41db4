"""Exact: names, order, independence of the global generator. Theory: the distribution that weights are drawn from."""

from math import sqrt

import pytest
import torch
from torch import nn

from emulator.learning.models import ModelSpec, build, initial_weights, weight_specs
from emulator.learning.models.weights import WeightSpec, draw
from tests.learning.models.worlds import NAMES, spec

BUFFERS = ("running_mean", "running_var")


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_kinds(name: str) -> None:
    specs = weight_specs(spec(name))
    model = build(spec(name))
    assert list(specs) == list(model.state_dict())
    assert {key for key, found in specs.items() if found.buffer} == {key for key, _ in model.named_buffers()}
    assert {key for key, found in specs.items() if found.buffer} == {key for key in specs if key.endswith(BUFFERS)}
    assert {found.dtype for found in specs.values()} == {torch.float32}


def test_specs_of_a_small_model() -> None:
    specs = weight_specs(ModelSpec("cnn", 10, (1, 8, 8)))
    assert specs["0.0.weight"] == WeightSpec((16, 1, 3, 3), torch.float32, False)
    assert specs["0.1.running_var"] == WeightSpec((16,), torch.float32, True)
    assert len(specs) == 3 * 5 + 2  # three convolutions with four values of BatchNorm each, and a linear layer


def test_mobilenet_has_the_entries_of_the_published_weights() -> None:
    """52 convolutions, each with BatchNorm: 5 entries without the counter; and the classifier's 2."""
    assert len(weight_specs(spec("mobilenetv2"))) == 52 * 5 + 2


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("vgg11_ecofed", "vgg19")])
def test_weights_fit_the_model_and_are_drawn_again_from_the_same_seed(name: str) -> None:
    before = torch.get_rng_state()
    weights, again = (initial_weights(spec(name), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    specs = weight_specs(spec(name))
    assert weights.keys() == specs.keys()
    for key, tensor in weights.items():
        assert (tuple(tensor.shape), tensor.dtype, tensor.device.type) == (specs[key].shape, torch.float32, "cpu")
        assert tensor.untyped_storage().nbytes() == 4 * tensor.numel()  # no two weights share memory
    assert len({tensor.untyped_storage().data_ptr() for tensor in weights.values()}) == len(weights)


def test_another_seed_gives_other_weights() -> None:
    one, other = (initial_weights(spec("mlp"), torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.equal(one["1.bias"], other["1.bias"])


def test_building_draws_nothing_on_any_device() -> None:
    before = torch.get_rng_state()
    devices = {tensor.device.type for tensor in build(spec("lenet")).state_dict().values()}
    real = {tensor.device.type for tensor in build(spec("lenet"), "cpu").state_dict().values()}
    assert (devices, real) == ({"meta"}, {"cpu"})
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("name", "key", "fan_in"), [("mlp", "0.1.weight", 784), ("resnet18", "9.2.weight", 512)])
def test_linear_weights_are_uniform_as_theory_says(name: str, key: str, fan_in: int) -> None:
    _check_uniform(initial_weights(spec(name), torch.Generator().manual_seed(4))[key], fan_in)


@pytest.mark.parametrize(
    ("key", "fan_in"),
    [("0.0.weight", 3 * 9), ("10.conv.0.weight", 64), ("10.conv.3.weight", 9), ("10.conv.6.weight", 384)],
)
def test_convolutions_count_the_channels_of_one_group(key: str, fan_in: int) -> None:
    """The stem sees 3 channels of 3x3; block 10 expands 64 to 384, convolves each alone, and projects 384 back."""
    _check_uniform(initial_weights(spec("mobilenetv2"), torch.Generator().manual_seed(5))[key], fan_in)


def _check_uniform(tensor: torch.Tensor, fan_in: int) -> None:
    """Uniform on +-b, b = 1 / sqrt(fan_in): mean 0, variance b^2 / 3, that of the square 4 b^4 / 45. 5 deviations."""
    bound, n = 1 / sqrt(fan_in), tensor.numel()
    assert tensor.abs().max().item() <= bound and tensor.abs().max().item() > 0.9 * bound
    assert abs(tensor.mean().item()) < 5 * bound / sqrt(3 * n)
    assert abs(tensor.square().mean().item() - bound**2 / 3) < 5 * bound**2 * sqrt(4 / 45 / n)


def test_biases_have_the_bound_of_their_layer() -> None:
    bias = initial_weights(spec("cnn_mnist"), torch.Generator().manual_seed(6))["2.1.bias"]
    assert len(bias) == 512
    _check_uniform(bias, 3136)


def test_pytorch_draws_from_the_same_distribution() -> None:
    """PyTorch's own linear layer, from its own generator: the same bound, largest value and spread."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = nn.Linear(784, 128).weight.detach()
    _check_uniform(theirs, 784)


@pytest.mark.parametrize("name", ["cnn", "resnet20", "mobilenetv2"])
def test_batch_norm_starts_as_the_identity(name: str) -> None:
    model = build(spec(name))
    weights = initial_weights(spec(name), torch.Generator().manual_seed(7))
    norms = [prefix for prefix, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for prefix in norms:
        starts = {part: weights[f"{prefix}.{part}"] for part in ("weight", "bias", *BUFFERS)}
        assert all((starts[part] == value).all() for part, value in zip(starts, (1, 0, 0, 1), strict=True))
        assert f"{prefix}.num_batches_tracked" not in weights


def test_a_layer_without_a_rule_is_refused() -> None:
    with pytest.raises(TypeError, match=r"got GroupNorm with \['weight', 'bias'\]; expected Conv2d"):
        draw(nn.Sequential(nn.GroupNorm(1, 2)), torch.Generator())
