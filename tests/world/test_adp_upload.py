"""ADP's variant C: bytes to the byte, which filters travel, what the server makes of them, FedAvg at a ratio of one."""

from typing import Any, Literal

import pytest
import torch

from emulator.learning.evaluation import initial_weights
from emulator.learning.mask import mask_bytes
from emulator.learning.models import ModelSpec
from emulator.learning.salience import Upload, gated_layers, merge, salience, thin
from emulator.learning.sgd import Problem
from emulator.learning.shards import Shard
from emulator.protocols.adp_upload import AdpUploadSettings, adp_upload
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from tests.worlds import DIGITS, NORMALISE, fleet, plan, play, time_only

SPEC = ModelSpec("cnn_gated", 10, DIGITS.shape, keep_ratio=0.5)
GATED = Problem(SPEC, NORMALISE)
RESNET = Problem(ModelSpec("resnet8_gated", 10, DIGITS.shape), NORMALISE)
COMMON: dict[str, Any] = {"rounds": 2, "cohort": 3, "learning_rate": 0.05, "momentum": 0.9}


def shard(count: int) -> Shard:
    return Shard(torch.tensor(DIGITS.x_train[:count]), torch.tensor(DIGITS.y_train[:count]))


def start(seed: int = 1) -> dict[str, torch.Tensor]:
    return initial_weights(seed, model=SPEC)


def test_bytes_equal_the_kept_filter_formula() -> None:
    """Exact: half of the filters, 8 of 16, 16 of 32 and 32 of 64, of half of the input channels but for the first.

    Filters 8*1*9 + 16*8*9 + 32*16*9 = 5,832 of 23,184. Besides: BatchNorms 4 * 112, gates 2,688, classifier 650.
    Masks as bitmaps, 2 + 4 + 8 bytes. Down comes the whole model: 26,970 numbers.
    """
    played = time_only(plan(adp_upload, AdpUploadSettings(**COMMON, upload_ratio=0.5), fleet(4), problem=GATED))
    sent = 4 * (5_832 + 4 * 112 + 2_688 + 650)
    assert {event.bytes for event in played.transfers("update")} == {sent}
    assert {event.bytes for event in played.transfers("mask")} == {14}
    assert [row.uplink_bytes for row in played.rounds] == [3 * (sent + 14)] * 2
    assert {event.bytes for event in played.transfers("weights")} == {4 * 26_970}


def test_a_residual_blocks_first_convolution_keeps_all_of_its_inputs() -> None:
    """Exact: its input is the dense sum. ResNet-8, r = 0.7: 11 of 16, 22 of 32, 45 of 64 filters.

    Blocks: 11*16*9 + 11*11*9, 22*16*9 + 22*22*9, 45*32*9 + 45*45*9.
    """
    layers = gated_layers(RESNET.model)
    assert [layer.source is None for layer in layers] == [True, False] * 3
    weights = initial_weights(1, model=RESNET.model)
    how = Upload(RESNET, 0.7)
    sent, _ = thin(weights, salience(weights, shard(5), how=how), how=how)
    sizes = [sent[f"{layer.name}.conv.weight"].numel() for layer in layers]
    assert sizes == [1584, 1089, 3168, 4356, 12960, 18225]
    assert sent["0.0.weight"] is weights["0.0.weight"]  # the stem has no gate


def test_masks_are_bitmaps_or_numbers() -> None:
    # 512 channels: 64 bytes as bits; 5 of them as numbers of 9 bits: 45 bits, 6 bytes. All: nothing need be said.
    assert (mask_bytes(512, 358), mask_bytes(512, 5), mask_bytes(512, 512)) == (64, 6, 0)
    assert (mask_bytes(16, 8), mask_bytes(16, 3)) == (2, 2)  # 3 numbers of 4 bits: 12 bits


