"""What steps take and give: trees of tensors (dicts, lists, tuples, named tuples), and their shapes without their data.

``Spec`` is a tree whose leaves are ``Leaf`` (shape and dtype) where the value has tensors. Specs are interned: the same
structure is the same object, so that caches can go by identity.
"""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

ALIGNMENT = 64  # bytes, as torch's own memory has it: kernels may take other paths on other addresses

Tree = Any  # a Tensor (or ndarray, or Leaf), a plain value, or a dict, list, tuple or named tuple of trees
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tensor's shape and dtype."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        count = 1
        for n in self.shape:
            count *= n
        return count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Pause:
    """The shape of a step that waits for an answer: what it was called with, and the bytes that it keeps meanwhile."""

    function: str
    inputs: tuple[Any, ...]
    settings: tuple[tuple[str, Any], ...]
    nbytes: int


def map_tree(f: Callable[[Any], Any], tree: Tree) -> Tree:
    """Apply ``f`` to every leaf of ``tree``; containers keep their type and order."""
    if isinstance(tree, dict):
        return {key: map_tree(f, item) for key, item in tree.items()}
    if isinstance(tree, tuple):
        items = [map_tree(f, item) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    if isinstance(tree, list):
        return [map_tree(f, item) for item in tree]
    return f(tree)


def leaves(tree: Tree) -> Iterator[Any]:
    """The leaves of ``tree``, in order."""
    if isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    else:
        yield tree


class Spec:
    """An interned tree of shapes. ``nbytes`` counts the tensors' elements.

    ``overhead_bytes`` counts those that named tuples in the tree keep under ``overhead`` (an encoded value's scales, seeds).
    """

    __slots__ = ("nbytes", "overhead_bytes", "pause", "tree")
    _interned: dict[Any, "Spec"] = {}  # noqa: RUF012 - the intern table is the point

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.pause: Pause | None = tree if isinstance(tree, Pause) else None  # the pause that this is the shape of
        self.nbytes = _nbytes(tree)
        self.overhead_bytes = sum(_nbytes(part) for part in _overheads(tree))

    @classmethod
    def of(cls, tree: Tree) -> "Spec":
        """The spec of a tree of tensors (or of leaves)."""
        shapes = map_tree(lambda leaf: _shape(leaf), tree)
        key = _key(shapes)
        found = cls._interned.get(key)
        if found is None:
            found = cls._interned[key] = cls(shapes)
        return found

    def meta(self) -> Tree:
        """Fresh tensors on the ``meta`` device: shapes without data."""
        return map_tree(_meta, self.tree)


def _nbytes(tree: Tree) -> int:
    return sum(leaf.nbytes for leaf in leaves(tree) if isinstance(leaf, (Leaf, Pause)))


def _overheads(tree: Tree) -> Iterator[Tree]:
    if isinstance(tree, tuple) and "overhead" in getattr(tree, "_fields", ()):
        yield tree.overhead  # type: ignore[attr-defined]
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from _overheads(item)
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from _overheads(item)


def _shape(leaf: Any) -> Any:
    return Leaf(tuple(leaf.shape), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf


def _meta(leaf: Any) -> Any:
    return torch.empty(leaf.shape, dtype=leaf.dtype, device="meta") if isinstance(leaf, Leaf) else leaf


def _key(tree: Tree) -> Any:
    if isinstance(tree, dict):
        return ("dict", tuple((key, _key(item)) for key, item in tree.items()))
    if isinstance(tree, (tuple, list)):
        return (type(tree), tuple(_key(item) for item in tree))
    return (type(tree), tree)


Packed = tuple[bytes, list[pickle.PickleBuffer]]  # structure, and the tensors' bytes


def pack(tree: Tree) -> Packed:
    """A tree for a process border: whoever passes it on needs neither torch nor the classes inside."""
    buffers: list[pickle.PickleBuffer] = []
    header = pickle.dumps(to_arrays(tree), protocol=5, buffer_callback=buffers.append)
    return header, buffers


def unpack(packed: Packed, device: torch.device) -> Tree:
    """The tree again, its tensors on ``device``."""
    header, buffers = packed
    return to_tensors(pickle.loads(header, buffers=buffers), device)


def to_arrays(tree: Tree) -> Tree:
    """Tensors to NumPy arrays, without a copy where they are on the CPU: they cross process borders at half the cost."""
    return map_tree(lambda leaf: leaf.numpy(force=True) if isinstance(leaf, torch.Tensor) else leaf, tree)


def to_tensors(tree: Tree, device: torch.device) -> Tree:
    """NumPy arrays to tensors on ``device``: aligned ones without a copy (read-only ones stay so), others copied."""
    return map_tree(lambda leaf: _tensor(leaf, device), tree)


def _tensor(leaf: Any, device: torch.device) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.to(device)
    if not isinstance(leaf, np.ndarray):
        return leaf
    tensor = torch.from_numpy(leaf)
    if tensor.data_ptr() % ALIGNMENT or not tensor.is_contiguous():
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    return tensor if device.type == "cpu" else tensor.to(device)
