"""ADP's acceptance checks of the gates: exact counts, the rule of gradients, dependence on the input, FLOPs, sizes."""

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from emulator.learning.meter import Cost, Meter
from emulator.learning.models import MODELS, ModelSpec, build, initial_weights, refusal, summary, weight_specs
from emulator.learning.models.gated import GatedConv
from emulator.learning.models.layers import kept_of
from tests.worlds import DIGITS

GATED = [name for name, info in MODELS.items() if info.gated]
SMALL = ["cnn_gated", "resnet8_gated"]


def images(name: str, count: int) -> Tensor:
    """Digits, or noise where a model takes other shapes."""
    shape = MODELS[name].reference
    if name == "cnn_gated":
        return torch.tensor(DIGITS.x_train[:count], dtype=torch.float32) / 8 - 1
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(5))


def model(name: str, ratio: float | None) -> nn.Sequential:
    spec = ModelSpec(name, 10, (1, 8, 8) if name == "cnn_gated" else MODELS[name].reference, keep_ratio=ratio)
    found = build(spec, "cpu")
    found.load_state_dict(initial_weights(spec, torch.Generator().manual_seed(1)))
    return found


def watched(net: nn.Sequential, inputs: Tensor) -> dict[str, Tensor]:
    """The gates of every gated layer, [n, C_out], in a forward pass; the pass's result is under ``out``."""
    found = dict[str, Tensor]()
    handles = [
        layer.register_forward_pre_hook(
            lambda gated, args, name=name: found.__setitem__(name, gated.salience(args[0]).detach())
        )
        for name, layer in net.named_modules()
        if isinstance(layer, GatedConv)
    ]
    found["out"] = net(inputs)
    for handle in handles:
        handle.remove()
    return found


# ---- check 1, exact: kept channels --------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("name", SMALL)
def test_as_many_channels_are_kept_as_the_ratio_says(name: str, ratio: float) -> None:
    """round(r C) at most, fewer where ReLU already gave zero; and exactly those of the largest gates."""
    net, all_of_it = model(name, ratio), model(name, 1.0)
    gates, dense = watched(net, images(name, 8)), watched(all_of_it, images(name, 8))
    first = next(key for key in gates)
    for key, kept in gates.items():
        if key != "out":
            positive = (kept > 0).sum(1)
            assert (positive <= kept_of(kept.shape[1], ratio)).all(), key
    whole, kept = dense[first], gates[first]  # the first layer's input is the same for both
    count = kept_of(whole.shape[1], ratio)
    assert torch.equal((kept > 0).sum(1), (whole > 0).sum(1).clamp(max=count))
    assert torch.equal(kept.sort(descending=True).values[:, :count], whole.sort(descending=True).values[:, :count])


def test_how_many_by_hand() -> None:
    # 0.7 of 16, 32, 64, 512: 11.2, 22.4, 44.8, 358.4. At least one.
    assert [kept_of(channels, 0.7) for channels in (16, 32, 64, 512)] == [11, 22, 45, 358]
    assert (kept_of(16, 0.01), kept_of(16, 1.0)) == (1, 16)


class Untouched(GatedConv):
    """The gated layer without any choice among channels."""

    def salience(self, input: Tensor) -> Tensor:
        """g as it is."""
        means = input.mean((2, 3))
        return nn.functional.relu(self.gate(means.sigmoid() if self.sigmoid else means))


@pytest.mark.parametrize("name", GATED)
def test_a_ratio_of_one_is_the_model_without_a_choice_bit_for_bit(name: str) -> None:
    """Identity: result and gradients."""
    nets = [model(name, 1.0), model(name, 1.0)]
    for layer in nets[1].modules():
        if isinstance(layer, GatedConv):
            layer.__class__ = Untouched
    results = [net(images(name, 2)) for net in nets]
    assert torch.equal(*results)
    slopes = [torch.autograd.grad(out.sum(), list(net.parameters())) for net, out in zip(nets, results, strict=True)]
    assert all(torch.equal(one, other) for one, other in zip(*slopes, strict=True))


# ---- check 2, exact: filters that are not kept do not learn -------------------------------------------------


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("name", SMALL)
def test_filters_that_no_sample_keeps_have_no_gradient(name: str, batch: int) -> None:
    net, inputs = model(name, 0.3), images(name, batch)
    gates = watched(net, inputs)
    loss = cross_entropy(gates.pop("out"), torch.arange(batch) % 10)
    names = [key for key, _ in net.named_parameters()]
    slopes = dict(zip(names, torch.autograd.grad(loss, list(net.parameters())), strict=True))
    some = False
    for key, kept in gates.items():
        idle = (kept == 0).all(0)
        some |= bool(idle.any())
        for weight in ("conv.weight", "norm.weight", "norm.bias", "gate.weight", "gate.bias"):
            assert not slopes[f"{key}.{weight}"][idle].any(), (key, weight)
        assert slopes[f"{key}.conv.weight"][~idle].any(), key
    assert some


# ---- check 3, property: the choice is the sample's ----------------------------------------------------------


def jaccard(one: Tensor, other: Tensor) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("training", [True, False])
def test_samples_choose_their_own_channels(training: bool) -> None:
    """Not the first layer: of a grey image it knows the brightness alone, and gates that cross nowhere rank alike."""
    net, inputs = model("cnn_gated", 0.5).train(training), images("cnn_gated", 20)
    gates, again = watched(net, inputs), watched(net, torch.cat([inputs[:1], inputs[:1]]))
    for key, kept in gates.items():
        if key in ("1.0", "2.0"):
            pairs = [jaccard(one > 0, other > 0) for one, other in combinations(kept, 2)]
            assert sum(pairs) / len(pairs) < 1, key
            assert torch.equal(again[key][0] > 0, again[key][1] > 0), key


