"""The report: what it says of runs of every kind, and that nothing of a run becomes markup."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from emulator.cli import main
from emulator.insight.load import Run
from emulator.insight.report.writing import SECTIONS, write_report

SMALL = ["quickstart", "model.name=mlp", "protocol.cohort=3"]
NASTY = '<script>alert("x")</script><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """Tags, their attributes and the texts of a page; fails where an element is closed that was not open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def ran(out: Path, *words: str) -> Path:
    assert main(["run", *SMALL, *words, "--json", "--out", str(out)]) == 0
    (folder,) = out.glob("*/*")
    return folder


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds, timing only."""
    uneven = "devices[0].slowdown={distribution: lognormal, sigma: 1}"
    return ran(tmp_path_factory.mktemp("timed"), "protocol.rounds=2", "--timing-only", uneven)


def test_a_report_has_every_section_and_needs_nothing_else(timed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(timed)]) == 0
    assert capsys.readouterr().out == f"{timed / 'report.html'}\n"
    page = Page(timed / "report.html")
    assert {key for key, _, _ in SECTIONS} == {told["id"] for tag, told in page.tags if tag == "section"}
    assert not {"script", "link", "img", "iframe", "object", "use"} & {tag for tag, _ in page.tags}
    links = [told["href"] for tag, told in page.tags if tag == "a"]
    assert all(link is not None and link.startswith("#") for link in links)
    assert not re.search(r"https?://|url\(|@import", (timed / "report.html").read_text())
    assert "The run was not evaluated (it was timing only" in page.text


def test_the_first_screen_names_straggler_bottleneck_and_cure(timed: Path) -> None:
    page = Page(write_report(Run(timed)))
    answer = page.text[page.text.index("Straggler") : page.text.index("virtual time")]
    slowest = Run(timed).rounds["slowest_device"]
    assert any(name in answer for name in slowest)
    assert re.search(r"set [12] of 2 rounds", answer)
    assert "Bottleneck" in answer
    assert "Cure" in answer
    assert re.search(
        r"CureWith(out device| the median device).*: a round would last .* in place of .* on average", answer
    )
    assert "Not estimated: the clock ran again" in page.text


def test_one_round_with_accuracy_and_energies(tmp_path: Path) -> None:
    folder = ran(tmp_path, "protocol.rounds=1", "--inline", "evaluate.per_device=true")
    page = Page(write_report(Run(folder), asks=False))
    assert "The only round" in page.text
    assert "Test accuracy by label" in page.text
    assert "the worst tenth (2 devices)" in page.text  # of 20
    assert "of it idling" in page.text
    assert "it was not asked for (--no-what-if)" in page.text


def test_names_with_markup_are_text(timed: Path, tmp_path: Path) -> None:
    """Names in all files that the report reads, as a spoilt or a foreign run might have them."""
    folder = copied(timed, tmp_path / '<b>"folder"&')
    summary = json.loads((folder / "summary.json").read_text()) | {"name": NASTY, "status": NASTY, "cpu": NASTY}
    (folder / "summary.json").write_text(json.dumps(summary))
    with (folder / "devices.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    with (folder / "devices.csv").open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *([row[0], NASTY, NASTY, *row[3:]] for row in rows[1:])])
    with (folder / "scenario.yaml").open("a") as file:
        file.write(f"# {NASTY}\n")
    page = Page(write_report(Run(folder), asks=False))
    assert not {"script", "img", "b>"} & {tag for tag, _ in page.tags}
    assert NASTY in page.text
    assert "was not finished" in page.text


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    return to


def test_runs_that_did_not_end(timed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(timed, tmp_path / "run")
    lines = (folder / "rounds.csv").read_text().splitlines(keepends=True)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"status": "interrupted", "rounds": 1}))
    (folder / "rounds.csv").write_text("".join(lines[:2]))
    assert "(status: interrupted). What is shown is of its first 1 rounds" in Page(write_report(Run(folder))).text
    (folder / "devices.csv").unlink()
    assert refused(folder, capsys).startswith(f"emulator: error: {folder / 'devices.csv'}: cannot be read")
    (folder / "rounds.csv").write_text(lines[0])
    assert "got a run in which no round ended; expected one round or more" in refused(folder, capsys)
    (folder / "summary.json").unlink()
    assert "got a run that was killed or still goes on" in refused(folder, capsys)
    assert "got no such folder" in refused(tmp_path / "none", capsys)


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one message of a report that cannot be; exit code 2."""
    assert main(["report", str(folder), "--no-what-if"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    return told.err


def test_a_file_that_cannot_be_written(timed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(timed), "--no-what-if", "--out", str(tmp_path / "none" / "r.html")]) == 2
    assert "which cannot be written" in capsys.readouterr().err


def test_tensorboard_gets_the_critical_path_and_the_answer(timed: Path) -> None:
    for _ in range(2):  # a second report replaces the first one's log
        write_report(Run(timed), asks=False)
    (log,) = (timed / "tensorboard" / "report").iterdir()
    reader = EventAccumulator(str(log))
    reader.Reload()
    rounds = Run(timed).rounds
    tags = [tag for tag in reader.Tags()["scalars"] if tag.endswith("_s")]
    told = [(point.step, point.wall_time) for point in reader.Scalars("critical_path/device_compute_s")]
    assert told == [(0, 0.0), *zip(rounds["round"], rounds["end_s"], strict=True)]
    for number, seconds in zip(rounds["round"], rounds["duration_s"], strict=True):  # kinds add up to the round
        values = [point.value for tag in tags for point in reader.Scalars(tag) if point.step == number]
        assert sum(values) == pytest.approx(seconds, rel=1e-5)  # scalars are float32
    (answer,) = reader.Tensors("report/answer")
    assert "Straggler" in answer.tensor_proto.string_val[0].decode()
    assert len(reader.Tensors("critical_path/set_by")) == 2
