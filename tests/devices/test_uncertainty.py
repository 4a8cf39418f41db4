"""Profiles drawn within their uncertainties: which figures move, by which keys, and what stays possible."""

from dataclasses import replace
from math import exp, log
from statistics import mean, stdev

import numpy as np
import pytest

from emulator.devices.profile import Profile, Source
from emulator.devices.profile_file import load_profile, profile_names
from emulator.devices.uncertainty import drawn_within, factored, possible


def source(uncertainty: float) -> Source:
    return Source("", "by hand", "2026-11-01", "assumed", uncertainty)


# 2 GFLOP/s in general and 4 in convolutions; the memory is exact, the latency told without an uncertainty.
TOLD = (
    ("compute_rate", source(0.3)),
    ("convolution_rate", source(0.1)),
    ("uplink", source(0.5)),
    ("memory", source(0.0)),
)
TINY = Profile(
    "tiny", "for hand work", 2e9, 1e9, 2**30, 0.0, 1e7, 4e7, 0.005, "roofline", TOLD, convolution_flop_per_s=4e9
)


def stream(*names: object) -> np.random.Generator:
    return np.random.default_rng(list(repr(names).encode()))


def test_figures_are_those_that_the_profile_has() -> None:
    link = ["uplink", "downlink", "latency"]
    assert factored(TINY) == ["compute_rate", "memory_bandwidth", "memory", "overhead", *link]
    assert factored(replace(TINY, battery_j=1e4))[-1] == "battery"


# Exact by hand: each uncertain figure times exp(uncertainty z), its z from the key of profile and figure.
def test_each_figure_has_its_own_key() -> None:
    asked: list[tuple[object, ...]] = []

    def noting(*names: object) -> np.random.Generator:
        asked.append(names)
        return stream(*names)

    found = drawn_within(TINY, noting)
    assert asked == [("uncertainty", "tiny", "compute_rate"), ("uncertainty", "tiny", "uplink")]
    z = [stream(*names).standard_normal() for names in asked]
    assert found.flop_per_s == 2e9 * exp(0.3 * z[0])
    assert found.convolution_flop_per_s == 4e9 * exp(0.3 * z[0])  # a class of operators moves along
    assert found.uplink_bps == 1e7 * exp(0.5 * z[1])
    assert (found.memory_bytes, found.latency_s, found.downlink_bps) == (2**30, 0.005, 4e7)


# Theory: the log of a factor is normal with the uncertainty, 0.3, as deviation; 2,000 draws: standard error of the mean
# 0.3 / sqrt(2000) = 0.0067, of the deviation 0.3 / sqrt(4000) = 0.0047. Four of each.
def test_the_spread_is_the_uncertainty() -> None:
    rates = [drawn_within(TINY, lambda *names, seed=seed: stream(seed, *names)).flop_per_s for seed in range(2000)]
    logs = [log(rate / 2e9) for rate in rates]
    assert abs(mean(logs)) < 0.027
    assert abs(stdev(logs) - 0.3) < 0.019


@pytest.mark.parametrize("name", profile_names())
def test_shipped_profiles_can_be_drawn(name: str) -> None:
    profile = load_profile(name)
    found = drawn_within(profile, stream)
    assert found.name == name
    assert found.flop_per_s != profile.flop_per_s
    assert found.memory_bytes == profile.memory_bytes  # sizes are exact


def test_a_computing_device_never_draws_less_than_an_idle_one() -> None:
    crossed = replace(TINY, idle_w=5.0, load_w=4.0, send_w=1.0, receive_w=1.0)
    assert possible(crossed).load_w == 5.0
    assert possible(replace(crossed, load_w=6.0)).load_w == 6.0


def test_no_memory_left() -> None:
    with pytest.raises(
        ValueError, match=r"^tiny: memory: got a draw of 1000 bytes, of which the system takes 1000; exp"
    ):
        possible(replace(TINY, memory_bytes=1000, reserved_memory_bytes=1000))
