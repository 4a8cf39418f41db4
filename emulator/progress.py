"""What the user sees while a run goes on (stderr) and when it is done (stdout)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from emulator.protocols.settings import RoundSettings
from emulator.rows import Round
from emulator.scenario import Scenario
from emulator.simulation import Message


def console() -> Console:
    """Where tables go: stdout, as wide as the terminal, or wide enough for any table in a file or a pipe."""
    found = Console()
    return found if found.is_terminal else Console(width=160)


class Progress:
    """A bar with round, virtual time, accuracy and devices done; plain lines where stderr is no terminal."""

    def __init__(self, scenario: Scenario, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._quiet = quiet
        rounds = scenario.protocol.rounds if isinstance(scenario.protocol, RoundSettings) else None
        self._rounds = rounds
        self._bar: Bar | None = None
        if self._console.is_terminal and not quiet:
            columns = (TextColumn("round"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
            self._bar = Bar(*columns, TimeElapsedColumn(), console=self._console)
            self._bar.start()
            self._task = self._bar.add_task("starting", total=rounds)

    def take(self, messages: Sequence[Message]) -> None:
        """Show rounds as they end."""
        for message in messages:
            if isinstance(message, Round):
                self._show(message)

    def _show(self, row: Round) -> None:
        accuracy = f", accuracy {row.accuracy:.3f}" if row.accuracy is not None else ""
        devices = f", {len(row.finished)} of {len(row.cohort)} devices"
        text = f"virtual time {row.end_ns / 1e9:.2f} s{accuracy}{devices}"
        if self._bar is not None:
            self._bar.update(self._task, completed=row.round, description=text)
        elif not self._quiet:
            self._console.print(f"round {row.round}/{self._rounds or '?'}: {text}", highlight=False)

    def say(self, text: str) -> None:
        """A line beside the rounds."""
        self._console.print(text, highlight=False)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def final_table(summary: dict[str, Any], folder: Path) -> None:
    """The result as a table on stdout, and where the run folder is."""
    table = Table(title=f"{summary['name']}: {summary['protocol']}, {summary['status']}", show_header=False)
    for label, text in _lines(summary):
        table.add_row(label, text)
    console().print(table)
    print(f"run folder: {folder}")


def _lines(summary: dict[str, Any]) -> list[tuple[str, str]]:
    accuracy, loss = summary["accuracy"], summary["loss"]
    return [
        ("devices, rounds", f"{summary['devices']}, {summary['rounds']}"),
        ("virtual time", f"{summary['virtual_s']:.3f} s"),
        ("test accuracy, loss", "not evaluated" if accuracy is None else f"{accuracy:.4f}, {loss:.4f}"),
        ("uplink, downlink", f"{_megabytes(summary['uplink_bytes'])}, {_megabytes(summary['downlink_bytes'])}"),
        ("device compute", f"{summary['device_flops'] / 1e9:.2f} GFLOP"),
        ("host time, executor", f"{summary['wall_s']:.1f} s, {summary['executor']}"),
        ("weights", str(summary["weights_sha256"])[:16]),
        ("events", str(summary["events_sha256"])[:16]),
    ]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB"
