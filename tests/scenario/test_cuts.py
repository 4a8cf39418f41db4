"""Cuts: what ``check --cuts`` shows, by hand and beside a run; and what is refused before a run, with what would work."""

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from emulator.cli import main
from emulator.cut_memory import refuse_cut
from emulator.cuts import cost_of, cuts_of, split_for
from emulator.learning.codecs.settings import PlainCodec
from emulator.learning.models import ModelSpec
from emulator.model_rules import cut_findings
from emulator.preparation import prepare
from emulator.protocols.splitfed_v1 import SplitFedV1Settings
from emulator.reading import ScenarioError, read_scenario
from emulator.scenario import Scenario
from emulator.yaml_text import dump
from tests.devices.test_profile import WHOLE, figure, written
from tests.scenario import worlds
from tests.scenario.test_cli import cells
from tests.worlds import time_only

Captured = pytest.CaptureFixture[str]
SPLIT = {"name": "splitfed_v1", "rounds": 1, "cohort": 3, "learning_rate": 0.1, "momentum": 0.5}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working folder with ``whole.yaml`` (FedAvg) and ``split.yaml`` (SplitFed v1, the small CNN cut after block 2)."""
    (tmp_path / "whole.yaml").write_text(worlds.BASE)
    (tmp_path / "split.yaml").write_text(worlds.text({"model": {"name": "cnn", "cut": 2}, "protocol": SPLIT}))
    with chdir(tmp_path):
        yield tmp_path


def rows(text: str) -> list[list[str]]:
    """The lines of the tables whose first cell is a cut."""
    return [cells(line) for line in text.splitlines() if line[:1].isdigit()]


# ---- check --cuts ------------------------------------------------------------------------------------------------------------


def test_the_table_by_hand(folder: Path, capsys: Captured) -> None:
    """For a protocol that does not split; digits are 1x8x8.

    MLP, one cut. Device parameters 64 128 + 128 = 8,320. FLOPs a sample: forward 2 64 128 = 16,384, backward as much (no
    gradient of the pixels). Smashed: 128 float32, nowhere below 0 behind the ReLU. Held at a batch of 16: pixels
    16 64 4 = 4,096 and the ReLU's result 16 128 4 = 8,192: 12 KiB.
    """
    assert main(["check", "whole.yaml", "--cuts"]) == 0
    costs, verdicts = rows(capsys.readouterr().out)
    assert costs[:9] == ["1", "Flatten-Linear-ReLU", "8,320", "16,384", "16,384", "512", "512", "no", "12 KiB"]
    assert len(verdicts) == 3 and all(verdict.endswith(" ms, fits") for verdict in verdicts[1:])


def test_every_cut_with_the_scenarios_codec(folder: Path, capsys: Captured) -> None:
    # int8 of the CNN: 16x4x4, 32x2x2 and 64x2x2 values of a byte, and 4 / 16 of a byte of overhead.
    words = ["protocol.smashed={codec: int8}", "model.cut=1"]
    assert main(["check", "split.yaml", "--cuts", *words]) == 0
    found = rows(capsys.readouterr().out)[:3]
    assert [(row[0], row[5], row[6]) for row in found] == [
        ("1", "1,024", "256 + 0.25"), ("2", "512", "128 + 0.25"), ("3", "1,024", "256 + 0.25"),
    ]  # fmt: skip


@pytest.mark.parametrize(("model", "step"), [("cnn", 1), ("resnet9", 3), ("mlp", 1)])
def test_a_run_takes_what_the_table_says(model: str, step: int, folder: Path) -> None:
    """Time of both passes and largest need of the device that holds most, in the rows of the first full minibatch."""
    for cut in cuts_of(read_scenario("whole.yaml", [f"model.name={model}"]))[::step]:
        overrides = [f"model={{name: {model}, cut: {cut}}}", "protocol.smashed={codec: int8-signed}"]
        scenario = read_scenario("split.yaml", overrides)
        plan = prepare(scenario).plan
        cost = cost_of(split_for(scenario, cut), max(plan.samples))
        device = plan.devices[plan.samples.index(max(plan.samples))]
        played = [row for row in time_only(plan).events if row.node == device.name]
        forward, backward = (next(row for row in played if row.kind == kind) for kind in ("front", "resume"))
        took = (forward.end_ns - forward.start_ns + backward.end_ns - backward.start_ns) / 1e9
        assert took == pytest.approx(cost.seconds(device.profile) * device.slowdown, rel=1e-6, abs=2e-9)
        assert (forward.flops, backward.flops) == (cost.forward.flops, cost.backward.flops)
        assert max(row.peak_memory_bytes for row in played) == cost.peak_bytes
        assert next(row.bytes for row in played if row.kind == "smashed") == cost.sent_bytes[0]


def test_cuts_alone_or_not_at_all(folder: Path, capsys: Captured) -> None:
    for other in (["--devices"], ["--draws", "2"]):
        assert main(["check", "whole.yaml", "--cuts", *other]) == 2
        assert "got --cuts with --devices or --draws; expected one of them" in capsys.readouterr().err


def test_a_split_scenario_can_be_checked(folder: Path, capsys: Captured) -> None:
    assert main(["check", "split.yaml"]) == 0
    captured = capsys.readouterr()
    assert "memory of the largest step" in captured.out and captured.out.rstrip().splitlines()[-1].startswith(
        "tiny: valid"
    )


# ---- refused before the run --------------------------------------------------------------------------------------------------

NO_NEGATIVE = "which carries nothing below 0; expected a codec for both signs, as"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model={name: cnn}"], "model.cut: got none; expected 1 to 3, as splitfed_v1 splits cnn"),
        (["model.cut=0"], "model.cut: got 0; expected 1 to 3"),
        (["model.cut=4"], "model.cut: got 4; expected 1 to 3"),
        (["model={name: mlp, cut: 2}"], "model.cut: got 2; expected 1, as splitfed_v1 splits mlp"),
        (["model.cut=1.5"], "model.cut: got 1.5; expected a whole number"),  # inside a block, a residual one for instance
        (["devices.0.completeness={low: 0.5}"], "devices[0].completeness: got 0.5 to 1; expected none"),
        (["model.cut=-1"], "model.cut: got -1; expected a number at least 0"),
        (
            ["protocol.cut_gradient={codec: int8}"],
            f"protocol.cut_gradient: got int8, {NO_NEGATIVE} gradients have them, e.g. int8-signed",
        ),
        (
            ["model={name: resnet9, cut: 3}", "protocol.smashed={codec: int8}"],
            f"protocol.smashed: got int8, {NO_NEGATIVE} resnet9 cut after 3 blocks sends such data, "
            "e.g. int8-signed; with int8, a cut of 1, 2",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "check"])
def test_what_cannot_work_is_refused(command: str, words: list[str], says: str, folder: Path, capsys: Captured) -> None:
    before = sorted(folder.iterdir())
    assert main([command, "split.yaml", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"emulator: error: split.yaml: {says}"), captured.err
    assert captured.out == "" and captured.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("model", "cut", "codec", "refused"),
    [
        ("resnet9", 2, "int8", False),
        ("resnet9", 3, "int8", True),
        ("resnet9", 3, "int8-signed", False),
        ("resnet9", 3, "fp32", False),
        ("mobilenetv2", 1, "int8", False),
        ("mobilenetv2", 2, "int8", True),
        ("mobilenetv2", 19, "int8", False),
    ],
)
def test_int8_needs_a_relu_before_the_cut(model: str, cut: int, codec: Any, refused: bool) -> None:
    settings = SplitFedV1Settings(rounds=1, cohort=1, learning_rate=0.1, smashed=PlainCodec(codec=codec))
    assert (
        bool([*cut_findings("splitfed_v1", settings, ModelSpec(model, 10, (3, 32, 32)), ("model.cut", cut))]) is refused
    )


# ---- cuts that do not fit ---------------------------------------------------------------------------------------------------


def tight(folder: Path, memory_bytes: int, batch_size: int = 16) -> Scenario:
    """The split scenario, cut after block 3, on three devices with so much memory."""
    file = written(folder, {**WHOLE, "memory": figure(f"{memory_bytes} B")})
    group = {"profile": str(file), "count": 3}
    protocol = {**SPLIT, "batch_size": batch_size}
    text = worlds.data() | {"model": {"name": "cnn", "cut": 3}, "devices": [group], "protocol": protocol}
    (folder / "tight.yaml").write_text(dump(text))
    return read_scenario("tight.yaml", [])


def needs(scenario: Scenario, cut: int) -> int:
    """What a device that holds most needs at a cut."""
    return cost_of(split_for(scenario, cut), max(prepare(scenario).plan.samples)).peak_bytes


def test_a_cut_that_does_not_fit_is_refused_with_cuts_and_batches_that_do(folder: Path, capsys: Captured) -> None:
    """At batches of 16 cut 2 just fits; what is named is tried, and runs."""
    room = needs(tight(folder, 2**30), 2)
    scenario = tight(folder, room)
    assert needs(scenario, 1) < room < needs(scenario, 3)
    assert main(["run", "tight.yaml", "--timing-only"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("emulator: error: tight.yaml: model.cut: got 3: device-000")
    assert " are free; expected a cut of 1, 2 or protocol.batch_size " in told and told.count("\n") == 1
    assert not (folder / "results").exists()
    size = told.rsplit(" ", 1)[1].split()[0]
    for words in (["model.cut=1"], ["model.cut=2"], [f"protocol.batch_size={size}"]):
        assert main(["run", "tight.yaml", "--timing-only", *words]) == 0
    assert main(["run", "tight.yaml", "--timing-only", f"protocol.batch_size={2 * int(size)}"]) == 2


def test_where_nothing_fits_that_is_said(folder: Path) -> None:
    scenario = tight(folder, 5_000)
    with pytest.raises(ScenarioError, match="no cut and no batch size would fit"):
        refuse_cut(scenario, prepare(scenario).plan)


def test_who_is_left_out_is_not_refused(folder: Path) -> None:
    scenario = tight(folder, 5_000).model_copy(update={"on_out_of_memory": "exclude"})
    refuse_cut(scenario, prepare(scenario).plan)


def test_the_table_says_what_does_not_fit(folder: Path, capsys: Captured) -> None:
    tight(folder, needs(tight(folder, 2**30), 2))
    assert main(["check", "tight.yaml", "--cuts"]) == 0
    verdicts = [row[1] for row in rows(capsys.readouterr().out)[3:]]
    assert [verdict.split(", ")[1].split(" for")[0] for verdict in verdicts] == ["fits", "fits", "too large"]
