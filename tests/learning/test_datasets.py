"""Data sets: exact on files written byte by byte here; the embedded one against its published class counts."""

import gzip
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.learning.datasets import (
    DATASETS,
    PARTS,
    Arrays,
    Dataset,
    DatasetBroken,
    DatasetInfo,
    DatasetMissing,
    available,
    cache_folder,
    embedded,
    load,
    read_cache,
    read_cifar10,
    read_folder,
    read_idx,
    read_idx_folder,
)

GRAY = DATASETS["mnist"]._replace(classes=3, shape=(1, 2, 3), train=2, test=1)
COLOUR = DATASETS["cifar10"]._replace(shape=(3, 1, 2), train=10, test=3)


def spread(images: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, exactly: from how often each of the 256 values occurs."""
    counts = np.zeros((images.shape[1], 256))
    for start in range(0, len(images), 2000):
        for channel, row in enumerate(counts):
            row += np.bincount(images[start : start + 2000, channel].ravel(), minlength=256)
    values, shares = np.arange(256) / scale, counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    return mean, np.sqrt(shares @ values**2 - mean**2)


def check_published(name: str, data: Dataset) -> None:
    info = DATASETS[name]
    assert data.x_train.shape == (info.train, *info.shape) and data.x_test.shape == (info.test, *info.shape)
    assert data.x_train.dtype == data.x_test.dtype == np.uint8 and data.x_train.flags["C_CONTIGUOUS"]
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    mean, std = spread(data.x_train, data.scale)
    assert mean == pytest.approx(info.mean, abs=6e-5) and std == pytest.approx(info.std, abs=6e-5)


# ---- the real ones ---------------------------------------------------------------------------------------------------


def test_digits_are_the_published_set() -> None:
    """Class counts as UCI's optdigits.tes tells them; pixels 0 to 16; 36 of each class for testing; no image twice."""
    data = load("digits")
    check_published("digits", data)
    published = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(np.concatenate([data.y_train, data.y_test])).tolist() == published
    assert np.bincount(data.y_test).tolist() == [36] * 10
    images = np.concatenate([data.x_train, data.x_test]).reshape(-1, 64)
    assert int(images.max()) == 16 and len(np.unique(images, axis=0)) == 1797


def test_digits_carry_their_credit() -> None:
    notice = (embedded().parent / "NOTICE").read_text(encoding="utf-8")
    assert "Alpaydin" in notice and "CC BY 4.0" in notice


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_fetched_sets_have_the_published_figures(name: str) -> None:
    if not available(name):
        pytest.skip(f"needs `emulator fetch {name}`")
    data = load(name)
    check_published(name, data)
    if name != "mnist":  # the only one whose classes are not equally large
        assert np.bincount(data.y_train).tolist() == [len(data.y_train) // 10] * 10


# ---- IDX -------------------------------------------------------------------------------------------------------------


def idx(shape: tuple[int, ...], values: bytes) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(struct.pack(">I", side) for side in shape) + values


IDX = {
    "train-images-idx3-ubyte": idx((2, 2, 3), bytes(range(12))),
    "train-labels-idx1-ubyte": idx((2,), b"\x02\x00"),
    "t10k-images-idx3-ubyte": idx((1, 2, 3), b"\xff" * 6),
    "t10k-labels-idx1-ubyte": idx((1,), b"\x01"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("where", [".", "raw", "FashionMNIST/raw"])
def test_idx_folders(tmp_path: Path, where: str, packed: bool) -> None:
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    for name, raw in IDX.items():
        (tmp_path / where / (name + ".gz" * packed)).write_bytes(gzip.compress(raw, mtime=0) if packed else raw)
    x_train, y_train, x_test, y_test = read_idx_folder(tmp_path, GRAY)
    assert x_train.tolist() == [[[[0, 1, 2], [3, 4, 5]]], [[[6, 7, 8], [9, 10, 11]]]]
    assert (y_train.tolist(), x_test.tolist(), y_test.tolist()) == ([2, 0], [[[[255] * 3] * 2]], [1])


def test_a_missing_idx_file_is_named(tmp_path: Path) -> None:
    for name in list(IDX)[:3]:
        (tmp_path / name).write_bytes(IDX[name])
    with pytest.raises(DatasetMissing, match=r"expected a file t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte\.gz"):
        read_idx_folder(tmp_path, GRAY)


GOOD = IDX["train-images-idx3-ubyte"]
PACKED = gzip.compress(GOOD * 50, mtime=0)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "got IDX header"),
        (GOOD[:7], "got IDX header 00000803 000000; expected 00000803 00000002 00000002 00000003"),
        (b"PNG" + GOOD[3:], "unsigned bytes"),
        (b"\x00\x00\x0d" + GOOD[3:], "got IDX header"),  # floats
        (idx((2,), b"\x00\x01"), "got IDX header"),  # labels where images are expected
        (idx((1, 2, 3), bytes(6)), "got IDX header"),  # one image too few
        (GOOD[:-1], "got 11 values; expected .2, 2, 3. = 12"),
        (GOOD + b"\x00", "got 13 values"),
        (PACKED[:-9], "not a whole gzip file"),
        (PACKED[:-6] + b"\x00" + PACKED[-5:], "not a whole gzip file"),
        (PACKED[:10] + b"\xff" * 20, "not a whole gzip file"),
    ],
)
def test_a_bad_idx_file_is_named(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(raw)
    with pytest.raises(DatasetBroken, match=f"^{path}: .*{message}"):
        read_idx(path, (2, 2, 3))


def test_a_whole_set_loads_from_a_folder(tmp_path: Path) -> None:
    for split, count in (("train", 60000), ("t10k", 10000)):
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            zeros = idx(shape, bytes(int(np.prod(shape))))
            (tmp_path / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(zeros, 1, mtime=0))
    data = load("fashion-mnist", tmp_path)
    assert (data.name, data.classes, data.shape, data.scale) == ("fashion-mnist", 10, (1, 28, 28), 255.0)
    assert data.x_train.shape == (60000, 1, 28, 28) and data.y_test.dtype == np.int64


# ---- CIFAR-10 --------------------------------------------------------------------------------------------------------

BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


def pixels(name: str, count: int) -> np.ndarray:
    """Six values an image (3 channels of 1 x 2), different in each batch."""
    return np.arange(count * 6, dtype=np.uint8).reshape(count, 6) + 20 * (BATCHES.index(name) if name in BATCHES else 5)


def binary(name: str, count: int) -> bytes:
    return b"".join(bytes([image]) + row.tobytes() for image, row in enumerate(pixels(name, count)))


def python2(name: str, count: int) -> bytes:
    """A batch as Python 2 pickled it: byte strings everywhere, the array by ``numpy.core.multiarray._reconstruct``."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    dtype = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    blank = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array = (
        blank
        + b"(K\x01K"
        + bytes([count])
        + b"K\x06\x86"
        + dtype
        + b"\x89"
        + text(pixels(name, count).tobytes())
        + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([image]) for image in range(count)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + labels + b"u."


def python3(name: str, count: int) -> bytes:
    return pickle.dumps({b"data": pixels(name, count), b"labels": list(range(count))}, protocol=2)


def write_batches(folder: Path, batch: Callable[[str, int], bytes], ending: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, count in [*((name, 2) for name in BATCHES), ("test_batch", 3)]:
        (folder / f"{name}{ending}").write_bytes(batch(name, count))
    return folder


def check_batches(arrays: Arrays) -> None:
    x_train, y_train, x_test, y_test = arrays
    assert x_train[0].tolist() == [[[0, 1]], [[2, 3]], [[4, 5]]]  # channel by channel
    assert x_train[9].tolist() == [[[86, 87]], [[88, 89]], [[90, 91]]]  # 20 x 4 + 6
    assert x_train.dtype == np.uint8 and x_train.flags["C_CONTIGUOUS"]
    assert (y_train.tolist(), x_test[:, 0, 0, 0].tolist(), y_test.tolist()) == ([0, 1] * 5, [100, 106, 112], [0, 1, 2])


@pytest.mark.parametrize(("batch", "ending"), [(binary, ".bin"), (python2, ""), (python3, "")])
@pytest.mark.parametrize("folder", [".", "cifar-10-batches-py", "cifar-10-batches-bin"])
def test_cifar_batches(tmp_path: Path, batch: Callable[[str, int], bytes], ending: str, folder: str) -> None:
    write_batches(tmp_path / folder, batch, ending)
    check_batches(read_cifar10(tmp_path, COLOUR))


def test_the_python_2_bytes_of_this_test_are_what_numpy_means() -> None:
    """The plain reader, which runs NumPy's own functions, finds the same array in them."""
    found: dict[bytes, Any] = pickle.loads(
        python2("test_batch", 3).replace(b"numpy.core", b"numpy._core"), encoding="bytes"
    )
    assert np.array_equal(found[b"data"], pixels("test_batch", 3)) and found[b"labels"] == [0, 1, 2]


class Hostile:
    """What a pickle may do: make a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    write_batches(tmp_path, python2, "")
    trap = tmp_path / "trap"
    raw = pickle.dumps({b"data": Hostile(trap), b"labels": [0, 1]}, protocol=2)
    (tmp_path / "data_batch_2").write_bytes(raw)
    with pytest.raises(DatasetBroken, match=r"data_batch_2: .*it names \w+\.mkdir, which no CIFAR-10 batch needs"):
        read_cifar10(tmp_path, COLOUR)
    assert not trap.exists()
    pickle.loads(raw)
    assert trap.exists()  # the trap works


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("data_batch_3.bin", binary("data_batch_3", 2)[:-1], "got 13 bytes; expected 2 rows of a label and 6 pixels"),
        ("data_batch_3.bin", binary("data_batch_3", 3), "got 21 bytes"),
        ("data_batch_3", python2("data_batch_3", 2)[:-5], "not a batch of CIFAR-10's Python version"),
        ("data_batch_3", python2("data_batch_3", 3), "expected 2 images"),
        ("data_batch_3", pickle.dumps([1, 2], protocol=2), "not a batch of CIFAR-10's Python version"),
        ("data_batch_3", pickle.dumps({b"data": np.zeros((2, 6)), b"labels": [0, 1]}, protocol=2), "expected u1"),
        ("data_batch_3", b"", "not a batch of CIFAR-10's Python version"),
    ],
)
def test_a_bad_batch_is_named(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    write_batches(tmp_path, *((binary, ".bin") if name.endswith(".bin") else (python2, "")))
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(DatasetBroken, match=f"^{tmp_path / name}: .*{message}"):
        read_cifar10(tmp_path, COLOUR)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match=r"expected data_batch_1\.\.5 and test_batch"):
        read_cifar10(tmp_path, COLOUR)
    write_batches(tmp_path, binary, ".bin")
    (tmp_path / "data_batch_5.bin").unlink()
    with pytest.raises(DatasetMissing, match=r"data_batch_5\.bin"):
        read_cifar10(tmp_path, COLOUR)


# ---- the cache -------------------------------------------------------------------------------------------------------


def write_cache(folder: Path, info: DatasetInfo) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, count, shape in zip(
        PARTS, (info.train, info.train, info.test, info.test), (info.shape, ()) * 2, strict=True
    ):
        np.save(folder / f"{part}.npy", np.ones((count, *shape), np.uint8))
    return folder


def test_the_cache_is_mapped_not_read(tmp_path: Path) -> None:
    x_train, y_train, _, _ = read_cache("mnist", write_cache(tmp_path, GRAY), GRAY)
    assert isinstance(x_train, np.memmap) and x_train.shape == (2, 1, 2, 3) and y_train.tolist() == [1, 1]


def test_a_missing_part_means_missing(tmp_path: Path) -> None:
    (write_cache(tmp_path, GRAY) / "x_test.npy").unlink()
    with pytest.raises(DatasetMissing, match=r"`emulator fetch mnist` brings it, or set data\.root"):
        read_cache("mnist", tmp_path, GRAY)


@pytest.mark.parametrize(
    ("part", "array", "message"),
    [
        ("x_train", np.ones((3, 1, 2, 3), np.uint8), r"x_train is uint8\[3, 1, 2, 3\]; expected uint8\[2, 1, 2, 3\]"),
        ("x_test", np.ones((1, 1, 2, 3), np.float32), "x_test is float32"),
        ("y_train", np.array([0, 3], np.uint8), "y_train has label 3; expected labels below 3"),
        ("y_test", np.array([{}]), "emulator fetch mnist"),  # an object array is a pickle: never loaded
    ],
)
def test_a_bad_part_is_told(tmp_path: Path, part: str, array: np.ndarray, message: str) -> None:
    np.save(write_cache(tmp_path, GRAY) / f"{part}.npy", array)
    with pytest.raises(DatasetBroken, match=f"^{tmp_path}: .*{message}"):
        read_cache("mnist", tmp_path, GRAY)


@pytest.mark.parametrize("size", [0, 5, 131])
def test_a_truncated_part_is_told(tmp_path: Path, size: int) -> None:
    path = write_cache(tmp_path, GRAY) / "x_train.npy"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DatasetBroken, match="remove the folder, then `emulator fetch mnist`"):
        read_cache("mnist", tmp_path, GRAY)


def test_where_the_cache_is(tmp_path: Path) -> None:
    assert cache_folder({"EDGE_EMULATOR_CACHE": str(tmp_path)}) == tmp_path
    assert cache_folder({}) == Path.home() / ".cache" / "edge-emulator"


def test_the_environment_decides_and_an_empty_cache_says_what_to_do(tmp_path: Path) -> None:
    code = "from emulator.learning.datasets import available, load; print(available('cifar10')); load('cifar10')"
    environment = {**os.environ, "EDGE_EMULATOR_CACHE": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert told.stdout == "False\n" and "DatasetMissing" in told.stderr and "`emulator fetch cifar10`" in told.stderr


def test_unknown_names_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'got "fashion_mnist"; .*did you mean "fashion-mnist"'):
        load("fashion_mnist")
    with pytest.raises(DatasetMissing, match=r"data\.root: got .*nowhere"):
        read_folder("mnist", tmp_path / "nowhere")
    assert available("mnist", tmp_path) and not available("mnist", tmp_path / "nowhere")