def test_classes_choose_their_own_channels() -> None:
    """Mean overlap of pairs within a class is larger than between classes (digits 0 and 1, untrained gates)."""
    labels = torch.tensor(DIGITS.y_train)
    net, chosen = model("cnn_gated", 0.5).eval(), [torch.where(labels == digit)[0][:15] for digit in (0, 1)]
    pictures = torch.tensor(DIGITS.x_train, dtype=torch.float32) / 8 - 1
    masks = [watched(net, pictures[index])["2.0"] > 0 for index in chosen]
    within = [jaccard(a, b) for mask in masks for a, b in combinations(mask, 2)]
    between = [jaccard(a, b) for a in masks[0] for b in masks[1]]
    assert sum(within) / len(within) > sum(between) / len(between)


# ---- check 4, theory: FLOPs of a forward pass ---------------------------------------------------------------


def forward(name: str, ratio: float | None, *, training: bool = False, batch: int = 1) -> Cost:
    net = build(ModelSpec(name, 10, (3, 32, 32), keep_ratio=ratio)).train(training)
    with torch.no_grad(), Meter() as meter:
        net(torch.empty((batch, 3, 32, 32), device="meta"))
    return meter.cost()


def convolutions(cost: Cost, dynamic: bool) -> int:
    return sum(flops * count for kind, flops, _, count in cost.on(dynamic) if kind == "conv")


@pytest.mark.parametrize(("ratio", "saved"), [(0.7, 0.405), (0.6, 0.52), (0.5, 0.625)])
def test_resnet32_saves_what_the_products_of_ratios_say(ratio: float, saved: float) -> None:
    """(r + r^2) / 2 of two convolutions a block, gates included: within a point, as channels are whole."""
    gated, dense = forward("resnet32_gated", ratio), forward("resnet32", None)
    assert 1 - gated.flops_on(True) / dense.flops == pytest.approx(saved, abs=0.01)
    assert gated.flops_on(False) / dense.flops == pytest.approx(1.0007, abs=1e-4)  # dense hardware: the gates on top


def test_vgg16s_convolutions_save_half() -> None:
    """r^2, but for the first: the published "up to 50 %"."""
    gated, dense = forward("vgg16_gated", 0.7), forward("vgg16", None)
    assert 1 - convolutions(gated, True) / convolutions(dense, False) == pytest.approx(0.509, abs=0.01)
    assert convolutions(gated, False) == convolutions(dense, False)


def test_training_saves_on_the_inputs_side_alone() -> None:
    """BatchNorm's batch statistics need all channels: r and not r^2, and nothing in a ResNet block's first convolution."""
    gated, dense = forward("vgg16_gated", 0.7, training=True), forward("vgg16", None, training=True)
    assert convolutions(gated, True) / convolutions(dense, False) == pytest.approx(0.7, abs=0.01)


# ---- check 5, exact: sizes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "plain"), [("resnet32_gated", "resnet32"), ("cnn_gated", "cnn")])
def test_gates_are_counted(name: str, plain: str) -> None:
    """W_g has C_out x C_in numbers, b_g C_out.

    ResNet-32: 10 (16*16 + 16) + (16*32 + 32) + 9 (32*32 + 32) + (32*64 + 64) + 9 (64*64 + 64) = 52,320, 11.3 % more.
    cnn: (16 + 16) + (16*32 + 32) + (32*64 + 64) = 2,688.
    """
    shape = MODELS[name].reference
    both = [sum(row.parameters for row in summary(ModelSpec(key, 10, shape))) for key in (name, plain)]
    assert both[0] - both[1] == {"resnet32_gated": 52_320, "cnn_gated": 2_688}[name]
    if name == "resnet32_gated":
        assert both == [516_474, 464_154]


@pytest.mark.parametrize("name", ["vgg11", "vgg16"])
def test_gates_of_a_vgg_are_a_ninth_of_its_convolutions(name: str) -> None:
    specs = weight_specs(ModelSpec(f"{name}_gated", 10, (3, 32, 32)))
    sizes = {key: torch.Size(spec.shape).numel() for key, spec in specs.items()}
    filters = sum(size for key, size in sizes.items() if "conv.weight" in key)
    gates = sum(size for key, size in sizes.items() if "gate.weight" in key)
    assert 9 * gates == filters


def test_gates_start_as_the_released_code_has_them() -> None:
    """Kaiming-normal: standard deviation sqrt(2 / C_in) = 0.0625 for 512; biases 1."""
    weights = initial_weights(ModelSpec("vgg16_gated", 10, (3, 32, 32)), torch.Generator().manual_seed(1))
    assert weights["12.0.gate.weight"].std().item() == pytest.approx(0.0625, rel=0.01)
    assert (weights["12.0.gate.bias"] == 1).all()


# ---- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ratio", "says"),
    [
        ("cnn_gated", 0.0, "got 0; expected a share above 0 and at most 1"),
        ("cnn_gated", 1.5, "got 1.5; expected a share above 0 and at most 1"),
        ("cnn", 0.7, "got 0.7; expected none, as cnn has no gates, or a model with gates: cnn_gated"),
    ],
)
def test_what_is_refused(name: str, ratio: float, says: str) -> None:
    spec: Any = ModelSpec(name, 10, (1, 8, 8), keep_ratio=ratio)
    assert says in (refusal(spec) or "")
    with pytest.raises(ValueError, match="keep_ratio"):
        build(spec)
