"""Pruning a front and quantising its gradients: exact counts, what is chosen, what does not change, and what it costs."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from actors.program import Paused, resume
from actors.values import Spec
from emulator.learning.binding import Weights
from emulator.learning.codecs import Dropout, Stochastic
from emulator.learning.front_pruning import (
    Masks,
    Pruning,
    channels,
    choose,
    pruned_of,
    restore,
    thick,
    thin,
    trim,
    unknown,
)
from emulator.learning.lean_front import Lean, lean_front
from emulator.learning.mask import mask_bytes
from emulator.learning.models import ModelSpec
from emulator.learning.sgd import Problem
from emulator.learning.shards import Normalisation, Plan, Shard
from emulator.learning.split import Half, Split, back, begin, end, front
from emulator.learning.tracing import measure
from tests.learning.test_split import shard_of, split_at, start_of

SEED, BATCH = 5, 3
RATES: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.001}


def half_of(split: Split) -> Half:
    names = {name for name in start_of("cnn") if int(name.split(".")[0]) < split.cut}
    return begin({name: tensor for name, tensor in start_of("cnn").items() if name in names}, split=split, back=False)


def server_of(split: Split) -> Half:
    weights = {name: tensor for name, tensor in start_of("cnn").items() if int(name.split(".")[0]) >= split.cut}
    return begin(weights, split=split, back=True)


def minibatch(half: Half, lean: Lean, *masks: Masks) -> tuple[Half, Weights]:
    """One minibatch against the back that everybody starts from: the half after it, and its gradients."""
    split = lean.pruning.split
    waiting = lean_front(half, shard_of("cnn"), SEED, 0, *masks, lean=lean, size=BATCH, tell=True)
    smashed, labels = next(waiting)
    _, gradient = back(server_of(split), smashed, labels, SEED, 0, split=split)
    found: tuple[Half, Weights] = resume(Paused(waiting), gradient)
    return found


def plain(half: Half, split: Split) -> Half:
    waiting = front(half, shard_of("cnn"), SEED, 0, split=split, size=BATCH)
    smashed, labels = next(waiting)
    _, gradient = back(server_of(split), smashed, labels, SEED, 0, split=split)
    found: Half = resume(Paused(waiting), gradient)
    return found


def same(one: Half, other: Half) -> bool:
    return all(torch.equal(one[key][name], other[key][name]) for key in other for name in other[key])


# ---- how many, and which -------------------------------------------------------------------------------------------------


def test_how_many_are_pruned() -> None:
    """Exact: floor(rate n), also where 0.29 x 100 is 28.999999999999996 in floats."""
    assert [pruned_of(rate, 100) for rate in (0.0, 0.1, 0.29, 0.295, 0.999)] == [0, 10, 29, 29, 99]
    with pytest.raises(ValueError, match="pruning: got a rate of 1; expected 0 or more and below 1"):
        Pruning(split_at("cnn", 2), 1.0)


@settings(deadline=None)
@given(st.floats(0, 0.999))
def test_exactly_floor_of_the_front_is_pruned(rate: float) -> None:
    """Property. Two blocks of the CNN on its smallest images: 9*16 + 32 and 9*16*32 + 64, 4,848 weights."""
    pruning = Pruning(split_at("cnn", 2), rate)
    half = half_of(pruning.split)
    masks = choose(half, unknown(half, pruning=pruning), pruning=pruning)
    count = sum(half["weights"][name].numel() for name in pruning.names)
    assert count == 4_848
    assert sum(int((~mask).sum()) for mask in masks.values()) == pruned_of(rate, count)
    by_filter = Pruning(pruning.split, rate, "filter")
    kept = choose(half, unknown(half, pruning=by_filter), pruning=by_filter)
    assert [len(chosen) for chosen in kept.values()] == [16 - pruned_of(rate, 16), 32 - pruned_of(rate, 32)]


def test_the_least_important_go() -> None:
    """Exact: I = (g w)^2 over the whole front; by filter its sum over convolution and BatchNorm, in each layer."""
    split = split_at("cnn", 1)  # 0.0.weight [16, 1, 3, 3], 0.1.weight and 0.1.bias [16]
    half = half_of(split)
    half["weights"] = {name: torch.ones_like(tensor) for name, tensor in half["weights"].items()}
    gradients = {name: torch.ones_like(half["weights"][name]) for name in Pruning(split).names}
    gradients["0.0.weight"][3] = 1e-30  # its square is 0 in float32: still less than 1e-29's
    gradients["0.0.weight"][5] = 1e-29
    chosen = choose(half, gradients, pruning=Pruning(split, 9 / 176))
    assert not chosen["0.0.weight"][3].any() and int(chosen["0.0.weight"].sum()) == 144 - 9
    kept = choose(half, gradients, pruning=Pruning(split, 1 / 16, "filter"))["0.0"]
    assert kept.tolist() == [0, 1, 2, *range(4, 16)]
    gradients["0.1.weight"][7] = gradients["0.1.bias"][7] = 0  # filter 7: 9; filters 3 and 5: 2; all others 11
    kept = choose(half, gradients, pruning=Pruning(split, 3 / 16, "filter"))["0.0"]
    assert sorted(set(range(16)) - set(kept.tolist())) == [3, 5, 7]


# ---- a minibatch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["weight", "filter"])
def test_without_pruning_and_quantising_it_is_the_plain_step(by: Any) -> None:
    """Exact, to the bit: without masks, and with masks that keep all."""
    lean = Lean(Pruning(split_at("cnn", 2, **RATES), 0.0, by))
    half, expected = half_of(lean.pruning.split), plain(half_of(lean.pruning.split), lean.pruning.split)
    masks = choose(half, unknown(half, pruning=lean.pruning), pruning=lean.pruning)
    assert same(minibatch(half, lean)[0], expected)
    assert same(minibatch(trim(half, masks, pruning=lean.pruning), lean, masks)[0], expected)


@pytest.mark.parametrize("bits", [4, 32])
def test_pruned_weights_do_not_change(bits: int) -> None:
    """Exact: with momentum and weight decay; those that took part did change, and have gradients told, pruned ones too."""
    lean = Lean(Pruning(split_at("cnn", 2, **RATES), 0.3), bits)
    half = half_of(lean.pruning.split)
    masks = choose(half, unknown(half, pruning=lean.pruning), pruning=lean.pruning)
    after, gradients = minibatch(half, lean, masks)
    for name, mask in masks.items():
        changed = after["weights"][name] != half["weights"][name]
        assert not changed[~mask].any()
        assert not after["velocity"][name][~mask].any()
    assert any(bool((gradients[name][~mask] != 0).any()) for name, mask in masks.items())
    assert any(bool((after["weights"][name] != half["weights"][name]).any()) for name in masks)


def test_a_smaller_front_is_the_masked_one() -> None:
    """Theory: filters cut out of the tensors, or set to 0 with their BatchNorm entries and whatever reads them.

    What a pruned filter gives is 0 either way (ReLU of 0), so smashed data, gradients and updates of the rest agree.
    """
    split = split_at("cnn", 2, **RATES)
    cut, masked = Pruning(split, 0.25, "filter"), Pruning(split, 0.25)
    half = half_of(split)
    kept = choose(half, unknown(half, pruning=cut), pruning=cut)
    masks = full(half, kept, cut)
    small, told = minibatch(trim(half, kept, pruning=cut), Lean(cut), kept)
    assert small["weights"]["1.0.weight"].shape == (24, 12, 3, 3)
    whole = restore(half["weights"], small["weights"], kept, pruning=cut)
    expected, gradients = minibatch(half, Lean(masked), masks)
    known = restore({name: torch.zeros_like(part) for name, part in gradients.items()}, told, kept, pruning=cut)
    for name in cut.names:
        assert torch.allclose(whole[name], expected["weights"][name], atol=1e-6), name
        assert torch.allclose(known[name], gradients[name] * masks[name], atol=1e-6), name


def full(half: Half, kept: Masks, pruning: Pruning) -> Masks:
    """Filters' masks as masks of single weights."""
    ones = {name: torch.ones_like(half["weights"][name]) for name in pruning.names}
    zeros = {name: torch.zeros_like(tensor) for name, tensor in ones.items()}
    small = trim({"weights": ones}, kept, pruning=pruning)["weights"]
    return {name: part.bool() for name, part in restore(zeros, small, kept, pruning=pruning).items()}


