"""A pickle of plain data is read; one that names anything to call is refused, and nothing in it happens."""

import collections
import io
import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.devices import plain_pickle
from emulator.devices.plain_pickle import RefusedPickle, load_plain

PROTOCOLS = range(6)


class Touch:
    """Unpickling this with Python's own reader makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.path}'",)


class Plain:
    """An ordinary object: pickled by NEWOBJ (or copyreg) and BUILD."""

    def __init__(self) -> None:
        self.x = 1


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(data)
    return path


def plain(folder: Path, value: object, protocol: int) -> object:
    return load_plain(saved(folder, pickle.dumps(value, protocol)))


words = st.text(max_size=5)
values = st.recursive(
    st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=values)
def test_plain_data_of_every_protocol(tmp_path_factory: pytest.TempPathFactory, protocol: int, value: object) -> None:
    assert plain(tmp_path_factory.mktemp("pickles"), value, protocol) == value


@pytest.mark.parametrize("number", [np.float64(162.5), np.float32(0.5), np.int64(-(2**40)), np.int32(7)])
def test_numpy_numbers_become_plain_ones_and_numpy_is_not_called(tmp_path: Path, number: Any) -> None:
    read = plain(tmp_path, [number, {"b": [number, type(number)(3)]}], 3)
    assert read == [number.item(), {"b": [number.item(), 3]}]
    assert isinstance(read, list)
    assert type(read[0]) is type(number.item())


def test_numbers_as_numpy_1_wrote_them(tmp_path: Path) -> None:
    # NumPy 1 wrote "numpy.core" and the dtype's flags as 0 and 1; FedScale's capacities are such a file (its 39,369,071
    # bytes are, to the byte, those of 500,000 entries of two such numbers).
    data = (
        pickle.dumps({1: np.float64(162.0)}, 3).replace(b"numpy._core", b"numpy.core").replace(b"\x89\x88", b"K\0K\1")
    )
    assert b"numpy.core" in data
    assert b"K\x00K\x01\x87" in data
    assert load_plain(saved(tmp_path, data)) == {1: 162.0}


def test_numbers_of_the_other_byte_order(tmp_path: Path) -> None:
    data = pickle.dumps(np.float64(1.5), 3).replace(b"<", b">").replace(struct.pack("<d", 1.5), struct.pack(">d", 1.5))
    assert load_plain(saved(tmp_path, data)) == 1.5


def nested(harm: object) -> list[object]:
    return [harm, [harm], {"a": harm}, {1: {"active": [1, 2, harm]}}, [{"a": [[{"b": harm}]]}]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("depth", range(5))
def test_a_call_is_refused_and_does_not_happen(tmp_path: Path, protocol: int, depth: int) -> None:
    target = tmp_path / "touched"
    data = pickle.dumps(nested(Touch(target))[depth], protocol)
    with pytest.raises(RefusedPickle, match=r"file\.pkl: byte \d+: got the (name|operation).*; expected plain data"):
        load_plain(saved(tmp_path, data))
    assert not target.exists()


def test_the_harm_is_real(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Touch(tmp_path / "touched"), 3))
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [Plain(), os.system, (1, 2), {1}, b"x", 1j, None, collections.OrderedDict(), np.zeros(2), Path("a"), range(3)],
)
def test_other_objects_are_refused_or_come_to_nothing_but_plain_data(
    tmp_path: Path, value: object, protocol: int
) -> None:
    """Tuples, short bytes and None are allowed inside NumPy's numbers, and do no harm alone; the reader of a structure
    refuses them where it expects a number."""
    try:
        assert plain(tmp_path, value, protocol) == value
    except RefusedPickle:
        assert value is not None


TARGET = b"touch TARGET"
BY_HAND = {
    "GLOBAL and REDUCE": b"cos\nsystem\n(S'touch TARGET'\ntR.",
    "INST": b"(S'touch TARGET'\nios\nsystem\n.",
    "INST without a word": b"(V" + TARGET + b"\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nV" + TARGET + b"\no.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0c" + TARGET + b"\x85R.",
    "NEWOBJ": b"\x80\x02cbuiltins\nobject\n)\x81.",
    "EXT1": b"\x80\x02\x82\x01.",
    "PERSID": b"P1\n.",
    "BINPERSID": b"\x80\x02K\x01Q.",
    "a module beside NumPy's": b"\x80\x03cnumpy\nload\n(V" + TARGET + b"\ntR.",
    "eval": b"c__builtin__\neval\n(V1\ntR.",
    "the reader's own names": b"cemulator.devices.plain_pickle\n_MakeNumber\n(tR.",
    "a dotted way out of a stand-in": b"\x80\x03cnumpy\ndtype.__class__\n.",
    "an attribute set on a stand-in": b"cnumpy\ndtype\n(N(dV__call__\nK\x01ssttb.",
    "an attribute set on a stand-in, flat": b"cnumpy\ndtype\n(dV__doc__\nK\x01sb.",
    "a call of a number": b"K\x01(tR.",
    "a call of a dict": b"}(tR.",
    "state for a dict": b"}}b.",
    "state for a dtype that is none": b"cnumpy\ndtype\n(Vf8\ntRK\x01b.",
    "a dtype of objects": b"cnumpy\ndtype\n(VO8\ntR.",
    "a dtype by a list": b"cnumpy\ndtype\n(]tR.",
    "a number without a dtype": b"cnumpy.core.multiarray\nscalar\n(K\x01K\x01tR.",
    "a number of seven bytes": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(Vf8\ntRC\x07abcdefgtR.",
    "a dtype too much": b"cnumpy\ndtype\n(tR.",
    "a memo of 2**31 places": b"]r\xff\xff\xff\x7f.",
    "a memo of 2**40 places": b"]p1099511627776\n.",
    "a memo below zero": b"]p-1\n.",
    "a memo never put": b"g5\n.",
    "an empty stack": b".",
    "values without keys": b"}(K\x01u.",
    "a list as a key": b"}]K\x01s.",
    "a number of 5,000 digits": b"I" + b"9" * 5000 + b"\n.",
    "a word longer than the file": b"X\xff\xff\xff\x7fab.",
    "a protocol to come": b"\x80\x63}.",
    "a frame longer than the file": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",
    "an unknown operation": b"\xff.",
    "nothing": b"",
    "words": b"device,start_s,end_s\n",
}


@pytest.mark.parametrize("name", list(BY_HAND))
def test_pickles_written_by_hand_are_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedPickle, match=r"file\.pkl: (byte \d+: )?got "):
        load_plain(saved(tmp_path, BY_HAND[name]))
    assert [path.name for path in tmp_path.iterdir()] == ["file.pkl"]
    assert plain(tmp_path, {1: np.float64(2.0)}, 3) == {1: 2.0}  # and the next file is read as ever


@pytest.mark.parametrize("name", ["os system", "numpy load", "numpy.core.multiarray _reconstruct", "builtins getattr"])
def test_the_reader_itself_has_no_way_out(name: str) -> None:
    """Were the scan to miss a name, the reader would still refuse it."""
    reader = plain_pickle._Reader(io.BytesIO(b"."))
    with pytest.raises(pickle.UnpicklingError, match="the name"):
        reader.find_class(*name.split())


def test_every_operation_is_known_and_few_are_allowed() -> None:
    every = {operation.name for operation in pickletools.opcodes}
    allowed = plain_pickle.PLAIN | plain_pickle.NUMPY
    assert allowed < every
    calls = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}
    assert calls <= every - allowed


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_refused(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps({1: {"computation": 162.0, "communication": 5648.1}, 2: {"active": [1, 2]}}, protocol)
    for length in range(len(data)):
        with pytest.raises(RefusedPickle, match="got a broken pickle"):
            load_plain(saved(tmp_path, data[:length]))


def test_deep_nesting_needs_no_stack(tmp_path: Path) -> None:
    read = load_plain(saved(tmp_path, b"]" * 100_000 + b"a" * 99_999 + b"."))
    assert isinstance(read, list)
    assert len(read) == 1


def test_a_large_file_is_refused_before_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_pickle, "MAX_BYTES", 2**20)
    with pytest.raises(RefusedPickle, match="got more than 1 MiB; expected a smaller pickle"):
        load_plain(saved(tmp_path, b"}." + bytes(2**20)))
    assert load_plain(saved(tmp_path, b"}.")) == {}
    with pytest.raises(RefusedPickle, match="cannot be read"):
        load_plain(tmp_path)
