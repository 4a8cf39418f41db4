"""Device groups with cuts of their own: two cuts in one run beside plain PyTorch loops, bytes of each group, refusals."""

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emulator.blueprint import Blueprint
from emulator.cli import main
from emulator.cuts import cost_of, split_for
from emulator.devices.population import GroupSpec
from emulator.learning.evaluation import initial_weights
from emulator.learning.models import build
from emulator.learning.random import seed_of
from emulator.learning.sgd import Problem
from emulator.preparation import prepare
from emulator.protocols.catalogue import PROTOCOLS
from emulator.reading import read_scenario
from tests.devices.test_profile import WHOLE, figure, written
from tests.scenario import worlds
from tests.world.test_split_plain import NAMES, batches, mean
from tests.worlds import CNN, final_weights, fleet, plan, play, profile, time_only

Captured = pytest.CaptureFixture[str]
State = dict[str, Tensor]
SAMPLES, CUTS = (40, 33, 17), (1, 3, 3)
RATE = 0.02  # small: BatchNorm magnifies float32's rounding from step to step
COMMON: dict[str, Any] = {"rounds": 2, "cohort": 3, "learning_rate": RATE, "momentum": 0.5, "batch_size": 16}


def blueprint(name: str, cuts: tuple[int, ...] = CUTS, **settings: Any) -> Blueprint:
    """Three devices, each a group of its own."""
    groups = [GroupSpec(profile(), 1, cut=cut) for cut in cuts]
    entry, problem = PROTOCOLS[name], Problem(CNN.model, CNN.normalise, min(cuts))
    return plan(entry.run, entry.settings(**COMMON | settings), groups, samples=SAMPLES, problem=problem)


# ---- plain PyTorch ---------------------------------------------------------------------------------------------------------


def whole(state: State) -> nn.Sequential:
    model = build(CNN.model)
    model.load_state_dict({key: tensor.clone() for key, tensor in state.items()}, strict=False, assign=True)
    return model.train()


def state_of(model: nn.Module) -> State:
    return {key: tensor.detach().clone() for key, tensor in model.state_dict().items() if "tracked" not in key}


def initial() -> State:
    return initial_weights(seed_of(1, "initial"), model=CNN.model)


