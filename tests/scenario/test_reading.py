"""Scenarios that are right: defaults, overrides, round trips, hashes, and the schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.cli import main
from emulator.preparation import draw_fleet, prepare
from emulator.reading import read_scenario
from emulator.scenario import build, scenarios_folder, schema
from tests.scenario.test_broken import BROKEN, GOOD

SHIPPED = sorted(scenarios_folder().glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_are_valid_and_say_what_they_show(path: Path) -> None:
    scenario = read_scenario(path.stem)
    assert read_scenario(str(path)) == scenario
    head = path.read_text().splitlines()[0]
    assert head.startswith("# ")
    assert "What to expect" in path.read_text()
    jsonschema.validate(yaml.safe_load(path.read_text()), schema())


def test_the_schema_is_one_and_refuses() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema())
    for what in ("unknown key", "missing unit", "typo in the protocol", "zero count", "negative rate", "zero actors"):
        text, _, _ = BROKEN[what]
        assert list(validator.iter_errors(yaml.safe_load(text))), what


def test_overrides() -> None:
    scenario = read_scenario(
        "quickstart",
        ["protocol.rounds=3", "protocol.cohort=5", "devices[0].count=4", "devices.1.count=2", "protocol.learning_rate=1e-2",
         "stop.accuracy=0.5",
         "network.backhaul.rate=1 Gbit/s", "data.partition={kind: iid}"],
    )  # fmt: skip
    assert dict(scenario.protocol)["rounds"] == 3
    assert dict(scenario.protocol)["learning_rate"] == 0.01
    assert scenario.fleet_size == 4 + 2 + 2
    assert scenario.stop.accuracy == 0.5
    assert scenario.network.backhaul.rate == 1e9


def again(text: str, folder: Path) -> Any:
    file = folder / "again.yaml"
    file.write_text(text)
    return read_scenario(str(file))


def test_resolved_scenarios_read_back_equal(tmp_path: Path) -> None:
    for path in SHIPPED:
        scenario = read_scenario(str(path))
        second = again(scenario.to_yaml(), tmp_path)
        assert second.to_yaml() == scenario.to_yaml()
        assert second.sha256() == scenario.sha256()
        assert second.all_seeds == scenario.all_seeds


@settings(deadline=None, max_examples=40)
@given(
    st.floats(1, 1e12), st.floats(0, 100), st.integers(1, 1000), st.floats(1e-6, 10), st.sampled_from(["auto", 1, 7]),
    st.integers(0, 2**40),
)  # fmt: skip
def test_any_numbers_read_back_equal(
    rate: float, latency: float, rounds: int, learning_rate: float, actors: Any, seed: int
) -> None:
    from network.units import DURATION, RATE

    data = json.loads(json.dumps(GOOD))
    data["network"]["cells"]["lte"] = {"uplink": RATE.format(rate), "latency": DURATION.format(latency)}
    data["protocol"] |= {"rounds": rounds, "learning_rate": learning_rate}
    data |= {"actors": {"devices_per_actor": actors}, "seed": seed}
    scenario = build(data)
    assert scenario.network.cells["lte"].uplink == rate
    second = build(yaml.safe_load(scenario.to_yaml()))
    assert second.resolved() == scenario.resolved()


def test_the_hash_is_over_what_can_change_results() -> None:
    first = read_scenario("quickstart")
    for same in ("name=other", "actors.devices_per_actor=1", "actors.ahead=0"):
        assert read_scenario("quickstart", [same]).sha256() == first.sha256(), same
    for other in ("seed=8", "protocol.rounds=24", "network.cells.lte.latency=36 ms", "seeds.model=1"):
        assert read_scenario("quickstart", [other]).sha256() != first.sha256(), other


def test_seeds_default_to_the_seed_and_vary_one_concern() -> None:
    scenario = read_scenario("quickstart", ["seeds.fleet=9"])
    assert tuple(scenario.all_seeds) == (7, 9, 7, 7, 7)
    first, second = read_scenario("quickstart"), scenario
    assert [d.slowdown for d in draw_fleet(first)] != [d.slowdown for d in draw_fleet(second)]
    same = prepare(first).parts, prepare(second).parts
    assert all((a == b).all() for a, b in zip(*same, strict=True))


def test_another_group_does_not_move_the_first() -> None:
    first = draw_fleet(read_scenario("quickstart"))
    second = draw_fleet(read_scenario("quickstart", ["devices[2].count=5"]))
    assert first == second[: len(first)]


def test_the_fleet_as_the_scenario_says() -> None:
    devices = draw_fleet(read_scenario("quickstart", ["devices[0].uplink=1 Mbit/s", "devices[0].latency=7 ms"]))
    assert [device.name for device in devices[:2]] == ["device-0000", "device-0001"]
    assert (devices[0].uplink_bps, devices[0].downlink_bps, devices[0].latency_s) == (1e6, 40e6, 0.007)
    assert devices[12].uplink_bps == 18.88e6  # the profile's own Wi-Fi is slower than the cell's 20 Mbit/s
    assert devices[19].latency_s == 0.035
    assert len({device.slowdown for device in devices[12:18]}) == 6


def test_partition_trouble_is_told_with_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    override = "data.partition={kind: dirichlet, alpha: 0.01, min_samples: 60}"
    assert main(["check", "quickstart", override]) == 2
    assert "data.partition: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["list"], ["list", "profiles"], ["list", "profiles", "raspberry-pi-4"], ["schema"]])
def test_listings(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.err == ""
    if words == ["list"]:
        for name in ("fedavg", "raspberry-pi-4", "fashion-mnist", "mobilenetv2", "quickstart"):
            assert name in told.out
    if words == ["schema"]:
        assert json.loads(told.out)["title"] == "Scenario"


def test_check_shows_fleet_model_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "quickstart"]) == 0
    told = capsys.readouterr().out
    for part in ("fleet: 20 devices", "raspberry-pi-4", "24,058 parameters", "device-0019", "quickstart: valid"):
        assert part in told
