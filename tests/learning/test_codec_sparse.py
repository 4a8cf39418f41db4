"""Sparse codecs: exact counts and places, unbiasedness and error against closed forms, gradients of what was dropped."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from emulator.learning.codecs import Codec, Dropout, RandomK, TopK
from emulator.learning.codecs.sparse import kept

SHAPE = (4, 5, 3)
DROPOUTS = [Dropout(0.4), Dropout(0.4, "bitmap"), Dropout(0.4, "seed", "channel"), Dropout(0.4, "bitmap", "channel")]


def normal(*shape: int, seed: int = 1) -> Tensor:
    """No entry is 0, so what is 0 afterwards was dropped."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def through(codec: Codec, tensor: Tensor, seed: int) -> Tensor:
    return codec.decode(codec.encode(tensor, seed), seed, tuple(tensor.shape))


def test_kept_entries_by_hand() -> None:
    """round, halves to even; one at least; none of none."""
    assert [kept(10, share) for share in (0.25, 0.35, 0.01, 1.0)] == [2, 4, 1, 10]
    assert kept(0, 0.5) == 0 and kept(1, 0.001) == 1


# ---- top-k -------------------------------------------------------------------------------------------------------------


def test_top_k_by_hand() -> None:
    """Half of 4: the sizes 3 and 2."""
    codec = TopK(0.5)
    sent = codec.encode(torch.tensor([[1.0, -3.0], [2.0, 0.5]]), 0).payload
    assert dict(zip(sent["positions"].tolist(), sent["values"].tolist(), strict=True)) == {1: -3.0, 2: 2.0}
    assert sent["positions"].dtype == torch.int32
    assert through(codec, torch.tensor([[1.0, -3.0], [2.0, 0.5]]), 0).tolist() == [[0.0, -3.0], [2.0, 0.0]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=40), st.floats(0.01, 1))
def test_top_k_keeps_the_largest_by_numpy(values: list[float], ratio: float) -> None:
    """The same sizes as NumPy's sort (ties may go either way), in their places; and the contraction of its paper."""
    x = np.array(values, np.float32)
    k = kept(len(x), ratio)
    sent = TopK(ratio).encode(torch.from_numpy(x), 0).payload
    positions = sent["positions"].numpy()
    assert len(set(positions.tolist())) == k and np.array_equal(x[positions], sent["values"].numpy())
    assert np.array_equal(np.sort(np.abs(sent["values"].numpy())), np.sort(np.abs(x))[len(x) - k :])
    lost = ((through(TopK(ratio), torch.from_numpy(x), 0).numpy() - x).astype(np.float64) ** 2).sum()
    assert lost <= (1 - k / len(x)) * (x.astype(np.float64) ** 2).sum() + 1e-12


def test_equal_entries_still_give_k() -> None:
    assert int((through(TopK(0.3), torch.ones(10), 0) != 0).sum()) == 3


# ---- random-k and dropout ------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.floats(0.01, 1), st.integers(0, 2**63 - 1))
def test_random_k_keeps_k_scaled_entries(count: int, ratio: float, seed: int) -> None:
    x, k = normal(count), kept(count, ratio)
    for unbiased, factor in ((True, count / k), (False, 1.0)):
        out = through(RandomK(ratio, unbiased), x, seed)
        chosen = out != 0
        assert int(chosen.sum()) == k
        assert torch.allclose(out[chosen], x[chosen] * factor, rtol=1e-6)


@pytest.mark.parametrize("mask", ["seed", "bitmap"])
@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 60), p=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 2**63 - 1))
def test_dropout_keeps_exactly_its_share(mask: str, count: int, p: float, seed: int) -> None:
    x, k = normal(count), max(1, round((1 - p) * count))
    out = through(Dropout(p, "seed" if mask == "seed" else "bitmap"), x, seed)
    chosen = out != 0
    assert int(chosen.sum()) == k
    assert torch.allclose(out[chosen], x[chosen] * (count / k), rtol=1e-6)


@pytest.mark.parametrize("by", ["element", "channel"])
def test_both_codings_of_the_mask_give_the_same(by: str) -> None:
    for seed in range(20):
        one, other = (through(Dropout(0.4, mask, by), normal(*SHAPE), seed) for mask in ("seed", "bitmap"))  # type: ignore[arg-type]
        assert torch.equal(one, other)


def test_the_bitmap_is_the_mask() -> None:
    """17 entries: 3 bytes; bit i of the stream, lowest first, tells whether entry i stayed."""
    x = normal(17)
    codec = Dropout(0.5, "bitmap")
    encoded = codec.encode(x, 7)
    bits = np.unpackbits(encoded.payload["mask"].numpy(), bitorder="little")[:17]
    assert np.array_equal(bits, (codec.decode(encoded, 7, (17,)) != 0).numpy())


@pytest.mark.parametrize("mask", ["seed", "bitmap"])
def test_channels_stay_or_go_whole(mask: str) -> None:
    """round(0.6 x 5) = 3 channels stay in all 4 samples, scaled by 5/3."""
    x = normal(*SHAPE)
    out = through(Dropout(0.4, "seed" if mask == "seed" else "bitmap", "channel"), x, 3)
    stayed = [channel for channel in range(5) if bool((out[:, channel] != 0).all())]
    assert len(stayed) == 3 and int((out != 0).sum()) == 3 * 4 * 3
    assert torch.allclose(out[:, stayed], x[:, stayed] * (5 / 3))


