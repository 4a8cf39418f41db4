"""Split protocols on the clock: weights of plain loops, bytes and times by hand, nothing left behind, misuse told."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from actors.inline import Inline
from actors.program import Program
from emulator.blueprint import Blueprint
from emulator.learning.binding import Weights
from emulator.learning.evaluation import initial_weights
from emulator.learning.models import build
from emulator.learning.random import seed_of
from emulator.learning.sgd import Problem
from emulator.learning.shards import Batches, Plan
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.split_learning import SplitLearningSettings, split_learning
from emulator.protocols.split_training import SplitTraining
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from emulator.rows import Round
from emulator.simulation import Simulation
from emulator.tasks import OutOfMemory, ProtocolError
from tests.world.split_protocols import LOSS_NS, Marked, alternating, losing, misused
from tests.worlds import CNN, MLP, Played, final_weights, fleet, holdings, plan, play, time_only

RATES: dict[str, Any] = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.001}
ROUNDS: dict[str, Any] = {"rounds": 2, "batch_size": 16, "local_epochs": 1}
SAMPLES = (40, 34, 18)  # no minibatch of one sample: PyTorch's own BatchNorm refuses those


def cut(problem: Problem, blocks: int) -> Problem:
    return Problem(problem.model, problem.normalise, blocks)


def split_plan(
    protocol: Any, settings: SplitTraining, problem: Problem, samples: tuple[int, ...] = SAMPLES
) -> Blueprint:
    return plan(protocol, settings, fleet(len(samples)), samples=samples, problem=problem)


# ---- plain loops: PyTorch's modules and optimisers, nothing of the platform's training code -------------------------------


class Plain:
    """One model and its batches, without a platform."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.problem = blueprint.problem
        self.held = holdings(blueprint)
        self.devices = range(len(blueprint.samples))
        self.samples = blueprint.samples
        self.start = initial_weights(seed_of(1, "initial"), model=self.problem.model)

    def model(self, weights: Weights) -> nn.Sequential:
        model = build(self.problem.model, "cpu")
        model.load_state_dict(weights)
        return model

    def sgd(self, part: nn.Module) -> torch.optim.SGD:
        return torch.optim.SGD(part.parameters(), lr=RATES["learning_rate"], momentum=0.9, weight_decay=0.001)

    def batches(self, device: int, number: int) -> Batches:
        shard = self.held.shard(self.held.parts[device])
        return Batches(shard, seed_of(1, "batches", f"device-{device:04d}", number), Plan(16))

    def learn(self, layers: nn.Module, batch: Any, *optimisers: torch.optim.SGD) -> None:
        loss = functional.cross_entropy(layers(self.problem.normalise(batch.images)), batch.labels)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()

    def mean(self, states: list[Weights]) -> Weights:
        total = sum(self.samples)
        return {name: sum(n / total * s[name] for n, s in zip(self.samples, states, strict=True)) for name in states[0]}  # type: ignore[misc]


def layers(model: nn.Sequential, start: int | None, stop: int | None) -> nn.Sequential:
    return nn.Sequential(*list(model)[start:stop])


def plain_splitfed(plain: Plain) -> Weights:
    weights = plain.start
    for number in (1, 2):
        states = []
        for device in plain.devices:
            model = plain.model(weights)
            optimiser = plain.sgd(model)
            for batch in plain.batches(device, number):
                plain.learn(model, batch, optimiser)
            states.append(dict(model.state_dict()))
        weights = plain.mean(states)
    return weights


def plain_sequence(plain: Plain) -> Weights:
    """One model for all; the back's momentum goes on, the front's starts anew with each turn."""
    model = plain.model(plain.start)
    own = plain.problem.cut
    whole = plain.sgd(model[own:])
    for number in (1, 2):
        for device in plain.devices:
            mine = plain.sgd(model[:own])
            for batch in plain.batches(device, number):
                plain.learn(model, batch, mine, whole)
    return dict(model.state_dict())


def plain_alternating(plain: Plain) -> Weights:
    """A front each and one back, served by turns; fronts averaged."""
    own, weights = plain.problem.cut, plain.start
    shared = layers(plain.model(weights), own, None)
    whole = plain.sgd(shared)
    for number in (1, 2):
        fronts = [layers(plain.model(weights), 0, own) for _ in plain.devices]
        optimisers = [plain.sgd(front) for front in fronts]
        for batches in zip(*(plain.batches(device, number) for device in plain.devices), strict=True):
            for front, optimiser, batch in zip(fronts, optimisers, batches, strict=True):
                plain.learn(nn.Sequential(*front, *shared), batch, optimiser, whole)
        names = [name for name in weights if int(name.split(".")[0]) < (own or 0)]
        ends = [dict(front.state_dict()) for front in fronts]
        weights = {**weights, **{name: plain.mean(ends)[name] for name in names}}
        back = nn.Sequential(*layers(plain.model(weights), 0, own), *shared)
        weights = {**dict(back.state_dict()), **{name: weights[name] for name in names}}
    return weights


