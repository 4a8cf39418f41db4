"""Models: parameter counts against the literature and by hand, cuts, initial weights, the odd batch of one."""

from math import sqrt

import pytest
import torch

from emulator.learning.binding import bound
from emulator.learning.models import MODELS, ModelSpec, build, cut_refusal, initial_weights, refusal, summary
from tests.learning.models.worlds import EVERYDAY

COUNTS = {
    # LeNet-5: 6*25+6, 16*6*25+16, 400*120+120, 120*84+84, 84*10+10.
    ("lenet", (1, 28, 28)): 156 + 2416 + 48120 + 10164 + 850,
    ("lenet", (3, 32, 32)): 456 + 2416 + 48120 + 10164 + 850,
    ("mlp", (1, 8, 8)): 64 * 128 + 128 + 1290,
    ("mlp", (1, 28, 28)): 101_770,
    # three convolutions without bias, their BatchNorms, 64 -> 10
    ("cnn", (1, 28, 28)): 9 * 16 + 9 * 16 * 32 + 9 * 32 * 64 + 2 * (16 + 32 + 64) + 650,
    ("cnn_mnist", (1, 28, 28)): 1_663_370,  # McMahan et al. 2017
    ("vgg11", (3, 32, 32)): 9_231_114,
    # EcoFed: the same convolutions, then 2048-4096-4096-10
    ("vgg11_ecofed", (3, 32, 32)): 9_231_114 - 5130 + 2048 * 4096 + 4096 + 4096 * 4096 + 4096 + 40970,
    # EcoFed's device part, two 3x3 convolutions to 64 with BatchNorm, 256 -> 10
    ("vgg_ecofed_small", (3, 32, 32)): 76_032 + 9 * 128 * 64 + 192 + 9 * 64 * 64 + 192 + 2570,
    # stem 864 + 64; blocks: 1 x 32, 6 x 16 and 6 x 24 hidden channels to 16, 24, 24; then the same back behind 24 channels
    ("mobilenetv2_small", (3, 32, 32)): 928
    + (32 * 9 + 64 + 32 * 16 + 32)
    + (16 * 96 + 192 + 96 * 9 + 192 + 96 * 24 + 48)
    + (24 * 144 + 288 + 144 * 9 + 288 + 144 * 24 + 48)
    + (9 * 24 * 64 + 192)
    + (9 * 64 * 64 + 192)
    + 2570,
    ("resnet20", (3, 32, 32)): 269_722,  # 0.27 M in He et al. 2016, table 6
    ("resnet32", (3, 32, 32)): 464_154,  # 0.46 M
    ("resnet18", (3, 32, 32)): 11_173_962,
    # torchvision's MobileNetV2 has 3,504,872 with 1000 classes: 1280 * 990 + 990 fewer here
    ("mobilenetv2", (3, 32, 32)): 3_504_872 - 1281 * 990,
    # stem 432 + 32, three blocks of 16, 32 and 64 channels without projection, 650
    ("resnet8", (3, 32, 32)): 432 + 32 + (4608 + 64) + (4608 + 9216 + 128) + (18432 + 36864 + 256) + 650,
}


@pytest.mark.parametrize(("name", "shape"), list(COUNTS))
def test_parameters(name: str, shape: tuple[int, int, int]) -> None:
    assert sum(block.parameters for block in summary(ModelSpec(name, 10, shape))) == COUNTS[name, shape]


def test_ecofed_device_part() -> None:
    # papers: 76,032 parameters and 128 x 8 x 8 = 8,192 values out.
    first, second = summary(ModelSpec("vgg11_ecofed", 10, (3, 32, 32)))[:2]
    assert first.parameters + second.parameters == 76_032
    assert second.shape == (128, 8, 8)
    assert second.smashed_bytes == 4 * 8192


def small_shape(name: str) -> tuple[int, int, int]:
    low = MODELS[name].sides[0]
    side = max(low, 8)
    return (1 if name in ("mlp", "lenet", "cnn_mnist") else 3, side, side)


