"""Sparse kernels: what operators with pruned weights cost, forward and back, by hand; and training under a mask."""

import gc
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

from actors.values import Spec
from emulator.devices.processor import seconds
from emulator.learning.binding import Weights
from emulator.learning.front_pruning import Pruning, choose, unknown
from emulator.learning.gated_conv import gated_conv
from emulator.learning.lean_front import Lean, lean_front
from emulator.learning.mask import flags, largest
from emulator.learning.masked import masked, train_masked
from emulator.learning.meter import Cost, Meter, sparse_weights
from emulator.learning.sgd import LocalSGD, train
from emulator.learning.shards import Plan, Shard
from emulator.learning.sparse_kernels import Share
from emulator.learning.tracing import measure
from tests.learning.test_split import shard_of, split_at, start_of
from tests.worlds import MLP, profile

SPARSE, DENSE = (False, True), (False, False)  # (dynamic channels, sparse kernels)


def leaf(*shape: int, device: str = "meta") -> Tensor:
    return torch.ones(shape, device=device, requires_grad=True)


def products(
    share: tuple[int, int] | None, *, gradients: bool = True, device: str = "meta", images: bool = True
) -> Cost:
    """3 samples through 4 x 6 weights and a bias, and back."""
    inputs, weight, bias = (
        leaf(3, 6, device=device).requires_grad_(images),
        leaf(4, 6, device=device),
        leaf(4, device=device),
    )
    with Meter() as meter:
        if share is not None:
            sparse_weights([weight, bias], *share, gradients=gradients)
        out = linear(inputs, weight, bias)
        torch.autograd.grad(out, [inputs, weight, bias] if images else [weight, bias], torch.ones_like(out))
    return meter.cost()


def convolutions(share: tuple[int, int] | None, *, gradients: bool = True, device: str = "meta") -> Cost:
    """Two 5x5 images of 3 channels through 4 filters of 3x3, and back."""
    images, weight = leaf(2, 3, 5, 5, device=device), leaf(4, 3, 3, 3, device=device)
    with Meter() as meter:
        if share is not None:
            sparse_weights([weight], *share, gradients=gradients)
        out = conv2d(images, weight, padding=1)
        torch.autograd.grad(out, [images, weight], torch.ones_like(out))
    return meter.cost()


def of(cost: Cost, kernels: tuple[bool, bool]) -> list[tuple[int, int]]:
    """FLOPs and bytes of products and convolutions."""
    return sorted(
        (flops, size) for kind, flops, size, n in cost.on(*kernels) if kind in ("conv", "matmul") for _ in range(n)
    )


# ---- operators, by hand -------------------------------------------------------------------------------------------------


def test_products() -> None:
    """Exact: 2 x 3 x 4 x 6 = 144 FLOPs each of forward, inputs' and weights' gradient; a quarter of them with 6 of 24 kept.

    Bytes: bias 4, inputs 18, weights 24, outputs 12; 18 weights are neither read nor their gradients written: 72 bytes.
    """
    cost = products((6, 24))
    forward, inputs, weights = 4 * (4 + 18 + 24 + 12), 4 * (12 + 24 + 18), 4 * (12 + 18 + 24)
    assert of(cost, DENSE) == sorted([(144, forward), (144, inputs), (144, weights)])
    assert of(cost, SPARSE) == sorted([(36, forward - 72), (36, inputs - 72), (36, weights - 72)])
    assert (cost.flops, cost.flops_on(*DENSE), cost.flops_on(*SPARSE)) == (432, 432, 108)
    assert seconds(cost.on(*SPARSE), profile()) == pytest.approx(108e-9)  # by FLOPs alone, at 1 GFLOP/s


def test_convolutions() -> None:
    """Exact: 2 x 2 x 25 x 4 x 27 = 10,800 FLOPs forward and twice that back; a third of them with 36 of 108 kept.

    Bytes: images 150, weights 108, outputs 200; 72 weights are not read, and as many gradients not written back.
    """
    cost = convolutions((36, 108))
    assert of(cost, DENSE) == [(10_800, 4 * 458), (21_600, 4 * (200 + 150 + 108 + 150 + 108))]
    assert of(cost, SPARSE) == [(3_600, 4 * (458 - 72)), (7_200, 4 * (716 - 144))]


def test_gradients_of_all_weights_are_charged_in_full() -> None:
    """Exact: a step that asks for those of pruned weights too: 36 + 36 + 144; 3,600 forward, 3,600 and 10,800 back."""
    assert products((6, 24), gradients=False).flops_on(*SPARSE) == 216
    assert of(convolutions((36, 108), gradients=False), SPARSE) == [(3_600, 4 * (458 - 72)), (14_400, 4 * (716 - 72))]


