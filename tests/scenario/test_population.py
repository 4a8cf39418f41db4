"""The population of a scenario: shares, factors, uncertainties, data that go with speed, and profiles of one's own."""

import re
from hashlib import sha256
from math import exp
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from emulator.devices.profile_file import CATALOGUE, load_profile
from emulator.learning.random import stream
from emulator.preparation import draw_fleet, prepare
from emulator.reading import ScenarioError, read_scenario
from emulator.scenario import Scenario, build
from emulator.yaml_text import load
from tests.scenario import worlds

BOARD = {"profile": "raspberry-pi-4"}
LONE = {"profile": "raspberry-pi-4", "count": 3}


def world(**blocks: Any) -> Scenario:
    return build({**worlds.data(), **blocks})


def lone(**settings: Any) -> Scenario:
    """Three boards without a cell."""
    return world(devices=[{**LONE, **settings}])


def read_back(scenario: Scenario) -> Scenario:
    return build(load(scenario.to_yaml()))


# ---- counts and shares: exact by hand -----------------------------------------------------------------------------------


def test_shares_are_of_what_counts_leave() -> None:
    # 20 devices less 3 are 17; quotas 0.6 x 17 = 10.2 and 0.4 x 17 = 6.8: 10 and 6, and one more for the 0.8.
    groups = [{**BOARD, "share": 0.6}, {**BOARD, "count": 3}, {**BOARD, "share": 0.4}]
    scenario = world(devices=groups, population={"devices": 20})
    assert scenario.counts == [10, 3, 7]
    assert (scenario.fleet_size, len(draw_fleet(scenario))) == (20, 20)
    assert read_back(scenario) == scenario


def test_thirds_need_not_sum_to_one_exactly() -> None:
    third = {**BOARD, "share": 0.3333333333}  # three of them miss 1 by 1e-10
    assert world(devices=[third] * 3, population={"devices": 9}).counts == [3, 3, 3]
    short = {**BOARD, "share": 0.33333333}
    with pytest.raises(ValidationError, match=r"devices: got shares that sum to 0\.99999999; expected 1 over all"):
        world(devices=[short] * 3, population={"devices": 9})


def test_counts_may_be_summed_up() -> None:
    assert world(population={"devices": 3}).counts == [2, 1]


def test_a_share_of_a_large_fleet_is_wired_like_a_count() -> None:
    groups = [{**BOARD, "share": 0.5, "cell": "home-wifi"}, {"profile": "phone-low", "share": 0.5}]
    cells = [device.cell for device in prepare(world(devices=groups, population={"devices": 4})).plan.devices]
    assert cells == ["home-wifi", "home-wifi", None, None]


# ---- factors -----------------------------------------------------------------------------------------------------------


def test_a_factor_on_a_figure() -> None:
    spread = {"distribution": "lognormal", "sigma": 0.5}
    devices = draw_fleet(lone(vary={"compute_rate": spread, "latency": {"distribution": "constant", "factor": 2}}))
    nominal = load_profile("raspberry-pi-4")
    # exp(sigma z), z by the fleet's seed (7), the figure and the device
    z = stream(7, "vary", "compute_rate", 2).standard_normal()
    assert devices[2].profile.flop_per_s == nominal.flop_per_s * exp(0.5 * z)
    assert {device.latency_s for device in devices} == {2 * nominal.latency_s}
    assert len({device.profile.flop_per_s for device in devices}) == 3


def test_one_factor_never_moves_another() -> None:
    rate, memory = {"distribution": "lognormal", "sigma": 0.5}, {"distribution": "uniform", "low": 0.5, "high": 1}
    slow = {"distribution": "lognormal", "sigma": 0.3}
    both = draw_fleet(lone(vary={"compute_rate": rate, "memory": memory}, slowdown=slow))
    one, none = draw_fleet(lone(vary={"compute_rate": rate}, slowdown=slow)), draw_fleet(lone(slowdown=slow))
    assert [device.profile.flop_per_s for device in both] == [device.profile.flop_per_s for device in one]
    assert [device.slowdown for device in both] == [device.slowdown for device in none]


def test_factors_read_back_and_move_the_hash() -> None:
    plain, other = lone(), lone(vary={"memory": {"distribution": "empirical", "values": [0.5, 1]}})
    assert read_back(other) == other
    assert plain.sha256() != other.sha256()


def test_factors_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "speeds.csv"
    file.write_text("model,factor\na,2\nb,4\n")
    spread = {"distribution": "empirical", "file": str(file), "column": "factor"}
    scenario = lone(slowdown=spread)
    assert {device.slowdown for device in draw_fleet(scenario)} <= {2.0, 4.0}
    written = scenario.resolved()["devices"][0]["slowdown"]
    assert written["sha256"] == sha256(file.read_bytes()).hexdigest()
    assert read_back(scenario) == scenario
    file.write_text("model,factor\na,2\nb,5\n")
    assert lone(slowdown=spread).sha256() != scenario.sha256()
    with pytest.raises(ValidationError, match=r"speeds\.csv: got sha256 .*: the file has changed"):
        lone(slowdown=written)


