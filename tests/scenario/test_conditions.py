"""From YAML to what befalls each device: values by hand, what draws are keyed by, and resolved scenarios. Exact by hand."""

from contextlib import chdir
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from emulator.conditions import conditions
from emulator.devices.condition import Completeness, Condition
from emulator.devices.intervals import Intervals
from emulator.devices.presence import Both, Diurnal, Markov, Presence
from emulator.learning.random import seed_of
from emulator.preparation import draw_fleet
from emulator.reading import read_scenario
from emulator.scenario import Scenario, build
from emulator.schema import known_keys, known_kinds, schema
from emulator.yaml_text import load
from tests.scenario.worlds import data

S, HOUR = 10**9, 3600 * 10**9
MARKOV = {"kind": "markov", "mean_on": "30 min", "mean_off": "10 min"}
LOAD = {"mean_idle": "9 s", "mean_busy": "1 s", "speed": 0.25}
OUTAGES = {"mean_up": "2 h", "mean_down": "5 min"}


def scenario(group: dict[str, Any], changes: dict[str, Any] | None = None) -> Scenario:
    """The base scenario, its first group (device-0000 and device-0001, in home-wifi) with more to say."""
    found = {**data(), **(changes or {})}
    found["devices"] = [{**found["devices"][0], **group}, *found["devices"][1:]]
    return build(found)


def told(given: Scenario) -> tuple[Condition, ...]:
    return conditions(given, draw_fleet(given))


def first(group: dict[str, Any], changes: dict[str, Any] | None = None) -> Condition:
    return told(scenario(group, changes))[0]


def keys(presence: Presence | None) -> tuple[Any, ...]:
    assert isinstance(presence, Markov)
    return presence.key, presence.means_ns


def test_without_a_word_devices_are_always_there_and_full() -> None:
    assert told(build(data())) == (Condition(),) * 3
    assert first({"availability": {"kind": "always"}}) == Condition()


def test_markov() -> None:
    found = first({"availability": MARKOV}).presence
    assert keys(found) == (seed_of(7, "availability", "device-0000"), (600 * S, 1800 * S))


def test_diurnal_in_hours() -> None:
    # From 20 h on for 6 h, exactly: at the run's start it is there since yesterday, until 2 h.
    day = {"kind": "diurnal", "start": "20 h", "length": "6 h", "spread": "0 s"}
    found = first({"availability": day}).presence
    assert isinstance(found, Diurnal)
    assert [found.at(hour * HOUR) for hour in (0, 2, 20, 25)] == [
        (True, 2 * HOUR), (False, 20 * HOUR), (True, 26 * HOUR), (True, 26 * HOUR),
    ]  # fmt: skip


def test_diurnal_s_defaults() -> None:
    found = first({"availability": {"kind": "diurnal"}}).presence
    assert isinstance(found, Diurnal)
    assert (found.start_ns, found.length_ns, found.period_ns, found.spread_ns) == (22 * HOUR, 8 * HOUR, 24 * HOUR, HOUR)


def traced(folder: Path, lines: str) -> dict[str, Any]:
    file = folder / "there.csv"
    file.write_text(f"device,start_s,end_s\n{lines}")
    return {"kind": "trace", "file": str(file)}


def test_a_trace_s_devices_are_dealt_in_turn(tmp_path: Path) -> None:
    # Two devices in the file, five in the group: a b a b a; the next group is not concerned.
    lines = "b,0,10\na,5,20\nb,30,40\n"
    found = told(scenario({"count": 5, "availability": traced(tmp_path, lines)}))
    b, a = Intervals(None, ((0, 10), (30, 40))), Intervals(None, ((5, 20),))
    assert [condition.presence for condition in found] == [b, a, b, a, b, None]


def test_load_charge_and_completeness() -> None:
    found = told(scenario({"load": LOAD, "charge": 0.25, "completeness": {"low": 0.5, "high": 0.75}}))
    load = found[0].load
    assert load is not None
    assert keys(load.idle) == (seed_of(7, "load", "device-0000"), (S, 9 * S))
    assert load.speed == 0.25
    assert found[0].charge == 0.25
    assert found[1].completeness == Completeness(seed_of(7, "completeness", "device-0001"), 0.5, 0.75)
    assert found[2] == Condition()


def test_completeness_goes_up_to_all_of_it_unless_told_otherwise() -> None:
    assert first({"completeness": {"low": 0.5}}).completeness.high == 1.0


def cells(outages: Any) -> dict[str, Any]:
    network = data()["network"]
    network["cells"]["home-wifi"]["outages"] = outages
    return {"network": network}


def test_an_outage_is_one_process_for_all_of_a_cell() -> None:
    found = told(scenario({}, cells(OUTAGES)))
    assert found[0].presence is found[1].presence
    assert keys(found[0].presence) == (seed_of(7, "outages", "home-wifi"), (300 * S, 7200 * S))
    assert found[2].presence is None  # in no cell


def test_a_device_is_there_when_itself_and_its_cell_are() -> None:
    found = first({"availability": MARKOV}, cells(OUTAGES)).presence
    assert isinstance(found, Both)
    assert keys(found.one)[0] == seed_of(7, "availability", "device-0000")
    assert keys(found.other)[0] == seed_of(7, "outages", "home-wifi")


