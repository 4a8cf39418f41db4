"""TinyFEL in a scenario: what is refused before the run and during it, through the command line."""

import re
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from emulator.cli import main
from emulator.devices import profile_file
from emulator.preparation import prepare
from emulator.reading import read_scenario
from emulator.yaml_text import dump
from tests.scenario.worlds import data
from tests.worlds import time_only

RADIO: dict[str, Any] = {
    "bandwidth": "1 MHz", "shadowing": "0 dB", "radius": "400 m", "nearest": "35 m",
    "fading": {"mode": "transfer", "coherence": "1 s"},
}  # fmt: skip
TINYFEL: dict[str, Any] = {"name": "tinyfel", "rounds": 8, "cohort": 3, "learning_rate": 0.1}


def scenario(folder: Path, **changes: Any) -> Path:
    """Three devices in a cell of 1 MHz. Keys: of the protocol; cell and radio: of those; devices: all groups;
    protocol: another one; other: cell b."""
    radio = RADIO | changes.pop("radio", {})
    cell = {"sharing": "assigned", "radio": radio} | changes.pop("cell", {})
    groups = changes.pop("devices", [{"profile": "raspberry-pi-4", "count": 3, "cell": "a"}])
    wired = {"uplink": "8 Mbit/s", "downlink": "8 Mbit/s", "latency": "1 ms"}
    cells = {"a": cell, "b": changes.pop("other", wired)}
    path = folder / "s.yaml"
    protocol = changes.pop("protocol", TINYFEL | changes)
    told = {"model": {"name": "cnn"}, "devices": groups, "network": {"cells": cells}, "protocol": protocol}
    path.write_text(dump({**data(), **told}))
    return path


