"""Exact: parameter counts and shapes against papers and counts by hand; what is refused, and how it says so."""

import pickle

import pytest
import torch
from torch.nn.functional import cross_entropy

from emulator.learning.meter import Meter
from emulator.learning.models import MODELS, ModelSpec, build, cut_refusal, refusal, summary
from tests.learning.models.worlds import NAMES, spec


def parameters(name: str, classes: int, shape: tuple[int, int, int]) -> list[int]:
    return [row.parameters for row in summary(ModelSpec(name, classes, shape))]


def test_lenet_layer_by_layer() -> None:
    """Convolutions k k c_in c_out + c_out, linear layers n m + m.

    5*5*1*6 + 6 = 156; 5*5*6*16 + 16 = 2,416; 400*120 + 120 = 48,120; 120*84 + 84 = 10,164; 84*10 + 10 = 850: 61,706.
    Three channels add 5*5*2*6 = 300. Sides: 28 + 2*2 (padding) - 4 = 28, halved 14, - 4 = 10, halved 5.
    """
    assert parameters("lenet", 10, (1, 28, 28)) == [156, 2416, 48120, 10164, 850]
    assert sum(parameters("lenet", 10, (1, 28, 28))) == 61_706
    assert sum(parameters("lenet", 10, (3, 32, 32))) == 62_006
    rows = summary(ModelSpec("lenet", 10, (1, 28, 28)))
    assert [row.shape for row in rows] == [(6, 14, 14), (16, 5, 5), (120,), (84,), (10,)]
    assert [row.smashed_bytes for row in rows] == [4704, 1600, 480, 336, 40]
    assert rows[0].name == "Conv2d-ReLU-MaxPool2d"


@pytest.mark.parametrize("height", range(28, 33))
@pytest.mark.parametrize("width", range(28, 33))
def test_lenet_takes_every_side_that_it_says(height: int, width: int) -> None:
    assert summary(ModelSpec("lenet", 10, (1, height, width)))[1].shape == (16, 5, 5)


def test_small_models_by_hand() -> None:
    """MLP: 64*128 + 128 + 128*10 + 10. CNN: 9*1*16 + 2*16, 9*16*32 + 2*32, 9*32*64 + 2*64, 64*10 + 10 (no biases).

    McMahan's: 25*32 + 32 = 832; 25*32*64 + 64 = 51,264; 3136*512 + 512 = 1,606,144; 512*10 + 10 = 5,130.
    """
    assert sum(parameters("mlp", 10, (1, 8, 8))) == 9_610
    assert parameters("cnn", 10, (1, 8, 8)) == [176, 4672, 18560, 650]
    assert [row.shape for row in summary(ModelSpec("cnn", 10, (1, 8, 8)))] == [
        (16, 4, 4),
        (32, 2, 2),
        (64, 2, 2),
        (10,),
    ]
    assert parameters("cnn_mnist", 10, (1, 28, 28)) == [832, 51264, 1606144, 5130]


def test_alexnet_layer_by_layer() -> None:
    """Convolutions k k c_in c_out + c_out, linear layers n m + m; sides 32, halved by the stem and by each of three pools.

    27*64 + 64 = 1,792; 25*64*192 + 192 = 307,392; 9*192*384 + 384 = 663,936; 9*384*256 + 256 = 884,992;
    9*256*256 + 256 = 590,080; 1024*4096 + 4096 = 4,198,400; 4096*4096 + 4096 = 16,781,312; 4096*10 + 10 = 40,970.
    """
    rows = summary(ModelSpec("alexnet", 10, (3, 32, 32)))
    assert [row.parameters for row in rows] == [1792, 307392, 663936, 884992, 590080, 4198400, 16781312, 40970]
    assert [row.shape[-1] for row in rows[:5]] == [8, 4, 4, 4, 2]
    assert [row.shape for row in rows[5:]] == [(4096,), (4096,), (10,)]