@pytest.mark.parametrize(
    "problem", [cut(MLP, 1), cut(CNN, 1), cut(CNN, 2), cut(CNN, 3)], ids=["mlp", "cnn1", "cnn2", "cnn3"]
)
@pytest.mark.parametrize(
    ("protocol", "settings", "loop", "samples"),
    [
        (splitfed_v1, SplitFedV1Settings(cohort=1, **ROUNDS, **RATES), plain_splitfed, (40,)),
        (splitfed_v1, SplitFedV1Settings(cohort=3, **ROUNDS, **RATES), plain_splitfed, SAMPLES),
        (split_learning, SplitLearningSettings(cohort=3, **ROUNDS, **RATES), plain_sequence, SAMPLES),
        (alternating, SplitTraining(cohort=3, **ROUNDS, **RATES), plain_alternating, (36, 36, 36)),
    ],
    ids=["splitfed_v1 of one", "splitfed_v1", "split_learning", "alternating"],
)  # fmt: skip
def test_a_run_gives_the_weights_of_a_plain_loop(
    problem: Problem, protocol: Any, settings: Any, loop: Any, samples: tuple[int, ...]
) -> None:
    """With momentum, weight decay and BatchNorm; ``alternating`` plays waiting steps again at the borders of programs."""
    blueprint = split_plan(protocol, settings, problem, samples)
    expected, found = loop(Plain(blueprint)), final_weights(blueprint)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.parametrize("problem", [MLP, CNN], ids=["mlp", "cnn"])
def test_splitfed_v1_with_plain_codecs_is_fedavg(problem: Problem) -> None:
    """The same batches, the same averages: at every cut the same accuracies round by round, and the same weights."""
    common: dict[str, Any] = {"cohort": 2, **ROUNDS, **RATES}
    whole = plan(fedavg, FedAvgSettings(**common), fleet(3), samples=SAMPLES, problem=problem)
    expected = final_weights(whole)
    for blocks in range(1, len(build(problem.model))):
        found = final_weights(split_plan(splitfed_v1, SplitFedV1Settings(**common), cut(problem, blocks)))
        assert max(float((found[name] - expected[name]).abs().max()) for name in expected) <= 1e-6


# ---- bytes, FLOPs and times by hand ----------------------------------------------------------------------------------------

ONE = SplitFedV1Settings(rounds=1, cohort=1, learning_rate=0.1)


def test_bytes_of_a_round_by_hand() -> None:
    # 40 samples: minibatches of 16, 16 and 8. Front of the MLP: (64 128 + 128) 4 = 33,280 bytes. A sample's smashed data are
    # 128 float32 = 512 bytes, its cut gradient as much, its label 8.
    played = play(split_plan(splitfed_v1, ONE, cut(MLP, 1), (40,)))
    sent = {
        kind: [row.bytes for row in played.transfers(kind)]
        for kind in ("weights", "smashed", "labels", "cut_gradient", "update")
    }
    assert sent == {
        "weights": [33_280], "smashed": [8192, 8192, 4096], "labels": [128, 128, 64],
        "cut_gradient": [8192, 8192, 4096], "update": [33_280],
    }  # fmt: skip
    row = played.rounds[0]
    assert (row.uplink_bytes, row.downlink_bytes, row.overhead_bytes) == (40 * 520 + 33_280, 40 * 512 + 33_280, 0)
    assert all(transfer.direction == "uplink" for transfer in played.transfers("smashed"))


def test_int8_at_the_cut_travels_as_one_byte_and_its_peak_is_overhead() -> None:
    # Smashed: 128 bytes a sample and 4 of overhead a minibatch; the cut gradient has both signs: int8-signed, as much.
    codecs: dict[str, Any] = {"smashed": {"codec": "int8"}, "cut_gradient": {"codec": "int8-signed"}}
    played = play(
        split_plan(splitfed_v1, SplitFedV1Settings(rounds=1, cohort=1, learning_rate=0.1, **codecs), cut(MLP, 1), (40,))
    )
    assert [(row.bytes, row.overhead_bytes) for row in played.transfers("smashed")] == [(2048, 4), (2048, 4), (1024, 4)]
    assert [row.bytes for row in played.transfers("cut_gradient")] == [2048, 2048, 1024]
    row = played.rounds[0]
    assert (row.uplink_bytes, row.downlink_bytes, row.overhead_bytes) == (40 * 136 + 33_280, 40 * 128 + 33_280, 24)


