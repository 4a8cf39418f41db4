"""Max-min sharing beside SimGrid's, an independent simulator (Debian: python3-simgrid): one link with caps, and trees.

Without SimGrid these tests are skipped, unless REQUIRE_SIMGRID is set, as continuous integration does.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import pytest
import simpy

from network.classes import ClassMedium
from network.flow import Flow, Station
from network.plan import Access, CellPlan, NetworkPlan, SitePlan
from network.sharing import FairRate
from network.topology import Network

REFERENCE = Path(__file__).with_name("simgrid_reference.py")
DEBIAN = Path("/usr/lib/python3/dist-packages")


class Sent(NamedTuple):
    """One flow: when it starts, its bytes, and the links it goes over."""

    start_s: float
    size: int
    links: tuple[str, ...]


@cache
def interpreter() -> tuple[str, dict[str, str]] | None:
    """A Python that can import simgrid, and the environment it needs; None when there is none."""
    folder = mkdtemp(prefix="simgrid-")
    for library in DEBIAN.glob("simgrid*.so"):  # the module alone: Debian's other packages are not for this Python
        (Path(folder) / library.name).symlink_to(library)
    for python in (sys.executable, "/usr/bin/python3"):
        surroundings = {**os.environ, "PYTHONPATH": folder}
        try:
            found = subprocess.run([python, "-c", "import simgrid"], env=surroundings, capture_output=True, check=False)
        except OSError:
            continue
        if found.returncode == 0:
            return python, surroundings
    return None


def simgrid(links: dict[str, float], flows: list[Sent]) -> list[float]:
    """Finishing times as SimGrid has them."""
    found = interpreter()
    if found is None:
        words = "SimGrid cannot be imported: apt-get install python3-simgrid"
        if os.environ.get("REQUIRE_SIMGRID"):
            pytest.fail(words)
        pytest.skip(words)
    python, surroundings = found
    asked = json.dumps({"links": links, "flows": flows})
    done = subprocess.run(
        [python, str(REFERENCE)], input=asked, env=surroundings, capture_output=True, text=True, check=True
    )
    times: list[float] = json.loads(done.stdout)
    return times


def starts(env: simpy.Environment, flows: list[Sent]) -> Iterator[tuple[int, int]]:
    """(ns, number) of the flows in their order of starting."""
    yield from sorted((round(flow.start_s * 1e9), number) for number, flow in enumerate(flows))


@pytest.mark.parametrize("count", [20, 200, 2000])
def test_one_link_with_caps(count: int) -> None:
    """Random sizes, starts and caps, some of which bind. Finishing times to 1e-9 relative."""
    draw = random.Random(count)
    rate = 1e6 * count / 4
    caps = [draw.choice([1e5, 2e5, 3e5, 5e5, 1e6, 1e9]) for _ in range(count)]
    flows = [Sent(draw.randrange(60), draw.randrange(2_000_000, 20_000_000), (f"own-{i}", "all")) for i in range(count)]
    expected = simgrid({"all": rate, **{f"own-{i}": cap for i, cap in enumerate(caps)}}, flows)
    env = simpy.Environment(0)
    medium = ClassMedium(env, FairRate(rate))
    finished = [0.0] * count

    def go() -> Iterator[simpy.Event]:
        for start_ns, number in starts(env, flows):
            if start_ns > env.now:
                yield env.timeout(start_ns - int(env.now))
            medium.start(Flow(Station(caps[number]), 8.0 * flows[number].size, lambda n=number: done(n)))  # type: ignore[misc]

    def done(number: int) -> None:
        finished[number] = env.now / 1e9

    env.process(go())  # type: ignore[arg-type]
    env.run()
    assert finished == pytest.approx(expected, rel=1e-9)
    assert slowed(flows, caps, finished) > count / 4


def slowed(flows: list[Sent], caps: list[float], finished: list[float]) -> int:
    """How many flows took longer than their own caps would have them: others were in their way."""
    took = [end - flow.start_s for flow, end in zip(flows, finished, strict=True)]
    return sum(s > 1.01 * 8 * flow.size / cap for flow, cap, s in zip(flows, caps, took, strict=True))


@pytest.mark.parametrize(("count", "cells", "sites"), [(300, 12, 4), (1000, 24, 6)])
def test_a_tree(count: int, cells: int, sites: int) -> None:
    """Device cap -> cell -> site's backhaul -> core, full links on all floors at times. Finishing times to 1e-9 relative."""
    draw = random.Random(count)
    core = 1e5 * count
    site_rates = [core / sites * draw.uniform(0.6, 2.0) for _ in range(sites)]
    cell_rates = [core / cells * draw.uniform(0.6, 3.0) for _ in range(cells)]
    plan = NetworkPlan(
        SitePlan("core", core, core),
        tuple(SitePlan(f"site-{s}", rate, rate) for s, rate in enumerate(site_rates)),
        tuple(
            CellPlan(f"cell-{c}", "shared", downlink_bps=rate, uplink_bps=rate, site=f"site-{c % sites}")
            for c, rate in enumerate(cell_rates)
        ),
    )
    caps = [draw.choice([3e4, 8e4, 1.5e5, 4e5, 1e6]) for _ in range(count)]
    flows = [
        Sent(draw.randrange(40), draw.randrange(500_000, 5_000_000),
             (f"own-{i}", f"cell-{i % cells}", f"site-{i % cells % sites}", "core"))
        for i in range(count)
    ]  # fmt: skip
    links = {"core": core, **{f"own-{i}": cap for i, cap in enumerate(caps)}}
    links |= {f"site-{s}": rate for s, rate in enumerate(site_rates)}
    links |= {f"cell-{c}": rate for c, rate in enumerate(cell_rates)}
    expected = simgrid(links, flows)
    env = simpy.Environment(0)
    network = Network(env, plan)
    devices = [network.attach(Access(f"d-{i}", f"cell-{i % cells}", cap, cap, 0)) for i, cap in enumerate(caps)]
    finished = [0.0] * count

    def go() -> Iterator[simpy.Event]:
        for start_ns, number in starts(env, flows):
            if start_ns > env.now:
                yield env.timeout(start_ns - int(env.now))
            network.send(devices[number].to_server, flows[number].size, lambda n=number: done(n))  # type: ignore[misc]

    def done(number: int) -> None:
        finished[number] = env.now / 1e9

    env.process(go())  # type: ignore[arg-type]
    env.run()
    assert finished == pytest.approx(expected, rel=1e-9)
    assert slowed(flows, caps, finished) > count / 4
