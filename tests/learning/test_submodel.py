"""Sub-networks: the masked model is the small one, costs follow from shapes, and everything goes back to its place."""

import pytest
import torch
from torch import Tensor

from emulator.learning.binding import Weights, bound
from emulator.learning.meter import Meter
from emulator.learning.models import MODELS, ModelSpec, initial_weights, weight_specs
from emulator.learning.models.layers import kept_of
from emulator.learning.overlap import overlap
from emulator.learning.picking import Picking, pick, untouched
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.shards import Normalisation, Plan, shard_spec
from emulator.learning.submodel import Kept, Submodel, carve, layers, neurons, recover, shape_of, submodel
from emulator.learning.tracing import measure
from tests.learning.models.worlds import EVERYDAY, NAMES, images, spec
from tests.worlds import MLP

CUTTABLE = [name for name in NAMES if not MODELS[name].gated]  # a gate reads all channels
TINY = ModelSpec("mlp", 10, (1, 8, 8))


def doubles(model: ModelSpec) -> Weights:
    drawn = initial_weights(model, torch.Generator().manual_seed(1))
    return {name: tensor.double() for name, tensor in drawn.items()}


def some(weights: Weights, sub: Submodel, seed: int = 3) -> Kept:
    return pick(*untouched(weights, model=sub.model), seed, sub=sub, picking=Picking("random"))[0]


def masked(weights: Weights, kept: Kept, model: ModelSpec) -> Weights:
    """The whole model of which nobody reads what the masked neurons say."""
    found = {name: tensor.clone() for name, tensor in weights.items()}
    for layer in layers(model):
        gone = torch.ones(layer.count, dtype=torch.bool)
        gone[kept[layer.name]] = False
        for weight, dim, repeat in layer.entries:
            if dim == 1:
                found[weight][:, gone.repeat_interleave(repeat)] = 0
    return found


def answer(model: ModelSpec, weights: Weights, inputs: Tensor, *, training: bool) -> Tensor:
    copies = {name: tensor.clone() for name, tensor in weights.items()}
    with torch.no_grad(), bound(model, copies, training=training) as bound_model:
        out: Tensor = bound_model(inputs)
    return out


@pytest.mark.parametrize("name", [name for name in CUTTABLE if name in EVERYDAY])
def test_the_small_model_says_what_the_masked_one_says(name: str) -> None:
    """Theory, every model, in double precision: cutting a neuron out is the same as not reading it."""
    model, inputs = spec(name), images(name, 4).double()
    weights, sub = doubles(model), submodel(model, 0.37)
    kept = some(weights, sub)
    small, large = carve(weights, kept, model=model), masked(weights, kept, model)
    for training in (True, False):
        expected = answer(model, large, inputs, training=training)
        torch.testing.assert_close(answer(model, small, inputs, training=training), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in CUTTABLE if name in EVERYDAY])
def test_shapes_are_known_without_data(name: str) -> None:
    model = spec(name)
    weights, sub = doubles(model), submodel(model, 0.37)
    found = carve(weights, some(weights, sub), model=model)
    assert {key: leaf.shape for key, leaf in shape_of(sub).tree.items()} == {key: w.shape for key, w in found.items()}
    assert shape_of(submodel(model, 1.0)).nbytes == sum(w.numel() * 4 for w in weights.values())


@pytest.mark.parametrize("name", [name for name in CUTTABLE if name in EVERYDAY])
def test_what_is_put_back_lies_where_it_was(name: str) -> None:
    """Property: recovering an untouched part changes nothing; a changed part changes its own entries alone, and all of them."""
    model = spec(name)
    weights, sub = doubles(model), submodel(model, 0.37)
    kept = some(weights, sub)
    part = carve(weights, kept, model=model)
    again = recover(weights, part, kept, model=model)
    assert all(torch.equal(again[key], tensor) for key, tensor in weights.items())
    moved = recover(weights, {key: tensor + 1 for key, tensor in part.items()}, kept, model=model)
    for key, tensor in weights.items():
        changed = moved[key] != tensor
        assert int(changed.sum()) == part[key].numel()
        assert torch.allclose(moved[key][changed], tensor[changed] + 1)


def test_which_layers_are_cut() -> None:
    """The output layer never; in residual networks the channels inside a block."""
    assert [(layer.name, layer.count) for layer in layers(TINY)] == [("0.1", 128)]
    lenet = layers(spec("lenet"))
    assert [(layer.name, layer.count) for layer in lenet] == [("0.0", 6), ("1.0", 16), ("2.1", 120), ("3.0", 84)]
    # 16 channels of 5x5 pixels: neuron j of the convolution is columns 25 j to 25 j + 24 of the 400.
    assert lenet[1].entries[-1] == ("2.1.weight", 1, 25)
    assert [layer.name for layer in layers(spec("resnet8"))] == ["1.residual.0", "2.residual.0", "3.residual.0"]
    assert [layer.count for layer in layers(spec("mobilenetv2"))][:2] == [96, 144]
    for name in CUTTABLE:
        outputs = list(weight_specs(spec(name)))[-1]
        assert all(entry.weight != outputs for layer in layers(spec(name)) for entry in layer.entries)


@pytest.mark.parametrize(("share", "count", "expected"), [(0.5, 128, 64), (0.5, 5, 2), (0.3, 64, 19), (0.01, 16, 1)])
def test_exact_size_of_a_layer(share: float, count: int, expected: int) -> None:
    assert kept_of(count, share) == expected


# ---- costs ---------------------------------------------------------------------------------------------------------------


