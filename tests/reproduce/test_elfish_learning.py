"""ELFISH's study of learning: the verdicts are those that docs/partial.md tells."""

from benchmarks.elfish_learning import CLAIMS, STUDY

VERDICTS = (
    *(
        "holds",
        "inconclusive",
        "holds",
        "holds",
    ),  # accuracy at equal virtual time: 1/2 and 1/5 of the speed, 1 and 3 of 6
    *("holds", "inconclusive"),  # accuracy after as many cycles, within a point
    *("holds", "holds"),  # time to accuracy, 1.5 times
    *("does not hold",) * 3,  # rotating masks above the fixed one by 2 points
)


def test_the_verdicts_are_those_told() -> None:
    results = STUDY.results()
    assert tuple(claim.tested(results)[1] for claim in CLAIMS) == VERDICTS
