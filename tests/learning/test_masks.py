"""Masks to the byte, and which neurons are picked: sizes, coverage, skip counters."""

from collections.abc import Iterator
from math import ceil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.learning.mask import coded, decoded, largest, mask_bytes, tell, thick, thin, told, told_bytes
from emulator.learning.models import ModelSpec, initial_weights
from emulator.learning.picking import Gains, Picking, Skips, changed, pick, untouched
from emulator.learning.submodel import Kept, Submodel, submodel

TINY = ModelSpec("mlp", 10, (1, 8, 8))
LENET = ModelSpec("lenet", 10, (1, 28, 28))

# ---- bytes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "kept", "expected"),
    [
        (128, 64, 16),  # bitmap: 128 bits; a list would take 64 x 7 bits = 56 bytes
        (4096, 100, 150),  # list: 100 x 12 bits; a bitmap would take 512 bytes
        (4096, 4096, 0),  # all: nothing to tell
        (6, 3, 1),
        (1, 1, 0),
        (1000, 1, 2),  # one position of 10 bits
    ],
)
def test_bytes_of_a_mask(count: int, kept: int, expected: int) -> None:
    assert mask_bytes(count, kept) == expected
    assert len(coded(torch.arange(kept), count)) == expected


@given(st.integers(1, 3000), st.floats(0.001, 1), st.integers(0, 100))
def test_a_mask_comes_back(count: int, share: float, seed: int) -> None:
    kept = max(1, round(share * count))
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:kept].sort().values
    mask = coded(chosen, count)
    assert mask.dtype == torch.uint8
    assert len(mask) == mask_bytes(count, kept) <= ceil(count / 8)
    assert torch.equal(decoded(mask, count, kept), chosen)


def test_masks_of_a_model() -> None:
    # LeNet at one half: 3 of 6, 8 of 16, 60 of 120, 42 of 84 neurons; bitmaps of 1, 2, 15 and 11 bytes.
    sub = submodel(LENET, 0.5)
    weights = initial_weights(LENET, torch.Generator().manual_seed(0))
    kept, _ = pick(*untouched(weights, model=LENET), 5, sub=sub, picking=Picking("random"))
    sent = tell(kept, sub=sub)
    assert [len(mask) for mask in sent.values()] == [1, 2, 15, 11]
    assert told_bytes(sub) == 29
    assert all(torch.equal(told(sent, sub=sub)[name], chosen) for name, chosen in kept.items())
    with pytest.raises(ValueError, match="mask: got 3 bytes for 64 of 128; expected 16 bytes"):
        decoded(torch.zeros(3, dtype=torch.uint8), 128, 64)


def test_single_weights_kept() -> None:
    """Unstructured: |-5|, 4 and the first of the threes stay of six; their values and one byte of mask travel."""
    weights = {"w": torch.tensor([[3.0, -5.0, 1.0], [0.0, 4.0, -3.0]])}
    kept = largest(weights, share=0.5)
    assert kept["w"].tolist() == [0, 1, 4]
    sent = thin(weights, kept)
    assert sent["values"]["w"].tolist() == [3.0, -5.0, 4.0]
    assert len(sent["mask"]["w"]) == 1
    zeros = {"w": torch.zeros(2, 3)}
    assert thick(zeros, sent)["w"].tolist() == [[3.0, -5.0, 0.0], [0.0, 4.0, 0.0]]
    with pytest.raises(ValueError, match="mask: got a share of 0; expected above 0 and at most 1"):
        largest(weights, share=0)


# ---- which neurons -----------------------------------------------------------------------------------------------------------


def cycles(count: int, kept: int, picking: Picking, seeds: range) -> Iterator[tuple[Kept, Skips, Skips]]:
    """A device's cycles on a layer of so many neurons: what was picked, and skips before and after."""
    sub, layer = _layer(count, kept)
    skips: Skips = {layer: torch.zeros(128, dtype=torch.int64)}
    for seed in seeds:
        gains: Gains = {layer: torch.rand(128, generator=torch.Generator().manual_seed(seed))}
        before = skips
        chosen, skips = pick(before, gains, seed, sub=sub, picking=picking)
        yield chosen, before, skips


def _layer(count: int, kept: int) -> tuple[Submodel, str]:
    assert count == 128
    return Submodel(TINY, (kept,)), "0.1"


