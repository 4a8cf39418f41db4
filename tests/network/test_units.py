"""Quantities: exact readings by hand, refusals, and the way there and back as a property."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network import units
from network.units import BANDWIDTH, COMPUTE, DURATION, ENERGY, POWER, RATE, SIZE, Quantity

ALL = (RATE, SIZE, COMPUTE, BANDWIDTH, DURATION, POWER, ENERGY)
POSITIVE = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


# Exact by hand: number times 1000^k (or 1024^k), 60 s, 3600 s, 86400 s, 3600 J.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20 Mbit/s", 20_000_000.0),
        ("1 Gbit/s", 1e9),
        ("500 kbit/s", 500_000.0),
        ("9600 bit/s", 9600.0),
        ("18.88 Mbit/s", 18_880_000.0),
        ("2.5Mbit/s", 2_500_000.0),
        ("  .5   Mbit/s ", 500_000.0),
        ("1e3 kbit/s", 1e6),
        ("0 bit/s", 0.0),
    ],
)
def test_rate(text: str, value: float) -> None:
    assert units.parse_rate(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("15 ms", 0.015),
        ("2 h", 7200.0),
        ("30 s", 30.0),
        ("5 min", 300.0),
        ("3 us", 3e-6),
        ("10 ns", 1e-8),
        ("1 d", 86400.0),
    ],
)
def test_duration(text: str, value: float) -> None:
    assert units.parse_duration(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("512 MiB", 512 * 1024 * 1024),
        ("1 MB", 1_000_000),
        ("4 GiB", 4_294_967_296),
        ("100 kB", 100_000),
        ("818 B", 818),
        ("1.5 KiB", 1536),
        ("9007199254740993 B", 2**53 + 1),  # one more than a float can count
    ],
)
def test_size_is_a_whole_number(text: str, value: int) -> None:
    size = units.parse_size(text)
    assert (type(size), size) == (int, value)


def test_the_other_kinds() -> None:
    assert units.parse_flops("4 GFLOP/s") == 4e9
    assert units.parse_flops("1.5 TFLOP/s") == 1.5e12
    assert units.parse_flops("300 MFLOP/s") == 3e8
    assert units.parse_bandwidth("12.8 GB/s") == 12.8e9
    assert units.parse_power("2.5 W") == 2.5
    assert units.parse_power("300 mW") == 0.3
    assert units.parse_energy("10 Wh") == 36_000.0
    assert units.parse_energy("5 kJ") == 5000.0
    assert units.parse_energy("3 J") == 3.0


def test_rounded_once() -> None:
    # 0.9 ms is 0.0009 s. The float product of the two rounded numbers is one step off the nearest float.
    assert 0.9 * 0.001 != 0.0009
    assert units.parse_duration("0.9 ms") == 0.0009


@given(st.decimals(min_value=0, max_value=10**12, places=6), st.sampled_from(sorted(DURATION.units)))
def test_reads_as_decimal_arithmetic_does(number: Decimal, unit: str) -> None:
    # Second implementation: 50-digit decimals instead of fractions.
    scale = {"ns": "1e-9", "us": "1e-6", "ms": "1e-3", "s": "1", "min": "60", "h": "3600", "d": "86400"}[unit]
    with localcontext() as context:
        context.prec = 50
        expected = float(number * Decimal(scale))
    assert units.parse_duration(f"{number:f} {unit}") == expected


# Refusals: what was got, what is accepted, an example, and a suggestion where there is one.
@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("20 mbit/s", 'did you mean "Mbit/s"?'),
        ("20 MBIT/S", 'did you mean "Mbit/s"?'),
        ("20 Mbps", 'did you mean "Mbit/s"?'),
        ("20 Mb/s", 'did you mean "Mbit/s"?'),
        ("20 Kbit/s", 'did you mean "kbit/s"?'),
        ("20 MB/s", 'did you mean "Mbit/s"? (1 byte = 8 bit)'),
        ("20 parsec", "(units: bit/s, kbit/s, Mbit/s, Gbit/s, Tbit/s)"),
        ("20", "(units: bit/s, kbit/s, Mbit/s, Gbit/s, Tbit/s)"),
    ],
)
def test_wrong_unit_of_a_rate(text: str, suggestion: str) -> None:
    with pytest.raises(ValueError) as caught:
        units.parse_rate(text)
    message = str(caught.value)
    assert message.startswith(f'got "{text}"; expected a rate with a unit, e.g. "20 Mbit/s"')
    assert message.endswith(suggestion)


@pytest.mark.parametrize(
    ("quantity", "text", "unit"),
    [
        (SIZE, "1 KB", "kB"),
        (SIZE, "1 mib", "MiB"),
        (SIZE, "3 bytes", "B"),
        (COMPUTE, "4 GFLOPS", "GFLOP/s"),
        (BANDWIDTH, "12 GBps", "GB/s"),
        (BANDWIDTH, "12 gb/s", "GB/s"),
        (DURATION, "3 µs", "us"),
        (DURATION, "3 Hours", "h"),
        (DURATION, "3 sec", "s"),
        (POWER, "3 watts", "W"),
        (ENERGY, "3 wh", "Wh"),
    ],
)
def test_suggestions(quantity: Quantity, text: str, unit: str) -> None:
    with pytest.raises(ValueError, match=f'did you mean "{unit}"'):
        quantity.parse(text)


@pytest.mark.parametrize("quantity", ALL, ids=lambda quantity: quantity.name)
@pytest.mark.parametrize(
    "number", ["-1", "+1", "nan", "inf", "Infinity", "1e999", "1e99999999999", "1_0", "0x1", "٣", ""]
)
def test_refused_numbers(quantity: Quantity, number: str) -> None:
    unit = next(iter(quantity.units))
    with pytest.raises(ValueError, match="expected a"):
        quantity.parse(f"{number} {unit}")


@pytest.mark.parametrize("value", [20, 20.0, None, True, ["20 Mbit/s"], "1" * 100 + " bit/s"])
def test_refused_values(value: object) -> None:
    with pytest.raises(ValueError, match=r"^got .*; expected a rate with a unit"):
        units.parse_rate(value)


def test_part_of_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match=r'got "1.5 B"; expected a whole number of bytes'):
        units.parse_size("1.5 B")


# Texts: short, in a fitting unit.
def test_formats() -> None:
    assert units.format_rate(20e6) == "20 Mbit/s"
    assert units.format_rate(18.88e6) == "18.88 Mbit/s"
    assert units.format_rate(1e8) == "100 Mbit/s"
    assert units.format_duration(0.015) == "15 ms"
    assert units.format_duration(7200.0) == "2 h"
    assert units.format_duration(0.0) == "0 s"
    assert units.format_size(512 * 2**20) == "512 MiB"
    assert units.format_size(818) == "818 B"
    assert units.format_flops(11.9e9) == "11.9 GFLOP/s"
    assert units.format_bandwidth(12.8e9) == "12.8 GB/s"
    assert units.format_power(0.3) == "300 mW"
    assert units.format_energy(36_000.0) == "36 kJ"


# Property: what was written is read back exactly, for every float there is.
@given(st.sampled_from(ALL), POSITIVE)
def test_there_and_back(quantity: Quantity, value: float) -> None:
    assert quantity.parse(quantity.format(value)) == value


@given(st.integers(min_value=0, max_value=2**80))
def test_sizes_there_and_back(size_bytes: int) -> None:
    assert units.parse_size(units.format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_what_cannot_be_written(value: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        units.format_rate(value)
    with pytest.raises(ValueError, match="finite and not negative"):
        units.seconds_to_ns(value)


# Bits and nanoseconds.
def test_bits_of_bytes() -> None:
    assert units.transfer_bits(100) == 800


def test_nanoseconds_half_to_even() -> None:
    # 0.5 ns and 2.5 ns lie half way: to 0 and 2, the even neighbours; 1.5 ns goes up to 2.
    assert [units.seconds_to_ns(half) for half in (0.5e-9, 1.5e-9, 2.5e-9)] == [0, 2, 2]
    assert units.seconds_to_ns(0.1) + units.seconds_to_ns(0.2) == units.seconds_to_ns(0.3)


@given(st.integers(min_value=0, max_value=10**15))
def test_nanoseconds_there_and_back(duration_ns: int) -> None:
    # Up to 11 days a float of seconds still tells nanoseconds apart (10^15 ns < 2^53 / 8).
    assert units.seconds_to_ns(units.ns_to_seconds(duration_ns)) == duration_ns
    assert units.ns_to_seconds(duration_ns) == float(Fraction(duration_ns, 10**9))
