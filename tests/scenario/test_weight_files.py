"""Files of weights, made here by hand: what is read, what is refused and in which words, what is written."""

import io
import json
import pickle
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from emulator.learning.models import ModelSpec, initial_weights, weight_specs
from emulator.weight_files import (
    WeightFile,
    WeightsBroken,
    WeightsMissing,
    front_names,
    load_into,
    parse,
    read,
    save,
)

TINY = ModelSpec("mlp", 2, (1, 1, 3))  # 3 pixels, 128 hidden units, 2 classes: 384 + 128 + 256 + 2 numbers
SHAPES = {"0.1.weight": (128, 3), "0.1.bias": (128,), "1.weight": (2, 128), "1.bias": (2,)}


def bytes_of(header: object, data: bytes = b"") -> bytes:
    """A safetensors file: the header's length as eight bytes, the header, the data."""
    told = json.dumps(header).encode()
    return struct.pack("<Q", len(told)) + told + data


def entry(dtype: str, shape: list[int], start: int, stop: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def torch_bytes(found: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(found, file, **options)
    return file.getvalue()


def drawn(spec: ModelSpec = TINY) -> dict[str, Tensor]:
    return initial_weights(spec, torch.Generator().manual_seed(1))


def held(tensors: dict[str, Tensor]) -> WeightFile:
    return WeightFile("some.file", tensors, {}, "")


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_a_safetensors_file_byte_by_byte() -> None:
    """1.5 and -2 as float32; 0.5 as float16 (0x3800) and as bfloat16 (0x3F00); a counter, which is left out."""
    header = {
        "__metadata__": {"format": "pt"},
        "a": entry("F32", [2, 1], 0, 8),
        "b": entry("F16", [1], 8, 10),
        "c": entry("BF16", [], 10, 12),
        "d.num_batches_tracked": entry("I64", [], 12, 20),
    }
    raw = bytes_of(header, struct.pack("<ff", 1.5, -2) + b"\x00\x38" + b"\x00\x3f" + bytes(8))
    found = parse(raw, "x")
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
        "a": [[1.5], [-2]],
        "b": [0.5],
        "c": 0.5,
    }
    assert {tensor.dtype for tensor in found.tensors.values()} == {torch.float32}
    assert (found.where, found.about, found.sha256) == ("x", {"format": "pt"}, sha256(raw).hexdigest())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_of_either_format(zipped: bool) -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(2).double())
    raw = torch_bytes(model.state_dict(), _use_new_zipfile_serialization=zipped)
    found = parse(raw, "x").tensors
    assert list(found) == ["0.bias", "0.running_mean", "0.running_var", "0.weight"]  # without the counter
    assert found["0.weight"].tolist() == [1, 1] and found["0.weight"].dtype == torch.float32


def test_tensors_have_memory_of_their_own() -> None:
    """Two views of one storage become two tensors, and neither asks for a gradient."""
    both = torch.nn.Parameter(torch.arange(4.0))
    found = parse(torch_bytes({"a": both[:2], "b": both[1:3]}), "x").tensors
    found["a"].zero_()
    assert found["b"].tolist() == [1, 2] and found["b"].untyped_storage().nbytes() == 8
    assert not found["b"].requires_grad


