"""FedSL's study of learning: the verdicts are those that docs/fedsl.md tells."""

import pytest

from benchmarks.fedsl_learning import claims, trends
from benchmarks.fedsl_runs import Curve, curves
from emulator.learning.datasets import available

pytestmark = [
    pytest.mark.timeout(4 * 3600),  # twenty-five minutes of one idle core, where no runs are kept
    pytest.mark.skipif(not available("mnist"), reason="needs `emulator fetch mnist`"),
]

VERDICTS = (
    "TODO",  # 8 bits
    *("TODO",) * 3,  # pruned weights and filters
    "TODO",  # the deeper cut
    *("TODO",) * 3,  # lightweight against FedAvg and split learning, and in fine-tuning
    *("TODO",) * 5,  # seconds
    *("TODO",) * 3,  # pre-trained
)
TRENDS = {
    "gradient": ("TODO",) * 5,  # pruning, bits, dropout, interval, cut
    "rounds": ("TODO",) * 5,
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
