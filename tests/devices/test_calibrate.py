"""Calibration's counts are the meter's, and its fit finds known rates again, with the uncertainty that it says."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest
import torch

from deploy.calibrate import (
    GENERAL,
    OWN,
    Fit,
    Part,
    Timed,
    figures,
    fit,
    fit_all,
    layers,
    merged,
    predicted,
    quick,
    repetitions,
)
from emulator.learning.meter import Meter

NONE = math.inf
ALONE = {0: NONE, 2: 0.0, 3: 0.0}  # a bandwidth and nothing else


def taking(parts: Sequence[Part], *seconds: float, kind: str = "matmul") -> Timed:
    return Timed(kind, tuple(parts), seconds)


def obeying(values: Sequence[float], work: Sequence[Part], sigma: float = 0.0, seed: int = 0) -> list[Timed]:
    """Layers of one operator that take what the roofline says, but for noise."""
    draw = random.Random(seed)
    return [taking([part], predicted([part], values) * math.exp(sigma * draw.gauss(0, 1))) for part in work]


def streaming(count: int) -> list[Part]:
    """At most one FLOP a byte: bound by memory wherever a machine does more than one FLOP while it moves a byte."""
    return [(10_000, 10_000 * number) for number in range(1, count + 1)]


def arithmetic(count: int) -> list[Part]:
    """A thousand FLOPs a byte and more."""
    return [(10_000_000 * number, 10_000) for number in range(1, count + 1)]


# ---- what is counted -----------------------------------------------------------------------------------------------


def test_every_layer_counts_what_the_meter_counts() -> None:
    """Exact, operator by operator, for the roofline takes a maximum for each. (The sum for a linear layer's bias and a
    normalisation's count of batches are elementwise to the meter.)"""
    classes = {"convolution": {"conv"}, "matmul": {"matmul", "elementwise"}, "pooling": {"pooling"}}
    classes |= {
        "normalisation": {"normalisation", "elementwise"},
        "overhead": {"matmul", "normalisation", "elementwise"},
    }
    seen = Counter[str]()
    with torch.device("meta"):
        for make in layers():
            layer = make()
            with Meter() as meter:
                layer.run()
            cost = meter.cost()
            each = [(flops, size) for _, flops, size, count in cost.ops for _ in range(count)]
            assert sorted(each) == sorted(layer.parts), layer.kind
            assert (cost.flops, cost.bytes) == tuple(map(sum, zip(*layer.parts, strict=True)))
            assert {op[0] for op in cost.ops} == classes.get(layer.kind, {"elementwise"})
            seen[layer.kind] += 1
    assert set(seen) == {kind for _, kind, _ in (*GENERAL, *OWN)} | {"call"}
    assert min(seen.values()) >= 3  # more than a class has figures to fit (one or two there), so that each has an error


# ---- the statistic -------------------------------------------------------------------------------------------------


def test_most_repetitions_may_be_disturbed() -> None:
    # Eight in order: 1 1 9 ... 9; the lower quartile is number (8 - 1) // 4 = 1, counted from zero.
    assert quick([9.0, 1.0, 9.0, 9.0, 9.0, 9.0, 1.0, 9.0]) == 1.0
    assert quick([3.0]) == 3.0


def test_a_disturbed_pass_changes_nothing() -> None:
    work: list[Part] = [(0, 100), (0, 200)]
    calm = [taking([part], 1.0, 1.0, 1.0) for part in work]
    disturbed = [taking([part], 7.0, 8.0, 9.0) for part in work]
    together = merged([calm, disturbed, disturbed])
    assert [(each.parts, len(each.times), quick(each.times)) for each in together] == [
        (((0, 100),), 9, 1.0),
        (((0, 200),), 9, 1.0),
    ]


def test_at_least_two_repetitions_after_one_to_warm_up() -> None:
    called: list[int] = []
    times = repetitions(lambda: called.append(1), 1e-9)
    assert (len(times), len(called)) == (2, 3)
    assert min(times) >= 0


# ---- the fit -------------------------------------------------------------------------------------------------------


def test_two_layers_by_hand() -> None:
    # 1 kB at 1 and at e^0.2 kB/s: fitted is their geometric mean, e^0.1, each off by 0.1 in the logarithm.
    # s^2 = (0.01 + 0.01) / (2 - 1), and the figure's share of the seconds is 1 twice: sigma = sqrt(0.02 / 2) = 0.1.
    found = fit([taking([(0, 1000)], 1.0), taking([(0, 1000)], math.exp(-0.2))], ALONE)
    assert found.values[1] == pytest.approx(1000 * math.exp(0.1), rel=1e-3)
    assert found.sigma == {1: pytest.approx(0.1, rel=1e-3)}
    assert found.bounds == pytest.approx((0.0, 1000 * math.exp(0.2)))


def test_one_layer_tells_no_uncertainty() -> None:
    assert math.isnan(fit([taking([(0, 1000)], 1.0)], ALONE).sigma[1])


@pytest.mark.parametrize("true", [(5e10, 8e9, 2e-5, 0.0), (2e9, 1e9, 3e-4, 1e-3), (4e12, 1e12, 4e-6, 5e-5)])
def test_known_rates_are_found_again(true: tuple[float, float, float, float]) -> None:
    work = [*streaming(12), *arithmetic(12), *((f * 1000, s * 1000) for f, s in streaming(6)), *[(0, 8)] * 3]
    found = fit(obeying(true, work), {3: true[3]}, {0: NONE, 1: NONE})
    assert found.values == pytest.approx(true, rel=0.01)
    assert set(found.sigma) == {0, 1, 2}
    assert max(found.sigma.values()) < 0.01


def test_all_of_a_machine_is_found_again() -> None:
    """Every layer that is timed, on a machine made up: its figures come out as they went in."""
    true = {
        "call": (NONE, NONE, 4e-6, 5e-5), "overhead": (NONE, NONE, 8e-6, 7e-5), "memory": (NONE, 3e10, 8e-6, 5e-5),
        "pooling": (NONE, 3e9, 8e-6, 5e-5), "normalisation": (NONE, 6e9, 8e-6, 5e-5), "elementwise": (NONE, 5e10, 8e-6, 5e-5),
        "matmul": (6e10, 1e10, 8e-6, 5e-5), "convolution": (7e10, 3e9, 1.5e-4, 5e-5),
    }  # fmt: skip
    with torch.device("meta"):
        made = [make() for make in layers()]
    found = fit_all([Timed(each.kind, each.parts, (predicted(each.parts, true[each.kind]),)) for each in made])
    for kind, expected in true.items():
        assert found[kind].values == pytest.approx(expected, rel=0.01), kind
    told = {each.key: each.value.split()[0] for each in figures(found, "made up")}
    assert set(told) == {key for key, *_ in (*GENERAL, *OWN)}
    assert float(told["convolution_rate"]) == float(told["compute_rate"]) == pytest.approx(70, rel=0.01)
    assert float(told["overhead"]) == pytest.approx(8, rel=0.01)


def test_uncertainty_shrinks_with_the_root_of_the_number() -> None:
    # Noise of 0.2 on n layers: 0.2 / sqrt(n). A sample's standard deviation is itself off by about 1 / sqrt(2 n).
    true = (NONE, 1e9, 0.0, 0.0)
    for count in (25, 100, 400):
        found = fit(obeying(true, streaming(count), 0.2, seed=count), ALONE)
        assert found.sigma[1] == pytest.approx(0.2 / math.sqrt(count), rel=3 / math.sqrt(2 * count))
        assert abs(math.log(found.values[1] / 1e9)) < 4 * 0.2 / math.sqrt(count)


def test_the_uncertainty_is_what_repeated_fits_show() -> None:
    # 60 machines alike but for noise: the fitted rates scatter by the sigma that each fit tells (3 / sqrt(2 * 60) = 27 %).
    true, work = (1e10, 1e9, 0.0, 0.0), [*streaming(10), *arithmetic(10)]
    found = [fit(obeying(true, work, 0.1, seed), {2: 0.0, 3: 0.0}) for seed in range(60)]
    for index in (0, 1):
        scatter = math.sqrt(sum(math.log(each.values[index] / true[index]) ** 2 for each in found) / 60)
        told = math.sqrt(sum(each.sigma[index] ** 2 for each in found) / 60)
        assert scatter == pytest.approx(told, rel=0.3)


# ---- figures that timings do not tell ------------------------------------------------------------------------------

matmul_fit = partial(fit, fixed={2: 0.0, 3: 0.0}, absent={0: NONE, 1: NONE})


def test_a_class_bound_by_memory_alone_has_no_rate() -> None:
    # 1 GB/s and never more than 1 FLOP a byte: any rate above 1 GFLOP/s would give these times.
    found = matmul_fit(obeying((5e10, 1e9, 0.0, 0.0), streaming(15)))
    assert found.values[:2] == pytest.approx((NONE, 1e9), rel=1e-3)
    assert set(found.sigma) == {1}
    assert found.bounds[0] == pytest.approx(1e9)


def test_a_class_bound_by_arithmetic_alone_has_no_bandwidth() -> None:
    found = matmul_fit(obeying((1e10, 1e9, 0.0, 0.0), arithmetic(15)))
    assert found.values[:2] == pytest.approx((1e10, NONE), rel=1e-3)
    assert set(found.sigma) == {0}


@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_a_class_bound_by_its_overhead_alone_has_neither(sigma: float) -> None:
    work = [*streaming(9), *arithmetic(9)]
    found = fit(obeying((NONE, NONE, 1e-3, 0.0), work, sigma), {2: 1e-3, 3: 0.0}, {0: NONE, 1: NONE})
    assert found.values == (NONE, NONE, 1e-3, 0.0)
    assert found.sigma == {}
    assert found.bounds == pytest.approx((9e10, 9e7), rel=0.4)  # the largest of each in a millisecond


def test_noise_makes_up_no_rate() -> None:
    # By chance about one in a hundred; here of forty at most two.
    true = (NONE, 1e9, 0.0, 0.0)
    told = [0 in matmul_fit(obeying(true, streaming(20), 0.1, seed)).sigma for seed in range(40)]
    assert sum(told) <= 2


def test_noise_hides_no_rate_that_matters() -> None:
    work = [*streaming(10), *arithmetic(10)]
    assert all(0 in matmul_fit(obeying((1e10, 1e9, 0.0, 0.0), work, 0.1, seed)).sigma for seed in range(20))


def profile_of(matmul: Fit, convolution: Fit) -> dict[str, tuple[str, str]]:
    plain = fit([taking([(0, 1000)], 1e-6), taking([(0, 2000)], 2e-6)], ALONE)  # 1 GB/s
    small = fit([taking([(0, 8)] * n, n * 1e-5) for n in (1, 2, 3)], {0: NONE, 1: NONE, 3: 0.0})
    fits = dict.fromkeys(("memory", "pooling", "normalisation", "elementwise"), plain)
    found = figures({**fits, "overhead": small, "matmul": matmul, "convolution": convolution}, "made up")
    return {each.key: (each.value, each.kind) for each in found}


def test_a_figure_that_is_not_told_is_left_out() -> None:
    # Products reached 1 GFLOP/s where memory bound them; the general rate of 10 GFLOP/s does not contradict that.
    known = fit(obeying((1e10, 1e9, 1e-5, 0.0), [*streaming(10), *arithmetic(10)]), {3: 0.0})
    told = profile_of(matmul_fit(obeying((5e10, 1e9, 0.0, 0.0), streaming(15))), known)
    assert told["compute_rate"] == told["convolution_rate"] == ("10 GFLOP/s", "measured")
    assert "matmul_rate" not in told
    assert told["matmul_bandwidth"] == ("1 GB/s", "measured")


def test_unless_the_general_one_is_less_than_what_was_reached() -> None:
    # 80 MFLOP on 10 kB at 1 GB/s, still bound by memory: at least 8000 GFLOP/s, and a rate of 10 would forbid it.
    known = fit(obeying((1e10, 1e9, 1e-5, 0.0), [*streaming(10), *arithmetic(10)]), {3: 0.0})
    both = [*streaming(8), *arithmetic(8)]
    told = profile_of(matmul_fit(obeying((1e14, 1e9, 0.0, 0.0), both)), known)
    assert told["matmul_rate"] == ("8000 GFLOP/s", "derived")


def test_a_required_figure_that_is_not_told_is_what_was_reached() -> None:
    unknown = fit(obeying((1e14, 1e9, 1e-5, 0.0), streaming(15)), {3: 0.0}, {0: NONE, 1: NONE})
    told = profile_of(matmul_fit(obeying((1e10, 1e9, 0.0, 0.0), [*streaming(9), *arithmetic(9)])), unknown)
    # The smallest: 10 kFLOP in 10 us and 10 us of overhead: 0.5 GFLOP/s.
    assert told["compute_rate"] == ("0.5 GFLOP/s", "derived")
    assert "convolution_rate" not in told
    assert told["matmul_rate"] == ("10 GFLOP/s", "measured")
