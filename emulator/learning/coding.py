"""Weights and updates as they travel: encoded tensor by tensor, updates as the difference from what the device had received.

BatchNorm's running statistics travel as they are: a variance that a codec takes below zero would end a model, and a mean over
batches is no sum of small steps. They are a small part of a model (0.02 % of VGG-11).
"""

from torch import Tensor

from emulator.learning.binding import Weights
from emulator.learning.codecs import Codec, Encoded, Shapes
from emulator.learning.meter import label
from emulator.learning.random import seed_of
from emulator.learning.split import FP32

STATISTICS = ("running_mean", "running_var")


def encode_weights(weights: Weights, seed: int, *, codec: Codec) -> Encoded:
    """Weights, each tensor with a seed of its own from ``seed`` and its name. Raises ValueError as the codec does."""
    leaves = {name: coding_of(name, codec).encode(tensor, seed_of(seed, name)) for name, tensor in weights.items()}
    payload = {name: leaf.payload for name, leaf in leaves.items()}
    return Encoded(payload, {name: leaf.overhead for name, leaf in leaves.items()})


def decode_weights(coded: Encoded, seed: int, *, codec: Codec, shapes: Shapes) -> Weights:
    """The weights again, in the order of ``shapes``. Raises ValueError as the codec does."""
    return {name: _decoded(coded, name, (seed, shape), codec) for name, shape in shapes}


def encode_update(received: Weights, new: Weights, seed: int, *, codec: Codec) -> Encoded:
    """What a device learned, new minus received. Raises ValueError as the codec does."""
    label("weights", [received, new])
    return encode_weights(_difference(received, new), seed, codec=codec)


def encode_with_feedback(
    received: Weights, new: Weights, seed: int, *residual: Weights, codec: Codec
) -> tuple[Encoded, Weights]:
    """The same with the ``residual`` that the last codings left out (none at first) on top, and the next residual.

    Karimireddy et al., "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", ICML 2019 (arXiv 1901.09847),
    algorithm 2, with a round's update in place of a step.
    """
    label("weights", [received, new])
    label("optimiser", residual)
    wanted = _difference(received, new)
    for left in residual:
        wanted |= {name: wanted[name] + tensor for name, tensor in left.items()}
    coded = encode_weights(wanted, seed, codec=codec)
    names = [name for name in wanted if not name.endswith(STATISTICS)]
    return coded, {
        name: wanted[name] - _decoded(coded, name, (seed, tuple(wanted[name].shape)), codec) for name in names
    }


def decode_update(weights: Weights, coded: Encoded, seed: int, *, codec: Codec) -> Weights:
    """The sender's new weights, as if it had started from ``weights``. Raises ValueError as the codec does."""
    made = {name: _decoded(coded, name, (seed, tuple(tensor.shape)), codec) for name, tensor in weights.items()}
    return {name: part if name.endswith(STATISTICS) else weights[name] + part for name, part in made.items()}


def _difference(received: Weights, new: Weights) -> Weights:
    return {name: new[name] if name.endswith(STATISTICS) else new[name] - old for name, old in received.items()}


def _decoded(coded: Encoded, name: str, which: tuple[int, tuple[int, ...]], codec: Codec) -> Tensor:
    seed, shape = which
    part = Encoded(coded.payload[name], coded.overhead[name])
    return coding_of(name, codec).decode(part, seed_of(seed, name), shape)


def coding_of(name: str, codec: Codec) -> Codec:
    """The codec of a tensor of this name: BatchNorm's running statistics always travel as fp32."""
    return FP32 if name.endswith(STATISTICS) else codec