@pytest.mark.parametrize(("name", "cut", "repeat"), [("cnn", 1, 1), ("lenet", 2, 1), ("mlp", 1, 1), ("vgg19", 2, 1)])
def test_smashed_data_of_pruned_filters_are_zeros(name: str, cut: int, repeat: int) -> None:
    split = split_at(name, cut)
    pruning = Pruning(split, 0.5, "filter")
    half = begin(
        {key: tensor for key, tensor in start_of(name).items() if int(key.split(".")[0]) < cut}, split=split, back=False
    )
    kept = choose(half, unknown(half, pruning=pruning), pruning=pruning)
    step = lean_front(
        trim(half, kept, pruning=pruning), shard_of(name), SEED, 0, kept, lean=Lean(pruning), size=BATCH, tell=False
    )
    smashed: Tensor = next(step)[0].payload
    assert smashed.shape == split.shape(BATCH)
    last = channels(split)
    assert last is not None and last[1] == repeat
    gone = sorted(set(range(last[0].count)) - set(kept[last[0].name].tolist()))
    assert len(gone) == last[0].count // 2
    assert not smashed[:, gone].any() and bool(smashed.any())


def test_a_front_that_ends_in_a_residual_sum_keeps_its_channels() -> None:
    assert channels(split_at("resnet8", 2)) is None
    assert [layer.name for layer in Pruning(split_at("resnet8", 2)).layers] == ["1.residual.0"]
    assert Pruning(split_at("resnet8", 1)).layers == ()


