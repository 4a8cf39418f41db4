"""HTML and SVG as text, made so that nothing of a run can become markup: what is not ``Markup`` is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

VOID = frozenset({"meta", "br"})


class Markup(str):
    """Text that is HTML or SVG already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """A value as text within HTML; characters that no screen shows become blanks."""
    if isinstance(value, Markup):
        return value
    shown = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in str(value))
    return Markup(escape(shown, quote=True))


def join(parts: Iterable[object]) -> Markup:
    """Pieces one after the other; None is nothing."""
    return Markup("".join(text(part) for part in parts if part is not None))


def tag(name: str, /, *inside: object, **attributes: object) -> Markup:
    """An element. ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``; an attribute that is None is left out."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{told}>" if name in VOID else f"<{name}{told}>{join(inside)}</{name}>")


def _short(value: object) -> object:
    """Lengths with two decimals at most: a figure needs no more, and files stay small."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def table(header: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> Markup:
    """A table that scrolls in its own box. The first ``words`` columns are words, the others figures; None shows as a dash."""
    head = tag("tr", *(tag("th", name, scope="col", class_=_kind(place, words)) for place, name in enumerate(header)))
    body = [tag("tr", *(_cell(value, place, words) for place, value in enumerate(row))) for row in rows]
    # A box that scrolls must be reachable by keyboard.
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll", tabindex=0)


def _kind(place: int, words: int) -> str | None:
    return None if place < words else "n"


def _cell(value: object, place: int, words: int) -> Markup:
    return tag("td", "–" if value is None or value == "" else value, class_=_kind(place, words))


def note(*words: object) -> Markup:
    """A remark: how to read something, or what is missing and why."""
    return tag("p", *words, class_="note")


def folded(title: str, *inside: object) -> Markup:
    """What is shown when its title is clicked; needs no script."""
    return tag("details", tag("summary", title), *inside)
