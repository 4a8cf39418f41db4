"""Updates that come late, added to newer weights: exact by hand."""

import pytest
import torch
from torch import Tensor

from emulator.learning.late_updates import add_updates


def weights(value: float, mean: float = 0.0, variance: float = 1.0) -> dict[str, Tensor]:
    found = {"0.weight": value, "0.running_mean": mean, "0.running_var": variance}
    return {name: torch.tensor([number]) for name, number in found.items()}


def test_by_hand() -> None:
    # 5 + 0.5 (1/2 (3 - 1) + 1/4 (6 - 2)) = 6. Statistics: 1/4 of what is here, 1/2 and 1/4 of what came, without the rate:
    # mean 0.25 * 4 + 0.5 * 8 + 0.25 * 16 = 9; variance 0.25 * 1 + 0.5 * 2 + 0.25 * 4 = 2.25.
    pairs = (weights(1), weights(3, 8, 2), weights(2), weights(6, 16, 4))
    found = add_updates((0.5, 0.25), 0.5, weights(5, 4, 1), *pairs)
    assert {name: tensor.item() for name, tensor in found.items()} == {
        "0.weight": 6.0, "0.running_mean": 9.0, "0.running_var": 2.25,
    }  # fmt: skip
    assert list(found) == list(weights(0))


def test_a_variance_stays_above_zero_however_late() -> None:
    """The difference, 0.1 - 1, would take a variance of 0.1 to -0.8."""
    assert add_updates((1.0,), 1.0, weights(0, 0, 0.1), weights(0), weights(0, 0, 0.1))["0.running_var"].item() > 0


def test_what_is_given_stays_as_it_is() -> None:
    given = [weights(1), weights(2), weights(3)]
    add_updates((1.0,), 1.0, *given)
    assert given == [weights(1), weights(2), weights(3)]


def test_many_are_summed_like_few() -> None:
    """Forty of 1/40: above the tree's width of 16."""
    pairs = [part for number in range(40) for part in (weights(0), weights(number))]
    found = add_updates((1 / 40,) * 40, 1.0, weights(0), *pairs)
    assert found["0.weight"].item() == pytest.approx(sum(range(40)) / 40, rel=1e-6)


@pytest.mark.parametrize("shares", [(), (-0.1, 0.5), (0.6, 0.6)])
def test_shares_that_cannot_be(shares: tuple[float, ...]) -> None:
    pairs = [weights(0)] * (2 * len(shares))
    with pytest.raises(ValueError, match="add_updates: got shares"):
        add_updates(shares, 1.0, weights(0), *pairs)
