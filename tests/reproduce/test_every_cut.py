"""Split training equals unsplit SGD at every cut of the models that are too large for the everyday tests."""

import pytest

from emulator.learning.models import build
from tests.learning.test_split import LARGE, exact, problem


@pytest.mark.parametrize("name", LARGE)
def test_every_cut_of_a_large_model(name: str) -> None:
    exact(name, range(1, len(build(problem(name).model))))