class Shell:
    """Would be called on reading if anything were: it then writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(zipped: bool, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    raw = torch_bytes({"a": Shell(mark)}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsBroken, match=r"^x: not a state dict of tensors alone: it names \S+, which") as told:
        parse(raw, "x")
    assert not mark.exists()
    assert "weights_only" not in str(told.value)  # PyTorch's advice to trust the file is not passed on


LONG = bytes_of({"a": entry("F32", [2], 0, 8)}, bytes(8))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "starts with nothing; expected safetensors or a torch state dict"),
        (pickle.dumps({"a": 1}), r"starts with 80 04 95 .*; expected safetensors or a torch"),
        (LONG[:-1], "not a whole safetensors file"),  # a byte short
        (LONG + b"x", "not a whole safetensors file"),  # a byte too many
        (struct.pack("<Q", 1 << 60) + b"{}", "not a whole safetensors file"),  # a header longer than the file
        (struct.pack("<Q", 2) + b"{x", "not a whole safetensors file"),  # no JSON
        (bytes_of({"a": entry("F32", [3], 0, 8)}, bytes(8)), "not a whole safetensors file"),  # 12 bytes in 8
        (bytes_of({"a": entry("F32", [1], 4, 8)}, bytes(8)), "not a whole safetensors file"),  # a hole before it
        (bytes_of({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, bytes(4)), "not a whole safe"),  # overlap
        (bytes_of({"a": entry("F99", [1], 0, 4)}, bytes(4)), "not a whole safetensors file"),
        (bytes_of({"a": entry("F32", [1 << 62, 8], 0, 4)}, bytes(4)), "not a whole safetensors file"),
        (bytes_of({"a": entry("I32", [1], 0, 4)}, bytes(4)), '"a" is int32 strided cpu; expected real numbers'),
        (bytes_of({"a": entry("F32", [1], 0, 4)}, struct.pack("<f", float("nan"))), '"a" holds values that are not fin'),
        (bytes_of({"a": entry("F64", [1], 0, 8)}, struct.pack("<d", 1e300)), '"a" holds values that are not finite in'),
        (torch_bytes({"a": torch.ones(2)})[:-30], r"not a state dict of tensors alone: \w+; is it whole"),
        (torch_bytes(torch.ones(2)), "got a Tensor; expected a state dict"),
        (torch_bytes({1: torch.ones(2)}), "got the name 1; expected a state dict"),
        (torch_bytes({"epoch": 3}), '"epoch" is of type int; expected a tensor'),
        (torch_bytes({"a": torch.ones(1).expand(10**9)}), '"a" of 1000000000 repeats few stored values'),
        (torch_bytes({"a": torch.eye(2).to_sparse()}), '"a" is float32 sparse_coo cpu; expected real numbers'),
        (torch_bytes({"a": torch.ones(2, device="meta")}), '"a" is float32 strided meta; expected real numbers'),
        (torch_bytes({"a": torch.ones(2, dtype=torch.complex64)}), '"a" is complex64'),
    ],
)  # fmt: skip
def test_what_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(WeightsBroken, match=f"^x: {says}"):
        parse(raw, "x")


def test_metadata_of_any_kind_is_told_as_it_is() -> None:
    for told in ({"about": "no JSON"}, {"about": "[1]"}, {"about": '{"a": 1}', "more": "b"}):
        assert parse(bytes_of({"__metadata__": told}), "x").about == told
    assert parse(bytes_of({"__metadata__": {"about": '{"a": 1}'}}), "x").about == {"a": "1"}
    assert parse(bytes_of({}), "x").about == {}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"no\.safetensors: No such file or directory; expected a file of weights"):
        read(tmp_path / "no.safetensors")
    with pytest.raises(WeightsMissing, match="Is a directory"):
        read(tmp_path)


# ---- fitting a model -------------------------------------------------------------------------------------------------


def test_all_weights_in_the_order_of_the_model() -> None:
    weights = drawn()
    found = load_into(TINY, held({name: weights[name] for name in sorted(weights)}))
    assert list(found) == list(weight_specs(TINY)) == list(SHAPES)
    assert all(found[name] is weights[name] for name in SHAPES)


def test_a_part_leaves_the_rest_alone() -> None:
    """The front of cut 1 is the hidden layer; what the file has of the back is left, even of another shape."""
    front = front_names(TINY, 1)
    assert front == ["0.1.weight", "0.1.bias"]
    weights = drawn() | {"1.bias": torch.zeros(1000)}
    assert list(load_into(TINY, held(weights), front)) == front
    assert list(load_into(TINY, held({name: weights[name] for name in front}), set(front))) == front
    assert front_names(TINY, 0) == [] and front_names(TINY, 2) == list(SHAPES)


def test_every_block_of_ten_and_more_is_told_apart() -> None:
    """Block 1 is not block 10: names are cut by number, not by how they begin."""
    spec = ModelSpec("mobilenetv2", 10, (3, 32, 32))
    assert {name.split(".")[0] for name in front_names(spec, 2)} == {"0", "1"}
    assert len(front_names(spec, 19)) == len(weight_specs(spec)) - 2  # all but the classifier's weight and bias


MLP = "mlp for 1x1x3 images and 2 classes"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"1.bias": None}, f'missing "1.bias" of {MLP}; the nearest there is "0.1.bias"'),
        ({"1.bias": None, "0.1.bias": None}, f'missing "0.1.bias" and 1 more of {MLP}'),
        ({"head": torch.ones(1)}, f'got "head"; expected only weights of {MLP}'),
        ({"2.bias": torch.ones(1)}, f'got "2.bias"; expected only weights of {MLP}; did you mean "1.bias"?'),
        ({"1.bias": torch.ones(3)}, f'"1.bias" is 3; expected 2, as in {MLP}'),
        ({"0.1.weight": torch.ones(3, 128)}, f'"0.1.weight" is 3x128; expected 128x3, as in {MLP}'),
        ({"1.bias": torch.ones(())}, f'"1.bias" is a single number; expected 2, as in {MLP}'),
    ],
)
def test_what_does_not_fit(change: dict[str, Tensor | None], says: str) -> None:
    tensors = {name: tensor for name, tensor in (drawn() | change).items() if tensor is not None}
    with pytest.raises(WeightsBroken) as told:
        load_into(TINY, held(tensors))
    assert str(told.value).startswith(f"some.file: {says}")


def test_another_model_is_told_by_its_nearest_name() -> None:
    """Names as torchvision writes them: the platform's have no "features." before them."""
    theirs = {f"features.{name}": tensor for name, tensor in drawn().items()}
    with pytest.raises(WeightsBroken, match=r'"0.1.weight" and 3 more of mlp .* is "features.0.1.weight"$'):
        load_into(TINY, held(theirs))


