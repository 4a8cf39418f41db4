"""TinyFEL's local training: backpropagation that stops early, its time and its memory, and averages block by block."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from actors.values import Spec
from emulator.learning.aggregation import average
from emulator.learning.binding import Weights, block_of, bound, part
from emulator.learning.meter import Cost, Meter
from emulator.learning.models import ModelSpec, initial_weights, summary, weight_specs
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.shards import Normalisation, Plan, Shard, shard_spec
from emulator.learning.suffix import (
    SuffixLearner,
    average_layers,
    joined,
    layers,
    suffix_of,
    suffixes,
    train_suffix,
)
from emulator.learning.tracing import measure
from tests.learning.allocator import saved_bytes, storage_bytes
from tests.worlds import CNN, DIGITS

SGD = LocalSGD(CNN, Plan(16, 2), 0.1, momentum=0.9)
SHARD = Shard(torch.from_numpy(DIGITS.x_train[:40]), torch.from_numpy(DIGITS.y_train[:40]))


def meta(problem: Problem) -> Weights:
    """Shapes of its weights: on meta nobody draws them."""
    return {name: torch.empty(w.shape, dtype=w.dtype, device="meta") for name, w in weight_specs(problem.model).items()}


def start(problem: Problem = CNN) -> Weights:
    return initial_weights(problem.model, torch.Generator().manual_seed(1))


def same(left: Weights, right: Weights) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# ---- what is updated ---------------------------------------------------------------------------------------------------


def test_suffixes_by_hand() -> None:
    """Exact. ``cnn`` on 1x8x8: blocks of 9*16 + 2*16 = 176 (convolution without bias, BatchNorm), 16*9*32 + 64 = 4,672,
    32*9*64 + 128 = 18,560 and 64*10 + 10 = 650 parameters (24,058); 224 running statistics.
    """
    counts = [row.parameters for row in summary(CNN.model)]
    assert counts == [176, 4_672, 18_560, 650]
    found = suffixes(CNN.model)
    assert [one.first for one in found] == [3, 2, 1, 0]
    assert [one.ratio for one in found] == [650 / 24_058, 19_210 / 24_058, 23_882 / 24_058, 1.0]
    assert [one.payload_bytes for one in found] == [4 * 650, 4 * (19_210 + 128), 4 * (23_882 + 192), 4 * (24_058 + 224)]
    assert [one.ratio for one in suffixes(CNN.model, "layers")] == [0.25, 0.5, 0.75, 1.0]


BY_PARAMETERS = [(0.5, "parameters", 2), (0.9, "parameters", 1), (1.0, "parameters", 0), (0.01, "parameters", 3)]
BY_LAYERS = [(0.5, "layers", 2), (0.9, "layers", 0)]


@pytest.mark.parametrize(("ratio", "by", "first"), BY_PARAMETERS + BY_LAYERS)
def test_the_smallest_suffix_that_reaches_a_ratio(ratio: float, by: str, first: int) -> None:
    assert suffix_of(CNN.model, ratio, by).first == first  # type: ignore[arg-type]


def test_a_ratio_is_a_share() -> None:
    with pytest.raises(ValueError, match="update ratio: got 0; expected above 0, at most 1"):
        suffix_of(CNN.model, 0)


@pytest.mark.parametrize("first", [1, 2, 3])
def test_frozen_blocks_do_not_change_and_are_not_sent(first: int) -> None:
    """Exact: statistics included; every updated tensor changes; the update holds updated blocks alone."""
    weights = start()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    update, frozen = train_suffix(weights, SHARD, 5, sgd=SGD, first=first)
    assert same(weights, before)
    assert same(frozen, part(before, 0, first))
    assert {block_of(name) for name in update} == set(range(first, 4))
    assert not any(torch.equal(update[name], before[name]) for name in update)


def test_all_blocks_are_plain_local_training() -> None:
    weights = start()
    update, frozen = train_suffix(weights, SHARD, 5, sgd=SGD, first=0)
    assert same(update, train(weights, SHARD, 5, sgd=SGD))
    assert frozen == {}


def test_the_frozen_part_is_a_fixed_front() -> None:
    """The gradient is that of the suffix on the front's outputs: one step of plain SGD beside autograd by hand."""
    weights, sgd = start(), LocalSGD(CNN, Plan(40, 1), 0.1)
    update, _ = train_suffix(weights, SHARD, 5, sgd=sgd, first=3)
    with torch.no_grad(), bound(CNN.model, part(weights, 0, 3), training=False, blocks=(0, 3)) as front:
        features = front(CNN.normalise(SHARD.images))
    own = {name: tensor.clone().requires_grad_() for name, tensor in part(weights, 3, 4).items()}
    with bound(CNN.model, own, training=True, blocks=(3, 4)) as back:
        loss = torch.nn.functional.cross_entropy(back(features), SHARD.labels)
    gradients = torch.autograd.grad(loss, list(own.values()))
    for (name, tensor), gradient in zip(own.items(), gradients, strict=True):
        assert torch.allclose(update[name], tensor - 0.1 * gradient, atol=1e-6)


