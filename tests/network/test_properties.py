"""What must hold for any flows on any network: conservation, capacity, work, seeds, names, and who is harmed by whom."""

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, NamedTuple

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from network.band import Band
from network.classes import ClassMedium
from network.fading import BlockFading
from network.flow import Flow, Station
from network.hub import Hub
from network.mobility import Fixed
from network.pathloss import LogDistance
from network.plan import Access, CellPlan, Fading, NetworkPlan, Radio, SitePlan
from network.radio import LinkBudget
from network.ratemaps import Shannon
from network.sharing import EqualAirtime, EqualPackets, FairRate, Sharing
from network.topology import Network

LAWS: dict[str, Sharing] = {
    "rate": FairRate(5e6), "airtime": EqualAirtime(0.9), "packets": EqualPackets(lambda n: 0.9**n),
}  # fmt: skip


class Ask(NamedTuple):
    """One flow: when it starts (s), its bits, its station's rate, and when it is aborted, if ever."""

    start_s: float
    bits: float
    rate: float
    abort_s: float | None = None


RATES = st.sampled_from([3e5, 1e6, 3e6, 8e6, 1e9])
ASKS = st.lists(
    st.builds(Ask, st.floats(0, 3), st.floats(1e3, 2e7), RATES, st.one_of(st.none(), st.floats(0, 6))),
    min_size=1,
    max_size=14,
)


def at(env: simpy.Environment, time_s: float, what: Callable[[], Any]) -> None:
    """Do something at a time."""
    simpy.Timeout(env, round(time_s * 1e9) - int(env.now)).callbacks.append(lambda _: what())


class Watched:
    """Flows on a medium, their ends, and what is left of each whenever somebody looks."""

    def __init__(self, asks: list[Ask], law: Sharing) -> None:
        self.env = simpy.Environment(0)
        self.medium = ClassMedium(self.env, law)
        self.ends: dict[int, float] = {}
        self.order: list[int] = []
        self.flows = [self._flow(number, ask) for number, ask in enumerate(asks)]
        for flow, ask in zip(self.flows, asks, strict=True):
            at(self.env, ask.start_s, lambda flow=flow: self.medium.start(flow))  # type: ignore[misc]
            if ask.abort_s is not None:
                at(self.env, ask.start_s + ask.abort_s, flow.abort)

    def _flow(self, number: int, ask: Ask) -> Flow:
        def done() -> None:
            self.ends[number] = self.env.now / 1e9
            self.order.append(number)

        return Flow(Station(ask.rate), ask.bits, done)

    def samples(self, step_s: float, count: int) -> Iterator[list[float]]:
        """Bits left of every flow, every so often."""
        for number in range(count):
            self.env.run(until=1 + round(number * step_s * 1e9))
            yield [flow.left_bits() for flow in self.flows]


@pytest.mark.parametrize("law", LAWS)
@settings(deadline=None, max_examples=40)
@given(ASKS)
def test_bits_are_conserved_and_no_limit_is_broken(law: str, asks: list[Ask]) -> None:
    """In any interval no flow moves more than its station could, and the medium no more than it carries."""
    watched = Watched(asks, LAWS[law])
    step, before = 0.05, [ask.bits for ask in asks]
    for left in watched.samples(step, 200):
        moved = [a - b for a, b in zip(before, left, strict=True)]
        assert all(-1e-3 <= bits <= ask.rate * step * (1 + 1e-9) + 1 for bits, ask in zip(moved, asks, strict=True))
        if law == "rate":
            assert sum(moved) <= 5e6 * step * (1 + 1e-9) + len(asks)
        else:  # seconds of air
            assert sum(bits / ask.rate for bits, ask in zip(moved, asks, strict=True)) <= 0.9 * step * (1 + 1e-6) + 1e-6
        before = left
    watched.env.run()
    for number, (flow, ask) in enumerate(zip(watched.flows, asks, strict=True)):
        assert flow.left == 0.0 if number in watched.ends else 0 <= flow.left <= ask.bits
        assert (number in watched.ends) != (ask.abort_s is not None and flow.left > 0)


