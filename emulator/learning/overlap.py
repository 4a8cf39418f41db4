"""Aggregation of sub-networks: each parameter is the mean over the devices that trained it.

HeteroFL (Diao, Ding & Tarokh, ICLR 2021, equation 3, recalled) and federated dropout do so; for ELFISH it is an option of ours.
"""

import torch

from emulator.learning.aggregation import average
from emulator.learning.binding import Weights, zeros_like
from emulator.learning.models import ModelSpec
from emulator.learning.submodel import Kept, recover


def overlap(samples: tuple[int, ...], weights: Weights, *parts: Weights | Kept, model: ModelSpec) -> Weights:
    """sum n_k m_k w_k / sum n_k m_k, by parameter; that of ``weights`` where no device trained it.

    ``parts``: the updates, then which neurons each of them has ({}: all). Of whole updates alone it is ``average``, to the
    bit. Raises ValueError without any sample.
    """
    updates, kept = parts[: len(samples)], parts[len(samples) :]
    total = sum(samples)
    if total <= 0 or not any(kept):
        return average(samples, *updates)
    sums, shares = zeros_like(weights), zeros_like(weights)
    for count, update, chosen in zip(samples, updates, kept, strict=True):
        ones = {name: torch.ones_like(tensor) for name, tensor in update.items()}
        _add(sums, update, chosen, (count / total, model))
        _add(shares, ones, chosen, (count / total, model))
    return {name: torch.where(shares[name] > 0, sums[name] / shares[name], weights[name]) for name in weights}


def _add(sums: Weights, update: Weights, kept: Kept, how: tuple[float, ModelSpec]) -> None:
    """Add a factor times an update, at its neurons' places, in place."""
    factor, model = how
    placed = recover(zeros_like(sums), update, kept, model=model)
    for name, tensor in sums.items():
        tensor.add_(placed[name], alpha=factor)