def test_without_gradients_of_inputs() -> None:
    """A first layer: forward, and the weights' gradient."""
    assert products((6, 24), images=False).flops_on(*SPARSE) == 72


@pytest.mark.parametrize("made", [products, convolutions])
def test_dense_hardware_and_dense_weights_cost_what_they_did(made: Any) -> None:
    """Identity: marks change nothing there; a share of all, or none told, is no mark."""
    plain, marked, whole = made(None), made((1, 4)), made((4, 4))
    assert marked.ops == plain.ops == plain.on(*SPARSE) == whole.on(*SPARSE) == marked.on(*DENSE)
    assert (plain.sparse, whole.sparse, plain.kept) == (None, None, None)
    assert (marked.flops, marked.bytes, marked.peak_bytes) == (plain.flops, plain.bytes, plain.peak_bytes)


@pytest.mark.parametrize("made", [products, convolutions])
@pytest.mark.parametrize("gradients", [True, False])
def test_meta_costs_what_real_tensors_cost(made: Any, gradients: bool) -> None:
    on_meta, real = made((5, 24), gradients=gradients), made((5, 24), gradients=gradients, device="cpu")
    assert (on_meta.ops, on_meta.sparse, on_meta.peak_bytes) == (real.ops, real.sparse, real.peak_bytes)


def test_a_layer_beside_a_sparse_one_is_dense() -> None:
    """Exact: two layers of the same shape on the same inputs, one of them with 6 of 24 weights: 144 and 36 for each product."""
    inputs, one, other = leaf(3, 6), leaf(4, 6), leaf(4, 6)
    with Meter() as meter:
        sparse_weights([one], 6, 24)
        out = linear(inputs, one) + linear(inputs, other)
        torch.autograd.grad(out, [inputs, one, other], torch.ones_like(out))
    assert sorted(flops for flops, _ in of(meter.cost(), SPARSE)) == [36] * 3 + [144] * 3


def test_with_dynamic_channels_both_are_left_out() -> None:
    """Exact: 2 x 1 x 25 x 4 x 27 = 5,400 FLOPs three times; a half by channels (2 of 4 filters), a third by weights."""
    images, weight = leaf(1, 3, 5, 5), leaf(4, 3, 3, 3)
    with Meter() as meter:
        sparse_weights([weight], 36, 108)
        out = gated_conv(images, weight, (1, 1, 3, 2))
        torch.autograd.grad(out, [images, weight], torch.ones_like(out))
    cost = meter.cost()
    found = [cost.flops_on(*kernels) for kernels in (DENSE, (True, False), SPARSE, (True, True))]
    assert found == [16_200, 8_100, 5_400, 2_700]


def test_shares_are_rounded_to_the_nearest_whole() -> None:
    # 5/3 -> 2, 4/3 -> 1, 1/2 -> 1
    assert [Share(1, 3).part(5), Share(1, 3).part(4), Share(1, 2).part(1), Share(0, 3).part(9)] == [2, 1, 1, 0]


@pytest.mark.parametrize(("kept", "of_all"), [(5, 4), (-1, 4), (1, 0)])
def test_a_share_that_is_none_is_refused(kept: int, of_all: int) -> None:
    with (
        Meter(),
        pytest.raises(ValueError, match=f"sparse weights: got {kept} of {of_all} kept; expected 0 to all of 1"),
    ):
        sparse_weights([leaf(4, 6)], kept, of_all)


def test_marks_go_with_their_weights() -> None:
    """A storage that is freed may come back as another's: its mark must be gone."""
    meter = Meter()
    with meter:
        sparse_weights([leaf(4, 6)], 6, 24)
    gc.collect()
    assert not meter.marks._shares


# ---- a pruned front -----------------------------------------------------------------------------------------------------


def front(rate: float, *, tell: bool, device: str = "meta") -> tuple[Cost, Cost]:
    """Both passes of a minibatch of 3 on the first two blocks of the CNN, by a meter of their own."""
    split = split_at("cnn", 2, momentum=0.0)
    pruning = Pruning(split, rate)
    own: Weights = {name: part.clone().to(device) for name, part in start_of("cnn").items() if int(name[0]) < 2}
    half, shard = {"weights": own, "velocity": {}}, Shard(*(part.to(device) for part in shard_of("cnn")))
    masks = choose(half, unknown(half, pruning=pruning), pruning=pruning)
    with Meter() as meter:
        step = lean_front(half, shard, 5, 0, masks, lean=Lean(pruning), size=3, tell=tell)
        smashed, _ = next(step)
        forward = meter.cost()
        meter.ops.clear()
        with pytest.raises(StopIteration):
            step.send(smashed)  # of the gradient's shape
        return forward, meter.cost()


