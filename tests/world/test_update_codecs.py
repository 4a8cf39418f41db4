"""Coded weights and updates: bytes by hand, errors, a plain loop, error fed back, where time and memory go, refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from emulator.blueprint import Blueprint
from emulator.learning.codecs import Codec, Int8, Sign, Stochastic, TopK, codec_of
from emulator.learning.codecs.sparse import Dropout, RandomK
from emulator.learning.coding import decode_update, encode_update, encode_with_feedback
from emulator.learning.evaluation import initial_weights
from emulator.learning.random import seed_of
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.settings import CutTraining
from emulator.reading import ScenarioError, read_scenario
from emulator.yaml_text import dump
from tests.scenario import worlds
from tests.world.test_edges import edged
from tests.world.test_fedavg import plain_model
from tests.worlds import CNN, DIGITS, MLP, NORMALISE, Played, final_weights, fleet, plan, play, profile, time_only

COMMON: dict[str, Any] = {"rounds": 2, "cohort": 3, "learning_rate": 0.1, "batch_size": 16}
SAMPLES = (40, 33, 17)
State = dict[str, Tensor]


def coded(name: str = "fedavg", **settings: Any) -> Blueprint:
    """Three devices; the MLP, or, where the protocol splits, the small CNN cut after two blocks."""
    entry = PROTOCOLS[name]
    problem = replace(CNN, cut=2) if issubclass(entry.settings, CutTraining) else MLP
    found = entry.settings(**COMMON | settings)
    if entry.edges:
        return edged(entry.run, found, 3)
    return plan(entry.run, found, fleet(3), samples=SAMPLES, problem=problem)


# ---- bytes -------------------------------------------------------------------------------------------------------------------

# The MLP's tensors have 8192, 128, 1280 and 10 entries: 9610. Of a tenth, 819 + 13 + 128 + 1 = 961 travel.
BYTES: list[tuple[dict[str, Any], int, int]] = [
    ({"codec": "fp16"}, 2 * 9610, 0),
    ({"codec": "bf16"}, 2 * 9610, 0),
    ({"codec": "int8-signed"}, 9610, 4 * 4),
    ({"codec": "stochastic", "bits": 4}, 5120 + 80 + 800 + 7, 4 * 8),  # five bits an entry; ceil(50 / 8) = 7
    ({"codec": "sign"}, 1024 + 16 + 160 + 2, 4 * 4),
    ({"codec": "top-k", "ratio": 0.1}, 8 * 961, 0),
    ({"codec": "random-k", "ratio": 0.1}, 4 * 961, 4 * 8),
    ({"codec": "dropout", "p": 0.9}, 4 * 961, 4 * 8),
]


@pytest.mark.parametrize(("codec", "payload", "overhead"), BYTES, ids=lambda value: str(value))
def test_bytes_of_each_codec(codec: dict[str, Any], payload: int, overhead: int) -> None:
    up = time_only(coded(update_codec=codec))
    assert {(row.bytes, row.overhead_bytes) for row in up.transfers("update")} == {(payload, overhead)}
    assert {(row.bytes, row.overhead_bytes) for row in up.transfers("weights")} == {(4 * 9610, 0)}
    down = time_only(coded(weights_codec=codec))
    assert {(row.bytes, row.overhead_bytes) for row in down.transfers("weights")} == {(payload, overhead)}
    assert {(row.bytes, row.overhead_bytes) for row in down.transfers("update")} == {(4 * 9610, 0)}


def test_running_statistics_travel_as_they_are() -> None:
    # Front of the CNN after two blocks: 144 + 4608 + 2 (16 + 32) trained entries in six tensors, 2 (16 + 32) statistics.
    played = time_only(coded("splitfed_v1", update_codec={"codec": "int8-signed"}))
    assert {(row.bytes, row.overhead_bytes) for row in played.transfers("update")} == {(4848 + 4 * 96, 6 * 4)}


EVERYWHERE = [
    "fedavg",
    "fedadam",
    "hierfavg",
    "splitfed_v1",
    "splitfed_v2",
    "split_learning",
    "parallel_split",
    "local_loss",
]


@pytest.mark.parametrize("name", EVERYWHERE)
def test_every_protocol_codes_both_ways(name: str) -> None:
    """Bytes of weights and updates are about a quarter; the clock alone tells the same; training goes on."""
    both = {"weights_codec": {"codec": "int8-signed"}, "update_codec": {"codec": "stochastic", "bits": 7}}
    blueprint, usual = coded(name, **both), time_only(coded(name))
    played = play(blueprint)
    assert time_only(blueprint).events == played.events
    for kind in {"weights", "update"} & {row.kind for row in usual.events}:
        before, after = (sum(row.bytes for row in found.transfers(kind)) for found in (usual, played))
        assert 0.25 * before <= after < 0.31 * before
    assert all(tensor.isfinite().all() for tensor in final_weights(blueprint).values())


@pytest.mark.parametrize("name", ["splitfed_v1", "splitfed_v2", "split_learning"])
def test_coded_with_minibatches_under_way(name: str) -> None:
    blueprint = coded(name, pipeline=2, update_codec={"codec": "sign"}, error_feedback=True)
    assert time_only(blueprint).events == play(blueprint).events


# ---- errors ------------------------------------------------------------------------------------------------------------------


def some(seed: int, size: int = 500) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {"0.weight": torch.randn(size, generator=generator), "0.running_var": torch.rand(7, generator=generator)}


def test_int8_misses_by_half_a_step_at_most() -> None:
    received, new = some(1), some(2)
    step = float((new["0.weight"] - received["0.weight"]).abs().max()) / 127
    codec = Int8(signed=True)
    found = decode_update(received, encode_update(received, new, 3, codec=codec), 3, codec=codec)
    assert float((found["0.weight"] - new["0.weight"]).abs().max()) <= step / 2 * (1 + 1e-4)
    assert torch.equal(found["0.running_var"], new["0.running_var"])


@pytest.mark.parametrize("codec", [Stochastic(1), Stochastic(4), RandomK(0.25), Dropout(0.5)], ids=str)
def test_stochastic_codecs_are_unbiased(codec: Codec) -> None:
    """Theory: the mean of 1,000 codings of an update of 20 entries, within five standard errors of each entry."""
    received, new = some(1, 20), some(2, 20)
    delta = new["0.weight"] - received["0.weight"]
    draws = torch.stack(
        [
            decode_update(received, encode_update(received, new, seed, codec=codec), seed, codec=codec)["0.weight"]
            for seed in range(1000)
        ]
    )
    error = draws.std(0) / 1000**0.5
    assert bool(((draws.mean(0) - received["0.weight"] - delta).abs() <= 5 * error + 1e-5).all())


@pytest.mark.parametrize("codec", [TopK(0.1), Sign(), Int8(signed=True)], ids=str)
def test_nothing_is_lost_with_error_feedback(codec: Codec) -> None:
    """What arrived in two rounds and what is left make up both updates: the sum telescopes."""
    first, second, zero = some(1), some(2), {"0.weight": torch.zeros(500), "0.running_var": torch.zeros(7)}
    one, left = encode_with_feedback(zero, first, 5, codec=codec)
    two, rest = encode_with_feedback(zero, second, 6, left, codec=codec)
    arrived = [decode_update(zero, sent, seed, codec=codec)["0.weight"] for sent, seed in ((one, 5), (two, 6))]
    torch.testing.assert_close(
        sum(arrived) + rest["0.weight"], first["0.weight"] + second["0.weight"], atol=1e-5, rtol=0
    )
    assert set(rest) == {"0.weight"}


# ---- a plain loop ------------------------------------------------------------------------------------------------------------


def half(values: Tensor) -> Tensor:
    return values.to(torch.float16).to(torch.float32)


def local(weights: State, device: int, number: int, kind: str) -> State:
    """A device's round with plain modules."""
    start = sum(SAMPLES[:device])
    images = NORMALISE(torch.tensor(DIGITS.x_train[start : start + SAMPLES[device]]))
    labels = torch.tensor(DIGITS.y_train[start : start + SAMPLES[device]])
    model = plain_model(kind)
    model.load_state_dict(weights, strict=False)
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    seed = seed_of(1, "batches", f"device-{device:04d}", number)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))
    for begin in range(0, len(labels), 16):
        index = order[begin : begin + 16]
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images[index]), labels[index]).backward()
        optimiser.step()
    return {key: tensor.detach().clone() for key, tensor in model.state_dict().items() if "tracked" not in key}