ALL = {"availability": MARKOV, "load": LOAD, "completeness": {"low": 0.1, "high": 0.9}}


def drawn(condition: Condition) -> tuple[int, ...]:
    assert condition.load is not None
    return (keys(condition.presence)[0], keys(condition.load.idle)[0], condition.completeness.key)


def test_draws_are_independent_of_each_other() -> None:
    one, other = (drawn(condition) for condition in told(scenario(ALL))[:2])
    assert len({*one, *other}) == 6


@pytest.mark.parametrize("concern", ["data", "channel", "model", "sampling"])
def test_draws_hang_on_the_fleet_seed_alone(concern: str) -> None:
    assert drawn(first(ALL, {"seeds": {concern: 99}})) == drawn(first(ALL))


def test_another_fleet_seed_draws_anew() -> None:
    other, own = drawn(first(ALL, {"seeds": {"fleet": 99}})), drawn(first(ALL))
    assert not {*other} & {*own}
    assert drawn(first(ALL, {"seed": 99, "seeds": {"fleet": 7}})) == own


def test_other_settings_of_a_device_do_not_move_its_draws() -> None:
    less = {key: value for key, value in ALL.items() if key != "completeness"}
    assert drawn(first({**less, "completeness": {"low": 0.3}, "cell": None, "charge": 0.5})) == drawn(first(ALL))


def test_a_group_behind_moves_nothing_and_a_group_in_front_shifts_names() -> None:
    """As for slowdown: a draw belongs to a device's name, so a group in front gives the draws of other names."""
    group = {**data()["devices"][0], **ALL}
    alone = [drawn(condition) for condition in told(build({**data(), "devices": [group], "protocol": ONE}))]
    with_more = build({**data(), "devices": [group, {**group, "count": 1}]})
    assert [drawn(condition) for condition in told(with_more)][:2] == alone
    in_front = build({**data(), "devices": [{**group, "count": 1}, group]})
    assert [drawn(condition) for condition in told(in_front)][:2] == alone  # device-0000 and device-0001 again


ONE = {**data()["protocol"], "cohort": 1}


def every(folder: Path) -> Scenario:
    """A scenario that uses every setting."""
    groups = [
        {"profile": "phone-low", "count": 1, "charge": 0.1, "availability": traced(folder, "a,0,10\n")},
        {"profile": "phone-mid", "count": 1, "availability": {"kind": "always"}, "load": LOAD},
        {"profile": "phone-mid", "count": 1, "availability": {"kind": "diurnal", "period": "12 h"}},
        {"profile": "phone-high", "count": 1, "cell": "home-wifi", **ALL},
    ]
    return build({**data(), **cells(OUTAGES), "devices": groups, "on_out_of_memory": "exclude"})


def test_resolved_scenarios_read_back_equal(tmp_path: Path) -> None:
    found = every(tmp_path)
    again = build(load(found.to_yaml()))
    assert again == found
    assert again.sha256() == found.sha256()
    block = found.resolved()["devices"][2]["availability"]
    assert block == {"kind": "diurnal", "start": "22 h", "length": "8 h", "spread": "1 h", "period": "12 h"}


@pytest.mark.parametrize(
    "change",
    [
        {"charge": 0.9}, {"load": LOAD}, {"completeness": {"low": 0.9}}, {"availability": MARKOV},
        {"availability": {"kind": "diurnal"}},
    ],
)  # fmt: skip
def test_every_setting_is_in_the_scenario_s_hash(change: dict[str, Any]) -> None:
    assert scenario(change).sha256() != scenario({}).sha256()


def test_outages_and_memory_are_in_the_hash_too() -> None:
    hashes = {scenario({}, more).sha256() for more in ({}, cells(OUTAGES), {"on_out_of_memory": "exclude"})}
    assert len(hashes) == 3


def test_a_trace_that_changed_is_another_scenario_or_refused(tmp_path: Path) -> None:
    before = every(tmp_path)
    traced(tmp_path, "a,0,11\n")
    file = tmp_path / "again.yaml"
    file.write_text(before.to_yaml())
    with pytest.raises(ValueError, match=r"devices\[0\].availability: .*there.csv: got sha256 .*the file has changed"):
        read_scenario(str(file))


def test_the_schema_covers_them(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(every(tmp_path).resolved())
    assert known_kinds(("devices", 0, "availability"), None) == ["always", "diurnal", "markov", "trace"]
    assert known_keys(("devices", 0, "availability", "markov"), None) == ["kind", "mean_on", "mean_off"]
    assert known_keys(("network", "cells", "lte", "outages"), None) == ["mean_up", "mean_down"]
    wrong = {**data(), "devices": [{**data()["devices"][0], "charge": 1.5}]}
    assert not validator.is_valid(wrong)


def test_a_relative_trace_is_looked_for_where_the_command_runs(tmp_path: Path) -> None:
    traced(tmp_path, "a,0,10\n")
    with chdir(tmp_path):
        found = scenario({"availability": {"kind": "trace", "file": "there.csv"}})
    assert told(found)[0].presence == Intervals(None, ((0, 10),))
