"""Real data sets: ``digits`` is embedded; the others are read from a local cache or from a folder of their standard files.

Nothing is fetched here (see ``emulator.learning.fetch``). Images are uint8 [n, C, H, W], labels int64 [n].
"""

import gzip
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # x_train, y_train, x_test, y_test
PARTS = ("x_train", "y_train", "x_test", "y_test")


class DatasetMissing(LookupError):
    """The data set is not on this machine; the message says how to bring it."""


class DatasetBroken(ValueError):
    """A file of a data set is not what it should be; the message names it."""


@dataclass(frozen=True)
class Dataset:
    """A data set in memory (or memory-mapped). A pixel enters a model as ``(pixel / scale - mean) / std`` per channel."""

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
    """What is known of a data set before it is loaded."""

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


DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(
        "handwritten digits, 8x8, embedded", "Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits",
        "CC BY 4.0", 10, (1, 8, 8), 1437, 360, 16.0, (0.3054,), (0.3761,),
    ),
    "mnist": DatasetInfo(
        "handwritten digits, 28x28", "LeCun et al. 1998", "commonly CC BY-SA 3.0", 10, (1, 28, 28), 60000, 10000,
        255.0, (0.1307,), (0.3081,),
    ),
    "fashion-mnist": DatasetInfo(
        "articles of clothing, 28x28", "Xiao et al. 2017, arXiv:1708.07747", "MIT", 10, (1, 28, 28), 60000, 10000,
        255.0, (0.2860,), (0.3530,),
    ),
    "cifar10": DatasetInfo(
        "natural images, 32x32", "Krizhevsky 2009", "none stated; research use", 10, (3, 32, 32), 50000, 10000,
        255.0, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616),
    ),
}  # fmt: skip


def cache_folder() -> Path:
    """Where fetched data sets live: ``$EDGE_EMULATOR_CACHE``, else ``~/.cache/edge-emulator``."""
    given = os.environ.get("EDGE_EMULATOR_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "edge-emulator"


def load(name: str, root: Path | None = None) -> Dataset:
    """A data set by name, from ``root`` (its standard files) or from the cache.

    Raises ValueError for an unknown name, ``DatasetMissing`` when it is not here, ``DatasetBroken`` for a bad file.
    """
    info = DATASETS.get(name)
    if info is None:
        near = get_close_matches(name, DATASETS, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'got "{name}"; expected a data set: {", ".join(DATASETS)}{hint}')
    if name == "digits":
        arrays = _npz(Path(str(files("emulator.learning") / "assets" / "digits.npz")))
    elif root is not None:
        arrays = read_folder(name, root)
    else:
        arrays = _cached(name)
    _check(name, info, arrays)
    x_train, y_train, x_test, y_test = arrays
    return Dataset(
        name, info.classes, info.shape, info.scale, info.mean, info.std,
        x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64),
    )  # fmt: skip


def available(name: str, root: Path | None = None) -> bool:
    """Whether ``load`` would find the data set's files."""
    if name == "digits":
        return True
    return root.is_dir() if root is not None else (cache_folder() / name / "y_test.npy").exists()


def _npz(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as stored:
        return stored[PARTS[0]], stored[PARTS[1]], stored[PARTS[2]], stored[PARTS[3]]


def _cached(name: str) -> Arrays:
    folder = cache_folder() / name
    if not (folder / "y_test.npy").exists():
        raise DatasetMissing(
            f'data set "{name}" is not on this machine; `emulator fetch {name}` brings it, or set data.root to a folder '
            "of its standard files"
        )
    x_train, y_train, x_test, y_test = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in PARTS)
    return x_train, y_train, x_test, y_test


def _check(name: str, info: DatasetInfo, arrays: Arrays) -> None:
    expected = ((info.train, *info.shape), (info.train,), (info.test, *info.shape), (info.test,))
    for part, array, shape in zip(PARTS, arrays, expected, strict=True):
        if array.shape != shape:
            raise DatasetBroken(f'data set "{name}": {part} has shape {array.shape}; expected {shape}')


# ---- the standard files ------------------------------------------------------------------------------------------------


def read_folder(name: str, root: Path) -> Arrays:
    """A data set from a folder of its standard files: IDX (raw or .gz) for the MNIST kind, binary batches for CIFAR-10."""
    if not root.is_dir():
        raise DatasetMissing(f"data.root: got {str(root)!r}; expected a folder with the files of {name}")
    return read_cifar10(root) if name == "cifar10" else read_idx_folder(root)


def read_idx_folder(root: Path) -> Arrays:
    """The four IDX files ``{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]``, in ``root`` or in its ``raw`` folders."""
    found = [
        read_idx(_find(root, f"{split}-{kind}-ubyte"))
        for split in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    return found[0][:, None], found[1], found[2][:, None], found[3]


def _find(root: Path, stem: str) -> Path:
    for folder in (root, root / "raw", root / "MNIST" / "raw", root / "FashionMNIST" / "raw"):
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return path
    raise DatasetMissing(f"{root}: expected a file {stem} or {stem}.gz, here or in raw/")


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes, packed or not. Raises ``DatasetBroken``."""
    raw = path.read_bytes()
    try:
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, OSError) as error:
        raise DatasetBroken(f"{path}: not a whole gzip file ({error})") from None
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise DatasetBroken(f"{path}: not an IDX file of unsigned bytes (got magic {raw[:4].hex()}, expected 000008..)")
    dimensions = raw[3]
    shape = struct.unpack(f">{dimensions}I", raw[4 : 4 + 4 * dimensions])
    body = np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions)
    if body.size != int(np.prod(shape)):
        raise DatasetBroken(f"{path}: got {body.size} values; expected {shape} = {int(np.prod(shape))}")
    return body.reshape(shape)


def read_cifar10(root: Path) -> Arrays:
    """CIFAR-10's binary version: ``data_batch_1..5.bin`` and ``test_batch.bin``, rows of one label and 3072 pixels.

    The Python version is a pickle, and a pickle runs code: it is not read.
    """
    folder = root / "cifar-10-batches-bin" if (root / "cifar-10-batches-bin").is_dir() else root
    train = np.concatenate([_cifar_rows(folder / f"data_batch_{number}.bin") for number in range(1, 6)])
    test = _cifar_rows(folder / "test_batch.bin")
    split: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = lambda rows: (  # noqa: E731
        np.ascontiguousarray(rows[:, 1:]).reshape(-1, 3, 32, 32),
        rows[:, 0].copy(),
    )
    return (*split(train), *split(test))


def _cifar_rows(path: Path) -> np.ndarray:
    if not path.is_file():
        raise DatasetMissing(f"{path}: expected CIFAR-10's binary version here (data_batch_1..5.bin, test_batch.bin)")
    raw = np.fromfile(path, np.uint8)
    if raw.size == 0 or raw.size % 3073:
        raise DatasetBroken(f"{path}: got {raw.size} bytes; expected a multiple of 3073 (a label and 3 x 32 x 32 pixels)")
    return raw.reshape(-1, 3073)
