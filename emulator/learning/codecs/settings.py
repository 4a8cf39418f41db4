"""Codecs as a scenario names them: ``{codec: int8}``, ``{codec: stochastic, bits: 4}``."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from emulator.learning.codecs.base import Codec
from emulator.learning.codecs.floats import Float
from emulator.learning.codecs.quantise import Int8, Sign, Stochastic
from emulator.learning.codecs.sparse import Dropout, RandomK, TopK


class _Codec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


_RATIO = "share of the entries that travel; at least one entry does"


class PlainCodec(_Codec):
    """A codec without settings: fp32, fp16, bf16; int8 (non-negative data); int8-signed; sign (one bit, mean size)."""

    codec: Literal["fp32", "fp16", "bf16", "int8", "int8-signed", "sign"]


class StochasticCodec(_Codec):
    """Unbiased rounding to 2**bits levels, with a sign bit."""

    codec: Literal["stochastic"]
    bits: int = Field(ge=1, le=32, description="bits of the size; the sign's comes on top; 32 sends float32")


class TopKCodec(_Codec):
    """The entries of largest size, with their positions."""

    codec: Literal["top-k"]
    ratio: float = Field(gt=0, le=1, description=_RATIO)


class RandomKCodec(_Codec):
    """Random entries, their positions coded by a seed."""

    codec: Literal["random-k"]
    ratio: float = Field(gt=0, le=1, description=_RATIO)
    unbiased: bool = Field(default=True, description="scale what travels by entries / kept entries")


class DropoutCodec(_Codec):
    """Random dropout of exactly round((1 - p) n) kept entries, scaled to be unbiased."""

    codec: Literal["dropout"]
    p: float = Field(ge=0, lt=1, description="share of the entries that is dropped")
    mask: Literal["seed", "bitmap"] = Field(
        default="seed", description="how the mask travels: 8 bytes, or a bit an entry"
    )
    by: Literal["element", "channel"] = Field(
        default="element", description="channel: whole channels (dim 1) are dropped"
    )


AnyCodec = PlainCodec | StochasticCodec | TopKCodec | RandomKCodec | DropoutCodec
CodecSettings = Annotated[AnyCodec, Field(discriminator="codec")]

CODECS: dict[str, Callable[[Any], Codec]] = {  # a scenario's name of a codec, and what makes it of its settings
    "fp32": lambda settings: Float(torch.float32),
    "fp16": lambda settings: Float(torch.float16),
    "bf16": lambda settings: Float(torch.bfloat16),
    "int8": lambda settings: Int8(),
    "int8-signed": lambda settings: Int8(signed=True),
    "stochastic": lambda settings: Stochastic(settings.bits),
    "sign": lambda settings: Sign(),
    "top-k": lambda settings: TopK(settings.ratio),
    "random-k": lambda settings: RandomK(settings.ratio, settings.unbiased),
    "dropout": lambda settings: Dropout(settings.p, settings.mask, settings.by),
}


def codec_of(settings: AnyCodec) -> Codec:
    """The codec that ``settings`` name."""
    return CODECS[settings.codec](settings)
