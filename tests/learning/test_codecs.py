"""What holds for every codec. Property: meta equals real in shapes, dtypes, bytes and cost; the closed form is exact."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from actors.values import Leaf, Spec, Tree, leaves, pack, to_arrays, unpack
from emulator.learning.codecs import (
    Codec,
    Dropout,
    Encoded,
    Float,
    Int8,
    RandomK,
    Shapes,
    Sign,
    Stochastic,
    TopK,
)
from emulator.learning.coding import decode_weights, encode_weights
from emulator.learning.meter import Meter
from emulator.learning.random import seed_of
from emulator.learning.tracing import measure

ALL: list[Codec] = [
    Float(torch.float32),
    Float(torch.float16),
    Float(torch.bfloat16),
    Int8(),
    Int8(signed=True),
    *(Stochastic(depth) for depth in (1, 2, 4, 7, 8, 15, 23, 24, 30, 31, 32)),
    Sign(),
    *(TopK(ratio) for ratio in (0.01, 0.3, 1.0)),
    *(RandomK(ratio, unbiased) for ratio in (0.01, 0.5) for unbiased in (True, False)),
    *(Dropout(p, mask) for p in (0.0, 0.3, 0.99) for mask in ("seed", "bitmap")),
    *(Dropout(0.4, mask, "channel") for mask in ("seed", "bitmap")),
]
SEED = 2**62 + 7
SHAPES = st.lists(st.integers(0, 9), min_size=2, max_size=4).map(tuple)


def data(*shape: int, seed: int = 1) -> Tensor:
    """Non-negative entries, as after a ReLU: all codecs take them."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).relu()


def nbytes(tree: Tree) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves(tree))


@pytest.mark.parametrize("codec", ALL, ids=str)
@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**63 - 1))
def test_bytes_are_the_closed_form_on_real_and_on_meta(codec: Codec, shape: tuple[int, ...], seed: int) -> None:
    real = codec.encode(data(*shape), seed)
    meta = codec.encode(torch.empty(shape, device="meta"), seed)
    assert Spec.of(real) is Spec.of(meta)  # the same tree of shapes and dtypes
    assert all(leaf.is_meta for leaf in leaves(meta)) and all(leaf.is_contiguous() for leaf in leaves(real))
    assert (nbytes(real.payload), nbytes(real.overhead)) == codec.bits(shape)
    one, other = codec.decode(real, seed, shape), codec.decode(meta, seed, shape)
    assert Spec.of(one) is Spec.of(other) is Spec.of(torch.empty(shape))
    assert other.is_meta and one.is_contiguous() and bool(one.isfinite().all())


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 8), (1, 1), (0, 4), (4, 0)])
@pytest.mark.parametrize("codec", ALL, ids=str)
def test_the_cost_on_meta_is_the_real_one(codec: Codec, shape: tuple[int, ...]) -> None:
    """The same operators, bytes and peak: the checks of the data do not show."""
    costs = []
    for device in ("cpu", "meta"):
        tensor = data(*shape).to(device)
        with Meter() as meter:
            meter.hold(tensor)
            codec.decode(codec.encode(tensor, SEED), SEED, shape)
        costs.append((meter.cost().ops, meter.cost().peak_bytes))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("codec", ALL, ids=str)
def test_the_seed_decides_and_nothing_is_changed(codec: Codec) -> None:
    tensor = data(4, 6, 5)
    before, state = tensor.clone(), torch.random.get_rng_state()
    one, same = codec.encode(tensor, SEED), codec.encode(tensor, SEED)
    sent = [leaf.clone() for leaf in leaves(one)]
    first, second = codec.decode(one, SEED, (4, 6, 5)), codec.decode(same, SEED, (4, 6, 5))
    assert torch.equal(first, second)
    assert torch.equal(tensor, before) and torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(leaves(one), leaves(same), sent, strict=True))


@pytest.mark.parametrize(
    "codec", [Stochastic(2), RandomK(0.3), Dropout(0.5), Dropout(0.5, "bitmap"), Dropout(0.5, by="channel")], ids=str
)
def test_another_seed_draws_anew(codec: Codec) -> None:
    tensor = data(8, 30, 4)
    one, other = (codec.decode(codec.encode(tensor, seed), seed, (8, 30, 4)) for seed in (1, 2))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("codec", ALL, ids=str)
def test_a_view_in_another_order_is_its_values(codec: Codec) -> None:
    view = data(5, 4, 6).permute(2, 0, 1)
    assert not view.is_contiguous()
    plain = view.contiguous()
    assert all(leaf.is_contiguous() for leaf in leaves(codec.encode(view, SEED)))
    one, other = (codec.decode(codec.encode(t, SEED), SEED, (6, 5, 4)) for t in (view, plain))
    assert torch.equal(one, other)