@pytest.mark.parametrize(
    ("name", "classes", "shape", "count"),
    [
        ("mlp", 10, (1, 28, 28), 101_770),  # 784*128 + 128 + 1,290
        ("cnn_mnist", 10, (1, 28, 28), 1_663_370),  # McMahan et al. 2017, section 3
        ("vgg11_ecofed", 10, (3, 32, 32), 34_440_970),  # EcoFed's VGG11: 131.4 MiB
        ("vgg11_ecofed", 100, (3, 32, 32), 34_440_970 + 90 * 4097),
        ("vgg19", 10, (3, 32, 32), 20_040_522),  # 20.0 M in the CIFAR literature
        ("resnet9", 10, (3, 32, 32), 9_395_722),  # EcoFed's ResNet9: 35.8 MiB
        ("resnet20", 10, (3, 32, 32), 269_722),  # He et al. 2016, table 6: 0.27 M
        ("resnet32", 10, (3, 32, 32), 464_154),  # table 6: 0.46 M
        ("resnet18", 10, (3, 32, 32), 11_173_962),  # 11.17 M in the CIFAR literature
        ("mobilenetv2", 1000, (3, 224, 224), 3_504_872),  # torchvision's page of the ImageNet weights; Sandler: 3.4 M
    ],
)
def test_counts_of_the_literature(name: str, classes: int, shape: tuple[int, int, int], count: int) -> None:
    assert sum(parameters(name, classes, shape)) == count


@pytest.mark.parametrize(("name", "n"), [("resnet8", 1), ("resnet20", 3), ("resnet32", 5)])
def test_cifar_resnets_by_formula(name: str, n: int) -> None:
    """6n + 2 layers of 3x3 and one linear layer: the stem, then 2n convolutions of each width, of which two change it.

    Convolution 9 c_in c_out, its BatchNorm 2 c_out, linear 64*10 + 10; option A's shortcuts hold nothing.
    """
    stages = [(16, 16), (16, 32), (32, 64)]
    hand = 9 * 3 * 16 + 2 * 16 + 650
    for before, width in stages:
        hand += 9 * before * width + (2 * n - 1) * 9 * width * width + 2 * n * 2 * width
    counts = parameters(name, 10, (3, 32, 32))
    assert sum(counts) == hand
    assert len(counts) == 3 * n + 2
    shapes = [row.shape for row in summary(spec(name))]
    assert (shapes[0], shapes[n], shapes[2 * n], shapes[3 * n]) == (
        (16, 32, 32),
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
    )


@pytest.mark.parametrize("name", ["vgg11_ecofed", "resnet9"])
def test_ecofed_device_part(name: str) -> None:
    """1,792 + 128 and 73,856 + 256 = 76,032 parameters; 128x8x8 = 8,192 values of 4 bytes cross the cut."""
    front = summary(spec(name))[:2]
    assert sum(row.parameters for row in front) == 76_032
    assert (front[1].shape, front[1].smashed_bytes) == ((128, 8, 8), 32_768)


def test_ecofed_shapes_after_the_cut() -> None:
    assert [row.shape for row in summary(spec("resnet9"))[2:]] == [(256, 4, 4), (512, 2, 2), (512, 1, 1), (10,)]
    vgg = [row.shape for row in summary(spec("vgg11_ecofed"))]
    assert vgg[3:6] == [(256, 4, 4), (512, 4, 4), (512, 2, 2)] and vgg[7:] == [(512, 2, 2), (4096,), (4096,), (10,)]


@pytest.mark.parametrize(
    ("name", "shares"), [("resnet18", {3: 75.2, 5: 94.0, 6: 96.6, 7: 98.7}), ("vgg11", {3: 51.2, 4: 76.8, 5: 89.6})]
)
def test_share_of_the_last_blocks_as_in_tinyfel(name: str, shares: dict[int, float]) -> None:
    """Percent of the parameters in the last blocks, from a table that was computed for TinyFEL with other code."""
    counts = parameters(name, 10, (3, 32, 32))
    assert {last: round(100 * sum(counts[-last:]) / sum(counts), 1) for last in shares} == shares


@pytest.mark.parametrize(("name", "mebibytes"), [("resnet18", 228.8), ("vgg11", 119.3)])
def test_training_memory_as_in_tinyfel(name: str, mebibytes: float) -> None:
    """Weights + gradients + saved activations of a batch of 32, each storage once: the same table."""
    model = build(spec(name))
    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        labels = torch.zeros(32, dtype=torch.int64, device="meta")
        loss = cross_entropy(model(torch.empty(32, 3, 32, 32, device="meta")), labels)
    activations = sum(tensor.untyped_storage().nbytes() for key, tensor in saved.items() if key not in weights)
    total = 8 * MODELS[name].parameters + activations
    assert loss.requires_grad and round(total / 2**20, 1) == mebibytes


