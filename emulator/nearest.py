"""Words for a name that nobody knows: what was got, what is accepted, and the nearest known one."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(got: object, known: Iterable[str], what: str) -> str:
    """``got "x"; expected WHAT: a, b, c; did you mean "a"?``"""
    names = list(known)
    near = get_close_matches(str(got), names, 1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f'got "{got}"; expected {what}: {", ".join(names) or "none is defined"}{hint}'