@pytest.mark.parametrize("how", ["ordered", "round_robin", "random", "helios"])
@pytest.mark.parametrize("kept", [1, 37, 64, 127, 128])
def test_exact_mask_size(how: str, kept: int) -> None:
    """Acceptance check 2: max(1, round(p n)) neurons, sorted, each once; other masks in consecutive cycles where k < n."""
    picking = Picking(how, top_share=0.1)  # type: ignore[arg-type]
    last: list[int] = []
    for chosen, _, after in cycles(128, kept, picking, range(6)):
        found = chosen["0.1"].tolist()
        assert found == sorted(set(found))
        assert len(found) == kept
        assert after["0.1"][chosen["0.1"]].abs().sum() == 0
        assert how == "ordered" or kept == 128 or found != last
        last = found


@pytest.mark.parametrize(("volume", "bound"), [(0.5, 2), (0.447, 3), (0.25, 4), (0.2, 5), (0.1, 10)])
def test_round_robin_covers_all_neurons(volume: float, bound: int) -> None:
    """Acceptance check 1. Of 128 neurons at 0.2 26 are kept: ceil(128 / 26) = 5 cycles, as ceil(1 / 0.2) says."""
    kept = round(volume * 128)
    assert ceil(128 / kept) == bound == ceil(1 / volume)
    seen: set[int] = set()
    for chosen, _, _ in cycles(128, kept, Picking("round_robin"), range(bound)):
        seen.update(chosen["0.1"].tolist())
    assert len(seen) == 128


@settings(max_examples=30)  # each of up to 400 cycles
@given(st.sampled_from(["random", "helios"]), st.integers(1, 128), st.integers(0, 10**6))
def test_skip_counters_are_bounded(how: str, kept: int, start: int) -> None:
    """Acceptance check 1, property: none exceeds C_max + 1 unless the forced filled all free places of a cycle.

    Theory: a forced neuron waits for those skipped longer, k - t of which go a cycle, so C_max + ceil(n / (k - t)) bounds all.
    """
    picking = Picking(how, top_share=0.1)  # type: ignore[arg-type]
    limit, free = ceil(128 / kept), kept - picking.top(kept)
    full = False
    for _, before, after in cycles(128, kept, picking, range(start, start + 3 * limit + 20)):
        full |= int((before["0.1"] > limit).sum()) > free
        most = int(after["0.1"].max())
        assert full or most <= limit + 1
        assert most <= limit + ceil(128 / free)


def test_pure_random_masks_forget_neurons() -> None:
    """Theory: P(never drawn in 5 cycles at 0.2) = 0.8^5 = 0.328: 42 of 128 neurons, give or take 4 sigma of 5.3."""
    seen: set[int] = set()
    for chosen, _, _ in cycles(128, 26, Picking("random", forces=False), range(5)):
        seen.update(chosen["0.1"].tolist())
    assert 128 - len(seen) == pytest.approx(42, abs=21)


def test_the_most_changed_are_kept() -> None:
    """Exact: of 20 neurons to keep, round(0.1 x 20) = 2 are those of the largest change."""
    sub, weights = Submodel(TINY, (20,)), initial_weights(TINY, torch.Generator().manual_seed(0))
    moved = {name: tensor.clone() for name, tensor in weights.items()}
    moved["0.1.weight"][77] += 1.0
    moved["0.1.bias"][5] -= 70.0
    gains = changed(weights, moved, model=TINY)
    assert gains["0.1"][77].item() == pytest.approx(64.0, rel=1e-5)
    assert gains["0.1"][5].item() == pytest.approx(70.0, rel=1e-5)
    assert int((gains["0.1"] > 0).sum()) == 2
    skips = untouched(weights, model=TINY)[0]
    for seed in range(10):
        kept = pick(skips, gains, seed, sub=sub, picking=Picking("helios", 0.1))[0]["0.1"].tolist()
        assert {5, 77} <= set(kept)


def test_a_neuron_forced_comes_first() -> None:
    """Exact: 2 of 128 kept, C_max 3: neurons skipped 9 and 4 times are taken before all that were skipped 3 times."""
    skips = {"0.1": torch.full((128,), 3, dtype=torch.int64)}
    skips["0.1"][10], skips["0.1"][90], skips["0.1"][50] = 9, 4, 0
    gains = {"0.1": torch.zeros(128)}
    for seed in range(10):
        kept, after = pick(skips, gains, seed, sub=Submodel(TINY, (2,)), picking=Picking("random", skip_limit=3))
        assert kept["0.1"].tolist() == [10, 90]
        assert after["0.1"][[10, 90, 50, 0]].tolist() == [0, 0, 1, 4]
