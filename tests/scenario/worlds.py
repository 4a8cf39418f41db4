"""A tiny scenario that others are made from: three devices learn digits."""

from typing import Any, cast

from emulator.yaml_text import dump, load

BASE = """\
name: tiny
seed: 7
data:
  dataset: digits
  partition: {kind: dirichlet, alpha: 0.5}
model: {name: mlp}
devices:
  - {profile: raspberry-pi-4, count: 2, cell: home-wifi}
  - {profile: phone-low, count: 1, uplink: 4 Mbit/s, slowdown: {distribution: lognormal, sigma: 0.3}}
network:
  cells:
    home-wifi: {uplink: 20 Mbit/s, downlink: 40 Mbit/s, latency: 5 ms}
  backhaul: {rate: 100 Mbit/s, latency: 5 ms}
protocol: {name: fedavg, rounds: 2, cohort: 3, learning_rate: 0.1}
evaluate: {every: 1, validation: 0.1}
stop: {virtual_time: 2 h}
"""


def data() -> dict[str, Any]:
    """The base scenario as plain data, new each time."""
    return cast(dict[str, Any], load(BASE))


def swapped(old: str, new: str) -> str:
    """The base scenario's text with one passage exchanged."""
    assert BASE.count(old) == 1, old
    return BASE.replace(old, new)


def text(changes: dict[str, Any]) -> str:
    """The base scenario's text with top-level blocks replaced."""
    return dump({**data(), **changes})