def flops(model: ModelSpec, volume: float, samples: int = 32) -> int:
    problem = Problem(model, Normalisation(255.0, (0.5,) * 3, (0.5,) * 3))
    inputs = (shape_of(submodel(model, volume)), shard_spec(samples, model.shape), 0)
    return measure(train, inputs, {"sgd": LocalSGD(problem, Plan(32), 0.1)})[1].flops


@pytest.mark.parametrize(("volume", "tolerance"), [(0.5, 0), (0.25, 0), (0.3, 0.02), (0.7, 0.02)])
def test_inner_layers_cost_the_square_of_the_volume(volume: float, tolerance: float) -> None:
    # AlexNet: the first convolution (64 filters of 3x3x3 on 16x16 pixels, no input gradient: twice its forward FLOPs) and the
    # output layer (4096 to 10, three times) are cut on one side alone; all the others on both.
    model = ModelSpec("alexnet", 10, (3, 32, 32))
    outer = 32 * (2 * 2 * 64 * 27 * 256 + 3 * 2 * 4096 * 10)
    inner = flops(model, 1.0) - outer
    assert flops(model, volume) - volume * outer == pytest.approx(volume**2 * inner, rel=tolerance, abs=0)


def test_a_smaller_network_is_traced_anew() -> None:
    """The same settings and batches, other shapes: 2 x 16 x (2 (64 k + 10 k) + 10 k) FLOPs."""
    sgd = LocalSGD(MLP, Plan(16), 0.1)
    for count in (128, 64, 1):
        sub = Submodel(MLP.model, (count,))
        found = measure(train, (shape_of(sub), shard_spec(16, (1, 8, 8)), 0), {"sgd": sgd})[1]
        assert found.flops == 2 * 16 * (2 * (64 * count + 10 * count) + 10 * count)


def test_cutting_costs_on_meta_what_it_costs_on_data() -> None:
    model = spec("lenet")
    weights, sub = initial_weights(model, torch.Generator().manual_seed(1)), submodel(model, 0.5)
    kept = some(weights, sub)
    with Meter() as real:
        carve(weights, kept, model=model)
    shapes = shape_of(submodel(model, 1.0)).meta(), {name: chosen.to("meta") for name, chosen in kept.items()}
    with Meter() as meta:
        carve(*shapes, model=model)
    assert real.cost().bytes == meta.cost().bytes


# ---- aggregation -----------------------------------------------------------------------------------------------------------


def constant(value: float) -> Weights:
    return {name: torch.full_like(w, value) for name, w in doubles(TINY).items()}


def test_each_parameter_by_those_who_trained_it() -> None:
    """Exact. Device a (1 sample) trains neurons 0-63 and says 1, device b (3 samples) 32-95 and says 5; the weights are 0.

    Neurons 0-31: 1; 32-63: (1 + 15) / 4 = 4; 64-95: 5; 96-127: nobody, 0. The output's bias: both, 4.
    """
    sub = Submodel(TINY, (64,))
    kept = [{"0.1": torch.arange(64)}, {"0.1": torch.arange(32, 96)}]
    parts = [carve(constant(value), chosen, model=TINY) for value, chosen in zip((1.0, 5.0), kept, strict=True)]
    assert tuple(parts[0]["0.1.weight"].shape) == (sub.counts[0], 64)
    found = overlap((1, 3), constant(0.0), *parts, *kept, model=TINY)
    expected = torch.tensor([1.0] * 32 + [4.0] * 32 + [5.0] * 32 + [0.0] * 32).double()
    assert torch.equal(found["0.1.bias"], expected)
    assert torch.equal(found["0.1.weight"], expected.unsqueeze(1).expand(128, 64))
    assert torch.equal(found["1.weight"], expected.expand(10, 128))
    assert torch.equal(found["1.bias"], torch.full((10,), 4.0).double())


def test_nobody_trained_it_nothing_changes() -> None:
    """Acceptance check 3, exact in scheme P: masked rows, biases and columns keep the global values to the bit."""
    weights, kept = doubles(TINY), {"0.1": torch.arange(0, 128, 2)}
    update = {name: tensor * 1.7 for name, tensor in carve(weights, kept, model=TINY).items()}
    found = overlap((3, 4), weights, update, update, kept, kept, model=TINY)
    assert torch.equal(found["0.1.weight"][1::2], weights["0.1.weight"][1::2])
    assert torch.equal(found["0.1.bias"][1::2], weights["0.1.bias"][1::2])
    assert torch.equal(found["1.weight"][:, 1::2], weights["1.weight"][:, 1::2])


# ---- refusals --------------------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    weights = doubles(TINY)
    with pytest.raises(ValueError, match=r"volume: got 0; expected above 0 and at most 1"):
        submodel(TINY, 0.0)
    with pytest.raises(ValueError, match=r"volume: got 1.5; expected above 0"):
        submodel(TINY, 1.5)
    with pytest.raises(ValueError, match=r'layers: got "9"; expected inner layers of mlp: 0.1'):
        submodel(TINY, 0.5, {"9": 0.5})
    with pytest.raises(ValueError, match=r"layers.0.1: got 0.003 of 128 neurons, which keeps none; expected more"):
        submodel(TINY, 0.5, {"0.1": 0.003})
    with pytest.raises(ValueError, match=r"mask: got no neuron of layer 0.1; expected 1 to 128 of them"):
        carve(weights, {"0.1": torch.arange(0)}, model=TINY)
    assert submodel(TINY, 0.001).counts == (1,)
    assert neurons(TINY) == 128
