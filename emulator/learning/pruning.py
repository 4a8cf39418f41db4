"""Pruning by size (ADP's variant B, "feddp_threshold"): after each local epoch small weights of convolutions become zero.

As in github.com/yusx-swapp/fedlib (read 2026-11), whose README presents it as the implementation of arXiv 2106.06921: every
convolution's weight with |w| <= threshold, 1e-3 there; SGD goes on densely, so weights may come back; other layers are left
alone; servers average by samples. It saves neither bytes nor FLOPs by itself. Ours: with ``local_steps`` a last pass that is
cut short is pruned too.
"""

import torch
from torch import Tensor

from emulator.learning.meter import unmetered

CONVOLUTION = 4  # dimensions: only convolutions' weights have as many


def prune(weights: list[Tensor], threshold: float) -> None:
    """Set what is no larger than ``threshold`` to zero, in place."""
    with torch.no_grad():
        for tensor in weights:
            if tensor.dim() == CONVOLUTION:
                tensor.masked_fill_(tensor.abs() <= threshold, 0.0)


def mean_sparsity(*updates: dict[str, Tensor]) -> Tensor:
    """Share of zeros, the mean over convolutions and then over ``updates``; 0 where there is none. It costs no virtual time."""
    with unmetered():
        filters = [tensor for update in updates for tensor in update.values() if tensor.dim() == CONVOLUTION]
        if not filters:
            return torch.zeros((), device=next(iter(updates[0].values())).device)
        return torch.stack([(tensor == 0).to(torch.float32).mean() for tensor in filters]).mean()