def test_mobilenet_stages() -> None:
    """Sandler et al. 2018, table 2, on 224x224: the side halves five times; the channels are the table's."""
    rows = summary(ModelSpec("mobilenetv2", 1000, (3, 224, 224)))
    last = [rows[index].shape for index in (0, 1, 3, 6, 10, 13, 16, 17, 18, 19)]
    sides = [(32, 112), (16, 112), (24, 56), (32, 28), (64, 14), (96, 14), (160, 7), (320, 7), (1280, 7)]
    assert last == [*((channels, side, side) for channels, side in sides), (1000,)]


def test_vgg19_cut_after_its_pools() -> None:
    """Cumulated parameters: 3x3 convolutions 9 a b + b, BatchNorm 2 b.

    9*3*64 + 3*64 = 1,920 and 9*64*64 + 192 = 37,056: 38,976 after two blocks. 9*64*128 + 384 = 74,112 and
    9*128*128 + 384 = 147,840: 260,928 after four. Multiply-adds: 1024 (27*64 + 576*64) = 39.5 M of 398 M.
    """
    rows = summary(spec("vgg19"))
    counts = [sum(row.parameters for row in rows[:cut]) for cut in (2, 4, 8, 12, 16)]
    assert counts[:2] == [38_976, 260_928]
    assert [round(100 * count / 20_040_522, 2) for count in counts] == [0.19, 1.3, 11.62, 52.85, 99.97]
    assert [rows[cut - 1].smashed_bytes for cut in (2, 4, 8, 12, 16)] == [65_536, 32_768, 16_384, 8_192, 2_048]
    assert 1024 * (27 * 64 + 576 * 64) == 39_518_208


@pytest.mark.parametrize("name", NAMES)
def test_every_model_says_what_it_is(name: str) -> None:
    info = MODELS[name]
    rows = summary(spec(name))
    assert sum(row.parameters for row in rows) == info.parameters
    assert rows[-1].shape == (10,) and info.about and info.source
    assert [row.index for row in rows] == list(range(len(rows)))
    for side in info.sides[:1]:  # the smallest images pass through every block
        assert summary(ModelSpec(name, 7, (2, side, side)))[-1].shape == (7,)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (ModelSpec("lenett", 10, (1, 28, 28)), ['got "lenett"', "expected one of mlp, lenet", 'did you mean "lenet"?']),
        (ModelSpec("vgg11", 10, (1, 8, 8)), ["32 to 32 pixels a side", "got 1x8x8"]),
        (ModelSpec("lenet", 10, (1, 28, 64)), ["28 to 32 pixels a side", "got 1x28x64"]),
        (ModelSpec("cnn", 10, (0, 28, 28)), ["channels x height x width", "got 0x28x28"]),
        (ModelSpec("cnn", 0, (1, 28, 28)), ["at least one class", "got 0"]),
    ],
)
def test_refusals_say_what_was_got_and_what_is_accepted(wrong: ModelSpec, words: list[str]) -> None:
    reason = refusal(wrong) or ""
    assert all(word in reason for word in words), reason
    with pytest.raises(ValueError, match=words[0].split()[-1]):
        build(wrong)


def test_cuts_that_there_are() -> None:
    lenet = spec("lenet")
    assert [cut_refusal(lenet, cut) for cut in range(6)] == [None] * 6
    assert cut_refusal(lenet, 6) == "got 6; lenet has 5 blocks, expected a cut of 0 to 5"
    assert "got -1" in (cut_refusal(lenet, -1) or "")


def test_a_spec_can_be_a_key_and_travel() -> None:
    assert {spec("cnn"): 1}[pickle.loads(pickle.dumps(spec("cnn")))] == 1


def test_who_asks_first_for_a_summary_pays_nothing() -> None:
    """It is made once: the step that happens to be the first to need it must cost what it costs afterwards."""
    spec, costs = ModelSpec("cnn", 10, (1, 8, 8)), []
    summary.cache_clear()
    for _ in range(2):
        with Meter() as meter:
            held = torch.ones(3, device="meta") + 1
            assert len(summary(spec)) == 4
        costs.append((meter.cost().ops, meter.cost().peak_bytes))
    assert costs[0] == costs[1]
    assert held.shape == (3,)
