"""EcoFed's acceptance checks: 1 what never crosses the network, 2 bytes as published, 3 schedule and buffer, 4 quantiser,
5 steps and aggregation. Check 6, of learning, is in ``tests/reproduce/test_ecofed_learning.py``; its (c), of time, in
``test_ecofed_time.py``. Numbers are worked out in the comments.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from actors.inline import TimingOnly
from emulator.learning.codecs.quantise import Int8
from emulator.learning.evaluation import initial_weights
from emulator.learning.frozen import keep, learn, replay, smash
from emulator.learning.models import ModelSpec
from emulator.learning.random import seed_of
from emulator.learning.sgd import Problem
from emulator.learning.shards import Normalisation, Plan
from emulator.learning.split import Split, begin, halves
from emulator.protocols.ecofed import EcoFedSettings, ecofed
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from emulator.records import RunFolder
from emulator.simulation import Simulation
from tests.records.samples import header
from tests.worlds import CNN, Played, final_weights, fleet, holdings, plan, play, time_only

SIZE: dict[str, Any] = {"cohort": 20, "batch_size": 10, "learning_rate": 0.01, "momentum": 0.9}
SPLIT = Problem(CNN.model, CNN.normalise, cut=2)


def shapes(model: str) -> Problem:
    """A model for CIFAR-10, cut after the second block as in the authors' code."""
    return Problem(ModelSpec(model, 10, (3, 32, 32), True), Normalisation(255.0, (0.5,) * 3, (0.5,) * 3), cut=2)


def moved(protocol: Any, settings: Any, model: str) -> Played:
    """The clock alone: 100 clients of 500 samples."""
    return time_only(plan(protocol, settings, fleet(100), problem=shapes(model), samples=(500,) * 100))


def payload(played: Played) -> float:
    """Payload bytes a round, both ways."""
    return sum(row.bytes for row in played.events if row.verb == "send") / len(played.rounds)


@pytest.fixture(scope="module", params=["vgg11_ecofed", "resnet9"])
def traffic(request: Any) -> Iterator[tuple[str, dict[str, float]]]:
    """Payload a round of the three systems on a model."""
    model = request.param
    yield (
        model,
        {
            "fl": payload(moved(fedavg, FedAvgSettings(rounds=1, **SIZE), model)),
            "dpfl": payload(moved(splitfed_v1, SplitFedV1Settings(rounds=1, **SIZE), model)),
            "ecofed": payload(moved(ecofed, EcoFedSettings(rounds=2, **SIZE), model)),
        },
    )


def test_published_ratios_of_traffic(traffic: tuple[str, dict[str, float]]) -> None:
    """Check 2: 16x over split FL, 133x over FL; and the mean over a period."""
    # A client's round, period 2: (500 x 8192 + 8 x 500) / 2 = 2.05 MB. Full model 8 x 34,440,970 = 275.5 MB, of ResNet-9
    # 8 x 9,395,722 = 75.2 MB; split: 8 x 76,032 + 8 x 500 x 8192 + 8 x 500 = 33.38 MB. BatchNorm's statistics add 0.01 %.
    model, found = traffic
    assert found["ecofed"] == 20 * 2_050_000
    assert found["dpfl"] / found["ecofed"] == pytest.approx(16.28, rel=1e-3)
    assert found["fl"] / found["ecofed"] == pytest.approx({"vgg11_ecofed": 134.4, "resnet9": 36.7}[model], rel=1e-3)


@pytest.mark.parametrize(("period", "ratio"), [(1, 67.2), (2, 134.4), (4, 268.8), (8, 537.6)])
def test_ratios_by_replay_period(period: int, ratio: float) -> None:
    """Check 2: the ratio grows with the period."""
    settings = EcoFedSettings(rounds=min(8, 2 * period), replay_period=period, **SIZE)  # whole periods
    eco = payload(moved(ecofed, settings, "vgg11_ecofed"))
    assert 20 * 8 * 34_440_970 / eco == pytest.approx(ratio, rel=1e-3)


def test_bytes_of_an_update_round_and_of_a_replay_round() -> None:
    """Check 2: n a + 8 n from each of 20 clients, with four bytes of scale a batch beside them; then nothing."""
    played = moved(ecofed, EcoFedSettings(rounds=2, **SIZE), "vgg11_ecofed")
    sent = [[row for row in played.events if row.verb == "send" and row.round == number] for number in (1, 2)]
    assert sum(row.bytes for row in sent[0]) == 20 * (500 * 8192 + 8 * 500)
    assert sum(row.overhead_bytes for row in sent[0]) == 20 * 50 * 4
    assert sent[1] == []


# ---- with the framing of messages --------------------------------------------------------------------------------------------


