"""FedSL's study of learning: the verdicts are those that docs/fedsl.md tells."""

import pytest

from benchmarks.fedsl_learning import claims, trends
from benchmarks.fedsl_runs import Curve, curves
from emulator.learning.datasets import available

pytestmark = [
    pytest.mark.timeout(4 * 3600),  # fifteen minutes of one core, where no runs are kept
    pytest.mark.skipif(not available("mnist"), reason="needs `emulator fetch mnist`"),
]

VERDICTS = (
    "holds",  # 8 bits
    "holds", "inconclusive", "inconclusive",  # pruned weights and filters
    "inconclusive",  # the deeper cut
    *("inconclusive",) * 3,  # lightweight against FedAvg and split learning, and in fine-tuning
    "holds", "holds", "holds", "inconclusive", "holds",  # seconds
    "holds", "holds", "inconclusive",  # pre-trained
)  # fmt: skip
TRENDS = {
    "gradient": ("inconclusive",) * 5,  # pruning, bits, dropout, interval, cut
    "rounds": ("holds", "inconclusive", "holds", "holds", "inconclusive"),
}


@pytest.fixture(scope="module")
def results() -> dict[str, list[Curve]]:
    return curves()


def test_the_verdicts_are_those_told(results: dict[str, list[Curve]]) -> None:
    assert tuple(row.verdict for row in claims(results)) == VERDICTS


def test_the_trends_are_those_told(results: dict[str, list[Curve]]) -> None:
    found = trends(results)
    assert {name: tuple(trend.verdict for (own, _), trend in found.items() if own == name) for name in TRENDS} == TRENDS


def test_plain_fedsl_learns_as_fedavg_does(results: dict[str, list[Curve]]) -> None:
    """Theory: with backs for each device, averaged every round, a split changes no weight but by rounding."""
    for one, other in zip(results["plain"], results["fedavg"], strict=True):
        assert one.accuracy == pytest.approx(other.accuracy, abs=0.005)
