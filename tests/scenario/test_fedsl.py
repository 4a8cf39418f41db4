"""FedSL in a scenario: what is refused before the run, and how it is told; the shipped scenarios. Exact by hand."""

from contextlib import chdir
from pathlib import Path

import pytest

from emulator.cli import main
from emulator.reading import read_scenario
from tests.scenario.worlds import text

FEDSL = {"name": "fedsl", "rounds": 4, "cohort": 3, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("settings", "model", "says"),
    [
        ({"pruning_rate": 1.0}, "cnn", "protocol.pruning_rate: got 1"),
        ({"pruning_rate": -0.1}, "cnn", "protocol.pruning_rate: got -0.1"),
        ({"gradient_bits": 0}, "cnn", "protocol.gradient_bits: got 0"),
        ({"gradient_bits": 33}, "cnn", "protocol.gradient_bits: got 33"),
        ({"dropout": 1.0}, "cnn", "protocol.dropout: got 1"),
        ({"interval": 0}, "cnn", "protocol.interval: got 0"),
        ({"interval": 3}, "cnn", "rounds: got 4 with an interval of 3; expected a multiple of it"),
        ({"upload": "kept", "update_codec": {"codec": "fp16"}}, "cnn", "upload: got kept with a codec"),
        ({"pruning_rates": {"phone-low": 1.0}}, "cnn", "protocol.pruning_rates.phone-low: got 1"),
        (
            {"pruning_rates": {"phone-high": 0.5}},
            "cnn",
            'protocol.pruning_rates: got "phone-high"; expected profiles of the fleet: phone-low, raspberry-pi-4',
        ),
        (
            {"pruning_rate": 0.5, "prune_by": "filter"},
            "resnet8",
            "protocol.prune_by: got filter; expected weight, as the first 1 blocks of resnet8 have no filters",
        ),
    ],
)
def test_what_is_refused(
    settings: dict[str, object], model: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one message that names the key; nothing is written."""
    path = tmp_path / "s.yaml"
    path.write_text(text({"protocol": FEDSL | settings, "model": {"name": model, "cut": 1}}))
    with chdir(tmp_path):
        assert main(["run", "s.yaml"]) == 2
    told = capsys.readouterr().err
    assert f"s.yaml: {says}" in told or (says in told and "s.yaml: protocol" in told), told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"backs": "shared"}, "backs: shared joins all devices' data"),
        ({"interval": 2}, "fronts are not averaged every"),
    ],
)
def test_cuts_of_their_own_need_an_average_in_every_round(
    settings: dict[str, object], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = [{"profile": "phone-low", "count": 1, "cut": cut} for cut in (1, 2)]
    path = tmp_path / "s.yaml"
    common = {"model": {"name": "cnn"}, "devices": groups}
    path.write_text(text({"protocol": FEDSL | {"cohort": 2} | settings, **common}))
    assert main(["run", str(path), "--timing-only"]) == 2
    assert f"devices[1].cut: got 2 beside 1; expected one cut for all, as {reason}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fedsl_mnist", "fedsl_vgg19_cifar10"])
def test_shipped_scenarios_are_in_order(name: str) -> None:
    scenario = read_scenario(name, [])
    assert scenario.protocol_name == "fedsl"
    assert read_scenario(name, ["protocol.pruning_rate=0"]).sha256() != scenario.sha256()