def recorded(protocol: Any, settings: Any, folder: Path) -> tuple[float, float]:
    """Payload and framing a round, both ways, as summary.json and as events.parquet have them: 818 bytes a message."""
    usual = plan(protocol, settings, fleet(100), problem=shapes("vgg11_ecofed"), samples=(500,) * 100)
    network = replace(usual.wiring.plan, message_bytes=818)
    records = RunFolder.create(header(None), out=folder)
    for messages in Simulation(replace(usual, wiring=replace(usual.wiring, plan=network)), TimingOnly()).messages():
        records.take(messages)
    records.close(1.0)
    summary = json.loads((folder / "summary.json").read_text())
    table = pq.read_table(folder / "events.parquet", columns=["bytes", "overhead_bytes"])
    rows = sum(sum(table[name].to_pylist()) for name in table.column_names)
    total = summary["uplink_bytes"] + summary["downlink_bytes"] + summary["overhead_bytes"]
    return total / settings.rounds, rows / settings.rounds


def test_published_ratio_with_payload_and_framing(tmp_path: Path) -> None:
    """133x: a message per batch, smashed data and labels together, of 81,920 + 80 + 4 (scale) + 818 bytes, every other round.

    EcoFed: 20 x 50 x 82,822 / 2 = 41,411,000. FL: 20 x 2 x (4 x 34,446,474 + 818) = 5,511,468,560, BatchNorm's running
    statistics included. Their ratio is 133.09.
    """
    eco = recorded(ecofed, EcoFedSettings(rounds=4, **SIZE), tmp_path / "eco")
    full = recorded(fedavg, FedAvgSettings(rounds=1, **SIZE), tmp_path / "fl")
    assert eco == (41_411_000, 41_411_000) and full == (5_511_468_560, 5_511_468_560)
    assert full[0] / eco[0] == pytest.approx(133.09, rel=1e-4)


def small(**changes: Any) -> Any:
    settings = EcoFedSettings(**({"rounds": 6, "cohort": 3, "batch_size": 16, "learning_rate": 0.05} | changes))
    return plan(ecofed, settings, fleet(5), problem=SPLIT)


def test_no_gradient_and_no_weights_cross_the_network() -> None:
    """Check 1: all that is sent are smashed data and labels, upwards."""
    played = play(small())
    assert {row.kind for row in played.events if row.verb == "send"} == {"smashed", "labels"}
    assert {row.direction for row in played.events if row.verb == "send"} == {"uplink"}
    # 40 samples of 32 x 2 x 2 one-byte elements, in batches of 16, 16, 8; a maximum of 4 bytes a batch beside them.
    first = [
        row
        for row in played.events
        if row.round == 1 and row.kind == "smashed" and row.node == played.rounds[0].cohort[0]
    ]
    assert [(row.bytes, row.overhead_bytes) for row in first] == [(16 * 128, 4), (16 * 128, 4), (8 * 128, 4)]


def test_the_devices_part_is_the_same_from_first_to_last() -> None:
    """Check 1: bit by bit, after four rounds and after one; the back does change."""
    start = initial_weights(seed_of(1, "initial"), model=SPLIT.model)
    first, last = final_weights(small(rounds=1)), final_weights(small(rounds=4))
    for name, tensor in start.items():
        if int(name[0]) < 2:
            assert torch.equal(first[name], tensor) and torch.equal(last[name], tensor)
    assert not torch.equal(first["3.2.weight"], last["3.2.weight"])


def test_set_up_can_be_charged() -> None:
    played = play(small(setup="charge"))
    receivers = [str(row.peer) for row in played.transfers("weights")]
    asked = [name for row in played.rounds for name in row.cohort]
    assert sorted(receivers) == sorted(set(asked))  # once each


@pytest.mark.parametrize("period", [1, 2, 4])
def test_schedule(period: int) -> None:
    """Check 3: devices send in rounds 0, period, ...; in the others they do nothing at all."""
    played = play(small(rounds=9, replay_period=period))
    flags = [row.metrics["updated"] for row in played.rounds]
    assert flags == [float(number % period == 0) for number in range(9)]
    busy = {row.round - 1 for row in played.events if row.node != "server"}
    assert busy == {number for number in range(9) if number % period == 0}
    replays = [row.round - 1 for row in played.events if row.kind == "replay"]
    assert replays == [number for number in range(9) if number % period for _ in range(3)]