def sgd(*modules: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([parameter for part in modules for parameter in part.parameters()], lr=RATE, momentum=0.5)


def step(optimiser: torch.optim.SGD, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def close(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, atol=1e-6, rtol=1e-5, msg=key)


def test_splitfed_v1_is_fedavg_whatever_the_cuts() -> None:
    """Theory: a device's two halves are unsplit SGD, and each tensor is averaged over all: FedAvg of whole models."""
    state = initial()
    for number in (1, 2):
        states = []
        for device in range(3):
            model = whole(state)
            optimiser = sgd(model)
            for images, labels in batches(SAMPLES, device, number):
                step(optimiser, nn.functional.cross_entropy(model(images), labels))
            states.append(state_of(model))
        state = mean(states, SAMPLES)
    close(final_weights(blueprint("splitfed_v1")), state)


def test_split_learning_with_two_cuts() -> None:
    """In turns; the front's momentum starts anew, the server's goes on - of blocks that were away, as it was."""
    model = whole(initial())
    kept: dict[str, Tensor] = {}
    for number in (1, 2):
        for device, cut in enumerate(CUTS):
            velocity = {
                name: kept.get(name, torch.zeros_like(tensor)) if int(name[0]) >= cut else torch.zeros_like(tensor)
                for name, tensor in model.named_parameters()
            }
            for images, labels in batches(SAMPLES, device, number):
                loss = nn.functional.cross_entropy(model(images), labels)
                named = dict(model.named_parameters())
                for (name, tensor), slope in zip(
                    named.items(), torch.autograd.grad(loss, list(named.values())), strict=True
                ):
                    velocity[name] = 0.5 * velocity[name] + slope
                    tensor.data -= RATE * velocity[name]
            kept.update({name: tensor for name, tensor in velocity.items() if int(name[0]) >= cut})
    close(final_weights(blueprint("split_learning")), state_of(model))


def heads() -> dict[int, nn.Linear]:
    """Of the two cuts: 16 x 4 x 4 and 64 x 2 x 2 values."""
    found = {}
    for cut, values in ((1, 256), (3, 256)):
        generator, reach = torch.Generator().manual_seed(seed_of(1, "initial", "head")), values**-0.5
        head = nn.Linear(values, 10)
        head.weight.data = torch.empty(10, values).uniform_(-reach, reach, generator=generator)
        head.bias.data = torch.empty(10).uniform_(-reach, reach, generator=generator)
        found[cut] = head
    return found


def test_local_loss_has_a_head_for_each_cut() -> None:
    state, guesses = initial(), {cut: state_of(head) for cut, head in heads().items()}
    for number in (1, 2):
        states: list[State] = []
        taught: list[State] = []
        for device, cut in enumerate(CUTS):
            model, guess = whole(state), nn.Linear(256, 10)
            guess.load_state_dict(guesses[cut])
            front, back = model[:cut], model[cut:]
            learning, serving = sgd(front, guess), sgd(back)
            for images, labels in batches(SAMPLES, device, number):
                smashed = front(images)
                step(serving, nn.functional.cross_entropy(back(smashed.detach()), labels))
                step(learning, nn.functional.cross_entropy(guess(smashed.flatten(1)), labels))
            states.append(state_of(model))
            taught.append(state_of(guess))
        state, guesses = mean(states, SAMPLES), {1: taught[0], 3: mean(taught[1:], SAMPLES[1:])}
    close(final_weights(blueprint("local_loss")), state)


def test_ecofed_replays_each_entry_at_its_own_cut() -> None:
    """Round 1 sends, round 2 replays; three of three entries, drawn without replacement, so order alone is by chance.

    Fronts are frozen (BatchNorm in evaluation). A block's mean is over the server's copies that have it: block 1 is that of the
    device that is cut after block 0, blocks 3 on are of all.
    """
    start = initial()
    state = start
    sent = {device: list(batches(SAMPLES, device, 1)) for device in range(3)}
    for _ in (1, 2):
        states = []
        for device, cut in enumerate(CUTS):
            frozen, model = whole(start)[:cut].eval(), whole(state)
            optimiser = sgd(model[cut:])
            for images, labels in sent[device]:
                with torch.no_grad():
                    smashed = frozen(images)
                step(optimiser, nn.functional.cross_entropy(model[cut:](smashed), labels))
            states.append({key: value for key, value in state_of(model).items() if int(key[0]) >= cut})
        for block in range(1, len(whole(start))):
            holding = [{k: v for k, v in copy.items() if int(k[0]) == block} for copy in states]
            holding = [copy for copy in holding if copy]
            state = state | mean(holding, (1,) * len(holding)) if holding else state
    found = final_weights(blueprint("ecofed", smashed={"codec": "fp32"}, replay_period=2))
    close(found, {key: start[key] if key[0] == "0" else tensor for key, tensor in state.items()})


# ---- one cut for all, bytes, the clock ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["splitfed_v1", "split_learning", "local_loss", "ecofed"])
def test_groups_on_one_cut_change_nothing(name: str) -> None:
    entry = PROTOCOLS[name]
    problem = Problem(CNN.model, CNN.normalise, 2)
    usual = play(plan(entry.run, entry.settings(**COMMON), fleet(3), samples=SAMPLES, problem=problem))
    grouped = play(blueprint(name, (2, 2, 2)))
    assert (grouped.events, grouped.end.weights_sha256) == (usual.events, usual.end.weights_sha256)


@pytest.mark.parametrize("pipeline", [1, 2])
@pytest.mark.parametrize("name", ["splitfed_v1", "split_learning", "local_loss", "ecofed"])
def test_bytes_of_each_group(name: str, pipeline: int) -> None:
    """A sample is 16 x 4 x 4 float32 at cut 1 and 64 x 2 x 2 at cut 3; fronts are larger at the deeper cut."""
    extra: dict[str, Any] = {"smashed": {"codec": "fp32"}} | ({} if name == "ecofed" else {"pipeline": pipeline})
    played = play(two := blueprint(name, **extra))
    assert time_only(two).events == played.events
    for device, samples in zip(NAMES, SAMPLES, strict=True):
        first = [row for row in played.events if row.round == 1 and row.node == device and row.kind == "smashed"]
        assert sum(row.bytes for row in first) == samples * 1024
    parameters = {1: 1 * 16 * 9 + 4 * 16, 3: 16 * 9 + 4 * 16 + 16 * 32 * 9 + 4 * 32 + 32 * 64 * 9 + 4 * 64}
    head = 10 * 257 if name == "local_loss" else 0
    for device, cut in zip(NAMES, CUTS, strict=True):
        down = [row.bytes for row in played.transfers("weights") if row.peer == device]
        assert down == ([] if name == "ecofed" else [4 * (parameters[cut] + head)] * 2)


# ---- a scenario -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """``groups.yaml``: Raspberry Pis with one block of the CNN, a phone with two."""
    groups: list[dict[str, Any]] = [
        {"profile": "raspberry-pi-4", "count": 2}, {"profile": "phone-low", "count": 1, "cut": 2},
    ]  # fmt: skip
    protocol = {"name": "splitfed_v1", "rounds": 1, "cohort": 3, "learning_rate": 0.1}
    text = worlds.text({"model": {"name": "cnn", "cut": 1}, "devices": groups, "protocol": protocol})
    (tmp_path / "groups.yaml").write_text(text)
    with chdir(tmp_path):
        yield tmp_path


def test_check_shows_the_cut_of_each_group(folder: Path, capsys: Captured) -> None:
    assert main(["check", "groups.yaml"]) == 0
    told = capsys.readouterr().out.splitlines()
    fleet_rows, memory_rows = (
        [line for line in told if line.startswith(name)] for name in ("raspberry-pi-4", "phone-low")
    )
    assert [line.split()[-1] for line in (fleet_rows[0], memory_rows[0])] == ["1", "2"]
    assert [line.split()[1] for line in (fleet_rows[1], memory_rows[1])] == ["1", "2"]
    assert main(["check", "groups.yaml", "--devices", "csv"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    column = header.split(",").index("cut")
    assert [row.split(",")[column] for row in rows] == ["1", "1", "2"]


def test_a_run_of_groups(folder: Path) -> None:
    scenario = read_scenario("groups.yaml", [])
    assert scenario.cuts == [1, 1, 2][1:] and prepare(scenario).plan.problem.cut == 1
    assert main(["run", "groups.yaml", "--inline", "--json"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model.name=mlp"], "devices[1].cut: got 2; expected 1, as splitfed_v1 splits mlp"),
        (["model={name: cnn}"], "model.cut: got none; expected 1 to 3"),
        (["protocol.name=splitfed_v2"], "devices[1].cut: got 2 beside 1; expected one cut for all, as splitfed_v2 joins"),
        (["model={name: cnn}", "protocol.name=fedavg"], "devices[1].cut: got 2; expected none, as fedavg has no use for it"),
        (["model={name: resnet9, cut: 3}", "protocol.smashed={codec: int8}"], "protocol.smashed: got int8"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(words: list[str], says: str, folder: Path, capsys: Captured) -> None:
    assert main(["check", "groups.yaml", *words]) == 2
    assert capsys.readouterr().err.startswith(f"emulator: error: groups.yaml: {says}")


@pytest.mark.parametrize(("cut", "says"), [(4, "got 4; expected 1 to 3"), (2.5, "got 2.5; expected a whole number")])
def test_a_cut_outside_the_model_or_inside_a_block(cut: object, says: str, folder: Path, capsys: Captured) -> None:
    text = Path("groups.yaml").read_text()
    Path("groups.yaml").write_text(text.replace("cut: 2", f"cut: {cut}"))
    assert main(["check", "groups.yaml"]) == 2
    assert capsys.readouterr().err.startswith(f"emulator: error: groups.yaml: devices[1].cut: {says}")


def test_memory_is_checked_group_by_group(folder: Path, capsys: Captured) -> None:
    """Room for cut 2 alone: the group at cut 3 is named, the other is not."""
    data = worlds.data() | {"model": {"name": "cnn", "cut": 2}}
    data["protocol"] = {"name": "splitfed_v1", "rounds": 1, "cohort": 3, "learning_rate": 0.1}

    def room(size: int) -> None:
        file = str(written(folder, {**WHOLE, "memory": figure(f"{size} B")}))
        data["devices"] = [{"profile": file, "count": 2}, {"profile": file, "count": 1, "cut": 3}]
        from emulator.yaml_text import dump

        (folder / "tight.yaml").write_text(dump(data))

    room(2**30)
    scenario = read_scenario("tight.yaml", [])
    room(cost_of(split_for(scenario, 2), max(prepare(scenario).plan.samples)).peak_bytes)
    assert main(["run", "tight.yaml", "--timing-only"]) == 2
    told = capsys.readouterr().err
    assert (
        told.startswith("emulator: error: tight.yaml: devices[1].cut: got 3: device-0002") and "a cut of 1, 2" in told
    )


def test_a_cut_below_the_fleets_smallest_is_refused() -> None:
    entry = PROTOCOLS["splitfed_v1"]
    groups = [GroupSpec(profile(), 1, cut=1)]
    with pytest.raises(ValueError, match=r"device-0000: got a cut of 1; expected 2 or more"):
        play(
            plan(
                entry.run,
                entry.settings(**COMMON | {"cohort": 1}),
                groups,
                problem=Problem(CNN.model, CNN.normalise, 2),
            )
        )
