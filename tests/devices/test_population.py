"""The fleet: who wins between group, cell and profile, and draws that nobody else's presence moves."""

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.devices.population import CellSpec, GroupSpec, apportion, draw
from emulator.devices.profile import Profile
from emulator.devices.spread import Spread


def machine(name: str, uplink_bps: float = 10e6) -> Profile:
    return Profile(name, "for hand work", 2e9, 1e9, 2**30, 0.0, uplink_bps, 40e6, 0.005, "roofline", ())


def stream(*names: object) -> np.random.Generator:
    """A keyed generator: the key's bytes are the seed."""
    return np.random.default_rng(list(repr(names).encode()))


SLOW = Spread("lognormal", sigma=0.5)
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
    fleet = draw([GroupSpec(PI, 2, slowdown=Spread("constant", factor=2.5))], stream)
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


# Factors on figures.
def test_a_factor_multiplies_the_profile_and_the_group_s_own_link() -> None:
    twice, half = Spread("constant", factor=2.0), Spread("constant", factor=0.5)
    vary = (("compute_rate", twice), ("memory", half), ("uplink", half), ("latency", twice))
    own, cells, profiles = (
        draw([GroupSpec(PI, 1, place, uplink_bps=rate, latency_s=late, vary=vary)], stream)[0]
        for place, rate, late in ((HOME, 6e6, 0.004), (HOME, None, None), (None, None, None))
    )
    assert (own.profile.flop_per_s, own.profile.memory_bytes) == (4e9, 2**29)
    assert (own.uplink_bps, own.downlink_bps, own.latency_s) == (3e6, 40e6, 0.008)
    # The profile's 10 Mbit/s becomes 5, below the cell's 8; the cell's 2 ms stay as they are.
    assert (cells.uplink_bps, cells.latency_s) == (5e6, 0.002)
    assert (profiles.uplink_bps, profiles.latency_s) == (5e6, 0.010)


def test_each_figure_has_a_key_of_its_own() -> None:
    rate, memory = ("compute_rate", Spread("lognormal", sigma=0.5)), ("memory", Spread("uniform", low=1.0, high=2.0))
    both = draw([GroupSpec(PI, 2, slowdown=SLOW, vary=(memory, rate))], stream)
    one = draw([GroupSpec(PI, 3, slowdown=SLOW, vary=(rate,))], stream)
    assert [device.profile.flop_per_s for device in both] == [device.profile.flop_per_s for device in one[:2]]
    assert [device.slowdown for device in both] == [device.slowdown for device in one[:2]]
    # exp(sigma z) with the z of the figure's key
    assert both[1].profile.flop_per_s == 2e9 * np.exp(0.5 * stream("vary", "compute_rate", 1).standard_normal())


def test_a_zipf_slowdown_is_one_of_speeds() -> None:
    # Ranks 1 to 3 with exponent 1: speeds 1, 1/2, 1/3, so slowdowns 1, 2, 3 - never below 1.
    fleet = draw([GroupSpec(PI, 60, slowdown=Spread("zipf", exponent=1.0, ranks=3))], stream)
    assert {round(device.slowdown, 9) for device in fleet} == {1.0, 2.0, 3.0}


def test_a_draw_that_leaves_no_memory() -> None:
    full = replace(PI, reserved_memory_bytes=2**29)
    with pytest.raises(ValueError, match=r"pi: memory: got a draw of 536870912 bytes, of which the system takes"):
        draw([GroupSpec(full, 1, vary=(("memory", Spread("constant", factor=0.5)),))], stream)


# Exact by hand: quotas 2.1, 3.15, 1.75 of 7 give 2, 3, 1; the one left goes to the largest remainder, 0.75.
def test_largest_remainder() -> None:
    assert apportion([0.3, 0.45, 0.25], 7) == [2, 3, 2]
    assert apportion([0.5, 0.5], 3) == [2, 1]  # equal remainders: the first comes first
    assert apportion([0.29, 0.71], 100) == [29, 71]  # 0.29 x 100 is 28.999999999999996 in floats
    assert apportion([], 0) == []


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=9), st.integers(0, 500))
def test_shares_give_out_every_device(shares: list[float], devices: int) -> None:
    found = apportion(shares, devices)
    assert sum(found) == devices
    # Each is within one of its quota (the quota rule); 1e-9 for rounding.
    assert all(abs(n - share / sum(shares) * devices) < 1 + 1e-9 for n, share in zip(found, shares, strict=True))


# Refusals.
def test_broken_groups_and_cells() -> None:
    with pytest.raises(ValueError, match=r"group of pi: count: got 0; expected one device or more"):
        GroupSpec(PI, 0)
    with pytest.raises(ValueError, match=r"group of pi: vary: got 'battery'; expected one of compute_rate, memory_"):
        GroupSpec(PI, 1, vary=(("battery", SLOW),))
    with pytest.raises(ValueError, match=r"group of pi: uplink_bps: got 0\.0; expected bit/s above zero"):
        GroupSpec(PI, 1, uplink_bps=0.0)
    with pytest.raises(ValueError, match=r"cell home: downlink_bps: got nan"):
        CellSpec("home", downlink_bps=nan)
    with pytest.raises(ValueError, match=r"cell home: latency_s: got -1\.0; expected seconds, zero or more"):
        CellSpec("home", latency_s=-1.0)