def refused(path: Path, capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The one message of a command that is refused; nothing else is written."""
    with chdir(path.parent):
        assert main([*command, path.name]) == 2
    told = capsys.readouterr().err
    found = [line for line in told.splitlines() if line.startswith("emulator: error: ")]
    assert len(found) == 1, told
    assert "Traceback" not in told
    return found[0]


PI = {"profile": "raspberry-pi-4", "count": 1}
BEFORE: list[tuple[dict[str, Any], str]] = [
    ({"cell": {"connection": {"initial_window": 14480}}},
     "network.cells.a.connection.initial_window: got 14480; expected 0, as protocol.bandwidth is optimised"),
    ({"radio": {"fading": {"mode": "block"}}}, "network.cells.a.radio.fading.mode: got block; expected transfer"),
    ({"radio": {"fading": {"mode": "mean"}}}, "network.cells.a.radio.fading.mode: got mean; expected transfer"),
    ({"radio": {"rate_map": {"kind": "cqi"}}}, "network.cells.a.radio.rate_map.kind: got cqi; expected shannon"),
    ({"radio": {"rate_map": {"ceiling": 4.0}}, "bandwidth": "equal"},
     "network.cells.a.radio.rate_map.ceiling: got 4; expected none, as protocol.bandwidth is equal"),
    ({"cell": {"sharing": "fdma"}}, "protocol.bandwidth: got optimised in cell a, whose sharing is fdma; expected one with"),
    ({"devices": [PI | {"cell": "a"}, PI, PI]}, "protocol.bandwidth: got optimised with devices[1] in no cell"),
    ({"devices": [PI | {"cell": "a"}, PI | {"cell": "b"}, PI | {"cell": "a"}]},
     "protocol.bandwidth: got optimised with devices in a, b; expected one cell"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), BEFORE)
def test_what_the_assignment_does_not_know_is_refused(
    changes: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scenario(tmp_path, **changes)
    assert f"s.yaml: {says}" in refused(path, capsys, "check")
    assert f"s.yaml: {says}" in refused(path, capsys, "run", "--timing-only")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("changes", [changes for changes, _ in BEFORE])
def test_where_the_network_shares_the_band_it_runs(changes: dict[str, Any], tmp_path: Path) -> None:
    shared = {"cell": {"sharing": "fdma"} | changes.get("cell", {}), "bandwidth": "network", "rounds": 1}
    found = read_scenario(str(scenario(tmp_path, **(changes | shared))))
    again = tmp_path / "again.yaml"
    again.write_text(found.to_yaml())
    assert read_scenario(str(again)) == found
    assert len(time_only(prepare(found).plan).rounds) == 1


NONE = "network.cells.a.sharing: got assigned, but the protocol, with these settings, assigns no bandwidth; expected fdma, "
FDMA = {"sharing": "fdma", "radio": RADIO}
ROAMING = PI | {"cell": "b", "mobility": {"cells": ["a", "b"]}}


@pytest.mark.parametrize(
    "changes",
    [
        {"bandwidth": "network"},
        {"protocol": {"name": "fedavg", "rounds": 1, "cohort": 3, "learning_rate": 0.1}},
        {"protocol": {"name": "fedasync", "rounds": 1, "concurrency": 3, "learning_rate": 0.1}},
        {"bandwidth": "network", "other": FDMA, "devices": [PI | {"cell": "b"}, ROAMING, ROAMING]},
    ],
)
def test_a_band_that_waits_for_a_protocol_which_assigns_none_is_refused(
    changes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing could be sent there."""
    path = scenario(tmp_path, **changes)
    assert f"s.yaml: {NONE}" in refused(path, capsys, "check")
    assert f"s.yaml: {NONE}" in refused(path, capsys, "run", "--timing-only")


def test_an_energy_cap_needs_powers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(profile_file.__file__).parent / "catalogue" / "raspberry-pi-4.yaml").read_text()
    board = tmp_path / "board.yaml"
    board.write_text(re.sub(r"(?m)^\w+_power:\n(?:  .*\n)+", "", text))
    path = scenario(tmp_path, energy_cap_j=5.0, devices=[{"profile": str(board), "count": 3, "cell": "a"}])
    says = f"protocol.energy_cap_j: got 5.0 with {board}, which has no powers; expected profiles with powers"
    assert says in refused(path, capsys, "check")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"required": 0.9, "memory_share": 0.1}, "protocol.memory_share: got 0.1, which round 1 cannot meet: memory caps: "
         "the sum of q_k u_k reaches"),
        ({"latest_s": 0.01}, "protocol.latest_s: got 0.01, which round 1 cannot meet: latency: the least is "),
        ({"energy_cap_j": 1e-6}, "protocol.energy_cap_j: got 1e-06, which round 1 cannot meet: energy caps: "),
    ],
)  # fmt: skip
def test_a_first_round_that_cannot_be_planned_is_refused_before_the_run(
    changes: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message with the constraint, the round and a device; exit code 2; no folder."""
    path = scenario(tmp_path, **changes)
    for command in (("check",), ("run", "--inline"), ("run", "--timing-only")):
        told = refused(path, capsys, *command)
        assert f"s.yaml: {says}" in told
        assert "(device-000" in told
        assert list(tmp_path.iterdir()) == [path]


def test_a_later_round_that_cannot_be_planned_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """T of each round as the channel fades tells a limit that the first round keeps and a later one does not."""
    fades: dict[str, Any] = {"radio": {"fading": {"mode": "transfer", "coherence": "200 ms"}}}
    path = scenario(tmp_path, **fades)
    needed = [row.metrics["assigned_s"] for row in time_only(prepare(read_scenario(str(path))).plan).rounds]
    later = next(number for number, seconds in enumerate(needed) if seconds > 1.01 * max(needed[: number or 1]))
    path = scenario(tmp_path, **fades, latest_s=(max(needed[:later]) + needed[later]) / 2)
    with chdir(tmp_path):
        assert main(["check", path.name]) == 0
    told = refused(path, capsys, "run", "--timing-only", "--out", "late")
    assert "s.yaml: protocol.latest_s: got " in told
    assert f"which round {later + 1} cannot meet: latency: the least is {needed[later]:.6g} s; expected " in told
    assert " s too late (device-000" in told
    assert len(list((tmp_path / "late").glob("*/*/rounds.csv"))) == 1  # as far as it got
