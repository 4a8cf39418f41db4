"""The shared link, worked out by hand: processor sharing, caps, aborts, and what must hold for any flows."""

from collections.abc import Generator
from itertools import pairwise
from typing import Any

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from network.link import Flow, Port, SharedLink

MB = 1_000_000
Steps = Generator[simpy.Event, Any, None]
FAST = 1e12  # a port that never binds


def finish_times(flows: list[tuple[float, int, Port]], rate_bps: float) -> list[float]:
    """Seconds at which flows (start s, bytes, port) finish on a link of that rate."""
    env = simpy.Environment(0)
    link = SharedLink(env, rate_bps)
    done = [0.0] * len(flows)

    def run(index: int, start_s: float, size: int, port: Port) -> Steps:
        yield env.timeout(round(start_s * 1e9))
        yield link.start(port, size).done
        done[index] = env.now / 1e9

    for index, flow in enumerate(flows):
        env.process(run(index, *flow))
    env.run()
    return done


def test_three_staggered_flows_exact() -> None:
    # 1 MB/s. a: 1 MB from 0 s, b: 1 MB from 0.5 s, c: 0.5 MB from 1 s.
    # 0-0.5: a alone, 0.5 MB. 0.5-1: a and b 0.25 MB each. From 1 s three share 1/3 MB/s: a's last 0.25 MB ends at 1.75 s.
    # Then b and c have 0.5 and 0.25 MB left at 0.5 MB/s: c ends at 2.25 s; b's last 0.25 MB alone ends at 2.5 s.
    flows = [(0.0, MB, Port(FAST)), (0.5, MB, Port(FAST)), (1.0, MB // 2, Port(FAST))]
    assert finish_times(flows, 8e6) == pytest.approx([1.75, 2.5, 2.25], abs=1e-9)


def test_batch_equals_the_closed_form() -> None:
    # All start at 0, sizes ascending: f_k = (sum_{j<k} s_j + (N - k + 1) s_k) / C.
    sizes = [10_000, 20_000, 50_000, 70_000, 90_000]
    expected = [(sum(sizes[:k]) + (len(sizes) - k) * size) / 1e6 for k, size in enumerate(sizes)]
    assert finish_times([(0.0, size, Port(FAST)) for size in sizes], 8e6) == pytest.approx(expected, rel=1e-9)


def test_a_slow_port_leaves_its_share_to_the_others() -> None:
    # Link 9 Mbit/s, ports 1 and fast: max-min gives 1 and 8 Mbit/s. 1 MB = 8 Mbit: 1 s for the fast one;
    # the slow one keeps its 1 Mbit/s throughout: 8 s.
    assert finish_times([(0.0, MB, Port(1e6)), (0.0, MB, Port(FAST))], 9e6) == pytest.approx([8.0, 1.0], abs=1e-9)


def test_flows_of_one_device_share_its_port() -> None:
    # One port of 8 Mbit/s, link unlimited: two flows of 1 MB get 4 Mbit/s each, both end at 2 s.
    port = Port(8e6)
    assert finish_times([(0.0, MB, port), (0.0, MB, port)], float("inf")) == pytest.approx([2.0, 2.0], abs=1e-9)
    # When the second is half as long it ends at 1 s, and the first has 0.5 MB left for the whole port: 1.5 s.
    port = Port(8e6)
    assert finish_times([(0.0, MB, port), (0.0, MB // 2, port)], float("inf")) == pytest.approx([1.5, 1.0], abs=1e-9)


def test_abort_frees_the_link_at_once() -> None:
    # Two flows of 1 MB on 8 Mbit/s. After 1 s each has 0.5 MB; one is aborted; the other's 0.5 MB take 0.5 s more.
    env = simpy.Environment(0)
    link = SharedLink(env, 8e6)
    kept, cut = link.start(Port(FAST), MB), link.start(Port(FAST), MB)

    def abort() -> Steps:
        yield env.timeout(1_000_000_000)
        assert link.sent_bytes(cut) == MB // 2
        link.abort(cut)
        yield kept.done
        assert env.now == 1_500_000_000

    env.run(env.process(abort()))
    env.run()
    assert not cut.done.triggered


def test_an_empty_flow_ends_at_once() -> None:
    assert finish_times([(2.0, 0, Port(1.0))], 1.0) == [2.0]


def test_a_rate_must_be_positive() -> None:
    with pytest.raises(ValueError, match="rate_bps: got 0; expected a positive rate"):
        SharedLink(simpy.Environment(0), 0)


FLOWS = st.lists(
    st.tuples(st.floats(0, 2), st.integers(1, 2_000_000), st.sampled_from([1e6, 3e6, 8e6, 1e9])),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(FLOWS)
def test_equals_a_naive_simulation(flows: list[tuple[float, int, float]]) -> None:
    """A second implementation: constant rates between events, solved by water filling over single flows."""
    ours = finish_times([(start, size, Port(cap)) for start, size, cap in flows], 5e6)
    assert ours == pytest.approx(naive(flows, 5e6), abs=len(flows) * 2e-9, rel=1e-8)


def naive(flows: list[tuple[float, int, float]], rate: float) -> list[float]:
    left = [8.0 * size for _, size, _ in flows]
    done = [-1.0] * len(flows)
    starts = [round(start * 1e9) / 1e9 for start, _, _ in flows]
    now = 0.0
    while min(done) < 0:
        active = [i for i in range(len(flows)) if done[i] < 0 and starts[i] <= now + 1e-12]
        rates = waterfill({i: flows[i][2] for i in active}, rate)
        ends = [now + left[i] / rates[i] for i in active] + [s for s in starts if s > now + 1e-12]
        then = min(ends)
        for i in active:
            left[i] -= rates[i] * (then - now)
            if left[i] <= 1e-3:
                done[i] = then
        now = then
    return done


def waterfill(caps: dict[int, float], rate: float) -> dict[int, float]:
    found: dict[int, float] = {}
    while len(found) < len(caps):
        share = (rate - sum(found.values())) / (len(caps) - len(found))
        bound = {i: cap for i, cap in caps.items() if i not in found and cap <= share}
        if not bound:
            return found | {i: share for i in caps if i not in found}
        found |= bound
    return found


@settings(deadline=None, max_examples=40)
@given(FLOWS)
def test_no_cap_and_no_capacity_is_ever_exceeded(flows: list[tuple[float, int, float]]) -> None:
    """Bytes seen at sampled instants: the link never carries more than its rate, a flow never more than its port."""
    env = simpy.Environment(0)
    link = SharedLink(env, 5e6)
    seen: list[list[int]] = []
    active: list[Flow] = []

    def run(start_s: float, size: int, cap: float) -> Steps:
        yield env.timeout(round(start_s * 1e9))
        flow = link.start(Port(cap), size)
        active.append(flow)
        yield flow.done

    def sample() -> Steps:
        for _ in range(80):
            seen.append([link.sent_bytes(flow) for flow in active])
            yield env.timeout(50_000_000)

    for flow in flows:
        env.process(run(*flow))
    env.process(sample())
    env.run()
    for before, after in pairwise(seen):
        moved = [b - (before[i] if i < len(before) else 0) for i, b in enumerate(after)]
        assert sum(moved) * 8 <= 5e6 * 0.05 + 8 * len(moved)
        assert all(bits * 8 <= flow.port.rate_bps * 0.05 + 8 for bits, flow in zip(moved, active, strict=False))
    assert [link.sent_bytes(flow) for flow in active] == [int(flow.bits) // 8 for flow in active]
