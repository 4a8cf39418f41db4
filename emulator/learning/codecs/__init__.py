"""Codecs of split and federated learning: what a tensor becomes on the wire, to the byte."""

from emulator.learning.codecs.base import Codec, Encoded, Shape, Shapes, Sizes
from emulator.learning.codecs.floats import Float
from emulator.learning.codecs.quantise import Int8, Sign, Stochastic
from emulator.learning.codecs.settings import CODECS, AnyCodec, CodecSettings, codec_of
from emulator.learning.codecs.sparse import Dropout, RandomK, TopK

__all__ = [
    "CODECS",
    "AnyCodec",
    "Codec",
    "CodecSettings",
    "Dropout",
    "Encoded",
    "Float",
    "Int8",
    "RandomK",
    "Shape",
    "Shapes",
    "Sign",
    "Sizes",
    "Stochastic",
    "TopK",
    "codec_of",
]
