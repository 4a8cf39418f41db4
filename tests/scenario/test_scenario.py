"""Scenarios: what they mean, their resolved form, and their hash."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from emulator.devices.profile_file import load_profile, profile_names
from emulator.learning.models import ModelSpec
from emulator.reading import ScenarioError, read_scenario
from emulator.scenario import Scenario, build, shipped_files
from emulator.yaml_text import load
from tests.scenario import worlds

SHIPPED = sorted(path.stem for path in shipped_files())


def test_units_become_si() -> None:
    scenario = build(worlds.data())
    assert scenario.devices[1].uplink == 4e6
    assert scenario.network.cells["home-wifi"].latency == 0.005
    assert scenario.network.backhaul.rate == 100e6
    assert scenario.stop.virtual_time == 7200


def test_groups_are_as_written() -> None:
    first, second = build(worlds.data()).groups()
    assert first.cell is not None
    assert (first.profile.name, first.count, first.cell.name, first.cell.uplink_bps) == (
        "raspberry-pi-4", 2, "home-wifi", 20e6,
    )  # fmt: skip
    assert (first.uplink_bps, first.slowdown) == (None, None)
    assert (second.profile, second.count, second.cell) == (load_profile("phone-low"), 1, None)
    assert second.slowdown is not None
    assert (second.uplink_bps, second.slowdown.distribution, second.slowdown.sigma) == (4e6, "lognormal", 0.3)


def test_what_follows_from_the_blocks() -> None:
    scenario = build(worlds.data())
    assert scenario.fleet_size == 3
    assert scenario.protocol_name == "fedavg"
    assert scenario.model_spec == ModelSpec("mlp", 10, (1, 8, 8))
    assert scenario.server_profile().name == "edge-server"


def test_each_seed_defaults_to_the_seed() -> None:
    assert set(build(worlds.data()).all_seeds) == {7}
    given_one = build({**worlds.data(), "seeds": {"fleet": 3, "data": None}})
    assert given_one.all_seeds._asdict() == {"data": 7, "fleet": 3, "channel": 7, "model": 7, "sampling": 7}
    assert set(build({key: value for key, value in worlds.data().items() if key != "seed"}).all_seeds) == {0}


def test_a_scenario_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        build(worlds.data()).__setattr__("seed", 8)


def test_every_default_is_written_out() -> None:
    resolved = build(worlds.data()).resolved()
    assert resolved["seeds"] == {"data": 7, "fleet": 7, "channel": 7, "model": 7, "sampling": 7}
    assert resolved["server"] == {"profile": "edge-server", "profile_sha256": None, "discipline": "fifo"}
    assert resolved["data"]["partition"]["min_samples"] == 1
    assert resolved["evaluate"] == {"every": 1, "validation": 0.1, "per_device": False, "samples": None}
    assert resolved["stop"] == {"accuracy": None, "virtual_time": "2 h"}
    assert resolved["actors"] == {"devices_per_actor": "auto", "gpus_per_actor": 0.0, "dashboard": False, "ahead": 2}
    assert resolved["protocol"] == {
        "name": "fedavg", "rounds": 2, "cohort": 3, "local_epochs": None, "local_steps": None, "batch_size": 16,
        "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0, "prune_threshold": 0.0,
        "weights_codec": {"codec": "fp32"}, "update_codec": {"codec": "fp32"}, "error_feedback": False,
        "sampling": {"name": "random"}, "ending": {"name": "all"},
    }  # fmt: skip
    assert resolved["network"]["backhaul"] == {"rate": "100 Mbit/s", "latency": "5 ms", "jitter": "0 s"}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_scenarios_read_back_equal(name: str, tmp_path: Path) -> None:
    scenario = read_scenario(name)
    again = tmp_path / "again.yaml"
    again.write_text(scenario.to_yaml())
    assert read_scenario(str(again)) == scenario
    file = next(path for path in shipped_files() if path.stem == name)
    assert file.read_text().startswith("# ")


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True) | st.sampled_from(["1e5", "0o7", "null", "yes"])
RATES = st.floats(1e-3, 1e12).map(lambda rate: f"{rate!r} kbit/s")
LATENCIES = st.floats(0, 1e5).map(lambda latency: f"{latency!r} ms")
SLOWDOWNS = st.one_of(
    st.fixed_dictionaries({"distribution": st.just("lognormal"), "sigma": st.floats(0, 10)}),
    st.fixed_dictionaries({"distribution": st.just("uniform"), "low": st.floats(0.1, 1), "high": st.floats(1, 9)}),
    st.fixed_dictionaries({"distribution": st.just("constant"), "factor": st.floats(1e-3, 1e3)}),
)
LINKS = {"uplink": RATES, "downlink": RATES, "latency": LATENCIES}
PARTITIONS = st.one_of(
    st.just({"kind": "iid"}),
    st.fixed_dictionaries({"kind": st.just("dirichlet"), "alpha": st.floats(1e-3, 1e3)}),
    st.fixed_dictionaries({"kind": st.just("shards"), "shards_per_device": st.integers(1, 9)}),
    st.fixed_dictionaries({"kind": st.just("quantity"), "sigma": st.floats(0, 3)}),
)


@st.composite
def descriptions(draw: st.DrawFn) -> dict[str, Any]:
    """Valid scenarios, as plain data."""
    cells = draw(st.dictionaries(NAMES, st.fixed_dictionaries({}, optional=LINKS), max_size=3))
    group = {"profile": st.sampled_from(profile_names()), "count": st.integers(1, 40)}
    options = {**LINKS, "slowdown": SLOWDOWNS, "cell": st.sampled_from([*cells, None])}
    protocol = {"rounds": st.integers(1, 10**6), "cohort": st.just(1), "learning_rate": st.floats(1e-9, 1e3)}
    backhaul = st.fixed_dictionaries({}, optional={"rate": RATES, "latency": LATENCIES})
    return {
        "name": draw(NAMES),
        "seed": draw(st.integers(0, 2**80)),
        "seeds": draw(st.dictionaries(st.sampled_from(["data", "fleet", "model"]), st.integers(0, 2**64) | st.none())),
        "data": {"dataset": draw(st.sampled_from(["digits", "cifar10"])), "partition": draw(PARTITIONS)},
        "model": {"name": draw(st.sampled_from(["mlp", "cnn"]))},
        "devices": draw(st.lists(st.fixed_dictionaries(group, optional=options), min_size=1, max_size=3)),
        "network": {"cells": cells, "backhaul": draw(backhaul)},
        "protocol": {"name": draw(st.sampled_from(["fedavg", "fedadam"])), **draw(st.fixed_dictionaries(protocol))},
        "evaluate": {"validation": draw(st.floats(0, 0.9)), "per_device": draw(st.booleans())},
        "stop": draw(st.fixed_dictionaries({}, optional={"virtual_time": st.just("90 min")})),
        "actors": {"devices_per_actor": draw(st.just("auto") | st.integers(1, 99))},
    }


@settings(max_examples=25, deadline=None)
@given(descriptions())
def test_a_resolved_scenario_reads_back_equal(description: dict[str, Any]) -> None:
    scenario = build(description)
    again = build(load(scenario.to_yaml()))
    assert again == scenario
    assert again.resolved() == scenario.resolved()
    assert again.sha256() == scenario.sha256()


def test_the_hash_is_that_of_the_canonical_json() -> None:
    scenario = build(worlds.data())
    counted = {key: value for key, value in scenario.resolved().items() if key not in ("name", "actors")}
    counted["data"] = {key: value for key, value in counted["data"].items() if key != "root"}
    assert scenario.sha256() == sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize(
    ("block", "moves"),
    [
        ({"name": "other"}, False),
        ({"actors": {"devices_per_actor": 1, "ahead": 9}}, False),
        ({"server": {"profile": "edge-server"}}, False),  # the default, written out
        ({"stop": {"virtual_time": "120 min"}}, False),  # the same time in another unit
        ({"seeds": {"fleet": 7}}, False),
        ({"seed": 8}, True),
        ({"seeds": {"fleet": 8}}, True),
        ({"server": {"profile": "gpu-server"}}, True),
        ({"evaluate": {"every": 2}}, True),
    ],
)
def test_what_moves_the_hash(block: dict[str, Any], moves: bool) -> None:
    changed = build({**worlds.data(), **block})
    assert (changed.sha256() != build(worlds.data()).sha256()) is moves


def test_where_the_data_lie_does_not_move_the_hash() -> None:
    cifar = {"dataset": "cifar10", "partition": {"kind": "iid"}}
    here, there = ({**worlds.data(), "data": {**cifar, "root": root}} for root in ("a", "b"))
    assert build(here).sha256() == build(there).sha256()


def test_overrides_come_before_validation(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(worlds.BASE)
    scenario = read_scenario(str(file), ["devices[0].count=9", "protocol.cohort=10", "network.backhaul.rate="])
    assert (scenario.fleet_size, scenario.network.backhaul.rate) == (10, None)
    with pytest.raises(ScenarioError, match=r"tiny\.yaml: protocol\.cohort: got 5; expected at most the fleet's 3 dev"):
        read_scenario(str(file), ["protocol.cohort=5"])
    with pytest.raises(ScenarioError, match=r"tiny\.yaml: override devices\[4\]: got entry 4; expected 0 to 1"):
        read_scenario(str(file), ["devices[4]={}"])


def test_a_folder_or_file_of_the_name_comes_before_the_shipped_scenario(tmp_path: Path) -> None:
    file = tmp_path / "with-bom.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + worlds.BASE.encode())  # some editors mark UTF-8 this way
    assert read_scenario(str(file)) == build(worlds.data())
    assert read_scenario("quickstart").name == "quickstart"


def test_scenarios_can_be_validated_without_a_file() -> None:
    assert isinstance(build(worlds.data()), Scenario)