@pytest.mark.parametrize("codec", ALL, ids=str)
def test_what_travels_crosses_a_process_border(codec: Codec) -> None:
    tensor = data(3, 7, 2)
    encoded = codec.encode(tensor, SEED)
    arrived = unpack(pack(encoded), torch.device("cpu"))
    assert isinstance(arrived, Encoded) and Spec.of(arrived) is Spec.of(encoded)
    assert nbytes(to_arrays_again(arrived)) == sum(codec.bits((3, 7, 2)))
    assert torch.equal(codec.decode(arrived, SEED, (3, 7, 2)), codec.decode(encoded, SEED, (3, 7, 2)))


def to_arrays_again(tree: Tree) -> Tree:
    """The tensors' own memory, by NumPy's account."""
    return [torch.from_numpy(array.reshape(-1)) for array in leaves(to_arrays(tree))]


@pytest.mark.parametrize("codec", ALL, ids=str)
def test_what_travels_has_no_graph(codec: Codec) -> None:
    encoded = codec.encode(data(4, 4).requires_grad_(), SEED)
    assert not any(leaf.requires_grad for leaf in leaves(encoded))


@pytest.mark.parametrize("codec", ALL, ids=str)
def test_zeros_stay_zeros(codec: Codec) -> None:
    zeros = torch.zeros(3, 5)
    assert torch.equal(codec.decode(codec.encode(zeros, SEED), SEED, (3, 5)), zeros)


@pytest.mark.parametrize("codec", ALL, ids=str)
def test_a_codec_is_a_static_setting(codec: Codec) -> None:
    """Hashable, equal to another of the same settings, frozen."""
    assert hash(codec) == hash(eval(repr(codec), globals())) and codec == eval(repr(codec), globals())
    with pytest.raises(AttributeError):
        codec.colour = "red"  # type: ignore[attr-defined]


# ---- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
@pytest.mark.parametrize("codec", ALL, ids=str)
def test_other_dtypes_are_refused_on_meta_too(codec: Codec, dtype: torch.dtype) -> None:
    for device in ("cpu", "meta"):
        with pytest.raises(ValueError, match=rf"got a tensor of {dtype}; expected torch\.float32"):
            codec.encode(torch.zeros(2, 2, dtype=dtype, device=device), SEED)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("codec", [codec for codec in ALL if not isinstance(codec, Float)], ids=str)
def test_what_is_not_finite_is_refused(codec: Codec, bad: float) -> None:
    tensor = data(3, 3)
    tensor[1, 2] = bad
    with pytest.raises(ValueError, match=r"codec [a-z0-9-]+: got entries from .*; expected finite ones"):
        codec.encode(tensor, SEED)


def test_floats_carry_what_is_not_finite() -> None:
    tensor = torch.tensor([math.nan, math.inf, -math.inf, 1.0])
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        codec = Float(dtype)
        assert torch.equal(codec.decode(codec.encode(tensor, 0), 0, (4,)).nan_to_num(), tensor.nan_to_num())


def test_floats_refuse_what_would_become_infinite() -> None:
    """float16: 65504 is the largest, and 65520 halfway to the next that is not. bfloat16 ends just below float32."""
    half, brain = Float(torch.float16), Float(torch.bfloat16)
    assert half.decode(half.encode(torch.tensor([65519.0]), 0), 0, (1,)).tolist() == [65504.0]
    with pytest.raises(ValueError, match=r"codec fp16: got an entry beyond \+-65504; expected none"):
        half.encode(torch.tensor([1.0, -65520.0]), 0)
    with pytest.raises(ValueError, match=r"codec bf16: got an entry beyond \+-3.38953e\+38; expected none"):
        brain.encode(torch.tensor([3.4e38]), 0)


@pytest.mark.parametrize("codec", ALL, ids=str)
def test_negative_entries_are_refused_where_the_codec_says_so(codec: Codec) -> None:
    tensor = data(3, 3)
    tensor[1, 2] = -0.5
    if codec.carries_negative:
        codec.encode(tensor, SEED)
        return
    with pytest.raises(ValueError, match=r"codec int8: got an entry of -0\.5; expected none below 0"):
        codec.encode(tensor, SEED)


@pytest.mark.parametrize("codec", ALL, ids=str)
def test_another_shape_is_refused(codec: Codec) -> None:
    encoded = codec.encode(data(4, 50), SEED)
    with pytest.raises(ValueError, match=r"decode to \(4, 500\) by .*: got Sizes.* bytes; expected Sizes"):
        codec.decode(encoded, SEED, (4, 500))