@pytest.mark.parametrize(("kind", "problem"), [("mlp", MLP), ("cnn", CNN)])
def test_fedavg_in_fp16_beside_a_plain_loop(kind: str, problem: Any) -> None:
    """Down: the weights in fp16. Up: new minus received, in fp16, added to the server's own; statistics as they are.

    One round, so that no last bit of float32 can tip another rounding to fp16 over.
    """
    weights = initial_weights(seed_of(1, "initial"), model=problem.model)
    received = {key: tensor if "running" in key else half(tensor) for key, tensor in weights.items()}
    updates = []
    for device in range(3):
        new = local(received, device, 1, kind)
        updates.append(
            {
                key: tensor if "running" in key else weights[key] + half(tensor - received[key])
                for key, tensor in new.items()
            }
        )
    expected = {
        key: sum(update[key] * (samples / 90) for update, samples in zip(updates, SAMPLES, strict=True))
        for key in weights
    }
    settings = FedAvgSettings(**COMMON | {"rounds": 1}, weights_codec={"codec": "fp16"}, update_codec={"codec": "fp16"})  # type: ignore[arg-type]
    found = final_weights(plan(fedavg, settings, fleet(3), samples=SAMPLES, problem=problem))
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, atol=1e-5 if kind == "cnn" else 1e-6, rtol=1e-5, msg=key)