# ---- its time ----------------------------------------------------------------------------------------------------------


@cache
def cost_of(problem: Problem, first: int, samples: int = 32) -> Cost:
    sgd = LocalSGD(problem, Plan(32, 1), 0.1)
    spec = Spec.of(meta(problem))
    found: Cost = measure(
        train_suffix, (spec, shard_spec(samples, problem.model.shape), 0), {"sgd": sgd, "first": first}
    )[1]
    return found


@cache
def forward_flops(problem: Problem, samples: int = 32) -> list[int]:
    """Of each block, from a forward pass of its own."""
    found, values = [], torch.zeros((samples, *problem.model.shape), device="meta")
    weights = meta(problem)
    for block in range(len(summary(problem.model))):
        mine, blocks = part(weights, block, block + 1), (block, block + 1)
        with torch.no_grad(), bound(problem.model, mine, training=True, blocks=blocks) as one:
            with Meter() as meter:
                values = one(values)
            found.append(meter.cost().flops)
    return found


def test_flops_by_hand() -> None:
    """Exact: forward all blocks, then for each updated one its weights' gradient, and its input's but for the first of them.

    ``cnn``, 32 images of 8x8; a convolution costs 2 * 9 * in * out * pixels, the linear layer 2 * 64 * 10.
    """
    blocks = forward_flops(CNN)
    assert blocks[0] == 32 * 2 * 9 * 16 * 64
    assert blocks[3] == 32 * 2 * 64 * 10
    for first in range(4):
        backward = blocks[first] + 2 * sum(blocks[first + 1 :])
        assert cost_of(CNN, first).flops == sum(blocks) + backward


@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_time_is_alpha_and_phi_beta(name: str) -> None:
    """Theory: alpha + phi beta exactly, and (1 + 2 phi) / 3 of the full time within 1 % (beta is 2 alpha but for the images'
    own gradient, which nobody needs).
    """
    problem = replace(
        CNN, model=ModelSpec(name, 10, (3, 32, 32)), normalise=Normalisation(255.0, (0.5,) * 3, (0.5,) * 3)
    )
    alpha, full = sum(forward_flops(problem)), cost_of(problem, 0).flops
    for first in range(len(summary(problem.model))):
        cost = cost_of(problem, first)
        phi = (cost.flops - alpha) / (full - alpha)
        assert 0 < phi <= 1
        assert cost.flops == round(alpha + phi * (full - alpha))
        assert cost.flops / full == pytest.approx((1 + 2 * phi) / 3, rel=0.01)


# ---- its memory ----------------------------------------------------------------------------------------------------------


