"""Writes the report: its sections one after the other, in one file that needs nothing else."""

from collections.abc import Callable
from pathlib import Path

from emulator.insight.load import Run
from emulator.insight.report import outcome_sections as outcome
from emulator.insight.report import pace_sections as pace
from emulator.insight.report.board import write_board
from emulator.insight.report.facts import Facts
from emulator.insight.report.markup import Markup, join, note, tag
from emulator.insight.report.numbers import scaled, seconds
from emulator.insight.report.style import STYLE
from emulator.insight.report.verdict import verdict
from emulator.reading import ScenarioError
from emulator.records import write_whole

Section = tuple[str, str, Callable[[Facts], Markup]]
SECTIONS: tuple[Section, ...] = (
    ("critical-path", "What set each round's length", pace.critical_path),
    ("what-if", "What if", pace.what_ifs),
    ("accuracy", "Accuracy", outcome.accuracy),
    ("time", "Where devices' time goes", pace.where_time_goes),
    ("gantt", "The slowest, the median and the fastest round", pace.gantts),
    ("spread", "Device round times", pace.round_times),
    ("traffic", "Traffic", outcome.traffic),
    ("energy", "Energy", outcome.energy),
    ("who-pays", "Who pays", outcome.who_pays),
    ("fleet", "The fleet", outcome.fleet),
    ("scenario", "Scenario", outcome.scenario),
)
# The page neither runs nor fetches anything, whatever a run's names hold.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_report(run: Run, out: Path | None = None, *, asks: bool | None = None) -> Path:
    """Write a run's report to ``out``; ``asks``: with what-ifs (None: those that take seconds).

    Without ``out`` it is ``report.html`` in the run's folder, and the run's TensorBoard log gets the figures too.
    Raises RunError for a run that cannot be read or of which no round ended, ScenarioError where it cannot be written.
    """
    path = out or run.folder / "report.html"
    facts = Facts(run, asks=asks)
    page = html(facts)
    try:
        write_whole(path, page)
        if out is None and (run.folder / "tensorboard").is_dir():
            write_board(facts, run.folder / "tensorboard" / "report")
    except OSError as error:
        raise ScenarioError(
            f"report: got {path}, which cannot be written ({error.strerror}); expected a file"
        ) from None
    return path


def html(facts: Facts) -> str:
    """The page."""
    title = f"{facts.run.name}: {facts.run.summary['protocol']}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    links = [tag("a", title, href=f"#{key}") for key, title, _ in SECTIONS]
    body = tag("main", _first_screen(facts, title), tag("nav", *links), *(_section(facts, each) for each in SECTIONS))
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', body), lang='en')}\n"


def _section(facts: Facts, section: Section) -> Markup:
    """A section; where a file that only it needs is missing, it says so."""
    key, title, draw = section
    try:
        inside = draw(facts)
    except ScenarioError as error:
        inside = note(f"This part cannot be shown: {error}")
    return tag("section", tag("h2", title), inside, id=key)


def _first_screen(facts: Facts, title: str) -> Markup:
    summary, run = facts.run.summary, facts.run
    about = f"{run.folder.name}, seed {summary['seed']}, {summary['executor']}, edge-emulator {summary['version']}"
    answer: list[Markup] = []
    for line in verdict(facts):
        answer += [tag("dt", line.name), tag("dd", line.words, class_=line.css)]
    return join([
        tag("header", tag("h1", title), tag("p", about, class_="sub")), _status(facts),
        tag("div", tag("dl", *answer), class_="answer"), _cards(facts),
    ])  # fmt: skip


def _status(facts: Facts) -> Markup | None:
    """A warning where the run did not come to its own end."""
    status = facts.run.summary["status"]
    if facts.run.ended:
        return None
    count = len(facts.run.rounds)
    return tag(
        "p",
        f"This run was not finished (status: {status}). What is shown is of its first {count} rounds.",
        class_="warn",
    )


def _cards(facts: Facts) -> Markup:
    summary = facts.run.summary
    best, energy = summary["best_accuracy"], summary["device_energy_j"]
    moved = summary["uplink_bytes"] + summary["downlink_bytes"] + summary["overhead_bytes"]
    reached = summary["time_to_accuracy_s"]
    told: list[tuple[str, str | None]] = [
        ("virtual time", seconds(summary["virtual_s"])),
        (f"rounds, {seconds(facts.median_round_s)} in the median", str(summary["rounds"])),
        ("best test accuracy", "not evaluated" if best is None else f"{best:.3f}"),
        ("time to accuracy", None if reached is None else seconds(reached)),
        ("moved", scaled(moved, "B")),
        ("devices' energy", "not told" if energy is None else scaled(energy, "J")),
        (f"devices, {summary['devices_lost'] or 0} lost", str(summary["devices"])),
        ("ended", str(summary["status"])),
    ]
    return tag(
        "div", *(tag("div", tag("b", value), tag("span", name)) for name, value in told if value), class_="cards"
    )
