"""EcoFed's acceptance check 6 (a), (b), (d): the claims about learning get the verdicts that ``docs/ecofed.md`` tells."""

import pytest

from benchmarks.ecofed_learning import CLAIMS, MOBILE, MOBILE_CLAIMS, STUDY, tested
from benchmarks.study import Claim, Study
from emulator.learning.datasets import available
from emulator.pretrained import pretrained_here

pytestmark = [
    pytest.mark.timeout(4 * 3600),  # half an hour on two idle cores
    pytest.mark.skipif(not available("cifar10"), reason="needs `emulator fetch cifar10`"),
    pytest.mark.skipif(
        not pretrained_here("mobilenetv2-imagenet"), reason="needs `emulator fetch mobilenetv2-imagenet`"
    ),
]

PAPERS_FRONT: list[str] = []
MOBILENETS: list[str] = []


@pytest.mark.parametrize(
    ("study", "claims", "verdicts"), [(STUDY, CLAIMS, PAPERS_FRONT), (MOBILE, MOBILE_CLAIMS, MOBILENETS)]
)
def test_verdicts(study: Study, claims: tuple[Claim, ...], verdicts: list[str]) -> None:
    """Five paired seeds; a verdict is as likely to change for the better: then the page changes too."""
    assert tested(study, claims).verdicts() == verdicts