@cache
def counted(name: str, first: int, batch: int = 32) -> tuple[int, int]:
    """Weights + gradients + saved activations of the platform's own step, and its live peak; bytes, on meta."""
    problem = Problem(ModelSpec(name, 10, (3, 32, 32)), Normalisation(255.0, (0.5,) * 3, (0.5,) * 3))
    weights = meta(problem)
    images = torch.zeros((batch, 3, 32, 32), dtype=torch.uint8, device="meta")
    shard = Shard(images, torch.zeros(batch, dtype=torch.int64, device="meta"))
    own = part(weights, first, 99)
    with bound(problem.model, weights, training=True) as model:
        learner = SuffixLearner(LocalSGD(problem, Plan(batch), 0.1), weights, own, model, first)
        held = [*weights.values(), *shard]
        saved, loss = saved_bytes(lambda: learner.loss(shard), held)
        del loss
    trained = storage_bytes(learner.weights)
    everything = 4 * sum(row.parameters for row in summary(problem.model))
    return everything + trained + saved, cost_of(problem, first, batch).peak_bytes


@pytest.mark.parametrize(("name", "first", "published"), [("resnet18", 4, 42.8), ("vgg11", 5, 43.7)])
def test_training_memory_falls_by_more_than_two_fifths(name: str, first: int, published: float) -> None:
    """The last 6 of ResNet-18's 10 blocks, the last 4 of VGG-11's 9: within two points of the derived table.

    Beside it the platform's live peak, which also has the weights as received, images and transient maps.
    """
    (all_, all_peak), (some, some_peak) = counted(name, 0), counted(name, first)
    assert 100 * (1 - some / all_) == pytest.approx(published, abs=2)
    assert 100 * (1 - some_peak / all_peak) > 30


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_meta_equals_real(first: int) -> None:
    """Peak and FLOPs of a real run, batch by batch, are those that the clock charges."""
    weights = start()
    with Meter(compose=False) as meter:
        meter.hold([weights, SHARD])
        train_suffix(weights, SHARD, 5, sgd=SGD, first=first)
    cost = meter.cost()
    spec = Spec.of({name: tensor.to("meta") for name, tensor in weights.items()})
    found = measure(train_suffix, (spec, shard_spec(40, CNN.model.shape), 5), {"sgd": SGD, "first": first})[1]
    assert (cost.flops, cost.peak_bytes) == (found.flops, found.peak_bytes)


def test_memory_grows_with_the_ratio() -> None:
    """Property; the platform's step, ResNet-18, blocks 1 to 10 from the end."""
    peaks = [counted("resnet18", first) for first in range(9, -1, -1)]
    assert [one for one, _ in peaks] == sorted(one for one, _ in peaks)
    assert [peak for _, peak in peaks] == sorted(peak for _, peak in peaks)


# ---- averages ------------------------------------------------------------------------------------------------------------


def test_a_block_is_averaged_over_those_that_updated_it() -> None:
    """Exact: blocks of one number each. Device a (1 sample) sends 1 and 2, b (3 samples) sends 2: (1 * 4 + 3 * 8) / 4."""
    old = {"0.w": torch.tensor([1.0]), "1.w": torch.tensor([2.0]), "2.w": torch.tensor([3.0])}
    a = {"1.w": torch.tensor([6.0]), "2.w": torch.tensor([4.0])}
    b = {"2.w": torch.tensor([8.0])}
    new = average_layers((1, 3), old, a, b)
    assert {name: float(tensor) for name, tensor in new.items()} == {"0.w": 1.0, "1.w": 6.0, "2.w": 7.0}
    assert same(average_layers((0, 0), old, a, b), old)  # nobody has data


def test_full_updates_give_fedavgs_average() -> None:
    weights = start()
    updates = [train(weights, SHARD, seed, sgd=SGD) for seed in range(3)]
    assert same(average_layers((5, 2, 9), weights, *updates), average((5, 2, 9), *updates))


def test_parts_make_a_whole() -> None:
    weights = start()
    again = joined(layers(weights, blocks=(1, 3)), layers(weights, blocks=(0, 2)), spec=CNN.model)
    assert same(again, weights)
    assert list(again) == list(weights)
