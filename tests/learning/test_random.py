"""Exact: the documented text is hashed again here. Property: different names, different seeds."""

import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.learning.random import seed_of, stream


def test_seed_is_the_top_63_bits_of_the_documented_text() -> None:
    digest = sha256(b"int:7\x1fstr:device-0003\x1fint:12").hexdigest()
    assert seed_of(7, "device-0003", 12) == int(digest[:16], 16) // 2


def test_stream_is_pcg64_on_the_seed() -> None:
    expected = np.random.Generator(np.random.PCG64(seed_of(1, "fleet"))).random(4)
    assert np.array_equal(stream(1, "fleet").random(4), expected)


def test_a_stream_does_not_depend_on_what_was_drawn_before() -> None:
    first = stream(1, "a").random(3)
    stream(1, "b").random(1000)
    assert np.array_equal(stream(1, "a").random(3), first)


def test_another_process_gives_the_same_seed() -> None:
    """``hash(str)`` is salted anew in each process; this must not be."""
    code = "from emulator.learning.random import seed_of; print(seed_of(3, 'a', 5))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) == seed_of(3, "a", 5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        ((1,), ("1",)),
        ((), ("",)),
        (("a", "b"), ("a\x1fstr:b",)),  # the separator inside a name
        (("a\x1b1",), ("a\x1f",)),  # and its escape
    ],
)
def test_names_that_look_alike_differ(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> None:
    assert seed_of(0, *one) != seed_of(0, *other)


NAMES = st.lists(st.one_of(st.text(alphabet="a:\x1b\x1f10", max_size=6), st.integers(-20, 20)), max_size=4)


@given(NAMES, NAMES)
def test_seeds_are_equal_only_for_equal_names(one: list[str | int], other: list[str | int]) -> None:
    assert (seed_of(0, *one) == seed_of(0, *other)) == (one == other)
    assert 0 <= seed_of(0, *one) < 2**63


def test_a_numpy_integer_is_its_number() -> None:
    assert seed_of(int(np.int64(4)), "a", np.arange(9)[8]) == seed_of(4, "a", 8)


def test_a_fraction_is_no_name() -> None:
    with pytest.raises(TypeError, match=r"got np\.float64\(0\.5\) \(float64\); expected str or int"):
        seed_of(0, np.array([0.5])[0])
