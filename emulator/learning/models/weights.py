"""The weights of a model: what they are called, their shapes, and the values that training starts from."""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emulator.learning.models.gated import GateLinear


class WeightSpec(NamedTuple):
    """One weight without its data. ``buffer``: not trained by gradients (BatchNorm's running statistics)."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    buffer: bool


def specs(model: nn.Module) -> dict[str, WeightSpec]:
    """The weights of ``model`` by name, in the order of its ``state_dict``."""
    trained = {name for name, _ in model.named_parameters()}
    return {
        name: WeightSpec(tuple(tensor.shape), tensor.dtype, name not in trained)
        for name, tensor in model.state_dict().items()
    }


def draw(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Values for every weight of ``model``, float32 on the CPU, drawn in the order of ``named_modules``.

    Convolutions and linear layers: weights and biases uniform in +-1 / sqrt(fan_in), as PyTorch does by default
    (``kaiming_uniform_`` with a = sqrt(5), whose bound is sqrt(6 / ((1 + a^2) fan_in))). He et al. 2016 drew wider;
    that does not matter where BatchNorm follows. BatchNorm: scale 1, shift 0, running mean 0 and variance 1. Gates: weights
    normal with variance 2 / fan_in (``kaiming_normal_``), biases 1.

    Raises TypeError for a layer with weights that there is no rule for.
    """
    found: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        found |= {f"{prefix}.{name}": tensor for name, tensor in _values(module, generator).items()}
    return found


def _values(module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """The module's own weights, not those of the modules in it."""
    if isinstance(module, GateLinear):
        spread = sqrt(2 / module.in_features)
        drawn = torch.empty(module.weight.shape).normal_(0.0, spread, generator=generator)
        return {"weight": drawn, "bias": torch.ones(module.out_features)}
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        return _uniform(module, generator)
    if isinstance(module, nn.BatchNorm2d):
        ones, zeros = torch.ones(module.num_features), torch.zeros(module.num_features)
        return {"weight": ones, "bias": zeros, "running_mean": zeros.clone(), "running_var": ones.clone()}
    names = [
        name for held in (module._parameters, module._buffers) for name, tensor in held.items() if tensor is not None
    ]
    if names:
        raise TypeError(
            f"initial weights: got {type(module).__name__} with {names}; expected Conv2d, Linear or BatchNorm2d"
        )
    return {}


def _uniform(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> dict[str, Tensor]:
    bound = 1 / sqrt(module.weight[0].numel())  # fan_in: what one output value is a sum over
    return {
        name: torch.empty(tensor.shape).uniform_(-bound, bound, generator=generator)
        for name, tensor in module.named_parameters(recurse=False)
    }