@pytest.mark.parametrize("name", EVERYDAY)
def test_front_and_back_make_the_whole_at_every_cut(name: str) -> None:
    spec = ModelSpec(name, 10, small_shape(name))
    weights = initial_weights(spec, torch.Generator().manual_seed(1))
    images = torch.rand((2, *spec.shape), generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), bound(spec, weights, training=False) as model:
        whole = model(images)
        assert whole.shape == (2, 10)
        for cut in range(len(model) + 1):
            assert torch.equal(model[cut:](model[:cut](images)), whole), f"cut {cut}"


@pytest.mark.parametrize("name", EVERYDAY)
def test_initial_weights_are_the_models_and_nothing_else(name: str) -> None:
    spec = ModelSpec(name, 10, small_shape(name))
    torch.manual_seed(0)
    first = initial_weights(spec, torch.Generator().manual_seed(5))
    torch.manual_seed(1)  # the global generator must not matter
    second = initial_weights(spec, torch.Generator().manual_seed(5))
    model = build(spec)
    assert first.keys() == {**dict(model.named_parameters()), **dict(model.named_buffers())}.keys()
    assert all(torch.equal(first[weight], second[weight]) for weight in first)
    assert all(tensor.dtype == torch.float32 for tensor in first.values())
    other = initial_weights(spec, torch.Generator().manual_seed(6))
    assert any(not torch.equal(first[weight], other[weight]) for weight in first)


def test_initial_weights_have_pytorch_s_spread() -> None:
    # Uniform in +-1/sqrt(fan_in): standard deviation 1/sqrt(3 fan_in). 784 inputs, 100,352 draws.
    weights = initial_weights(ModelSpec("mlp", 10, (1, 28, 28)), torch.Generator().manual_seed(1))["0.1.weight"]
    assert weights.abs().max().item() <= 1 / sqrt(784)
    assert weights.std().item() == pytest.approx(1 / sqrt(3 * 784), rel=0.01)
    assert abs(weights.mean().item()) < 3 / sqrt(3 * 784 * weights.numel())


@pytest.mark.parametrize("name", ["cnn", "vgg11", "resnet8"])
def test_a_batch_of_one_trains(name: str) -> None:
    spec = ModelSpec(name, 10, (3, 32, 32))
    weights = initial_weights(spec, torch.Generator().manual_seed(1))
    with bound(spec, weights, training=True) as model:
        assert torch.isfinite(model(torch.rand((1, *spec.shape), generator=torch.Generator().manual_seed(2)))).all()


def test_batchnorm_of_a_single_value_uses_the_running_statistics() -> None:
    from emulator.learning.models.layers import BatchNorm2d

    layer = BatchNorm2d(3).train()
    layer.running_mean = torch.tensor([1.0, 2.0, 3.0])
    out = layer(torch.tensor([1.0, 3.0, 5.0]).view(1, 3, 1, 1))
    assert out.flatten().tolist() == pytest.approx([0.0, 1.0, 2.0], abs=1e-4)
    assert layer.running_mean.tolist() == [1.0, 2.0, 3.0]
    assert "num_batches_tracked" not in layer.state_dict()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ModelSpec("lenett", 10, (1, 28, 28)), 'did you mean "lenet"'),
        (ModelSpec("vgg11", 10, (1, 8, 8)), "takes images of 32 to 32 pixels a side; got 1x8x8"),
    ],
)
def test_what_is_refused(spec: ModelSpec, says: str) -> None:
    assert says in (refusal(spec) or "")
    with pytest.raises(ValueError, match="model: "):
        build(spec)


def test_cuts() -> None:
    spec = ModelSpec("lenet", 10, (1, 28, 28))
    assert [cut_refusal(spec, cut) for cut in (0, 5)] == [None, None]
    assert "expected a cut of 0 to 5" in str(cut_refusal(spec, 6))
    assert cut_refusal(spec, -1) is not None
