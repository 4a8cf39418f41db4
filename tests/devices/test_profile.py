"""Profiles: read from a file figure by figure; a broken file is refused with file and key."""

import copy
import re
from dataclasses import FrozenInstanceError
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.devices.profile import ProfileError
from emulator.devices.profile_file import FIGURES, REQUIRED, load_profile, read_profile


def figure(value: str) -> dict[str, Any]:
    return {"value": value, "source": "made up", "date": date(2026, 11, 1), "kind": "assumed"}


WHOLE: dict[str, Any] = {
    "about": "a machine for tests",
    "compute": "additive",
    "compute_rate": figure("2 GFLOP/s"),
    "memory_bandwidth": figure("1.5 GB/s"),
    "memory": figure("512 MiB"),
    "overhead": figure("20 us"),
    "uplink": figure("10 Mbit/s"),
    "downlink": figure("40 Mbit/s"),
    "latency": figure("5 ms"),
}


def written(folder: Path, data: object) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return path


def changed(*keys: str, to: object) -> dict[str, Any]:
    data = copy.deepcopy(WHOLE)
    entry = data
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = to
    return data


def without(*keys: str) -> dict[str, Any]:
    data = copy.deepcopy(WHOLE)
    entry = data
    for key in keys[:-1]:
        entry = entry[key]
    del entry[keys[-1]]
    return data


# Reading, exact by hand.
def test_a_profile_from_a_file(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, WHOLE))
    got = [getattr(profile, attribute) for attribute, _ in REQUIRED.values()]
    assert got == [2e9, 1.5e9, 512 * 2**20, 2e-5, 1e7, 4e7, 0.005]
    assert (profile.name, profile.about, profile.compute) == ("tiny", "a machine for tests", "additive")
    assert isinstance(profile.memory_bytes, int)
    sources = dict(profile.sources)
    assert list(sources) == list(REQUIRED)
    memory = sources["memory"]
    assert (memory.text, memory.source, memory.date, memory.kind) == ("512 MiB", "made up", "2026-11-01", "assumed")


def test_roofline_unless_said_otherwise(tmp_path: Path) -> None:
    assert read_profile(written(tmp_path, without("compute"))).compute == "roofline"


def test_free_operators_and_no_latency_are_fine(tmp_path: Path) -> None:
    data = changed("overhead", "value", to="0 s") | {"latency": figure("0 s")}
    profile = read_profile(written(tmp_path, data))
    assert (profile.overhead_s, profile.latency_s) == (0.0, 0.0)


def test_profiles_are_frozen_and_can_be_keys(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, WHOLE))
    assert {profile: 1}[read_profile(tmp_path / "tiny.yaml")] == 1
    with pytest.raises(FrozenInstanceError):
        setattr(profile, FIGURES["compute_rate"][0], 1.0)


# Broken files: file and key, what was got, what is accepted.
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed("uplink", "value", to="20"), 'uplink.value: got "20"; expected a rate with a unit, e.g. "20 Mbit/s"'),
        (changed("uplink", "value", to=20), "uplink.value: got 20; expected a rate with a unit"),
        (changed("uplink", "value", to="20 Mbps"), 'did you mean "Mbit/s"?'),
        (changed("uplink", "value", to="-3 Mbit/s"), 'uplink.value: got "-3 Mbit/s"; expected a rate'),
        (changed("uplink", "value", to="0 bit/s"), "uplink.value: got '0 bit/s'; expected a figure above zero"),
        (changed("memory", "value", to="0.3 B"), 'memory.value: got "0.3 B"; expected a whole number of bytes'),
        (changed("memory", "value", to="4 GFLOP/s"), 'memory.value: got "4 GFLOP/s"; expected a size'),
        (changed("latency", "value", to="nan ms"), 'latency.value: got "nan ms"; expected a duration'),
        (without("latency"), "latency: got None; expected value, source, date, kind"),
        (changed("latency", to="5 ms"), "latency: got '5 ms'; expected value, source, date, kind"),
        (without("latency", "value"), "latency.value: got None; expected a figure with its unit"),
        (without("latency", "source"), "latency.source: got None; expected where the figure comes from"),
        (changed("latency", "source", to="  "), "latency.source: got '  '; expected where the figure comes from"),
        (without("latency", "date"), "latency.date: got None; expected the day it was read"),
        (changed("latency", "date", to="last week"), "latency.date: got 'last week'; expected the day it was read"),
        (without("latency", "kind"), "latency.kind: got None; expected one of datasheet, measured, derived, assumed"),
        (changed("latency", "kind", to="guess"), "latency.kind: got 'guess'; expected one of datasheet"),
        (
            changed("latency", "sauce", to="x"),
            'latency: unknown key "sauce"; expected value, source, date, kind, uncertainty; did you',
        ),
        (changed("latncy", to=figure("5 ms")), 'unknown key "latncy"; expected about, compute'),
        (changed("latncy", to=figure("5 ms")), 'did you mean "latency"?'),
        (changed("compute", to="rooflin"), "compute: got 'rooflin'; expected one of roofline, additive, flops"),
        (changed("compute", to=["flops"]), "compute: got ['flops']; expected one of roofline"),
        (without("about"), "about: got None; expected what the device is"),
        (changed("about", to=3), "about: got 3; expected what the device is"),
        ([1, 2], "got [1, 2]; expected figures: compute_rate"),
        ("", "got None; expected figures: compute_rate"),
        ("a: [1", "cannot be read as YAML"),
        ("about: a\nabout: b\n", 'key "about" is given twice'),
        ("about: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
    ],
)
def test_broken_files(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(
        ProfileError, match=rf"^tiny\.yaml: .*{re.escape(message)}|^tiny\.yaml: {re.escape(message)}"
    ) as caught:
        read_profile(written(tmp_path, data))
    assert str(caught.value).startswith("tiny.yaml: ")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"^gone\.yaml: cannot be read"):
        read_profile(tmp_path / "gone.yaml")


def test_unknown_name_tells_the_nearest() -> None:
    with pytest.raises(
        ProfileError, match=r'got "rasberry-pi-4"; expected a profile: .*did you mean "raspberry-pi-4"\?'
    ):
        load_profile("rasberry-pi-4")
    with pytest.raises(ProfileError, match=r'got "\.\./profile"'):
        load_profile("../profile")
