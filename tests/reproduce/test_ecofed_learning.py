"""EcoFed's acceptance check 6 (a) and (b): the claims about learning get the verdicts that ``docs/ecofed.md`` tells."""

import pytest

from benchmarks.ecofed_learning import CLAIMS, MOBILE, MOBILE_CLAIMS, STUDY, verdicts_on
from benchmarks.study import Claim, Study
from emulator.learning.datasets import available
from emulator.pretrained import pretrained_here

pytestmark = [
    pytest.mark.timeout(4 * 3600),  # some ten minutes on two idle cores
    pytest.mark.skipif(not available("cifar10"), reason="needs `emulator fetch cifar10`"),
    pytest.mark.skipif(
        not pretrained_here("mobilenetv2-imagenet"), reason="needs `emulator fetch mobilenetv2-imagenet`"
    ),
]

VERDICTS: list[tuple[Study, tuple[Claim, ...], list[str]]] = [
    (STUDY, CLAIMS, [*["holds"] * 5, "inconclusive", "holds"]),
    (MOBILE, MOBILE_CLAIMS, ["holds"] * 5),
]


@pytest.mark.parametrize(("study", "claims", "verdicts"), VERDICTS)
def test_verdicts(study: Study, claims: tuple[Claim, ...], verdicts: list[str]) -> None:
    """Five paired seeds. A verdict that changes, for better or worse, changes the page too."""
    assert verdicts_on(study, claims).verdicts() == verdicts
