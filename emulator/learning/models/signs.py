"""Which cuts of a model send data that are nowhere below 0, as a codec for non-negative data needs them.

Told from a model's layers, not from its values: a layer that is not known here may give anything.
"""

from functools import cache

from torch import nn

from emulator.learning.models import ModelSpec, build
from emulator.learning.models.gated import GatedBlock
from emulator.learning.models.layers import BasicBlock, PooledBlock, SeededDropout

KEEPS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, SeededDropout)
CUTS_OFF = (nn.ReLU, nn.ReLU6, BasicBlock, GatedBlock)  # such blocks end in a ReLU


@cache
def non_negative_cuts(spec: ModelSpec) -> tuple[int, ...]:
    """The cuts, from 1 to one less than the blocks, after which nothing is below 0. Raises ValueError as ``build`` does."""
    found, below_none = [], False  # images are normalised: they are below 0 in places
    for cut, block in enumerate(list(build(spec))[:-1], start=1):
        below_none = gives_non_negative(block, below_none)
        if below_none:
            found.append(cut)
    return tuple(found)


def gives_non_negative(layer: nn.Module, given: bool) -> bool:
    """Whether a layer's result is nowhere below 0; ``given``: whether its input is."""
    if isinstance(layer, nn.Sequential):
        for part in layer:
            given = gives_non_negative(part, given)
        return given
    if isinstance(layer, PooledBlock):  # residual + shortcut
        return gives_non_negative(layer.residual, given) and gives_non_negative(layer.shortcut, given)
    return isinstance(layer, CUTS_OFF) or (given and isinstance(layer, KEEPS))
