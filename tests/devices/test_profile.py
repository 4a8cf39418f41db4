"""Profiles: the shipped catalogue is whole and honest, and a broken file is refused with file and key."""

import copy
import re
from dataclasses import FrozenInstanceError
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.devices.profile import Profile, ProfileError
from emulator.devices.profile_file import CATALOGUE, FIGURES, KINDS, REQUIRED, load_profile, profile_names, read_profile


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


# The catalogue.
def test_the_devices_that_ship() -> None:
    wanted = (
        "raspberry-pi-zero-2w raspberry-pi-3b raspberry-pi-4 raspberry-pi-5 jetson-nano jetson-tx2 phone-low phone-mid"
    )
    assert set(wanted.split()) | {"phone-high", "laptop", "edge-server", "gpu-server"} <= set(profile_names())
    assert profile_names() == sorted(path.stem for path in CATALOGUE.iterdir())


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_is_whole(name: str) -> None:
    profile = load_profile(name)
    assert isinstance(profile, Profile)
    assert profile.name == name
    for key, source in profile.sources:
        assert source.kind in KINDS, key
        assert len(source.source) > 10, key
        assert date.fromisoformat(source.date) >= date(2026, 1, 1), key


@pytest.mark.parametrize("name", profile_names())
def test_effective_rates_are_derived_in_the_open(name: str) -> None:
    # A rate that training reaches is on no data sheet: it was measured, or its source shows the arithmetic.
    source = dict(load_profile(name).sources)["compute_rate"]
    assert source.kind in ("measured", "derived")
    assert any(character.isdigit() for character in source.source)


# Worked out again from the figures that the sources name, in GFLOP/s; 3% for the rounding of the written figures.
# Pi 3B and Zero 2 W: cores x GHz x 8 FLOP a cycle, times the Pi 4's HPL share 11.9 / (4 x 1.8 x 8).
# Jetsons without a measured GEMM: cores x 2 x GHz, times 4.3 / 8.1 (T4: GEMM of peak), times a half.
# Phones: 1.02 GFLOP a step over the seconds that FLASH lists. The others: half of the measured GEMM.
@pytest.mark.parametrize(
    ("name", "gflop_per_s"),
    [
        ("raspberry-pi-3b", 4 * 1.2 * 8 * 11.9 / (4 * 1.8 * 8)),
        ("raspberry-pi-zero-2w", 4 * 1.0 * 8 * 11.9 / (4 * 1.8 * 8)),
        ("raspberry-pi-4", 11.9 * 2 * 0.5),
        ("raspberry-pi-5", 35.2 * 2 * 0.5),
        ("jetson-nano", 128 * 2 * 0.921 * 4.3 / 8.1 * 0.5),
        ("jetson-tx2", 256 * 2 * 1.3 * 4.3 / 8.1 * 0.5),
        ("jetson-orin-nano", 1310 * 0.5),
        ("phone-low", 1.02 / 1.642),
        ("phone-mid", 1.02 / 0.588),
        ("phone-high", 1.02 / 0.179),
        ("laptop", 560 * 0.5),
        ("edge-server", 4300 * 0.5),
        ("gpu-server", (17600 + 19200) / 2 * 0.5),
    ],
)
def test_compute_rates_worked_out_again(name: str, gflop_per_s: float) -> None:
    assert load_profile(name).flop_per_s == pytest.approx(gflop_per_s * 1e9, rel=0.03)


# Bus width in bits / 8 x transfers a second; 1% for rounding.
@pytest.mark.parametrize(
    ("name", "bits", "gigatransfers"),
    [
        ("raspberry-pi-zero-2w", 32, 0.9),
        ("raspberry-pi-3b", 32, 0.9),
        ("raspberry-pi-4", 32, 3.2),
        ("raspberry-pi-5", 32, 4.267),
        ("jetson-nano", 64, 3.2),
        ("jetson-tx2", 128, 3.733),
        ("jetson-orin-nano", 128, 6.4),
        ("laptop", 128, 3.2),
        ("edge-server", 256, 10.0),
        ("gpu-server", 5120, 2.43),
    ],
)
def test_memory_bandwidths_worked_out_again(name: str, bits: int, gigatransfers: float) -> None:
    assert load_profile(name).memory_bandwidth_bytes_per_s == pytest.approx(bits / 8 * gigatransfers * 1e9, rel=0.01)


def test_faster_generations_are_faster() -> None:
    for family in (
        ("raspberry-pi-zero-2w", "raspberry-pi-3b", "raspberry-pi-4", "raspberry-pi-5"),
        ("jetson-nano", "jetson-tx2", "jetson-orin-nano"),
        ("phone-low", "phone-mid", "phone-high", "laptop", "edge-server", "gpu-server"),
    ):
        rates = [load_profile(name).flop_per_s for name in family]
        assert rates == sorted(rates)
