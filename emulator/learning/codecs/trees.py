"""Trees of tensors, such as weights, encoded leaf by leaf: steps of a protocol."""

from torch import Tensor

from emulator.learning.codecs.base import Codec, Encoded, Shape, Sizes
from emulator.learning.random import seed_of

Shapes = tuple[tuple[str, Shape], ...]  # hashable, as a step's settings are


def shapes_of(tree: dict[str, Tensor]) -> Shapes:
    """Name and shape of each leaf, in order."""
    return tuple((name, tuple(tensor.shape)) for name, tensor in tree.items())


def encode_tree(tree: dict[str, Tensor], seed: int, *, codec: Codec) -> Encoded:
    """Payload and overhead by name; each leaf has a seed of its own, from ``seed`` and its name.

    Raises as the codec does.
    """
    leaves = {name: codec.encode(tensor, seed_of(seed, name)) for name, tensor in tree.items()}
    payload = {name: leaf.payload for name, leaf in leaves.items()}
    return Encoded(payload, {name: leaf.overhead for name, leaf in leaves.items()})


def decode_tree(encoded: Encoded, seed: int, *, codec: Codec, shapes: Shapes) -> dict[str, Tensor]:
    """The tree again. Raises ValueError where its names are not those of ``shapes``, or as the codec does."""
    names = [name for name, _ in shapes]
    if sorted(encoded.payload) != sorted(names):
        raise ValueError(f"decode: got leaves {sorted(encoded.payload)[:5]}; expected {sorted(names)[:5]}")
    parts = {name: Encoded(encoded.payload[name], encoded.overhead[name]) for name in names}
    return {name: codec.decode(parts[name], seed_of(seed, name), shape) for name, shape in shapes}


def tree_bits(codec: Codec, shapes: Shapes) -> Sizes:
    """Bytes that travel for a tree of ``shapes``, exactly."""
    sizes = [codec.bits(shape) for _, shape in shapes]
    return Sizes(sum(size.payload for size in sizes), sum(size.overhead for size in sizes))