# ---- what it saves -------------------------------------------------------------------------------------------------------


def flops(by: Any, rate: float) -> int:
    """Of a minibatch's forward pass on the device, VGG-19 cut after two blocks."""
    problem = Problem(ModelSpec("vgg19", 10, (3, 32, 32)), Normalisation(255.0, (0.5,) * 3, (0.25,) * 3), 2)
    split = Split(problem, Plan(8), 0.1)
    pruning = Pruning(split, rate, by)
    half = Spec.of(begin({k: w for k, w in meta(problem).items() if int(k.split(".")[0]) < 2}, split=split, back=False))
    shard = Spec.of(
        Shard(
            torch.empty(8, 3, 32, 32, dtype=torch.uint8, device="meta"),
            torch.empty(8, dtype=torch.int64, device="meta"),
        )
    )
    known, _ = measure(unknown, (half,), {"pruning": pruning})
    masks, _ = measure(choose, (half, known), {"pruning": pruning})
    half, _ = measure(trim, (half, masks), {"pruning": pruning})
    _, cost = measure(lean_front, (half, shard, 0, 0, masks), {"lean": Lean(pruning), "size": 8, "tell": False})
    return cost.flops


def meta(problem: Problem) -> Weights:
    from emulator.learning.models import build

    return dict(build(problem.model).state_dict())


def test_filters_save_time_and_single_weights_do_not() -> None:
    """Exact, FLOPs forward: 2 x 8 images x 1024 pixels x (27 f + 9 f f) for f = 64 filters in both layers, or 32 of them."""
    assert flops("weight", 0.5) == flops("filter", 0.0) == 2 * 8 * 1024 * (27 * 64 + 9 * 64 * 64)
    assert flops("filter", 0.5) == 2 * 8 * 1024 * (27 * 32 + 9 * 32 * 32)


# ---- on the wire ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("by", ["weight", "filter"])
def test_what_is_kept_and_its_mask_make_the_front_again(by: Any, rate: float) -> None:
    """Exact: the bytes of the mask are the smaller of bitmap and list; what is not kept comes from the base."""
    pruning = Pruning(split_at("cnn", 2), rate, by)
    half = half_of(pruning.split)
    masks = choose(half, unknown(half, pruning=pruning), pruning=pruning)
    after = {name: tensor + 1 for name, tensor in half["weights"].items()}
    sent, told = thin(after, masks, pruning=pruning)
    found = thick(half["weights"], sent, told, pruning=pruning)
    moved = sum(int((found[name] != half["weights"][name]).sum()) for name in pruning.names)
    nbytes = sum(mask.numel() for mask in told.values())
    assert list(found) == list(after)
    if by == "weight":
        assert moved == 4_848 - pruned_of(rate, 4_848)
        assert nbytes == mask_bytes(4_848, moved)
        assert sent["kept"].numel() == moved
    else:
        counts = [(n, n - pruned_of(rate, n)) for n in (16, 32)]
        first, second = (kept for _, kept in counts)
        assert moved == first * 11 + second * (9 * first + 2)  # convolution, BatchNorm
        assert nbytes == sum(mask_bytes(*count) for count in counts)


# ---- quantised gradients and dropout: bias and variance -------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_the_quantiser_is_unbiased_within_its_variance_bound(bits: int) -> None:
    """Theory: 2,500 draws of 64 entries; z of the mean beyond 3 in 0.27 % of entries, so none to two of 64 here.

    E||Q(g) - g||^2 <= d Delta^2 / 4. Delta = (max - min) / (2^b - 1) of |g|.
    """
    g = torch.randn(64, generator=torch.Generator().manual_seed(1))
    codec = Stochastic(bits)
    draws = torch.stack([codec.round_trip(g, seed) for seed in range(2_500)]).double()
    error = draws - g.double()
    delta = float(g.abs().max() - g.abs().min()) / (2**bits - 1)
    assert error.square().sum(1).mean() <= 64 * delta**2 / 4
    z = error.mean(0).abs() / (draws.std(0) / 50 + 1e-7)
    assert int((z > 3).sum()) <= 2