def test_what_callers_ask_for_must_be_of_the_model() -> None:
    with pytest.raises(ValueError, match=r'names: got "0.bias"; expected weights of mlp .*did you mean "0.1.bias"\?'):
        load_into(TINY, held(drawn()), ["0.bias"])
    with pytest.raises(ValueError, match="cut: got 3; mlp has 2 blocks"):
        front_names(TINY, 3)


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    path, weights = tmp_path / "a.safetensors", drawn()
    digest = save(path, TINY, weights, {"source": "a run", "model": "never this"})
    found = read(path)
    assert found.sha256 == digest == sha256(path.read_bytes()).hexdigest()
    assert found.about == {"source": "a run", "model": "mlp", "classes": "2", "shape": "1x1x3"}
    again = load_into(TINY, found)
    assert all(torch.equal(again[name], weights[name]) for name in weights) and list(again) == list(weights)
    assert [left.name for left in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    """The order in which weights and words are given does not matter, nor who else looks at their memory."""
    weights, about = drawn(), {str(number): "word" for number in range(20)}
    one = save(tmp_path / "a", TINY, weights, about)
    other = {name: weights[name].double().t().contiguous().t() for name in reversed(weights)}
    assert save(tmp_path / "b", TINY, other, dict(reversed(about.items()))) == one


def test_weights_that_share_memory_are_saved_apart(tmp_path: Path) -> None:
    both = torch.arange(130.0)
    save(tmp_path / "a", TINY, {"0.1.bias": both[:128], "1.bias": both[127:129]}, {})
    assert read(tmp_path / "a").tensors["1.bias"].tolist() == [127, 128]


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({}, "got no weights; expected some of mlp"),
        ({"1.bias": torch.ones(3)}, '"1.bias" is 3; expected 2'),
        ({"1.bia": torch.ones(2)}, r'got "1.bia"; expected only weights of mlp .*did you mean "1.bias"\?'),
        ({"1.bias": torch.full((2,), float("inf"))}, '"1.bias" holds values that are not finite'),
    ],
)
def test_what_is_not_saved(weights: dict[str, Tensor], says: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"as before")
    with pytest.raises(WeightsBroken, match=f"a: {says}"):
        save(tmp_path / "a", TINY, weights, {})
    assert (tmp_path / "a").read_bytes() == b"as before" and len(list(tmp_path.iterdir())) == 1
