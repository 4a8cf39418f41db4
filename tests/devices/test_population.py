"""The fleet: who wins between group, cell and profile, and draws that nobody else's presence moves."""

from math import inf, log, nan
from statistics import median, stdev
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.devices.population import FLEET_HEADER, CellSpec, GroupSpec, Slowdown, draw, fleet_table
from emulator.devices.profile import Profile


def machine(name: str, uplink_bps: float = 10e6) -> Profile:
    return Profile(name, "for hand work", 2e9, 1e9, 2**30, 0.0, uplink_bps, 40e6, 0.005, "roofline", ())


def stream(*names: object) -> np.random.Generator:
    """A keyed generator: the key's bytes are the seed."""
    return np.random.default_rng(list(repr(names).encode()))


SLOW = Slowdown("lognormal", sigma=0.5)
PI, PHONE = machine("pi"), machine("phone", 5e6)
HOME = CellSpec("home", uplink_bps=8e6, downlink_bps=100e6, latency_s=0.002)


# Exact by hand.
def test_three_devices() -> None:
    fleet = draw([GroupSpec(PI, 2, HOME), GroupSpec(PHONE, 1)], stream)
    assert [(device.index, device.name, device.profile.name, device.cell) for device in fleet] == [
        (0, "device-0000", "pi", "home"),
        (1, "device-0001", "pi", "home"),
        (2, "device-0002", "phone", None),
    ]
    # pi in home: min(10, 8) up, min(40, 100) down, the cell's 2 ms; phone on its own: its profile's figures.
    assert [(device.uplink_bps, device.downlink_bps, device.latency_s) for device in fleet] == [
        (8e6, 40e6, 0.002),
        (8e6, 40e6, 0.002),
        (5e6, 40e6, 0.005),
    ]
    assert [device.slowdown for device in fleet] == [1.0, 1.0, 1.0]


def test_the_group_comes_first() -> None:
    # 200 Mbit/s is above both the cell's and the profile's rate, and 0 s below both latencies: the group decides.
    group = GroupSpec(PI, 1, HOME, uplink_bps=200e6, downlink_bps=1e6, latency_s=0.0)
    (device,) = draw([group], stream)
    assert (device.uplink_bps, device.downlink_bps, device.latency_s) == (200e6, 1e6, 0.0)


def test_a_cell_may_leave_figures_open() -> None:
    (device,) = draw([GroupSpec(PI, 1, CellSpec("open", downlink_bps=3e6))], stream)
    assert (device.uplink_bps, device.downlink_bps, device.latency_s) == (10e6, 3e6, 0.005)


def test_constant_slowdown_is_the_factor() -> None:
    fleet = draw([GroupSpec(PI, 2, slowdown=Slowdown("constant", factor=2.5))], stream)
    assert [device.slowdown for device in fleet] == [2.5, 2.5]


def test_names_grow_with_the_fleet() -> None:
    # 10,000 devices: 0000 to 9999. One more needs five digits, for all of them.
    assert draw([GroupSpec(PI, 10_000)], stream)[-1].name == "device-9999"
    assert [device.name for device in draw([GroupSpec(PI, 10_001)], stream)][::10_000] == [
        "device-00000",
        "device-10000",
    ]


def test_no_groups_no_devices() -> None:
    assert draw([], stream) == ()


def test_table() -> None:
    rows = list(fleet_table(draw([GroupSpec(PI, 1, HOME), GroupSpec(PHONE, 1)], stream)))
    assert rows == [
        ("device-0000", "pi", "home", "2 GFLOP/s", "1.000", "8 Mbit/s", "40 Mbit/s", "2 ms"),
        ("device-0001", "phone", "-", "2 GFLOP/s", "1.000", "5 Mbit/s", "40 Mbit/s", "5 ms"),
    ]
    assert all(len(row) == len(FLEET_HEADER) for row in rows)


