"""Named fleets: what ships, how a scenario takes one, and what it may not say beside it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from emulator.cli import main
from emulator.devices.profile_file import profile_names
from emulator.fleets import fleet_names, load_fleet
from emulator.preparation import draw_fleet
from emulator.presets import preset_names
from emulator.scenario import Scenario, build
from emulator.schema import schema
from emulator.yaml_text import load
from tests.scenario import worlds

NAME = "edge-mix-20-v1"


def plain(**blocks: Any) -> dict[str, Any]:
    """A scenario's data on the small fleet."""
    found = {key: value for key, value in worlds.data().items() if key not in ("devices", "network")}
    return {**found, "fleet": NAME, **blocks}


def by_kind(scenario: Scenario) -> Counter[str]:
    return Counter(device.profile.name.partition("-")[0] for device in draw_fleet(scenario))


# ---- what ships --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", fleet_names())
def test_shipped_fleets_are_what_their_names_say(name: str) -> None:
    # NAME-DEVICES-vVERSION
    _, devices, version = name.rsplit("-", 2)
    fleet = load_fleet(name)
    assert (f"v{fleet.version}", set(fleet.network)) == (version, {"cells", "sites"})
    scenario = build(plain(fleet=name))
    assert scenario.fleet_size == int(devices)
    assert {group.profile for group in scenario.devices} <= set(profile_names())
    assert all(group.slowdown is not None and group.slowdown.distribution == "lognormal" for group in scenario.devices)
    assert {cell["preset"] for cell in fleet.network["cells"].values()} <= set(preset_names())
    # Every cell has devices, and every home its own line.
    assert {group.cell for group in scenario.devices} == set(fleet.network["cells"])
    assert {cell.site for cell in scenario.network.cells.values()} - {None} == set(fleet.network["sites"])


def test_the_shares_of_kinds() -> None:
    assert by_kind(build(plain(fleet="edge-mix-200-v1"))) == {"phone": 100, "raspberry": 53, "laptop": 30, "jetson": 17}
    assert by_kind(build(plain())) == {"phone": 10, "raspberry": 5, "laptop": 3, "jetson": 2}
    large = Counter(device.profile.name for device in draw_fleet(build(plain(fleet="edge-mix-200-v1"))))
    assert (large["phone-low"], large["phone-mid"], large["phone-high"]) == (25, 60, 15)


# ---- taking one ----------------------------------------------------------------------------------------------------------


def test_a_fleet_brings_its_groups_and_its_network() -> None:
    network = {"cells": {"lab": {"preset": "wifi-6"}}, "backhaul": {"rate": "1 Gbit/s"}}
    scenario = build(plain(network=network))
    assert set(scenario.network.cells) == {"home-1", "home-2", "lte-1", "lab"}
    assert scenario.network.sites["home-1"].uplink == 40e6
    assert scenario.network.backhaul.rate == 1e9


def test_a_resolved_scenario_says_fleet_groups_and_cells_and_reads_back() -> None:
    scenario = build(plain())
    resolved = scenario.resolved()
    assert (resolved["fleet"], len(resolved["devices"]), len(resolved["network"]["cells"])) == (NAME, 15, 3)
    again = build(load(scenario.to_yaml()))
    assert again == scenario
    assert again.sha256() == scenario.sha256()
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(json.loads(json.dumps(plain())))
    validator.validate(resolved)
    assert not validator.is_valid({key: value for key, value in plain().items() if key != "fleet"})
    assert not validator.is_valid(plain(fleet=None))


def test_without_a_fleet_none_is_written() -> None:
    assert build(worlds.data()).resolved()["fleet"] is None


# ---- what does not go together -------------------------------------------------------------------------------------------


def test_other_groups_beside_a_fleet() -> None:
    resolved = build(plain()).resolved()
    resolved["devices"][0]["count"] = 2
    with pytest.raises(
        ValidationError, match=rf"devices: got other groups than those of fleet {NAME}; expected none, or"
    ):
        build(resolved)


@pytest.mark.parametrize(("part", "what"), [("cells", "cell"), ("sites", "site")])
def test_a_name_that_the_fleet_has_too(part: str, what: str) -> None:
    with pytest.raises(
        ValidationError, match=rf"network\.{part}\.home-1: got a {what} of a name that fleet {NAME} has, too"
    ):
        build(plain(network={part: {"home-1": {"uplink": "1 Mbit/s"}}}))


def test_a_broken_network_beside_a_fleet_is_told_of_as_ever() -> None:
    broken: list[Any] = [None, [], {"cells": []}]
    for network in broken:
        with pytest.raises(ValidationError, match="network"):
            build(plain(network=network))


def test_an_unknown_fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(worlds.text({"fleet": "edge-mix-20"}))
    assert main(["check", str(file)]) == 2
    assert 'a.yaml: fleet: got "edge-mix-20"; expected a fleet: edge-mix-20-v1' in capsys.readouterr().err


def test_list_fleets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "fleets"]) == 0
    assert set(fleet_names()) <= {line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]}


def test_the_shipped_scenario_runs_inline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "edge_mix_20", "--inline", "--json", "--out", str(tmp_path), "protocol.rounds=8"]
    assert main(words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["status"], summary["rounds"], summary["devices"]) == ("done", 8, 20)
    # Ten a round, each 97,128 bytes of weights up.
    assert summary["uplink_bytes"] == 8 * 10 * 97_128
    assert summary["accuracy"] > 0.8
