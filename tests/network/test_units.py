"""Quantities: known values, exact round trips, and messages that help."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.units import BANDWIDTH, COMPUTE, DURATION, RATE, SIZE, Quantity, seconds_to_ns, transfer_bits


@pytest.mark.parametrize(
    ("quantity", "text", "value"),
    [
        (RATE, "20 Mbit/s", 20e6),
        (RATE, "9600 bit/s", 9600),
        (RATE, "1.5Gbit/s", 1.5e9),
        (DURATION, "15 ms", 0.015),
        (DURATION, "2 h", 7200),
        (DURATION, "5 min", 300),
        (DURATION, "1 d", 86400),
        (DURATION, "3 us", 3e-6),
        (SIZE, "512 MiB", 2**29),
        (SIZE, "1 MB", 10**6),
        (SIZE, "818 B", 818),
        (COMPUTE, "4 GFLOP/s", 4e9),
        (COMPUTE, "1e3 MFLOP/s", 1e9),
        (BANDWIDTH, "12.8 GB/s", 12.8e9),
    ],
)
def test_known_values(quantity: Quantity, text: str, value: float) -> None:
    assert quantity.parse(text) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("20", "expected a rate with a unit"),
        ("20 Mbps", 'did you mean "Mbit/s"'),
        ("20 mbit/s", 'did you mean "Mbit/s"'),
        ("-1 Mbit/s", "got '-1 Mbit/s'"),
        ("nan Mbit/s", "expected a rate"),
        ("inf bit/s", "expected a rate"),
        ("20 MB/s", "units: bit/s"),
        ("", "expected a rate"),
        (20, "got 20"),
        (None, "got None"),
    ],
)
def test_what_is_refused(text: object, says: str) -> None:
    with pytest.raises(ValueError, match="expected a rate") as caught:
        RATE.parse(text)
    assert says in str(caught.value)


@given(st.sampled_from([RATE, DURATION, SIZE, COMPUTE, BANDWIDTH]), st.floats(1e-6, 1e15))
def test_text_and_back_is_exact(quantity: Quantity, value: float) -> None:
    assert quantity.parse(quantity.format(value)) == value


def test_short_texts() -> None:
    assert [RATE.format(20e6), DURATION.format(0.0), DURATION.format(7200.0), SIZE.format(2**29)] == [
        "20 Mbit/s",
        "0 s",
        "2 h",
        "512 MiB",
    ]


def test_bytes_bits_and_nanoseconds() -> None:
    assert transfer_bits(1000) == 8000
    assert seconds_to_ns(0.1 + 0.2) == 300_000_000
    assert math.isclose(seconds_to_ns(1.0000000004), 1_000_000_000)