# ---- uncertainties -----------------------------------------------------------------------------------------------------


def test_a_profile_is_drawn_once_for_all_that_have_it() -> None:
    population = {"uncertainty": "drawn"}
    groups = [{**LONE}, {**BOARD, "count": 1}, {"profile": "edge-server", "count": 1}]
    scenario = world(devices=groups, population=population)
    devices = draw_fleet(scenario)
    assert len({device.profile.flop_per_s for device in devices[:4]}) == 1
    nominal = load_profile("raspberry-pi-4")
    sigma = dict(nominal.sources)["compute_rate"].uncertainty
    z = stream(7, "uncertainty", "raspberry-pi-4", "compute_rate").standard_normal()
    assert devices[0].profile.flop_per_s == nominal.flop_per_s * exp(sigma * z)
    # The server is a machine, too, and the same profile is drawn the same wherever it stands.
    assert scenario.server_profile() == devices[4].profile != load_profile("edge-server")
    assert world(devices=groups).server_profile() == load_profile("edge-server")


def test_uncertainties_follow_the_fleet_s_seed_alone() -> None:
    def rate(**seeds: int) -> float:
        population = {"uncertainty": "drawn"}
        return draw_fleet(world(devices=[LONE], population=population, seeds=seeds))[0].profile.flop_per_s

    assert rate() == rate(data=99) == rate(fleet=7) != rate(fleet=8)


# ---- data that go with speed ---------------------------------------------------------------------------------------------


def held(correlation: float | None, **group: Any) -> list[int]:
    data = {"dataset": "digits", "partition": {"kind": "quantity", "sigma": 1.0}, "speed_correlation": correlation}
    groups = [{**BOARD, "count": 20, **group}, {"profile": "laptop", "count": 1}]
    prepared = prepare(world(data=data, devices=groups))
    return [len(part) for part in prepared.parts]


def test_the_faster_the_more() -> None:
    partitioned, sorted_, reversed_ = held(None), held(1.0), held(-1.0)
    assert sorted(partitioned) == sorted(sorted_) == sorted(reversed_)
    # Boards are equally fast, so they follow their index; the laptop is the fastest.
    assert sorted_ == sorted(partitioned) != partitioned
    assert reversed_ == sorted(partitioned, reverse=True)


def test_a_slowed_down_device_is_a_slow_one() -> None:
    # A laptop of 280 GFLOP/s; boards of 11.9 GFLOP/s that are a hundred times faster than they look come before it.
    assert held(1.0, slowdown={"distribution": "constant", "factor": 0.01})[20] == min(held(None))


# ---- profiles of one's own ---------------------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text((CATALOGUE / "jetson-nano.yaml").read_text())
    return file


def test_a_profile_by_its_path(mine: Path) -> None:
    scenario = world(devices=[{"profile": str(mine), "count": 3}], server={"profile": str(mine)})
    assert {device.profile.name for device in draw_fleet(scenario)} == {"mine"}
    assert scenario.server_profile().flop_per_s == load_profile("jetson-nano").flop_per_s
    digest = sha256(mine.read_bytes()).hexdigest()
    resolved = scenario.resolved()
    assert (resolved["devices"][0]["profile_sha256"], resolved["server"]["profile_sha256"]) == (digest, digest)
    assert lone().resolved()["devices"][0]["profile_sha256"] is None
    assert read_back(scenario) == scenario


def test_a_changed_profile_moves_the_hash_and_is_told_of(mine: Path) -> None:
    group = {"profile": str(mine), "count": 3}
    before = world(devices=[group])
    mine.write_text(mine.read_text() + "# another figure\n")
    assert world(devices=[group]).sha256() != before.sha256()
    with pytest.raises(ValidationError, match=r"mine\.yaml: got profile_sha256 .*: the file has changed"):
        build(before.resolved())


def test_an_edge_server_s_profile_by_its_path(mine: Path) -> None:
    network = {**worlds.data()["network"], "sites": {"north": {"edge": {"profile": str(mine)}}}}
    scenario = world(network=network)
    assert scenario.resolved()["network"]["sites"]["north"]["edge"]["profile_sha256"] is not None
    assert read_back(scenario) == scenario


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, r"mine\.yaml: cannot be read as YAML: \[Errno 2\]"),
        ("a: [1\n", r"mine\.yaml: cannot be read as YAML: "),
        ("about: x\ncompute_rate: {value: 3}\n", r"mine\.yaml: compute_rate\.source: got None; expected where"),
    ],
)
def test_broken_profiles_are_told_with_place_and_reason(text: str | None, says: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(worlds.BASE)
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    for key in ("devices[0].profile", "server.profile"):
        with pytest.raises(ScenarioError, match=rf"tiny\.yaml: {re.escape(key)}: {says}") as error:
            read_scenario(str(tmp_path / "tiny.yaml"), [f"{key}={tmp_path / 'mine.yaml'}"])
        assert "\n" not in str(error.value)