@pytest.mark.parametrize("codec", [RandomK(0.5), Dropout(0.5)], ids=str)
def test_another_seed_is_refused_where_it_travels(codec: Codec) -> None:
    encoded = codec.encode(data(4, 5), 3)
    with pytest.raises(ValueError, match="decode: got seed 4; expected 3, the sender's"):
        codec.decode(encoded, 4, (4, 5))


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_beyond_eight_bytes_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"got seed {seed}; expected 0 or more and below"):
        RandomK(0.5).encode(data(3), seed)


# ---- weights -------------------------------------------------------------------------------------------------------------


def weights() -> dict[str, Tensor]:
    return {"0.weight": data(3, 4, seed=1), "0.bias": data(3, seed=2), "empty": data(0, 5)}


def shapes_of(tree: dict[str, Tensor]) -> Shapes:
    return tuple((name, tuple(tensor.shape)) for name, tensor in tree.items())


TREES = [codec for codec in ALL if not (isinstance(codec, Dropout) and codec.by == "channel")]


@pytest.mark.parametrize("codec", TREES, ids=str)
def test_a_tree_goes_leaf_by_leaf(codec: Codec) -> None:
    tree = weights()
    encoded, shapes = encode_weights(tree, 5, codec=codec), shapes_of(tree)
    again = decode_weights(encoded, 5, codec=codec, shapes=shapes)
    sizes = [codec.bits(shape) for _, shape in shapes]
    assert nbytes(encoded.payload) == sum(size.payload for size in sizes)
    assert nbytes(encoded.overhead) == sum(size.overhead for size in sizes)
    assert list(again) == list(tree)
    for name, tensor in tree.items():
        seed, shape = seed_of(5, name), tuple(tensor.shape)
        assert torch.equal(again[name], codec.decode(codec.encode(tensor, seed), seed, shape))


def test_equal_leaves_of_different_names_draw_apart() -> None:
    tensor = data(10, 10)
    sent = encode_weights({"a": tensor, "b": tensor.clone()}, 5, codec=RandomK(0.2)).payload
    assert not torch.equal(sent["a"]["values"], sent["b"]["values"])


@pytest.mark.parametrize("codec", TREES, ids=str)
def test_a_tree_is_measured_as_a_step(codec: Codec) -> None:
    """The meter learns from shapes what really travels, and another seed is no other step."""
    tree = weights()
    out, cost = measure(encode_weights, (Spec.of(tree), 5), {"codec": codec})
    assert out is Spec.of(encode_weights(tree, 5, codec=codec))
    again = measure(encode_weights, (Spec.of(tree), 6), {"codec": codec})
    assert again[1] is cost
    back, _ = measure(decode_weights, (out, 5), {"codec": codec, "shapes": shapes_of(tree)})
    assert back is Spec.of(tree)


# ---- bytes by hand -----------------------------------------------------------------------------------------------------


def hand() -> Iterator[tuple[Codec, tuple[int, int]]]:
    """A batch of 3 x 5 x 7 = 105 entries: (payload, overhead) bytes."""
    yield Float(torch.float32), (420, 0)
    yield Float(torch.bfloat16), (210, 0)
    yield Int8(), (105, 4)
    yield Stochastic(4), (66, 8)  # 105 x 5 bits = 525 bits = 65.6 bytes; two ends of the range
    yield Stochastic(8), (119, 8)  # 105 x 9 = 945 bits = 118.1 bytes
    yield Stochastic(31), (420, 8)  # 32 bits each
    yield Stochastic(32), (420, 0)
    yield Sign(), (14, 4)  # 105 bits = 13.1 bytes
    yield TopK(0.1), (80, 0)  # round(10.5) = 10 (to even) x (4 + 4)
    yield RandomK(0.1), (40, 8)
    yield RandomK(1e-9), (4, 8)  # one at least
    yield Dropout(0.3), (296, 8)  # round(73.5) = 74 entries x 4
    yield Dropout(0.3, "bitmap"), (310, 0)  # and 105 bits = 14 bytes
    yield Dropout(0.3, "seed", "channel"), (336, 8)  # round(3.5) = 4 of 5 channels: 3 x 4 x 7 = 84 entries
    yield Dropout(0.3, "bitmap", "channel"), (337, 0)  # 5 bits = 1 byte


@pytest.mark.parametrize(("codec", "expected"), list(hand()), ids=str)
def test_bytes_by_hand(codec: Codec, expected: tuple[int, int]) -> None:
    assert codec.bits((3, 5, 7)) == expected
    encoded = codec.encode(data(3, 5, 7), SEED)
    assert (nbytes(encoded.payload), nbytes(encoded.overhead)) == expected


def test_ecofed_sends_one_byte_an_element() -> None:
    """VGG-11's smashed data at cut 2, batch of 10: 10 x 8,192 bytes (EcoFed: 82,000 with the batch's labels of 80)."""
    assert Int8().bits((10, 128, 8, 8)) == (81_920, 4)
    assert Leaf((10, 128, 8, 8), torch.int8).nbytes == 81_920