def test_flops_of_a_round_are_those_of_fedavg() -> None:
    """Split between device and server, counted once, at every cut; nothing else in the round has any."""
    for problem in (MLP, CNN):
        common: dict[str, Any] = {"cohort": 3, **ROUNDS, **RATES}
        whole = play(plan(fedavg, FedAvgSettings(**common), fleet(3), samples=SAMPLES, problem=problem))
        for blocks in range(1, len(build(problem.model))):
            split = time_only(split_plan(splitfed_v1, SplitFedV1Settings(**common), cut(problem, blocks)))
            for one, other in zip(split.rounds, whole.rounds, strict=True):
                assert one.device_flops + one.server_flops == other.device_flops + other.server_flops
                assert 0 < one.device_flops < other.device_flops


def test_the_order_and_times_of_a_minibatch_by_hand() -> None:
    # One device, one minibatch of 16; 1 GFLOP/s everywhere, 8 Mbit/s up, 16 Mbit/s down.
    # Weights down 33,280 bytes: 16.64 ms. Forward 2 16 64 128 = 262,144 FLOPs: 0.262144 ms. Labels (128 bytes) and smashed data
    # (8,192) share the uplink: the labels are there after 2 128 bytes, 0.256 ms, all after 8,320 bytes, 8.32 ms. Server
    # 3 2 16 128 10 = 122,880 FLOPs: 0.12288 ms. Cut gradient down: 4.096 ms. Backward as much as forward. Update up: 33.28 ms.
    played = play(split_plan(splitfed_v1, ONE, cut(MLP, 1), (16,)))
    found = {
        row.kind: (row.start_ns / 1e6, row.end_ns / 1e6) for row in played.events
        if row.kind in ("weights", "front", "smashed", "labels", "back", "cut_gradient", "resume", "update")
    }  # fmt: skip
    times = [0.0, 16.64]
    for duration in (0.262144, 8.32, 0.12288, 4.096, 0.262144, 33.28):
        times.append(times[-1] + duration)
    steps = ("weights", "front", "smashed", "back", "cut_gradient", "resume", "update")
    for step, start, end in zip(steps, times, times[1:], strict=False):
        assert found[step] == pytest.approx((start, end), abs=1e-5), step
    assert found["labels"] == pytest.approx((times[2], times[2] + 0.256), abs=1e-5)
    assert played.end.virtual_ns / 1e6 == pytest.approx(times[-1], abs=1e-5)


def test_turns_of_split_learning_follow_one_another() -> None:
    settings = SplitLearningSettings(rounds=1, cohort=3, learning_rate=0.1)
    played = time_only(split_plan(split_learning, settings, cut(MLP, 1)))
    relayed = played.transfers("weights")
    assert [row.peer for row in relayed] == [name for d in range(3) for name in (f"device-{d:04d}", "server")]
    assert all(one.end_ns <= other.start_ns for one, other in pairwise(relayed))


# ---- memory ----------------------------------------------------------------------------------------------------------------


def test_memory_of_both_passes_in_the_rows_by_hand() -> None:
    # The MLP at batches of 16, 40 samples, no momentum: data 40 (64 + 8) = 2,880; half 33,280; peaks as in
    # tests/learning/test_split.py. Forward of the first minibatch: half, data, the minibatch 16 (64 + 8), pixels 4,096, and
    # twice 8,192. Backward: half, data, what waits (4,096 + 8,192), the cut gradient, the one behind the ReLU (8,192 each), the
    # weights' (33,280). In the first minibatch what came from the server is the half: it lies there once.
    played = time_only(split_plan(splitfed_v1, ONE, cut(MLP, 1), (40,)))
    peaks = {kind: [row.peak_memory_bytes for row in played.events if row.kind == kind] for kind in ("front", "resume")}
    resident = 33_280 + 2_880
    assert peaks["front"][1] == resident + 16 * 72 + 4_096 + 2 * 8_192
    assert peaks["resume"][1] == resident + 4_096 + 8_192 + 2 * 8_192 + 33_280


def test_nothing_is_left_behind_round_by_round() -> None:
    """Living handles, kept results and the devices' memories are back where they were at the end of every round."""
    for protocol, settings in (
        (splitfed_v1, SplitFedV1Settings(cohort=3, rounds=5, learning_rate=0.1, momentum=0.9)),
        (split_learning, SplitLearningSettings(cohort=3, rounds=5, learning_rate=0.1, momentum=0.9)),
        (alternating, SplitTraining(cohort=3, rounds=5, learning_rate=0.1, momentum=0.9)),
    ):
        blueprint = split_plan(protocol, settings, cut(CNN, 2), (40, 40, 40))
        executor = Inline(holdings(blueprint))
        simulation = Simulation(blueprint, executor)
        seen = []
        for messages in simulation.messages():
            if any(isinstance(message, Round) for message in messages):
                kept = sum(d.shelf.bytes - d.data.nbytes for d in simulation.world.devices if d.shelf is not None)
                seen.append(
                    (simulation.engine.tape.living, len(executor._values), len(simulation.engine.tape._ops), kept)
                )
        assert len(seen) == 5
        assert len(set(seen[1:-1])) == 1, (protocol, seen)
        assert seen[2][3] == 0  # nothing but its data on any device


