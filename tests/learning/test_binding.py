"""Models and their parts with weights bound for a while: the right mode at every turn, and nothing left behind."""

import pytest
import torch

from emulator.learning.binding import bound, clone, part
from emulator.learning.models import ModelSpec, initial_weights

CNN = ModelSpec("cnn", 10, (1, 8, 8))  # blocks 0, 1 and 2 hold BatchNorm
WEIGHTS = initial_weights(CNN, torch.Generator().manual_seed(1))
IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def modes(training: bool, blocks: tuple[int, int] | None) -> set[bool]:
    """The modes of all modules of a part that is bound."""
    held = WEIGHTS if blocks is None else part(WEIGHTS, *blocks)
    with bound(CNN, clone(held), training=training, blocks=blocks) as model:
        return {module.training for block in model for module in block.modules()}


def test_every_module_is_in_the_mode_that_was_asked_for() -> None:
    """Parts share modules with the whole and with each other: whoever comes next sets what another left otherwise."""
    for training, blocks in (
        (True, (0, 1)), (False, None), (True, (0, 1)), (True, (0, 2)), (False, (1, 2)), (True, (0, 2)), (True, None),
        (False, (2, 5)), (True, None),
    ):  # fmt: skip
        assert modes(training, blocks) == {training}, (training, blocks)


def test_a_part_computes_as_it_does_inside_the_whole() -> None:
    """Front then back, bound one after the other, is the whole model; twice, as each is made once only."""
    with torch.no_grad(), bound(CNN, WEIGHTS, training=False) as model:
        expected, count = model(IMAGES), len(model)
    for _ in range(2):
        values = IMAGES
        for blocks in ((0, 2), (2, count)):
            with torch.no_grad(), bound(CNN, part(WEIGHTS, *blocks), training=False, blocks=blocks) as model:
                values = model(values)
        assert torch.equal(values, expected)


def test_nothing_stays_bound() -> None:
    """After the block, the skeleton's weights are on ``meta`` again, those of a part as those of the whole."""
    with bound(CNN, part(WEIGHTS, 0, 1), training=True, blocks=(0, 1)) as front:
        assert all(tensor.device.type == "cpu" for tensor in front.parameters())
    assert all(tensor.is_meta for tensor in front.parameters())


def test_weights_of_another_part_are_refused() -> None:
    """The names tell."""
    with (
        pytest.raises(ValueError, match="weights of cnn: missing or unexpected names"),
        bound(CNN, part(WEIGHTS, 1, 2), training=True, blocks=(0, 1)),
    ):
        pass
