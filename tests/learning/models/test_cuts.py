"""Exact: front and back together are the whole; batches of one; blocks leave alone what they are given."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from emulator.learning.models import build
from emulator.learning.models.layers import BasicBlock, BatchNorm2d, PadShortcut, PooledBlock
from tests.learning.models.worlds import EVERYDAY, images, real, spec


@pytest.mark.parametrize("name", EVERYDAY)
def test_front_and_back_equal_the_whole_at_every_cut(name: str) -> None:
    model, inputs = real(name).eval(), images(name, 2)
    with torch.no_grad():
        whole = model(inputs)
        assert whole.shape == (2, 10) and whole.isfinite().all()
        for cut in range(len(model) + 1):
            assert torch.equal(model[cut:](model[:cut](inputs)), whole), cut


@pytest.mark.parametrize("name", EVERYDAY)
def test_weights_keep_their_names_on_both_sides_of_a_cut(name: str) -> None:
    model = build(spec(name))
    for cut in range(len(model) + 1):
        assert [*model[:cut].state_dict(), *model[cut:].state_dict()] == [*model.state_dict()]


@pytest.mark.parametrize("name", EVERYDAY)
def test_gradients_through_a_cut_equal_those_of_the_whole(name: str) -> None:
    """Smashed data up, cut gradient down, in training mode: the chain rule, in the same order of operations."""
    model, labels, cut = real(name), torch.tensor([1, 2]), 1
    whole = torch.autograd.grad(cross_entropy(model(images(name, 2)), labels), list(model.parameters()))
    smashed = model[:cut](images(name, 2))
    received = smashed.detach().requires_grad_()
    loss = cross_entropy(model[cut:](received), labels)
    cut_gradient, *back = torch.autograd.grad(loss, [received, *model[cut:].parameters()])
    front = torch.autograd.grad(smashed, list(model[:cut].parameters()), cut_gradient)
    assert all(torch.equal(one, other) for one, other in zip(whole, (*front, *back), strict=True))


@pytest.mark.parametrize("name", EVERYDAY)
def test_a_training_batch_of_one_and_untouched_inputs(name: str) -> None:
    model, values = real(name), images(name, 1)
    for block in model:
        before, version = values.clone(), values._version
        out = block(values)
        assert values._version == version and torch.equal(values, before)
        values = out.detach()
    assert values.shape == (1, 10) and values.isfinite().all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", EVERYDAY)
def test_meta_gives_the_shapes_of_real_tensors(name: str, training: bool) -> None:
    meta, model, real_values = build(spec(name)).train(training), real(name).train(training), images(name, 1)
    meta_values = real_values.to("meta")
    with torch.no_grad():
        for block, real_block in zip(meta, model, strict=True):
            meta_values, real_values = block(meta_values), real_block(real_values)
            assert meta_values.is_meta and meta_values.shape == real_values.shape


def test_option_a_takes_every_second_pixel_and_pads_the_channels() -> None:
    """A 16-channel 4x4 image into 32 channels at stride 2: rows and columns 0 and 2; 8 zero channels on each side."""
    image = torch.arange(16 * 16.0).reshape(1, 16, 4, 4)
    out = PadShortcut(32, 2)(image)
    assert out.shape == (1, 32, 2, 2)
    assert torch.equal(out[0, 8], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))
    assert torch.equal(out[0, 8:24], image[0][:, [0, 2]][:, :, [0, 2]])
    assert not out[0, :8].any() and not out[0, 24:].any()


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (BasicBlock(1, 1, 1, projection=False), [0.0, 7.0]),  # relu(2 + x)
        (PooledBlock(1, 1, halve=False), [-1.0, 7.0]),  # relu(2) + x
    ],
)
def test_a_residual_block_by_hand(block: BasicBlock | PooledBlock, expected: list[float]) -> None:
    """With every weight zero but the last BatchNorm's shift of 2, the residual is 2 before its ReLU; x is -3 and 5."""
    with torch.no_grad():
        for weight in block.parameters():
            weight.zero_()
        norm = [module for module in block.residual if isinstance(module, BatchNorm2d)][-1]
        norm.bias.fill_(2.0)
        out = block.eval()(torch.tensor([-3.0, 5.0]).reshape(1, 1, 1, 2))
    assert out.flatten().tolist() == expected