def test_a_front_by_the_papers_formula() -> None:
    """Exact: 3 MAC_c 2 n (1 - lambda), without the first layer's gradient of its inputs, which nobody needs.

    Multiply-adds of a sample 8*8*16*9 = 9,216 and 4*4*32*16*9 = 73,728; lambda = 1/4: 3,636 of 4,848 weights are kept.
    A minibatch that tells the gradients of all weights pays for a quarter of them more.
    """
    first, all_of_it, n = 9_216, 82_944, 3
    (forward, back), (_, told) = front(0.25, tell=False), front(0.25, tell=True)
    assert forward.flops_on(*SPARSE) == all_of_it * 2 * n * 3 // 4
    formula = 3 * all_of_it * 2 * n * 3 // 4
    assert forward.flops_on(*SPARSE) + back.flops_on(*SPARSE) == formula - first * 2 * n * 3 // 4
    assert told.flops_on(*SPARSE) - back.flops_on(*SPARSE) == all_of_it * 2 * n // 4
    assert forward.flops_on(*DENSE) + back.flops_on(*DENSE) == (3 * all_of_it - first) * 2 * n


@pytest.mark.parametrize("tell", [True, False])
def test_a_front_on_meta_and_on_real_tensors(tell: bool) -> None:
    """Its convolutions; drawing a minibatch is another matter."""
    for one, other in zip(front(0.3, tell=tell), front(0.3, tell=tell, device="cpu"), strict=True):
        assert (of(one, DENSE), of(one, SPARSE)) == (of(other, DENSE), of(other, SPARSE))
        assert of(one, DENSE) != of(one, SPARSE)


# ---- training under a mask ----------------------------------------------------------------------------------------------

SHARD = shard_of("mlp")
MLP_START = start_of("mlp")
MATRICES = [name for name, part in MLP_START.items() if part.dim() == 2]


def local(**changes: Any) -> LocalSGD:
    return LocalSGD(MLP, Plan(8, epochs=2), **{"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01} | changes)


def positions(share: float) -> Weights:
    return largest({name: MLP_START[name] for name in MATRICES}, share=share)


@pytest.mark.parametrize("changes", [{}, {"mu": 0.1}])
def test_a_mask_that_keeps_all_is_plain_training(changes: dict[str, Any]) -> None:
    """Identity, to the bit; and in what it costs, but for the mask."""
    found = train_masked(MLP_START, positions(1.0), SHARD, 3, sgd=local(**changes))
    expected = train(MLP_START, SHARD, 3, sgd=local(**changes))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("changes", [{}, {"mu": 0.1}])
def test_pruned_weights_are_and_stay_zero(changes: dict[str, Any]) -> None:
    """Exact: and nothing that was given has changed."""
    kept, before = positions(0.3), {name: part.clone() for name, part in MLP_START.items()}
    found, masks = train_masked(MLP_START, kept, SHARD, 3, sgd=local(**changes)), flags(MLP_START, kept)
    start = masked(MLP_START, kept)
    for name in MATRICES:
        assert not found[name][~masks[name]].any()
        assert int((found[name] != 0).sum()) == len(kept[name])
        assert (found[name] != start[name]).any()
    assert all(torch.equal(before[name], MLP_START[name]) for name in before)


def test_training_costs_what_each_layer_keeps() -> None:
    """Exact: layers of 64 x 128 and 128 x 10 with a quarter and a half of their weights; every sample twice.

    Forward, weights' gradient, and of the second layer the inputs': 2 FLOPs for each of 2 x 2,048 + 3 x 640 kept.
    """
    sizes = [MLP_START[name].numel() for name in MATRICES]
    assert sizes == [8_192, 1_280]
    kept = {name: torch.arange(count) for name, count in zip(MATRICES, (2_048, 640), strict=True)}
    given = (Spec.of(MLP_START), Spec.of(kept), Spec.of(SHARD), 3)
    _, cost = measure(train_masked, given, {"sgd": local()})
    _, plain = measure(train, (given[0], *given[2:]), {"sgd": local()})
    samples = 2 * len(SHARD.labels)
    assert cost.flops_on(*SPARSE) == 2 * samples * (2 * 2_048 + 3 * 640)
    assert cost.flops == plain.flops == 2 * samples * (2 * 8_192 + 3 * 1_280)
    fewer = {name: part[:64] for name, part in kept.items()}
    _, other = measure(train_masked, (given[0], Spec.of(fewer), *given[2:]), {"sgd": local()})
    assert other.flops_on(*SPARSE) == 2 * samples * (2 * 64 + 3 * 64)  # a body of its own, not the one before


def test_positions_of_what_is_not_trained_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks: got positions of 9\.weight; expected trained weights of mlp"):
        train_masked(MLP_START, {"9.weight": torch.arange(3)}, SHARD, 3, sgd=local())