class Counting(Inline):
    """Plays inline and remembers the programs."""

    def play(self, programs: list[Program]) -> None:
        self.programs = [*getattr(self, "programs", []), *programs]
        super().play(programs)


@pytest.mark.parametrize(
    ("protocol", "settings"),
    [
        (splitfed_v1, SplitFedV1Settings(cohort=3, rounds=3, learning_rate=0.1)),
        (split_learning, SplitLearningSettings(cohort=3, rounds=3, learning_rate=0.1)),
    ],
)
def test_a_device_round_is_one_program_and_no_step_is_played_twice(protocol: Any, settings: Any) -> None:
    """3 devices x 3 rounds: a program each, the server's part of the minibatches in it; the server's own are apart."""
    blueprint = split_plan(protocol, settings, cut(MLP, 1))
    executor = Counting(holdings(blueprint))
    play(blueprint, executor)
    assert [program.lane for program in executor.programs if program.lane >= 0] == [0, 1, 2] * 3
    steps = [step.op for program in executor.programs for step in program.steps]
    assert len(steps) == len(set(steps))
    # Minibatches of 16 from 40, 34 and 18 samples: 3, 3 and 2; each is front, back and resume.
    found = [
        step.function.split(":")[1] for program in executor.programs if program.lane >= 0 for step in program.steps
    ]
    assert [found.count(name) for name in ("front", "back", "resume")] == [3 * 8] * 3


def test_a_device_lost_between_its_passes_leaves_nothing() -> None:
    """Its smashed data are on the air at ``LOSS_NS``, its step waits: the round goes on without it, as if it had not been."""
    settings = SplitTraining(rounds=4, cohort=3, learning_rate=0.1, momentum=0.9)
    blueprint = split_plan(losing, settings, cut(CNN, 2), (40, 40, 40))
    executor = Inline(holdings(blueprint))
    simulation, played, living = Simulation(blueprint, executor), Played(), []
    for messages in simulation.messages():
        played.take(messages)
        if any(isinstance(message, Round) for message in messages):
            living.append((simulation.engine.tape.living, len(executor._values)))
    (lost,) = [
        row for row in played.events if row.cause == "lost" and row.node == "device-0001" and row.verb == "send"
    ][:1]
    assert (lost.kind, lost.end_ns) == ("smashed", LOSS_NS)
    assert [row.finished for row in played.rounds] == [("device-0000", "device-0002")] * 4
    assert len(set(living[1:-1])) == 1
    assert played.end.skipped > 0  # its forward pass was never needed
    shelf = simulation.world.devices[1].shelf
    assert shelf is not None and shelf.bytes == simulation.world.devices[1].data.nbytes


def test_a_front_that_does_not_fit_says_which_batch_size_would() -> None:
    groups = fleet(1, memory_bytes=33_280 + 2_880 + 20_000)
    blueprint = plan(splitfed_v1, ONE, groups, samples=(40,), problem=cut(MLP, 1))
    with pytest.raises(OutOfMemory, match=r"front needs .* batch_size 8 would fit"):
        time_only(blueprint)


# ---- misuse, and the same everywhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("send", "device-0000 sends a step that waits; only values can be sent"),
        ("answer", "device-0000 answers a step a second time; expected one answer"),
        ("both", "device-0000 answers a step a second time; expected one answer"),
    ],
)
def test_misuse_is_told_with_its_line(what: str, says: str) -> None:
    settings = Marked(rounds=1, cohort=1, learning_rate=0.1, mark=what)
    with pytest.raises(ProtocolError, match=says) as caught:
        time_only(split_plan(misused, settings, cut(MLP, 1), (4,)))
    assert "split_protocols.py:" in str(caught.value)


@pytest.mark.parametrize(
    ("protocol", "settings"),
    [
        (splitfed_v1, SplitFedV1Settings(cohort=2, **ROUNDS, **RATES)),
        (split_learning, SplitLearningSettings(cohort=3, **ROUNDS, **RATES)),
        (alternating, SplitTraining(cohort=3, **ROUNDS, **RATES)),
    ],
)
def test_timing_only_gives_the_same_rows(protocol: Any, settings: Any) -> None:
    samples = (40, 40, 40) if protocol is alternating else (40, 34, 0)
    blueprint = split_plan(protocol, settings, cut(CNN, 2), samples)
    played, timed = play(blueprint), time_only(blueprint)
    assert timed.events == played.events
    assert played == play(blueprint)
