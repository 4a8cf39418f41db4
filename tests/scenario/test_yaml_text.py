"""YAML as scenarios use it. Expected values follow YAML 1.2.2, section 10.3.2 (core schema)."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.yaml_text import YamlError, dump, line_of, load

SCALARS: list[tuple[str, object]] = [
    ("1e-3", 0.001), ("1E3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-1.5e+3", -1500.0), ("-.inf", -math.inf),
    ("12", 12), ("-12", -12), ("+3", 3), ("1_000", 1000), ("0x10", 16), ("0o17", 15), ("0", 0),
    ("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
    ("yes", "yes"), ("on", "on"), ("No", "No"), ("010", "010"), ("1:30", "1:30"), ("2026-11-21", "2026-11-21"),
    ("nullable", "nullable"), ("trueish", "trueish"), ("1e3x", "1e3x"), ("20 Mbit/s", "20 Mbit/s"), ('"5"', "5"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SCALARS)
def test_scalars(text: str, expected: object) -> None:
    found = load(f"a: {text}")["a"]
    assert found == expected
    assert type(found) is type(expected)


def test_not_a_number_is_read_as_such() -> None:
    assert math.isnan(load("a: .nan")["a"])


def test_anchors_and_merges() -> None:
    # Own keys come before merged ones, and the first of several merged mappings before the later ones.
    text = "a: &a {p: 1, q: 2}\nb: {<<: *a, q: 3}\nc: {<<: [*a, {p: 7, r: 8}]}\nd: *a\n"
    found = load(text)
    assert found["b"] == {"p": 1, "q": 3}
    assert found["c"] == {"p": 1, "q": 2, "r": 8}
    assert found["d"] == {"p": 1, "q": 2}


def test_a_key_twice_is_refused_even_beside_a_merge() -> None:
    with pytest.raises(YamlError, match='line 2: got the key "q" twice'):
        load("a: &a {p: 1}\nb: {<<: *a, q: 3, q: 4}\n")


@pytest.mark.parametrize("text", ["on: 1", "yes: 1", "2026-11-21: 1", "010: 1"])
def test_keys_that_only_old_yaml_would_turn_into_something_else(text: str) -> None:
    assert load(text) == {text.partition(":")[0]: 1}


@pytest.mark.parametrize("text", ["null: 1", "true: 1", "1e3: 1", "[a]: 1", "? {a: b}\n: 1"])
def test_keys_that_are_not_text(text: str) -> None:
    with pytest.raises(YamlError, match=r"line 1: got .*; expected text, once as a key"):
        load(text)


def test_fifty_levels_are_enough() -> None:
    assert load("[" * 50 + "]" * 50)
    with pytest.raises(YamlError, match="nested more than 50 deep"):
        load("[" * 51 + "]" * 51)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.sampled_from([text.strip('"') for text, _ in SCALARS] + ["<<", "=", "1e5", "0o7", "0b1", "- a", "a: b", "#"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_what_is_dumped_reads_back(data: Any) -> None:
    found = load(dump(data))
    assert found == data
    assert repr(found) == repr(data)  # True is not 1, and 1 is not 1.0


def test_nothing_is_dumped_as_an_alias() -> None:
    shared = {"p": 1}
    assert dump({"a": shared, "b": shared}) == "a:\n  p: 1\nb:\n  p: 1\n"


def test_lines() -> None:
    text = "a: 1\nb:\n  c:\n  - {d: 2}\n  - d: 3\n    e: 4\n"
    assert line_of(text, ("a",)) == 1
    assert line_of(text, ("b", "c", 0, "d")) == 4
    assert line_of(text, ("b", "c", 1, "e")) == 6
    assert line_of(text, ("b", "c", 1, "absent")) == 5  # the deepest that is there
    assert line_of(text, ("absent",)) == 0
