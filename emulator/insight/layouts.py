"""Tables as CSV, LaTeX and HTML. Whatever names and settings hold is escaped: nothing of a run is markup here."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from emulator.reading import ScenarioError
from emulator.records import write_whole

SHORT = 16  # characters of a label that a terminal's table has room for
NOTHING = 1e-12  # what rounding leaves of a mean of nothing; no figure here is so small
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "…": r"\dots{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #8886; vertical-align: top; }
th { border-bottom-width: 2px; }
@media print { body { max-width: none; margin: 0; font-size: 11px; } }
"""


@dataclass(frozen=True)
class Table:
    """A table of texts; ``name`` names its files."""

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def figure_text(value: float, unit: str, *, sign: bool = False) -> str:
    """A figure with four digits, bytes with their whole count."""
    plus = "+" if sign else ""
    value = 0.0 if abs(value) < NOTHING else value
    return f"{value:{plus},.0f}" if unit == "B" else f"{value:{plus}.4g}"


def with_letters(tables: Sequence[Table], labels: Sequence[str]) -> list[Table]:
    """For a terminal: long labels in the first column become letters, and a table of them comes first."""
    if all(len(label) <= SHORT for label in labels):
        return list(tables)
    letters = {label: _letter(number) for number, label in enumerate(labels)}
    legend = Table(
        "letters", "Systems by letter", ("system", "what it is"), [(it, label) for label, it in letters.items()]
    )
    return [legend, *(_lettered(table, letters) for table in tables)]


def _lettered(table: Table, letters: dict[str, str]) -> Table:
    title = table.title
    for label in sorted(letters, key=len, reverse=True):  # one may begin like another
        title = title.replace(label, letters[label])
    return Table(table.name, title, table.header, [(letters.get(row[0], row[0]), *row[1:]) for row in table.rows])


def _letter(number: int) -> str:
    """A to Z, then AA and on."""
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Every table as CSV and LaTeX, all on one HTML page; gives the files. Raises ScenarioError for what is no folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ScenarioError(f"compare: got --out {folder}, a file; expected a folder") from None
    texts = {f"{table.name}.csv": as_csv(table) for table in tables}
    texts |= {f"{table.name}.tex": as_latex(table) for table in tables}
    texts["compare.html"] = as_html("Runs compared", tables)
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]


def as_csv(table: Table) -> str:
    """Header and rows."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    return text.getvalue()


def as_latex(table: Table) -> str:
    """A ``tabular`` that needs no package, under the title as a comment."""
    lines = [f"% {' '.join(table.title.split())}", rf"\begin{{tabular}}{{{'l' * len(table.header)}}}", r"\hline"]
    lines += [_latex_row(table.header), r"\hline", *map(_latex_row, table.rows), r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return (
        " & ".join("".join(LATEX.get(letter, letter) for letter in " ".join(cell.split())) for cell in cells) + r" \\"
    )


def as_html(title: str, tables: Sequence[Table]) -> str:
    """One page that needs nothing else, light or dark, on paper and on a phone."""
    body = "\n".join(_section(table) for table in tables)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f"<!doctype html>\n<html lang=en>{head}<style>{STYLE}</style>\n<h1>{escape(title)}</h1>\n{body}\n</html>\n"


def _section(table: Table) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f"<h2>{escape(table.title)}</h2>\n<div><table><tr>{header}</tr>\n{rows}\n</table></div>"