def test_channels_need_a_dimension_for_them() -> None:
    codec = Dropout(0.4, by="channel")
    for act in (lambda: codec.encode(normal(7), 0), lambda: codec.bits((7,))):
        with pytest.raises(ValueError, match=r"dropout by channel: got shape \(7,\); expected at least two dimensions"):
            act()


TRIALS = 2000


def square_errors(codec: Codec, x: Tensor) -> tuple[NDArray[np.float64], float]:
    """Mean of what comes out, and mean ||C(x) - x||^2, over seeds."""
    rows = torch.stack([through(codec, x, seed) for seed in range(TRIALS)]).double()
    return rows.mean(0).numpy(), float((rows - x).square().flatten(1).sum(1).mean())


@pytest.mark.parametrize("codec", [RandomK(0.6), *DROPOUTS], ids=str)
def test_the_mean_is_the_tensor(codec: Codec) -> None:
    """k of n stay (36 of 60, or 3 of 5), scaled by n / k = 5/3: an entry's standard deviation is |x| sqrt(n / k - 1).

    Tolerances: the mean of 2,000 draws within 4.5 standard errors for all 60 entries (false alarm 4e-4); the square
    error (n / k - 1) ||x||^2 within 3% (its standard error is below 0.9%).
    """
    x = normal(*SHAPE)
    mean, error = square_errors(codec, x)
    deviation = math.sqrt(2 / 3) * x.abs().numpy()
    assert (np.abs(mean - x.numpy()) <= 4.5 * deviation / math.sqrt(TRIALS)).all()
    assert error == pytest.approx(2 / 3 * float(x.square().sum()), rel=0.03)


def test_without_scaling_the_mean_shrinks() -> None:
    """0.6 x, and the lost energy is 0.4 ||x||^2: within 3%, and 4.5 standard errors of |x| sqrt(0.24)."""
    x = normal(*SHAPE)
    mean, error = square_errors(RandomK(0.6, unbiased=False), x)
    assert (np.abs(mean - 0.6 * x.numpy()) <= 4.5 * math.sqrt(0.24 / TRIALS) * x.abs().numpy()).all()
    assert error == pytest.approx(0.4 * float(x.square().sum()), rel=0.03)


def test_every_subset_is_as_likely() -> None:
    """2 of 4 entries: six subsets, each 1/6 of 2,000 draws within 4.5 standard errors (0.0083 each)."""
    subsets = [tuple(through(RandomK(0.5), torch.ones(4), seed).nonzero().flatten().tolist()) for seed in range(2000)]
    shares = {subset: subsets.count(subset) / 2000 for subset in set(subsets)}
    assert len(shares) == 6
    assert all(share == pytest.approx(1 / 6, abs=4.5 * math.sqrt(5 / 36 / 2000)) for share in shares.values())


# ---- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", DROPOUTS, ids=str)
def test_the_cut_gradient_comes_back_through_the_same_codec(codec: Codec) -> None:
    """The server's gradient, sent back with the same seed, equals autograd's through mask and scale; dropped ones: 0."""
    x = normal(*SHAPE)
    arrived = through(codec, x, 11).requires_grad_()
    (gradient,) = torch.autograd.grad(arrived.sin().sum(), arrived)
    assert bool((gradient != 0).all())  # cos(0) = 1: the server's gradient is not 0 where the data was dropped
    back = through(codec, gradient, 11)
    dropped = through(codec, torch.ones(SHAPE), 11) == 0
    whole = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad((whole * through(codec, torch.ones(SHAPE), 11)).sin().sum(), whole)
    assert bool((back[dropped] == 0).all()) and int(dropped.sum()) == 24
    assert torch.allclose(back, expected, rtol=1e-5)
    assert codec.bits(SHAPE) == codec.bits(tuple(gradient.shape))


@pytest.mark.parametrize("codec", [TopK(0.5), RandomK(0.6), *DROPOUTS], ids=str)
def test_decoding_has_a_gradient_for_what_was_sent_only(codec: Codec) -> None:
    """A server may differentiate with respect to the values that it received: as many as were sent, each once."""
    encoded = codec.encode(normal(*SHAPE), 2)
    values = encoded.payload["values"].requires_grad_()
    encoded = encoded._replace(payload={**encoded.payload, "values": values})
    (gradient,) = torch.autograd.grad(codec.decode(encoded, 2, SHAPE).sum(), values)
    assert torch.equal(gradient, torch.ones_like(values))


# ---- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.5, math.nan])
def test_ratios_out_of_range(ratio: float) -> None:
    for make, name in ((TopK, "top-k"), (RandomK, "random-k")):
        with pytest.raises(ValueError, match=rf"codec {name}: got a ratio of .*; expected above 0 and at most 1"):
            make(ratio)


@pytest.mark.parametrize("p", [1.0, -0.1, math.nan])
def test_p_out_of_range(p: float) -> None:
    with pytest.raises(ValueError, match=r"codec dropout: got p = .*; expected 0 or more and below 1"):
        Dropout(p)


@pytest.mark.parametrize("codec", [RandomK(0.5), Dropout(0.5), Dropout(0.5, "bitmap", "channel")], ids=str)
def test_what_overflows_when_scaled_is_refused(codec: Codec) -> None:
    """2 x 3e38 is beyond float32's 3.4e38."""
    with pytest.raises(ValueError, match=r"overflows float32 when scaled by [0-9]+/[0-9]+; expected none"):
        codec.encode(torch.full((2, 4), 3e38), 1)


def test_top_k_refuses_more_than_int32_counts() -> None:
    with pytest.raises(ValueError, match="got 2147483648 entries; expected fewer than"):
        TopK(0.5).encode(torch.empty(2**31, device="meta"), 0)
