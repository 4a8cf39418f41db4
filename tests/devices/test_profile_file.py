"""What a profile may tell beside its speed: classes of operators, powers, battery, heat, uncertainties; and refusals."""

import copy
from datetime import date
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.devices.processor import seconds
from emulator.devices.profile import UNCERTAINTY, Profile, ProfileError, Throttling
from emulator.devices.profile_file import OPTIONAL, REQUIRED, load_profile, profile_names, read_profile
from tests.devices.test_profile import WHOLE, figure, written

POWERS = {"idle_power": "2 W", "load_power": "6 W", "send_power": "700 mW", "receive_power": "0 W"}
RICH: dict[str, Any] = {
    **WHOLE,
    "compute": "roofline",
    "convolution_rate": figure("4 GFLOP/s"),
    "convolution_bandwidth": figure("1 GB/s"),
    "convolution_overhead": figure("1 ms"),
    "matmul_rate": figure("8 GFLOP/s"),
    "pooling_bandwidth": figure("500 MB/s"),
    "reserved_memory": figure("128 MiB"),
    "battery": figure("10 Wh"),
    "throttling": {
        "after": "1 min", "speed": 0.5, "recovery": "2 min", "source": "made up", "date": date(2026, 11, 1), "kind": "assumed",
    },
    **{key: figure(value) for key, value in POWERS.items()},
}  # fmt: skip


def test_everything_that_a_profile_may_tell(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, RICH))
    assert (profile.idle_w, profile.load_w, profile.send_w, profile.receive_w) == (2.0, 6.0, 0.7, 0.0)
    assert profile.battery_j == 36_000.0
    assert profile.free_memory_bytes == 384 * 2**20
    assert profile.throttling == Throttling(60.0, 0.5, 120.0)
    assert set(dict(profile.sources)) == {*REQUIRED, "throttling", *(key for key in OPTIONAL if key in RICH)}


def test_classes_of_operators_have_their_own_rates(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, RICH))
    # conv: max(4e9 / 4e9, 1e8 / 1e9) + 1 ms = 1.001; matmul, its own rate, the general 1.5 GB/s: max(0.5, 0.8) + 20 us;
    # pooling: 1e8 / 5e8 + 20 us = 0.20002; elementwise: the general 1.5e8 / 1.5e9 + 20 us = 0.10002
    ops = [
        ("conv", 4 * 10**9, 10**8, 1),
        ("matmul", 4 * 10**9, 12 * 10**8, 1),
        ("pooling", 0, 10**8, 1),
        ("elementwise", 0, 15 * 10**7, 1),
    ]
    assert seconds(ops, profile) == pytest.approx(1.001 + 0.80002 + 0.20002 + 0.10002, rel=1e-12)


def test_factors_take_along_what_belongs_together(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, RICH)).scaled({"compute_rate": 2.0, "memory": 0.5, "battery": 0.1})
    assert (profile.flop_per_s, profile.convolution_flop_per_s, profile.matmul_flop_per_s) == (4e9, 8e9, 16e9)
    assert (profile.memory_bytes, profile.battery_j) == (256 * 2**20, 3600.0)
    with pytest.raises(ValueError, match="battery"):
        read_profile(written(tmp_path, WHOLE)).scaled({"battery": 2.0})


def test_uncertainties_are_told_or_follow_from_the_kind(tmp_path: Path) -> None:
    data = copy.deepcopy(WHOLE)
    data["compute_rate"]["uncertainty"] = 0.2
    data["memory_bandwidth"]["kind"] = "measured"
    sources = dict(read_profile(written(tmp_path, data)).sources)
    found = {key: sources[key].uncertainty for key in ("compute_rate", "memory_bandwidth", "uplink", "memory")}
    assert found == {"compute_rate": 0.2, "memory_bandwidth": 0.1, "uplink": UNCERTAINTY["assumed"], "memory": 0.0}


def test_a_draw_within_the_uncertainty(tmp_path: Path) -> None:
    data = copy.deepcopy(WHOLE)
    data["compute_rate"]["uncertainty"] = 0.2
    profile = read_profile(written(tmp_path, data))
    drawn = profile.within_uncertainty({"compute_rate": -1.0, "memory": 3.0})
    assert log(drawn.flop_per_s / profile.flop_per_s) == pytest.approx(-0.2)
    assert drawn.memory_bytes == profile.memory_bytes  # as large as it is
    assert drawn.flop_per_s == 2e9 * exp(-0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"idle_power": figure("-2 W")}, 'idle_power.value: got "-2 W"; expected a power'),
        ({"load_power": figure("6")}, 'load_power.value: got "6"; expected a power with a unit'),
        ({"load_power": figure("1 W")}, "load_power.value: got 1 W below idle_power 2 W"),
        ({"battery": figure("0 Wh")}, "battery.value: got '0 Wh'; expected a figure above zero"),
        ({"reserved_memory": figure("512 MiB")}, "reserved_memory.value: got 512 MiB of 512 MiB; expected less"),
        ({"send_power": {"value": "1 W"}}, "send_power.source: got None; expected where the figure comes from"),
        ({"compute_rate": {**figure("1 GFLOP/s"), "uncertainty": -1}}, "compute_rate.uncertainty: got -1; expected"),
        ({"compute_rate": {**figure("1 GFLOP/s"), "uncertainty": True}}, "compute_rate.uncertainty: got True"),
        ({"throttling": {**RICH["throttling"], "speed": 0}}, "throttling.speed: got 0; expected a share"),
        ({"throttling": {**RICH["throttling"], "after": "soon"}}, 'throttling.after, .recovery: got "soon"; expected'),
        ({"throttling": {**RICH["throttling"], "source": ""}}, "throttling.source: got ''; expected where"),
        ({"throttling": {**RICH["throttling"], "rest": 1}}, 'throttling: unknown key "rest"'),
        ({"matmul": figure("1 GFLOP/s")}, 'unknown key "matmul"; expected'),
    ],
)
def test_broken_figures_are_refused_with_place_and_reason(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read_profile(written(tmp_path, {**RICH, **change}))
    assert f"tiny.yaml: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "send_power",
            "send_power: missing; expected all of idle_power, load_power, send_power, receive_power, or none",
        ),
        ("uplink", "uplink: got None; expected value, source, date, kind"),
    ],
)
def test_missing_figures(tmp_path: Path, missing: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read_profile(written(tmp_path, {key: value for key, value in RICH.items() if key != missing}))
    assert message in str(caught.value)


def test_a_battery_needs_powers(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="battery: got one without powers"):
        read_profile(written(tmp_path, {key: value for key, value in RICH.items() if key not in POWERS}))


def test_a_profile_by_the_path_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(RICH), encoding="utf-8")
    found = load_profile(str(path))
    assert isinstance(found, Profile)
    assert (found.name, found.battery_j) == ("mine", 36_000.0)


def test_every_shipped_figure_tells_its_uncertainty() -> None:
    for name in profile_names():
        for key, source in load_profile(name).sources:
            assert 0 <= source.uncertainty <= 2, (name, key)
