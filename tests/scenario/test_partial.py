"""Partial training in scenarios: what is refused before a run, with file and key path; what is shipped is whole."""

from pathlib import Path

import pytest

from emulator.cli import main
from emulator.preparation import draw_fleet
from emulator.reading import read_scenario
from tests.scenario.worlds import swapped

FEDAVG = "{name: fedavg, rounds: 2, cohort: 3, learning_rate: 0.1}"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("name: elfish, volume: 0.1", "protocol.volume: got 0.1; expected at least least_volume, 0.2"),
        ("name: elfish, volume: 0", "protocol.volume: got 0; "),
        ("name: elfish, volume: 1.1", "protocol.volume: got 1.1; "),
        ('name: elfish, layers: {"7.0": 0.5}', 'protocol.layers: got "7.0"; expected inner layers of mlp: 0.1'),
        ('name: elfish, layers: {"0.1": 0.003}', "protocol.layers.0.1: got 0.003 of 128 neurons, which keeps none"),
        ('name: elfish, layers: {"0.1": 2.0}', "protocol.layers.0.1: got 2; expected above 0 and at most 1"),
        ("name: heterofl, levels: [0.5, 0.0]", "protocol.levels[1]: got 0"),
        ("name: fjord, levels: []", "protocol.levels: "),
        ("name: elfish, pace_s: 2.0, slowest: 1", "protocol: got "),
        ("name: federated_dropout", "protocol.volume: "),
        ("name: federated_dropout, volume: 1.5", "protocol.volume: got 1.5; "),
    ],
)
def test_refused_before_the_run(settings: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(swapped(FEDAVG, f"{{{settings}, rounds: 2, cohort: 3, learning_rate: 0.1}}"))
    assert main(["check", str(file)]) == 2
    assert f"{file}: {says}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["elfish", "heterofl", "fjord", "federated_dropout, volume: 0.5"])
def test_models_without_sub_networks_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gated.yaml"
    text = swapped(FEDAVG, f"{{name: {name}, rounds: 2, cohort: 3, learning_rate: 0.1}}")
    file.write_text(text.replace("{name: mlp}", "{name: cnn_gated}"))
    assert main(["check", str(file)]) == 2
    assert "model.name: got cnn_gated; expected a model with sub-networks" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "devices"), [("elfish", 6), ("elfish_boards", 3)])
def test_shipped(name: str, devices: int) -> None:
    scenario = read_scenario(name)
    assert scenario.protocol_name == "elfish"
    assert len(draw_fleet(scenario)) == devices


PACE = {"pace_s: 2.0": "pace_s: got 2.0; expected none", "slowest: 1": "slowest: got 1; expected none",
        "threshold: 1.5": "threshold: got 1.5; expected 1.25, the default",
        "pace_counts: both": "pace_counts: got both; expected upload, the default",
        "smoothing: 1.0": "smoothing: got 1.0; expected 0.5, the default",
        "tolerance: 0.1": "tolerance: got 0.1; expected 0.05, the default"}  # fmt: skip


@pytest.mark.parametrize("name", ["heterofl", "fjord"])
@pytest.mark.parametrize("given", PACE)
def test_a_pace_that_decides_nothing_is_refused(
    name: str, given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "drawn.yaml"
    block = f"{{name: {name}, assignment: drawn, {given}, rounds: 2, cohort: 3, learning_rate: 0.1}}"
    file.write_text(swapped(FEDAVG, block))
    assert main(["check", str(file)]) == 2
    assert f"{PACE[given]}, as it has no effect with assignment: drawn" in capsys.readouterr().err


@pytest.mark.parametrize(
    "settings",
    ["name: heterofl, assignment: drawn", "name: fjord, assignment: drawn", "name: elfish, selection: fixed"],
)
def test_resolved_with_all_defaults_written_out_it_reads_again(settings: str, tmp_path: Path) -> None:
    file, again = tmp_path / "a.yaml", tmp_path / "b.yaml"
    file.write_text(swapped(FEDAVG, f"{{{settings}, rounds: 2, cohort: 3, learning_rate: 0.1}}"))
    scenario = read_scenario(str(file))
    again.write_text(scenario.to_yaml())
    assert read_scenario(str(again)) == scenario
