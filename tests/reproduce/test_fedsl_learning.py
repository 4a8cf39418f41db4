"""FedSL's study of learning: the verdicts are those that docs/fedsl.md tells."""

from benchmarks.fedsl_learning import TRENDS, claims, curves

VERDICTS = (
    "inconclusive",  # 8 bits
    *("inconclusive",) * 3,  # pruned weights and filters
    "inconclusive",  # the deeper cut
    *("holds", "holds"),  # seconds
    *("inconclusive", "inconclusive"),  # pre-trained
)


def test_the_verdicts_are_those_told() -> None:
    results = curves()
    assert tuple(row.verdict for row in claims(results)) == VERDICTS
    assert {trend.row(results).verdict for trend in TRENDS} == {"inconclusive"}
    for cut in ("cut 1", "cut 3"):  # theory: where nothing is pruned, the cut changes no weight
        pairs = zip(results[cut], results["plain"], strict=True)
        assert all(abs(one.final - other.final) < 0.005 for one, other in pairs)
