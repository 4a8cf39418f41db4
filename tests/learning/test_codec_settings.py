"""Codecs as scenarios name them."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from emulator.learning.codecs import (
    CODECS,
    AnyCodec,
    Codec,
    CodecSettings,
    Dropout,
    Float,
    Int8,
    RandomK,
    Sign,
    Stochastic,
    TopK,
    codec_of,
)

READ: TypeAdapter[AnyCodec] = TypeAdapter(CodecSettings)

NAMED: list[tuple[dict[str, Any], Codec]] = [
    ({"codec": "fp32"}, Float(torch.float32)),
    ({"codec": "fp16"}, Float(torch.float16)),
    ({"codec": "bf16"}, Float(torch.bfloat16)),
    ({"codec": "int8"}, Int8()),
    ({"codec": "int8-signed"}, Int8(signed=True)),
    ({"codec": "sign"}, Sign()),
    ({"codec": "stochastic", "bits": 4}, Stochastic(4)),
    ({"codec": "top-k", "ratio": 1}, TopK(1.0)),
    ({"codec": "random-k", "ratio": 0.1}, RandomK(0.1)),
    ({"codec": "random-k", "ratio": 0.1, "unbiased": False}, RandomK(0.1, unbiased=False)),
    ({"codec": "dropout", "p": 0.3}, Dropout(0.3)),
    ({"codec": "dropout", "p": 0, "mask": "bitmap", "by": "channel"}, Dropout(0.0, "bitmap", "channel")),
]


@pytest.mark.parametrize(("given", "codec"), NAMED, ids=str)
def test_a_name_and_its_settings_make_the_codec(given: dict[str, Any], codec: Codec) -> None:
    chosen = READ.validate_python(given)
    assert codec_of(chosen) == codec
    assert READ.validate_python(chosen.model_dump()) == chosen and hash(chosen) == hash(READ.validate_python(given))


def test_every_codec_can_be_named_and_only_int8_is_for_non_negative_data() -> None:
    assert {given["codec"] for given, _ in NAMED} == set(CODECS)
    assert {given["codec"] for given, codec in NAMED if not codec.carries_negative} == {"int8"}
    schema = READ.json_schema()
    assert set(schema["discriminator"]["mapping"]) == set(CODECS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"codec": "int9"}, r"does not match any of the expected tags: 'fp32', 'fp16'"),
        ({"codec": "stochastic", "bits": 0}, r"bits\s+Input should be greater than or equal to 1"),
        ({"codec": "stochastic", "bits": 33}, r"bits\s+Input should be less than or equal to 32"),
        ({"codec": "stochastic", "bits": 2.5}, r"bits\s+Input should be a valid integer"),
        ({"codec": "stochastic"}, r"bits\s+Field required"),
        ({"codec": "top-k", "ratio": 0.0}, r"ratio\s+Input should be greater than 0"),
        ({"codec": "random-k", "ratio": 1.1}, r"ratio\s+Input should be less than or equal to 1"),
        ({"codec": "random-k", "ratio": float("nan")}, r"ratio\s+Input should be a finite number"),
        ({"codec": "dropout", "p": 1.0}, r"p\s+Input should be less than 1"),
        ({"codec": "dropout", "p": -0.5}, r"p\s+Input should be greater than or equal to 0"),
        ({"codec": "dropout", "p": 0.5, "mask": "list"}, r"mask\s+Input should be 'seed' or 'bitmap'"),
        ({"codec": "int8", "bits": 4}, r"bits\s+Extra inputs are not permitted"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        READ.validate_python(given)