@settings(deadline=None, max_examples=40)
@given(ASKS)
def test_it_conserves_work(asks: list[Ask]) -> None:
    """While flows are there, the link is full or every flow is at its own limit: seen over short intervals."""
    asks = [ask._replace(abort_s=None) for ask in asks]
    watched = Watched(asks, FairRate(5e6))
    step, before = 0.01, [ask.bits for ask in asks]
    for number, left in enumerate(watched.samples(step, 400)):
        now = number * step
        there = [i for i, ask in enumerate(asks) if ask.start_s < now - step - 1e-6 and left[i] > 0]
        moved = sum(a - b for a, b in zip(before, left, strict=True))
        if number and there:
            assert moved >= min(5e6, sum(asks[i].rate for i in there)) * step * (1 - 1e-6) - 2
        before = left


@settings(deadline=None, max_examples=30)
@given(ASKS, st.randoms(use_true_random=False))
def test_names_do_not_matter(asks: list[Ask], shuffle: Any) -> None:
    """The same flows in another order finish at the same times (to the clock's rounding)."""
    new = list(range(len(asks)))
    shuffle.shuffle(new)
    one, other = Watched(asks, FairRate(5e6)), Watched([asks[i] for i in new], FairRate(5e6))
    one.env.run()
    other.env.run()
    renamed = {new[number]: end for number, end in other.ends.items()}
    assert renamed == pytest.approx(one.ends, abs=len(asks) * 3e-9)


@settings(deadline=None, max_examples=40)
@given(ASKS, st.builds(Ask, st.floats(0, 3), st.floats(1e3, 2e7), RATES, st.none()))
def test_nobody_gains_from_another_flow(asks: list[Ask], more: Ask) -> None:
    """Under processor sharing an added flow never makes another one faster."""
    asks = [ask._replace(abort_s=None) for ask in asks]
    without, with_it = Watched(asks, FairRate(5e6)), Watched([*asks, more], FairRate(5e6))
    without.env.run()
    with_it.env.run()
    for number, end in without.ends.items():
        assert with_it.ends[number] >= end - len(asks) * 3e-9


# ---- trees ---------------------------------------------------------------------------------------------------------------

TREE_LAWS: list[Callable[[], Sharing]] = [
    lambda: FairRate(4e6), lambda: FairRate(inf), lambda: EqualAirtime(1.0), lambda: EqualPackets(lambda n: 0.8),
]  # fmt: skip


@settings(deadline=None, max_examples=120)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 3), RATES, st.booleans(), st.sampled_from([1.0, 1.0, 2.5])), min_size=1, max_size=24
    ),
    st.sampled_from([2e6, 6e6, 2e7]), st.sampled_from([3e6, 1e7, inf]), st.booleans(),
)  # fmt: skip
def test_a_tree_shares_by_bottleneck_fairness(
    kinds: list[int], flows: list[tuple[int, float, bool, float]], site: float, core: float, half: bool
) -> None:
    """The definition, flow by flow: nothing is overfull; every flow is at its own limit, or crosses a full link (its medium,
    site or core) on which nobody has a higher level than it has.
    """
    env = simpy.Environment(0)
    top = Hub(core, core)
    hubs = [Hub(site, site, top), Hub(site * 2, site * 2, top)]
    laws = [TREE_LAWS[kind]() for kind in kinds]
    media = []
    for number, law in enumerate(laws):
        down = ClassMedium(env, law, hubs[number % 2])
        media.append((down, down if half else ClassMedium(env, law, hubs[number % 2])))
    started = []
    for place, rate, uplink, weight in flows:
        number = place % len(media)
        flow = Flow(Station(rate, weight), 1e12, lambda: None, uplink)
        media[number][uplink].start(flow)
        started.append((number, flow))
    env.run(until=1)
    rates = [flow.group.level * flow.phi for _, flow in started]
    check_links(started, rates, {0: (site, core), 1: (site * 2, core)})
    for (number, flow), rate in zip(started, rates, strict=True):
        limit = flow.group.bound * flow.phi
        mine = [i for i, (_, other) in enumerate(started) if other.medium is flow.medium]
        load = sum(started[i][1].load / started[i][1].phi * rates[i] for i in mine)
        capacity = laws[number].capacity(len(mine))
        assert load <= capacity * (1 + 1e-9)
        levels = [rates[i] / started[i][1].phi for i in mine]
        at_medium = load >= capacity * (1 - 1e-9) and rate / flow.phi >= max(levels) * (1 - 1e-9)
        assert rate >= limit * (1 - 1e-9) or at_medium or at_link(started, rates, (number, flow, rate), (site, core))