@pytest.mark.parametrize("score", ["gate", "frequency"])
def test_scores_are_means_over_the_data(score: Literal["gate", "frequency"]) -> None:
    """In three batches of 8, 8 and 4; the gates of the first layer by hand: ReLU(w mean + 1), the 8 largest."""
    weights, how = start(), Upload(GATED, 0.5, score, 8)
    found = salience(weights, shard(20), how=how)["0.0"]
    means = NORMALISE(shard(20).images).mean((1, 2, 3))
    gates = torch.relu(means[:, None] * weights["0.0.gate.weight"][:, 0] + 1)
    kept = gates * (gates >= gates.sort(descending=True).values[:, 7:8])
    torch.testing.assert_close(found, (kept if score == "gate" else (kept > 0).float()).mean(0))


def test_what_travels_arrives_and_the_rest_stays() -> None:
    """Exact: one device's filters replace those of the server; filters and slices that it did not send are the old ones."""
    old, new, how = start(1), start(2), Upload(GATED, 0.1)
    scores = salience(new, shard(20), how=how)
    sent, mask = thin(new, scores, how=how)
    assert [tensor.numel() for tensor in mask.values()] == [
        1,
        2,
        5,
    ]  # 2 of 16, 3 of 32, 6 of 64: numbers of 4, 5, 6 bits
    found = merge((20,), old, sent, mask, how=how)
    previous = torch.tensor([0])
    for layer in gated_layers(SPEC):
        name = f"{layer.name}.conv.weight"
        chosen = scores[layer.name].topk(max(1, round(0.1 * layer.channels))).indices
        there = torch.zeros_like(old[name], dtype=torch.bool)
        there[chosen[:, None], previous] = True
        torch.testing.assert_close(found[name], torch.where(there, new[name], old[name]))
        previous = chosen
    assert all(torch.equal(found[name], new[name]) for name in new if "conv" not in name)


def test_filters_are_averaged_over_those_that_sent_them() -> None:
    """Two devices with 10 and 30 samples: where both sent a filter it is a quarter and three quarters."""
    how, old, both = Upload(GATED, 0.5), start(1), [start(2), start(3)]
    scores = [{layer.name: torch.zeros(layer.channels) for layer in gated_layers(SPEC)} for _ in both]
    for layer in gated_layers(SPEC):  # the first half of the channels, and the middle half
        half = layer.channels // 2
        scores[0][layer.name][:half] = 1
        scores[1][layer.name][half // 2 : half // 2 + half] = 1
    sent = [thin(weights, found, how=how) for weights, found in zip(both, scores, strict=True)]
    new = merge((10, 30), old, *(update for update, _ in sent), *(mask for _, mask in sent), how=how)
    name = "0.0.conv.weight"  # 16 channels: 0 to 7 and 4 to 11
    torch.testing.assert_close(new[name][:4], both[0][name][:4])
    torch.testing.assert_close(new[name][4:8], 0.25 * both[0][name][4:8] + 0.75 * both[1][name][4:8])
    torch.testing.assert_close(new[name][8:12], both[1][name][8:12])
    assert torch.equal(new[name][12:], old[name][12:])


def test_all_filters_are_fedavg_bit_for_bit() -> None:
    """Identity."""
    mine = play(plan(adp_upload, AdpUploadSettings(**COMMON, upload_ratio=1.0), fleet(4), problem=GATED))
    plain = play(plan(fedavg, FedAvgSettings(**COMMON), fleet(4), problem=GATED))
    assert mine.end.weights_sha256 == plain.end.weights_sha256
    assert mine.transfers("mask") == []
    assert [row.end_ns for row in mine.rounds] == [row.end_ns for row in plain.rounds]  # nor is anything scored


def test_the_clock_alone_gives_the_same_rows() -> None:
    blueprint = plan(adp_upload, AdpUploadSettings(**COMMON), fleet(4), problem=GATED, samples=(40, 0, 17, 1))
    assert time_only(blueprint).events == play(blueprint).events