# ---- time and memory -------------------------------------------------------------------------------------------------------


def kinds(played: Played, node: str) -> list[str]:
    return [row.kind for row in played.events if row.node == node and row.round == 1 and row.verb == "compute"]


def test_who_computes_what() -> None:
    codecs: dict[str, Any] = {"weights_codec": {"codec": "int8-signed"}, "update_codec": {"codec": "int8-signed"}}
    rooflines = profile(compute="roofline")  # by FLOPs alone, rounding and comparing cost nothing
    played = time_only(
        replace(
            coded(**codecs),
            devices=tuple(replace(device, profile=rooflines) for device in coded().devices),
            server=rooflines,
        )
    )
    assert kinds(played, "device-0001") == ["decode_weights", "train", "encode_update"]
    server = kinds(played, "server")
    assert server.count("encode_weights") == 1 and server.count("decode_update") == 3  # once for all; one by one
    rows = {row.kind: row for row in played.events if row.verb == "compute" and row.round == 1}
    assert all(
        rows[kind].end_ns > rows[kind].start_ns for kind in ("encode_weights", "decode_weights", "encode_update")
    )


def test_what_is_fed_back_stays_on_the_device() -> None:
    """4 x 9610 bytes lie beside the second round's training."""
    codec: dict[str, Any] = {"update_codec": {"codec": "top-k", "ratio": 0.01}}
    need: list[list[int]] = []
    for feedback in (False, True):
        rows = time_only(coded(**codec, error_feedback=feedback)).events
        need.append([row.peak_memory_bytes for row in rows if row.kind == "train" and row.node == "device-0000"])
    assert need[1][0] == need[0][0] and need[1][1] == need[0][1] + 4 * 9610


# ---- refused before a run --------------------------------------------------------------------------------------------------

BOTH = "which carries nothing below 0; expected a codec for both signs, as"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["protocol.update_codec={codec: int8}"], f"protocol.update_codec: got int8, {BOTH} updates have them, e.g"),
        (["protocol.weights_codec={codec: int8}"], f"protocol.weights_codec: got int8, {BOTH} weights have them"),
        (["protocol.update_codec={codec: dropout, p: 0.5, by: channel}"], "protocol.update_codec.by: got channel; expected el"),
        (["protocol.error_feedback=true"], "protocol: got .*error_feedback: got true with update_codec fp32; expected a codec"),
        (["protocol.update_codec={codec: gzip}"], 'protocol.update_codec.codec: got "?gzip'),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(words: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(dump(worlds.data()))
    with pytest.raises(ScenarioError, match=says):
        read_scenario(str(tmp_path / "a.yaml"), words)


@pytest.mark.parametrize("name", ["ecofed", "fedgkt"])
@pytest.mark.parametrize("key", ["weights_codec", "update_codec"])
def test_fronts_that_stay_have_no_codecs(name: str, key: str) -> None:
    with pytest.raises(ValidationError, match=f"{key}: got fp16; expected none, as fronts stay on their devices"):
        PROTOCOLS[name].settings(**COMMON, **{key: {"codec": "fp16"}})


def test_every_name_of_a_codec_makes_one() -> None:
    for codec, _, _ in BYTES:
        settings = FedAvgSettings(**COMMON, update_codec=codec)  # type: ignore[arg-type]
        assert codec_of(settings.update_codec).carries_negative