@pytest.mark.parametrize("bits", [1, 8, 23, 32])
def test_a_round_trip_is_encoding_and_decoding(bits: int) -> None:
    """Exact, to the bit; at 32 bits nothing changes, and zeros stay zeros."""
    g = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
    g[2] = 0
    codec = Stochastic(bits)
    found = codec.round_trip(g, 9)
    assert torch.equal(found, codec.decode(codec.encode(g, 9), 9, (5, 7)))
    assert not found[2].any()
    assert bits != 32 or torch.equal(found, g)


@pytest.mark.parametrize("by", ["element", "channel"])
def test_dropout_keeps_the_mean_and_drops_the_gradient(by: Any) -> None:
    """Theory: the mean of A' over 2,500 masks is A within 3 sigma (0.27 % beyond by chance: 1 of 320 here, 6 at most).

    Exact: the gradient that comes back is 0 where entries were dropped, and n / k of the server's elsewhere; kept entries are
    round((1 - p) n), whatever the seed.
    """
    a = torch.rand(4, 10, 8, generator=torch.Generator().manual_seed(3)) + 0.5
    codec = Dropout(0.3, by=by)
    mean, draws = torch.zeros_like(a, dtype=torch.float64), 2_500
    for seed in range(draws):
        mean += codec.decode(codec.encode(a, seed), seed, tuple(a.shape)).double() / draws
    sigma = a.double() * (3 / 7) ** 0.5 / draws**0.5  # variance of A' is A^2 p / (1 - p)
    assert int(((mean - a).abs() > 3 * sigma).sum()) <= (6 if by == "element" else 32 * 1)
    seen = codec.decode(codec.encode(a, 1), 1, tuple(a.shape))
    told = codec.decode(codec.encode(torch.ones_like(a), 1), 1, tuple(a.shape))
    assert torch.equal(told == 0, seen == 0)
    assert int((told != 0).sum()) == 224  # of 320
    assert torch.allclose(told[told != 0], torch.tensor(10 / 7))


def test_no_gradient_passes_through_dropped_entries() -> None:
    """Exact: autograd on A' = D(A) gives the same as the gradient that travels, at the real cut of a real back."""
    split = split_at("cnn", 2, smashed=Dropout(0.5), gradient=Dropout(0.5))
    step = front(half_of(split), shard_of("cnn"), SEED, 0, split=split, size=BATCH)
    smashed, labels = next(step)
    _, coded = back(server_of(split), smashed, labels, SEED, 0, split=split)
    shape = split.shape(BATCH)
    told = split.gradient.decode(coded, SEED, shape)
    positions = split.smashed.decode(split.smashed.encode(torch.ones(shape), SEED), SEED, shape)
    assert not told[positions == 0].any()
    assert bool(told[positions != 0].any())


def test_states_end_where_they_began() -> None:
    """Purity: the step changes nothing that it is given."""
    lean = Lean(Pruning(split_at("cnn", 2, **RATES), 0.5, "filter"), 8)
    half = half_of(lean.pruning.split)
    kept = choose(half, unknown(half, pruning=lean.pruning), pruning=lean.pruning)
    small = trim(half, kept, pruning=lean.pruning)
    before = {name: tensor.clone() for name, tensor in end(small).items()}
    first, second = (minibatch(small, lean, kept)[0] for _ in range(2))
    assert all(torch.equal(before[name], tensor) for name, tensor in end(small).items())
    assert same(first, second)


@pytest.mark.parametrize("by", ["weight", "filter"])
def test_masks_change_and_what_was_pruned_comes_back(by: Any) -> None:
    """Directional: four rounds of two minibatches. Masks of neighbouring rounds share some and not all of what they keep."""
    lean = Lean(Pruning(split_at("cnn", 2, learning_rate=0.1), 0.4, by), 32)
    whole, pruning = half_of(lean.pruning.split), lean.pruning
    known, seen = unknown(whole, pruning=pruning), list[set[tuple[str, int]]]()
    for _ in range(4):
        masks = choose(whole, known, pruning=pruning)
        seen.append(kept_of(masks, by))
        half = trim(whole, masks, pruning=pruning)
        for _ in range(2):
            half, told = minibatch(half, lean, masks)
        known = restore(known, told, masks, pruning=pruning)
        whole = begin(restore(end(whole), end(half), masks, pruning=pruning), split=pruning.split, back=False)
    for one, other in pairwise(seen):
        assert 0 < len(one & other) / len(one | other) < 1
    assert (seen[1] | seen[2] | seen[3]) - seen[0]


def kept_of(masks: Masks, by: str) -> set[tuple[str, int]]:
    places = {name: mask.reshape(-1).nonzero()[:, 0] if by == "weight" else mask for name, mask in masks.items()}
    return {(name, place) for name, chosen in places.items() for place in chosen.tolist()}