def links_of(number: int, flow: Flow) -> list[tuple[str, int, bool]]:
    """The links above a flow's medium."""
    return [("site", number % 2, flow.uplink), ("core", 0, flow.uplink)]


def capacity_of(link: tuple[str, int, bool], rates: tuple[float, float]) -> float:
    """bit/s of a link: the second site has twice the first one's."""
    return rates[1] if link[0] == "core" else rates[0] * (1 + link[1])


def members(started: list[tuple[int, Flow]], link: tuple[str, int, bool]) -> list[int]:
    """Which flows cross a link."""
    return [i for i, (number, flow) in enumerate(started) if link in links_of(number, flow)]


def check_links(started: list[tuple[int, Flow]], rates: list[float], of_site: dict[int, tuple[float, float]]) -> None:
    """No link carries more than it can."""
    for number, flow in started:
        for link in links_of(number, flow):
            total = sum(rates[i] for i in members(started, link))
            assert total <= capacity_of(link, (of_site[0][0], of_site[0][1])) * (1 + 1e-9)


def at_link(
    started: list[tuple[int, Flow]], rates: list[float], one: tuple[int, Flow, float], capacities: tuple[float, float]
) -> bool:
    """Whether a flow crosses a full link on which nobody is faster."""
    number, flow, rate = one
    for link in links_of(number, flow):
        there = [rates[i] for i in members(started, link)]
        if sum(there) >= capacity_of(link, capacities) * (1 - 1e-9) and rate >= max(there) * (1 - 1e-9):
            return True
    return False


# ---- seeds ---------------------------------------------------------------------------------------------------------------


def test_the_air_is_the_same_whatever_else_runs() -> None:
    """A device's fades, shadowing, losses and jitter follow from its key and the time: another device in another cell, or
    another fleet around it, changes nothing.
    """
    alone, accompanied = arrivals(0), arrivals(12)
    assert alone == accompanied
    assert len(set(arrivals(0, seed=4)) & set(alone)) == 0


def arrivals(others: int, seed: int = 3) -> list[int]:
    """When twenty uploads of one device, one after the other, arrive."""
    budget = LinkBudget(23, 0, 0, 5, 10e6)
    fading = Fading(BlockFading(10_000_000), "block")
    radio = Radio(Band(10e6, Shannon()), LogDistance(), budget, budget, Shannon(), None, fading)
    cells = tuple(
        CellPlan(name, "airtime", radio=radio, jitter_ns=1_000_000, loss=0.2, seed=seed + ord(name)) for name in "ab"
    )
    network = Network(simpy.Environment(0), NetworkPlan(SitePlan("core", 1e9, 1e9), cells=cells))
    found: list[int] = []
    device = network.attach(Access("one", "a", 1e6, 1e6, 0, key=77, place=Fixed(120.0, 30.0)))

    def upload() -> None:
        if found:
            found[-1] = int(network.env.now)
        if len(found) < 20:
            found.append(0)
            network.send(device.to_server, 200_000, upload)

    for number in range(others):
        other = network.attach(Access(f"other-{number}", "b", 1e6, 1e6, 0, key=number, place=Fixed(90.0, 0.0)))
        network.send(other.to_server, 3_000_000, lambda: None)
    upload()
    network.env.run(until=60_000_000_000)
    return found
