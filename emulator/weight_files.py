"""Files of weights: read without running any code of theirs, checked against a model, written in one way only.

Two formats are read, told apart by their first bytes: safetensors, through the library of that name, which checks
every offset (https://huggingface.co/docs/safetensors, "Format": length, JSON header, raw data), and
PyTorch's state dicts, by ``torch.load(weights_only=True)``, whose unpickler builds tensors and plain containers only.
Written is safetensors alone.
"""

import json
import os
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from emulator.learning.models import ModelSpec, cut_refusal, weight_specs

TORCH_STARTS = (b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF")  # a zip archive; before PyTorch 1.6 its magic number
ABOUT = "about"  # one key with JSON in it: the library writes several keys in an order that changes from run to run
COUNTER = "num_batches_tracked"  # BatchNorm's; no weight here (see models.layers.BatchNorm2d)


class WeightsMissing(LookupError):
    """The file is not there; the message says which, and how to bring it where that is known."""


class WeightsBroken(ValueError):
    """A file of weights is not what it should be, or not of this model; the message names file and weight."""


@dataclass(frozen=True, eq=False)
class WeightFile:
    """What a file holds: float32 tensors on the CPU by name, in the order of names, counters of batches left out.

    ``about`` is what its writer says of it (empty for a torch file); ``sha256`` that of the whole file, in hex.
    """

    where: str
    tensors: dict[str, Tensor]
    about: dict[str, str]
    sha256: str


# ---- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path) -> WeightFile:
    """The weights in the file ``path``. Raises ``WeightsMissing`` without such a file, ``WeightsBroken`` as ``parse``."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise WeightsMissing(f"{path}: {error.strerror}; expected a file of weights") from None
    return parse(raw, str(path))


def parse(raw: bytes, where: str) -> WeightFile:
    """The weights in the bytes of a file; ``where`` is what errors call it.

    Raises ``WeightsBroken`` for another format, a damaged file, objects that are no tensors, and values that are not
    finite real numbers in float32.
    """
    if raw[8:9] == b"{":
        found, about = _safetensors(raw, where)
    elif raw.startswith(TORCH_STARTS):
        found, about = _state_dict(raw, where), {}
    else:
        start = raw[:9].hex(" ") or "nothing"
        raise WeightsBroken(f"{where}: starts with {start}; expected safetensors or a torch state dict")
    names = sorted(name for name in found if name.rpartition(".")[2] != COUNTER)
    tensors = {name: _plain(f'{where}: "{name}"', found[name]) for name in names}
    return WeightFile(where, tensors, about, sha256(raw).hexdigest())


def _safetensors(raw: bytes, where: str) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        found: dict[str, Any] = safetensors.torch.load(raw)
    except Exception as error:  # besides its own, a type that PyTorch has not is a KeyError
        raise WeightsBroken(f"{where}: not a whole safetensors file ({error})") from None
    length = int.from_bytes(raw[:8], "little")
    told = json.loads(raw[8 : 8 + length]).get("__metadata__") or {}
    if set(told) != {ABOUT}:
        return found, told
    try:
        ours = json.loads(told[ABOUT])
    except ValueError:
        return found, told
    return found, {key: str(value) for key, value in ours.items()} if isinstance(ours, dict) else told


def _state_dict(raw: bytes, where: str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: what cannot be read raises
            found = torch.load(BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # a bad pickle can fail in any way; PyTorch's words advise to trust the file
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it names {named[1]}, which is no tensor" if named else f"{type(error).__name__}; is it whole?"
        raise WeightsBroken(f"{where}: not a state dict of tensors alone: {reason}") from None
    if not isinstance(found, dict):
        raise WeightsBroken(f"{where}: got a {type(found).__name__}; expected a state dict of names and tensors")
    strange = next((name for name in found if not isinstance(name, str)), None)
    if strange is not None:
        raise WeightsBroken(f"{where}: got the name {strange!r}; expected a state dict of names and tensors")
    return found


def _plain(what: str, found: object) -> Tensor:
    """A float32 copy with memory of its own."""
    if not isinstance(found, Tensor):
        raise WeightsBroken(f"{what} is of type {type(found).__name__}; expected a tensor")
    if not found.is_floating_point() or found.layout != torch.strided or found.device.type != "cpu":
        kind = f"{found.dtype} {found.layout} {found.device.type}".replace("torch.", "")
        raise WeightsBroken(f"{what} is {kind}; expected real numbers, strided, with data")
    if found.numel() * found.element_size() > found.untyped_storage().nbytes():
        raise WeightsBroken(f"{what} of {_shape(found.shape)} repeats few stored values; expected a value for each")
    values = torch.empty(found.shape, dtype=torch.float32).copy_(found.detach())
    if not values.isfinite().all():
        raise WeightsBroken(f"{what} holds values that are not finite in float32; expected finite ones")
    return values


# ---- fitting a model -------------------------------------------------------------------------------------------------


def front_names(spec: ModelSpec, cut: int) -> list[str]:
    """The names of the weights in the model's first ``cut`` blocks. Raises ValueError for a cut it does not have."""
    reason = cut_refusal(spec, cut)
    if reason is not None:
        raise ValueError(f"cut: {reason}")
    return [name for name in weight_specs(spec) if int(name.partition(".")[0]) < cut]


def load_into(spec: ModelSpec, weights: WeightFile, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """The file's tensors as weights of ``spec``, in the order of its ``weight_specs``: all, or those in ``names``.

    With ``names`` the file may lack the model's other weights, and those that it has are left alone. A name that is no
    weight of the model is refused either way. Nothing is copied.

    Raises ``WeightsBroken`` for a weight that is missing, unexpected or of another shape, and ValueError for one of
    ``names`` that the model does not have.
    """
    specs = weight_specs(spec)
    model = f"{spec.name} for {_shape(spec.shape)} images and {spec.classes} classes"
    strange = [name for name in names or () if name not in specs]
    if strange:
        raise ValueError(f"names: got {_some(strange)}; expected weights of {model}{_near(strange[0], specs)}")
    wanted = [name for name in specs if names is None or name in names]
    missing = [name for name in wanted if name not in weights.tensors]
    if missing:
        near = _near(missing[0], weights.tensors, "; the nearest there is")
        raise WeightsBroken(f"{weights.where}: missing {_some(missing)} of {model}{near}")
    unexpected = [name for name in weights.tensors if name not in specs]
    if unexpected:
        near = _near(unexpected[0], specs)
        raise WeightsBroken(f"{weights.where}: got {_some(unexpected)}; expected only weights of {model}{near}")
    found = {name: weights.tensors[name] for name in wanted}
    for name, tensor in found.items():
        if tuple(tensor.shape) != specs[name].shape:
            got, expected = _shape(tensor.shape), _shape(specs[name].shape)
            raise WeightsBroken(f'{weights.where}: "{name}" is {got}; expected {expected}, as in {model}')
    return found


def _some(names: list[str]) -> str:
    return f'"{names[0]}"' + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _near(name: str, known: Collection[str], words: str = "; did you mean") -> str:
    near = get_close_matches(name, known, 1, cutoff=0.5)
    return f'{words} "{near[0]}"' + ("?" if words.endswith("mean") else "") if near else ""


def _shape(shape: Collection[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"


# ---- writing ---------------------------------------------------------------------------------------------------------


def save(path: Path, spec: ModelSpec, weights: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """Write weights of ``spec``, all or some, as float32 safetensors; gives the file's SHA-256 in hex.

    Beside ``about`` (where they come from, their licence) the file says model, classes and image shape. The same
    weights and words give the same bytes. ``path`` is replaced whole or not at all.

    Raises ``WeightsBroken`` for weights that ``load_into`` would refuse, values that are not finite, and none at all.
    """
    if not weights:
        raise WeightsBroken(f"{path}: got no weights; expected some of {spec.name}")
    plain = {name: _plain(f'{path}: "{name}"', tensor.cpu()) for name, tensor in weights.items()}
    known = [name for name in weight_specs(spec) if name in plain]
    fitting = load_into(spec, WeightFile(str(path), plain, {}, ""), known)
    told = {**about, "model": spec.name, "classes": str(spec.classes), "shape": _shape(spec.shape)}
    raw = safetensors.torch.save(fitting, {ABOUT: json.dumps(told, sort_keys=True)})
    _replace(path, raw)
    return sha256(raw).hexdigest()


def _replace(path: Path, raw: bytes) -> None:
    made = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        made.write_bytes(raw)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
