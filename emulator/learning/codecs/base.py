"""What a codec is: a tensor in, the tensors that really travel out; and what all codecs share, checks and draws.

Every codec runs on meta tensors as on real ones, and gives the same shapes and dtypes on both. Checks of the data itself
are the platform's work, not the device's: they happen on real tensors only, and no cost is counted for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from actors.values import Spec, Tree
from emulator.learning.meter import unmetered

Shape = tuple[int, ...]
Shapes = tuple[tuple[str, Shape], ...]  # names and shapes of tensors: hashable, as a step's settings are
SEED_BYTES = 8
FLOAT_BYTES = 4


class Encoded(NamedTuple):
    """What travels: trees of tensors. Overhead is scales and seeds; all else is payload."""

    payload: Tree
    overhead: Tree = ()


class Sizes(NamedTuple):
    """Bytes that travel."""

    payload: int
    overhead: int = 0


class Codec(Protocol):
    """A frozen, hashable dataclass: it is a static setting of a traced step.

    Both sides know the seed (at least 0, below 2**63) and the shape. Encoded tensors carry no graph. A codec that keeps
    values as they are may share memory with what it was given: nobody changes a value in place.
    """

    @property
    def carries_negative(self) -> bool:
        """Whether negative entries may be encoded; where not, the data must come out of a ReLU or the like."""

    def encode(self, tensor: Tensor, seed: int) -> Encoded:
        """What travels for a float32 tensor of any shape. Raises ValueError for another dtype, or unfit data."""

    def decode(self, encoded: Encoded, seed: int, shape: Shape) -> Tensor:
        """The float32 tensor of ``shape`` again. Raises ValueError where ``encoded`` is not of that shape or seed."""

    def bits(self, shape: Shape) -> Sizes:
        """Bytes (8 bits each) that travel for a tensor of ``shape``, exactly."""


# ---- checks ------------------------------------------------------------------------------------------------------------


def admitted(tensor: Tensor, name: str, *, negative: bool = True) -> Tensor:
    """``tensor`` without its graph and in row-major order. Empty tensors are in order.

    Raises ValueError unless it is float32, finite and, where ``negative`` is false, nowhere below 0.
    """
    plain = floating(tensor, name)
    with looking_at(plain) as visible:
        if visible and plain.numel():
            low, high = (float(end) for end in plain.aminmax())  # NaN shows in both ends
            if not -torch.inf < low <= high < torch.inf:
                raise ValueError(f"codec {name}: got entries from {low} to {high}; expected finite ones")
            if low < 0 and not negative:
                raise ValueError(
                    f"codec {name}: got an entry of {low}; expected none below 0 (a signed codec takes them)"
                )
    return plain


def floating(tensor: Tensor, name: str) -> Tensor:
    """``tensor`` without its graph and in row-major order. Raises ValueError unless it is float32."""
    if tensor.dtype != torch.float32:
        raise ValueError(f"codec {name}: got a tensor of {tensor.dtype}; expected torch.float32")
    return tensor.detach().contiguous()


def matching(codec: Codec, encoded: Encoded, shape: Shape) -> None:
    """Raises ValueError where what travelled has not the bytes that ``codec`` gives a tensor of ``shape``."""
    got = Sizes(Spec.of(encoded.payload).nbytes, Spec.of(encoded.overhead).nbytes)
    if got != codec.bits(shape):
        raise ValueError(f"decode to {shape} by {codec}: got {got} bytes; expected {codec.bits(shape)}")


@contextmanager
def looking_at(tensor: Tensor) -> Iterator[bool]:
    """Whether the tensor's data can be seen; what is done to look at it costs the device nothing."""
    with unmetered():
        yield not tensor.is_meta


# ---- draws -------------------------------------------------------------------------------------------------------------


def generator(seed: int) -> torch.Generator:
    """A generator of its own for ``seed``, on the CPU.

    torch's Mersenne Twister starts from the low 32 bits of the seed (its ``init_with_uint32``); those of ``seed_of`` are
    as good as any. Raises ValueError for a seed that eight signed bytes do not hold.
    """
    if not 0 <= index(seed) < 2**63:
        raise ValueError(f"codec: got seed {seed}; expected 0 or more and below 2**63")
    return torch.Generator().manual_seed(index(seed))


def uniform(count: int, seed: int, device: torch.device) -> Tensor:
    """``count`` draws from [0, 1), float32, the same on every kind of device."""
    return torch.rand(count, generator=generator(seed), device=_home(device)).to(device)


def drawn(count: int, kept: int, seed: int, device: torch.device) -> Tensor:
    """``kept`` different positions below ``count``, int64, each subset equally likely; the same on every device."""
    return torch.randperm(count, generator=generator(seed), device=_home(device))[:kept].to(device)


def _home(device: torch.device) -> str:
    """Where to draw: a CPU generator fills CPU and meta tensors, and no others."""
    return "meta" if device.type == "meta" else "cpu"


def seed_tensor(seed: int, device: torch.device) -> Tensor:
    """The seed as it travels: one int64."""
    return torch.full((), index(seed), dtype=torch.int64, device=device)


def agree(travelled: Tensor, seed: int) -> None:
    """Raises ValueError where the seed that travelled is not ``seed``: the positions would be others' positions."""
    with looking_at(travelled) as visible:
        if visible and int(travelled) != seed:
            raise ValueError(f"decode: got seed {seed}; expected {int(travelled)}, the sender's")
