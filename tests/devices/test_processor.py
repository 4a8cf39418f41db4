"""Seconds from FLOPs and bytes: every mode by hand, and the speed of the sum itself."""

from dataclasses import replace
from timeit import repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.devices.processor import CostOps, seconds
from emulator.devices.profile import Profile

# A round machine: 1 GFLOP/s, 100 MB/s, 1 ms an operator.
MACHINE = Profile("round", "for hand work", 1e9, 1e8, 2**30, 1e-3, 1e6, 1e6, 0.0, "roofline", ())
# conv twice: 3 s of arithmetic, 1 s of memory; relu once: no arithmetic, 0.5 s of memory.
OPS: CostOps = [("conv", 3_000_000_000, 100_000_000, 2), ("elementwise", 0, 50_000_000, 1)]


def test_roofline() -> None:
    # 2 x (max(3, 1) + 0.001) + max(0, 0.5) + 0.001 = 6.503
    assert seconds(OPS, MACHINE) == pytest.approx(6.503, rel=1e-15)


def test_additive() -> None:
    # 2 x (3 + 1 + 0.001) + 0 + 0.5 + 0.001 = 8.503
    assert seconds(OPS, replace(MACHINE, compute="additive")) == pytest.approx(8.503, rel=1e-15)


def test_flops_alone() -> None:
    # 2 x 3e9 FLOP at 1e9 FLOP/s, nothing else: exactly 6
    assert seconds(OPS, replace(MACHINE, compute="flops")) == 6.0


def test_slowdown_multiplies_all_of_it() -> None:
    assert seconds(OPS, MACHINE, 2.0) == 2.0 * seconds(OPS, MACHINE)


def test_the_ridge() -> None:
    # At 10 FLOP a byte arithmetic and memory take the same time: 1e9 FLOP, 1e8 bytes, 1 s each.
    machine = replace(MACHINE, overhead_s=0.0)
    assert seconds([("matmul", 1_000_000_000, 100_000_000, 1)], machine) == 1.0
    assert seconds([("matmul", 1_000_000_000, 100_000_000, 1)], replace(machine, compute="additive")) == 2.0


def test_nothing_takes_no_time() -> None:
    assert seconds([], MACHINE) == 0.0


def test_unknown_mode_is_refused() -> None:
    mode: Any = "magic"
    with pytest.raises(ValueError, match=r"round: compute: got 'magic'; expected roofline, additive or flops"):
        seconds(OPS, replace(MACHINE, compute=mode))


COSTS = st.lists(
    st.tuples(
        st.just("elementwise"),
        st.integers(min_value=0, max_value=10**12),
        st.integers(min_value=0, max_value=10**10),
        st.integers(min_value=1, max_value=1000),
    ),
    max_size=20,
)


@given(COSTS)
def test_order_of_the_modes(ops: CostOps) -> None:
    # flops <= roofline <= additive, and additive's arithmetic and memory together at most twice the larger.
    alone, roofline, additive = (
        seconds(ops, replace(MACHINE, compute=mode)) for mode in ("flops", "roofline", "additive")
    )
    slack = 1 + 1e-12
    assert alone <= roofline * slack
    assert roofline <= additive * slack
    assert additive <= 2 * roofline * slack


@given(COSTS)
def test_count_is_repetition(ops: CostOps) -> None:
    spread = [(name, flops, size, 1) for name, flops, size, count in ops for _ in range(count % 7 + 1)]
    folded = [(name, flops, size, count % 7 + 1) for name, flops, size, count in ops]
    assert seconds(folded, MACHINE) == pytest.approx(seconds(spread, MACHINE), rel=1e-12)


def test_sixty_entries_are_cheap() -> None:
    # 30 us is the aim on a quiet core; the bound leaves room for a loaded host.
    ops = [("elementwise", 1_000_000 + i, 1000 + i, i) for i in range(60)]
    best = min(repeat(lambda: seconds(ops, MACHINE), number=200, repeat=5)) / 200
    assert best < 200e-6
