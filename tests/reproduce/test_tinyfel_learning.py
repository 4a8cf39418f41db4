"""TinyFEL's learning claims, directional: the verdicts are those that docs/tinyfel.md tells."""

from benchmarks.tinyfel_learning import claims

VERDICTS = {
    "warm start, first block frozen: accuracy within 0.02 of the whole model": "holds",
    "rounds to target falls with ratio": "holds",
    "late gradient falls with ratio": "does not hold",
    "rounds to target falls with selection": "inconclusive",
    "late gradient falls with selection": "holds",
}


def test_verdicts_are_those_of_the_page() -> None:
    assert {words: verdict for words, (_, verdict) in claims().items()} == VERDICTS
