"""Trees of tensors across process borders."""

import pickle
from typing import NamedTuple

import numpy as np
import pytest
import torch

from actors.program import path_of, resolve
from actors.values import Leaf, Spec, leaves, map_tree, pack, unpack

CPU = torch.device("cpu")


class Pair(NamedTuple):
    left: torch.Tensor
    right: int


TREE = {"a": torch.arange(6.0).reshape(2, 3), "b": [Pair(torch.tensor([1, 2]), 7), (torch.tensor(True), None)]}


def test_there_and_back() -> None:
    packed = pickle.loads(pickle.dumps(pack(TREE), protocol=5))
    back = unpack(packed, CPU)
    assert isinstance(back["b"][0], Pair)
    assert back["b"][0].right == 7
    torch.testing.assert_close(back["a"], TREE["a"])
    assert back["b"][0].left.dtype == torch.int64
    assert back["b"][1][0].item() is True


def test_the_structure_travels_apart_from_the_numbers() -> None:
    header, buffers = pack({"w": torch.zeros(1000)})
    assert sum(buffer.raw().nbytes for buffer in buffers) == 4000
    assert len(header) < 500


def test_misaligned_arrays_are_copied_to_aligned_memory() -> None:
    raw = np.zeros(4 * 100 + 1, np.uint8)[1:].view(np.float32)
    assert raw.ctypes.data % 64
    header, _ = pack({"w": torch.zeros(100)})
    back = unpack((header, [pickle.PickleBuffer(raw.view(np.uint8).data)]), CPU)
    assert back["w"].data_ptr() % 64 == 0


def test_spec_of_a_tree() -> None:
    spec = Spec.of(TREE)
    assert spec.nbytes == 24 + 16 + 1
    assert spec.tree["a"] == Leaf((2, 3), torch.float32)
    assert [leaf.device.type for leaf in leaves(spec.meta()) if isinstance(leaf, torch.Tensor)] == ["meta"] * 3


def test_map_keeps_containers() -> None:
    mapped = map_tree(lambda leaf: leaf, TREE)
    assert type(mapped["b"][0]) is Pair
    assert list(mapped) == ["a", "b"]


def test_steps_are_named_by_path() -> None:
    assert resolve(path_of(pack)) is pack
    with pytest.raises(ValueError, match="top-level function"):
        path_of(lambda: None)