def test_a_replayed_entry_is_what_its_client_sent_last() -> None:
    """Check 3: entries come from earlier update rounds; a client that sends again overwrites its own, and no other's."""
    played = play(small(rounds=12, replay_period=3))
    sender = {row.op: row.node for row in played.events if row.kind == "smash"}
    latest: dict[int, dict[str, int]] = {}  # round -> the entries in the buffer at its end, by client
    for number in range(1, 13):
        kept = [row for row in played.events if row.kind == "keep" and row.round == number]
        latest[number] = latest.get(number - 1, {}) | {sender[row.inputs[-1]]: row.op for row in kept}
        drawn = [row for row in played.events if row.kind == "replay" and row.round == number]
        sources = [op for row in drawn for op in row.inputs if op in latest[number].values()]
        assert len(sources) == len(drawn) == (0 if kept else 3)
    assert len(latest[12]) > 3  # clients that were not drawn again are still in it
    again = latest[1].keys() & latest[12].keys()
    assert any(latest[1][name] != latest[12][name] for name in again)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_quantiser(seed: int) -> None:
    """Check 4: an error of half a step at most, 0 and the maximum exact; one byte an element."""
    values = torch.rand((10, 128, 8, 8), generator=torch.Generator().manual_seed(seed)).mul_(3).sub_(1).clamp_(min=0)
    codec, top = Int8(), values.max()
    coded = codec.encode(values, seed)
    back = codec.decode(coded, seed, tuple(values.shape))
    assert (back - values).abs().max() <= top / 127 / 2 * (1 + 1e-5)
    assert torch.equal(back[values == 0], values[values == 0]) and torch.equal(
        back[values == top], values[values == top]
    )
    assert coded.payload.dtype == torch.int8 and coded.payload.numel() == values.numel()


SPLITS = Split(SPLIT, Plan(16), 0.05, 0.9, smashed=Int8())


def test_the_first_replay_step_is_that_of_the_update_round() -> None:
    """Checks 4 and 5: from the same state, on the same batch, bit by bit; what is stored is one byte an element."""
    blueprint = small()
    held = holdings(blueprint)
    shard, seed = held.shard(held.parts[0]), 11
    front, back = halves(initial_weights(3, model=SPLIT.model), split=SPLITS)
    smashed, labels = smash(front, shard, seed, 0, split=SPLITS, size=16)
    entry, half = keep(seed, smashed, labels), begin(back, split=SPLITS, back=True)
    learned, replayed = learn(half, smashed, labels, seed, 0, split=SPLITS), replay(half, entry, split=SPLITS)
    for part in ("weights", "velocity"):
        assert all(torch.equal(learned[part][name], replayed[part][name]) for name in learned[part])
    assert not torch.equal(learned["weights"]["2.0.weight"], back["2.0.weight"])
    stored = entry.smashed[0].payload
    assert stored.element_size() == 1 and stored.numel() == 16 * 128


def test_the_front_never_changes_and_the_back_is_the_uniform_mean() -> None:
    """Check 5: one round by hand: five plain PyTorch loops from one start, averaged."""
    from emulator.learning.binding import bound
    from emulator.learning.shards import Shard

    blueprint = small(rounds=1, cohort=5, smashed={"codec": "fp32"})
    played = play(blueprint)
    held, settings = holdings(blueprint), blueprint.settings
    start = initial_weights(seed_of(1, "initial"), model=SPLIT.model)
    copies = []
    for index in range(5):
        own = {name: tensor.clone() for name, tensor in start.items()}
        names = [name for name in own if int(name[0]) >= 2 and "running" not in name]
        shard = held.shard(held.parts[index])
        import numpy as np

        seed = seed_of(1, "batches", f"device-{index:04d}", 1)
        order = np.random.Generator(np.random.PCG64(seed)).permutation(40)
        for place in range(0, 40, 16):
            chosen = torch.from_numpy(order[place : place + 16])
            batch = Shard(shard.images[chosen], shard.labels[chosen])
            with bound(SPLIT.model, own, training=False) as model, torch.no_grad():
                smashed = model[:2](SPLIT.normalise(batch.images))
            leaves = {name: own[name].requires_grad_() for name in names}
            with bound(SPLIT.model, own, training=True) as model:
                loss = torch.nn.functional.cross_entropy(model[2:](smashed), batch.labels)
            gradients = torch.autograd.grad(loss, list(leaves.values()))
            for (name, tensor), gradient in zip(leaves.items(), gradients, strict=True):
                own[name] = (tensor - settings.learning_rate * gradient).detach()
        copies.append({name: own[name].detach() for name in own})
    expected = {name: torch.stack([copy[name] for copy in copies]).mean(0) for name in start}
    found = final_weights(blueprint)
    assert played.rounds[0].finished == tuple(f"device-{index:04d}" for index in range(5))
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)
        if int(name[0]) < 2:
            assert torch.equal(tensor, start[name])


def test_the_clock_alone_tells_the_same() -> None:
    blueprint = small(rounds=4)
    assert play(blueprint).events == time_only(blueprint).events
