"""Floating-point numbers of 32 or 16 bits on the wire."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from emulator.learning.codecs.base import Encoded, Shape, Sizes, floating, looking_at, matching

NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class Float:
    """Entries rounded to ``dtype``, ties to even: float32 (exact), float16 or bfloat16.

    NaN and infinities travel as they are. A finite entry that would become infinite is refused with a ValueError:
    65520 or more in float16, about 3.396e38 or more in bfloat16.
    """

    dtype: torch.dtype
    carries_negative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.dtype not in NAMES:
            raise ValueError(f"codec: got {self.dtype}; expected one of {', '.join(map(str, NAMES))}")

    def encode(self, tensor: Tensor, seed: int) -> Encoded:
        """Payload: the entries; bfloat16's as int16 of the same bits, as NumPy, which carries them, has no bfloat16."""
        values = floating(tensor, NAMES[self.dtype])
        rounded = values.to(self.dtype)
        with looking_at(values) as visible:
            if visible and self.dtype != torch.float32 and bool((rounded.isinf() & values.isfinite()).any()):
                reach = torch.finfo(self.dtype).max
                raise ValueError(f"codec {NAMES[self.dtype]}: got an entry beyond +-{reach:g}; expected none")
        return Encoded(rounded.view(torch.int16) if self.dtype == torch.bfloat16 else rounded)

    def decode(self, encoded: Encoded, seed: int, shape: Shape) -> Tensor:
        """The rounded entries."""
        matching(self, encoded, shape)
        sent: Tensor = encoded.payload
        return (sent.view(self.dtype) if sent.dtype == torch.int16 else sent).to(torch.float32).reshape(shape)

    def bits(self, shape: Shape) -> Sizes:
        """4 or 2 bytes an entry."""
        return Sizes(torch.Size(shape).numel() * self.dtype.itemsize)
