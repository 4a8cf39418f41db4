"""TinyFEL's learning claims, directional: the verdicts are those that docs/tinyfel.md tells."""

from statistics import fmean

import pytest

from benchmarks import tinyfel_memory
from benchmarks.tinyfel_learning import claims
from emulator.learning.datasets import available

VERDICTS = {
    "warm start, first block frozen: accuracy within 0.02 of the whole model": "holds",
    "rounds to target falls with ratio": "holds",
    "late gradient falls with ratio": "does not hold",
    "rounds to target falls with selection": "inconclusive",
    "late gradient falls with selection": "holds",
    "warm start: rounds to target falls with ratio": "holds",
    "warm start: late gradient falls with ratio": "holds",
}


def test_verdicts_are_those_of_the_page() -> None:
    assert {words: verdict for words, (_, verdict) in claims().items()} == VERDICTS


@pytest.mark.timeout(4 * 3600)  # twenty minutes of one idle core, where no runs are kept
@pytest.mark.skipif(not available("cifar10"), reason="needs `emulator fetch cifar10`")
def test_two_fifths_less_memory_and_the_accuracy_of_full_training() -> None:
    """VGG-11 from a warm start: under a cap of 60 % of full training's live peak."""
    found = tinyfel_memory.results()
    full, capped = (
        fmean(map(tinyfel_memory.peak, found[variant])) for variant in (tinyfel_memory.FULL, tinyfel_memory.CAPPED)
    )
    assert capped <= 0.6 * full
    assert [claim.tested(found)[1] for claim in tinyfel_memory.CLAIMS] == ["holds"]