# Property: draws are keyed, so a device keeps its slowdown whatever joins behind it or changes before it.
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 5))
def test_who_joins_moves_nobody(first: int, second: int, joining: int) -> None:
    groups = [GroupSpec(PI, first, slowdown=SLOW), GroupSpec(PHONE, second, slowdown=SLOW)]
    more = [GroupSpec(PI, joining, slowdown=SLOW)] if joining else []
    assert draw([*groups, *more], stream)[: first + second] == draw(groups, stream)


def test_what_a_group_is_moves_nobody_else() -> None:
    fleet = draw([GroupSpec(PI, 3, slowdown=SLOW), GroupSpec(PHONE, 3, slowdown=SLOW)], stream)
    other = draw([GroupSpec(PHONE, 3), GroupSpec(PHONE, 3, slowdown=SLOW)], stream)
    assert fleet[3:] == other[3:]
    assert len({device.slowdown for device in fleet}) == 6


def test_the_key_is_field_and_index() -> None:
    asked: list[tuple[object, ...]] = []

    def noting(*names: object) -> np.random.Generator:
        asked.append(names)
        return stream(*names)

    fleet = draw([GroupSpec(PI, 1), GroupSpec(PI, 2, slowdown=SLOW)], noting)
    assert asked == [("slowdown", 1), ("slowdown", 2)]
    # exp(sigma z) with the z that the same key gives
    assert fleet[2].slowdown == np.exp(0.5 * stream("slowdown", 2).standard_normal())


# Theory: lognormal with median 1 and sigma 0.5; 4,000 draws: the median of the logs has a standard error of
# 1.2533 x 0.5 / sqrt(4000) = 0.0099, their deviation one of 0.5 / sqrt(8000) = 0.0056. Four of each.
def test_lognormal_has_median_one() -> None:
    logs = [log(SLOW.draw(stream(i))) for i in range(4000)]
    assert abs(median(logs)) < 0.04
    assert abs(stdev(logs) - 0.5) < 0.0224


# Theory: uniform on [2, 4) has mean 3; 4,000 draws: standard error 2 / sqrt(12) / sqrt(4000) = 0.0091. Four of them.
def test_uniform_lies_between_its_bounds() -> None:
    factors = [Slowdown("uniform", low=2.0, high=4.0).draw(stream(i)) for i in range(4000)]
    assert min(factors) >= 2.0
    assert max(factors) < 4.0
    assert abs(sum(factors) / 4000 - 3.0) < 0.0365


# Refusals.
@pytest.mark.parametrize(
    ("distribution", "settings", "message"),
    [
        ("lognormal", {"sigma": -0.1}, r"slowdown\.sigma: got -0\.1; expected"),
        ("lognormal", {"sigma": nan}, r"slowdown\.sigma: got nan"),
        ("uniform", {"low": 3.0, "high": 2.0}, r"slowdown: got low 3\.0, high 2\.0; expected 0 < low <= high"),
        ("uniform", {"low": 0.0}, r"slowdown: got low 0\.0"),
        ("uniform", {"high": inf}, r"slowdown: got low 1\.0, high inf"),
        ("constant", {"factor": 0.0}, r"slowdown\.factor: got 0\.0; expected"),
        ("normal", {}, r"slowdown: got 'normal'; expected lognormal, uniform or constant"),
    ],
)
def test_broken_slowdowns(
    distribution: Literal["lognormal", "uniform", "constant"], settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Slowdown(distribution, **settings)


def test_broken_groups_and_cells() -> None:
    with pytest.raises(ValueError, match=r"group of pi: count: got 0; expected one device or more"):
        GroupSpec(PI, 0)
    with pytest.raises(ValueError, match=r"group of pi: uplink_bps: got 0\.0; expected bit/s above zero"):
        GroupSpec(PI, 1, uplink_bps=0.0)
    with pytest.raises(ValueError, match=r"cell home: downlink_bps: got nan"):
        CellSpec("home", downlink_bps=nan)
    with pytest.raises(ValueError, match=r"cell home: latency_s: got -1\.0; expected seconds, zero or more"):
        CellSpec("home", latency_s=-1.0)
