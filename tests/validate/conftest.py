"""One set of simulations for all checks, and the table they fill: printed at the end, and in results/validation.md."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.validate.cases import CASES
from tests.validate.model import confidence
from tests.validate.simulator import Simulations


@dataclass(frozen=True)
class Row:
    """One line: what the model says, and what ns-3 gave in independent runs."""

    table: str
    case: str
    model: float
    runs: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Mean of the runs over the model, less one."""
        return confidence(self.runs)[0] / self.model - 1

    def __str__(self) -> str:
        mean, half = confidence(self.runs)
        interval = f" ± {half:.2g}" if len(set(self.runs)) > 1 else ""
        return f"| {self.case} | {self.model:.4g} | {mean:.4g}{interval} | {self.difference:+.1%} | {len(self.runs)} |"


class Report(list[Row]):
    """The lines in the order in which the checks wrote them."""

    def add(self, table: str, case: str, model: float, runs: list[float]) -> float:
        """Write a line; gives the difference."""
        row = Row(table, case, model, tuple(runs))
        self.append(row)
        return row.difference

    def __str__(self) -> str:
        parts = []
        for table in dict.fromkeys(row.table for row in self):
            rows = (row for row in self if row.table == table)
            head = f"## {table}\n\n| case | model | ns-3 | difference | runs |\n|---|---|---|---|---|\n"
            parts.append(head + "\n".join(map(str, rows)))
        return "\n\n".join(parts)


_report = Report()


@pytest.fixture(scope="session")
def report() -> Report:
    """The table."""
    return _report


@pytest.fixture(scope="session")
def ns3() -> Iterator[Simulations]:
    """The results of all cases by name."""
    simulations = Simulations(CASES)
    yield simulations
    simulations.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table and keep it."""
    if _report:
        terminalreporter.write_line(f"\n{_report}\n")
        kept = Path("results/validation.md")
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(f"{_report}\n", encoding="utf-8")
