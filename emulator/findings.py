"""What validation found, in words: the key's path, what was got, what is accepted, the nearest known key."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from reprlib import Repr
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from emulator.nearest import unknown
from emulator.schema import known_keys, known_kinds

Keys = tuple[int | str, ...]

_EXPECTED = {
    "missing": "missing; expected a value, as there is no default",
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "string_type": "expected text (quote it if it is meant)",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "too_short": "expected at least one entry",
    "string_pattern_mismatch": "expected letters, digits, _ and - (a name may also hold dots), 64 at most",
}
_BOUNDS = {
    "greater_than_equal": "at least",
    "greater_than": "above",
    "less_than_equal": "at most",
    "less_than": "below",
}
_shorten = Repr()
_shorten.maxstring = _shorten.maxother = 60
_shorten.maxlevel = 2  # a few aliases of aliases would else be megabytes of text


def first_finding(error: ValidationError, data: object, prefix: Keys = ()) -> tuple[Keys, str]:
    """The finding to tell: its keys, and ``key.path: got X; expected Y``.

    Unknown keys go first: a misspelt key is also a missing one, and the misspelling is what helps.
    """
    found = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")[0]
    keys = (*prefix, *found["loc"])
    if found["type"] == "union_tag_invalid":
        keys = (*keys, found["ctx"]["discriminator"].strip("'"))
    place = path_of(keys, data)
    words = _words(found, keys, data)
    return keys, f"{place}: {words}" if place else words


def path_of(keys: Keys, data: object) -> str:
    """``devices[0].count`` for the user's own keys: union tags and pydantic's marks are left out."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
            data = data[key] if isinstance(data, list) and key < len(data) else None
            continue
        tags = (data.get("kind"), data.get("name")) if isinstance(data, Mapping) and key not in data else ()
        if key == "[key]" or (text and key in tags):
            continue
        text += ("." if text else "") + (key if re.fullmatch(r"[\w-]+", key) else repr(key))
        data = data.get(key) if isinstance(data, Mapping) else None
    return text


def _words(found: ErrorDetails, keys: Keys, data: object) -> str:
    kind, got = found["type"], _shorten.repr(found["input"])
    if kind == "extra_forbidden":
        return _unknown_key(keys, data)
    if kind == "missing":
        return _EXPECTED[kind]
    if kind == "scenario":
        return found["msg"]
    if kind == "value_error":  # a validator's own words
        words = found["msg"].removeprefix("Value error, ")
        return words if words.startswith("got ") else f"got {got}; {words}"
    if kind == "union_tag_invalid":
        context = found["ctx"]
        return unknown(context["tag"], [tag.strip(" '") for tag in context["expected_tags"].split(",")], "a kind")
    if kind == "union_tag_not_found":
        return f"got {got}; expected a mapping with its kind: {', '.join(known_kinds(keys, _protocol(data)))}"
    return f"got {got}; {_expected(found)}"


def _expected(found: ErrorDetails) -> str:
    kind = found["type"]
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind in _BOUNDS:
        return f"expected a number {_BOUNDS[kind]} {next(iter(found['ctx'].values()))}"
    return found["msg"].replace("Input should be", "expected")


def _unknown_key(keys: Keys, data: object) -> str:
    known = known_keys(keys[:-1], _protocol(data))
    near = get_close_matches(str(keys[-1]), known, 1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f"unknown key; expected one of {', '.join(known)}{hint}"


def _protocol(data: Any) -> str | None:
    block = data.get("protocol") if isinstance(data, Mapping) else None
    return str(block.get("name")) if isinstance(block, Mapping) else None
