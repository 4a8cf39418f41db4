"""``compare``: figures by hand, censored runs counted, intervals over paired seeds, nothing injected."""

import csv
import json
import shutil
import sys
from math import inf
from pathlib import Path
from typing import Any

import pytest

from emulator.cli import main
from emulator.insight.compare import Comparison, compare
from emulator.insight.layouts import Table, as_csv, as_html, as_latex, figure_text, with_letters
from emulator.insight.load import RunError
from emulator.insight.outcomes import Outcome
from emulator.reading import ScenarioError
from tests.insight.study_worlds import ran


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three rounds whose records the tests rewrite with figures of their own."""
    return ran(tmp_path_factory.mktemp("template"), inline=False, timing_only=True).folder


def told(template: Path, folder: Path, accuracies: list[float], **changes: Any) -> Path:
    """A run whose rounds end at 10, 20 and 30 s, times ``pace``, and move 100, 100 and 100 bytes and take 5 J each."""
    shutil.copytree(template, folder)
    pace, seed = changes.get("pace", 1.0), changes.get("seed", 1)
    with (folder / "rounds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, (row, accuracy) in enumerate(zip(rows, accuracies, strict=True), 1):
        row |= {"end_s": str(10 * number * pace), "accuracy": str(accuracy), "device_energy_j": "5"}
        row |= {"uplink_bytes": "60", "downlink_bytes": "30", "overhead_bytes": "10"}
    with (folder / "rounds.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    summary = json.loads((folder / "summary.json").read_text())
    summary |= {"accuracy": accuracies[-1], "best_accuracy": max(accuracies), "virtual_s": 30 * pace, "seed": seed}
    summary |= {"uplink_bytes": 180, "downlink_bytes": 90, "overhead_bytes": 30, "device_energy_j": 15.0}
    (folder / "summary.json").write_text(json.dumps(summary))
    text = (folder / "scenario.yaml").read_text().replace("cohort: 4", f"cohort: {changes.get('cohort', 4)}")
    lines = [f"seed: {seed}" if line.startswith("seed:") else line for line in text.splitlines()]
    (folder / "scenario.yaml").write_text(
        "\n".join(lines).replace("name: tiny", f"name: {changes.get('name', 'tiny')}")
    )
    return folder


def cells(found: Comparison, name: str) -> list[dict[str, str]]:
    (table,) = (table for table in found.tables() if table.name == name)
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def test_what_it_takes_to_a_target(tmp_path: Path, template: Path) -> None:
    """0.5, 0.8, 0.9: 0.8 comes in the second round, at 20 s, after twice 100 bytes and 5 J."""
    (run,) = compare([told(template, tmp_path / "a", [0.5, 0.8, 0.9])], 0.8).systems[0].runs
    figures = {key: run.figure(key) for key in ("time_to_s", "rounds_to", "bytes_to", "joules_to", "moved_bytes")}
    assert figures == {"time_to_s": 20, "rounds_to": 2, "bytes_to": 200, "joules_to": 10, "moved_bytes": 300}
    assert run.reached
    late = Outcome(run.run, 0.95)
    assert (late.reached, late.figure("time_to_s")) == (False, inf)
    assert Outcome(run.run, None).reached is None


def test_without_a_target_it_is_what_all_reach(tmp_path: Path, template: Path) -> None:
    folders = [
        told(template, tmp_path / "a", [0.5, 0.879, 0.8]),
        told(template, tmp_path / "b", [0.5, 0.8, 0.93], seed=2),
    ]
    found = compare(folders)
    assert found.target == 0.87
    assert [system.label for system in found.systems] == ["tiny"]


def test_means_with_intervals_and_paired_differences(tmp_path: Path, template: Path) -> None:
    """Two seeds, all reach 0.8. Baseline: 20 and 22 s; the other: 10 and 10 s.

    Mean 21, half an interval of t(0.975, 1) = 12.706 times 1: 12.71. Differences -10 and -12: -11, and the same half.
    """
    folders = [
        told(template, tmp_path / "a1", [0.5, 0.8, 0.9], seed=1),
        told(template, tmp_path / "a2", [0.5, 0.8, 0.9], seed=2, pace=1.1),
        told(template, tmp_path / "b1", [0.8, 0.8, 0.9], seed=1, cohort=2),
        told(template, tmp_path / "b2", [0.8, 0.8, 0.9], seed=2, cohort=2),
    ]
    found = compare(folders, 0.8)
    base, other = cells(found, "systems")
    assert (base["system"], other["system"]) == ("protocol.cohort=4", "protocol.cohort=2")
    assert (base["reached"], base["time to target, s"]) == ("2 of 2", "21 [8.294, 33.71]")
    assert other["bytes to target, B"] == "100 [100, 100]"
    (pair,) = (row for row in cells(found, "pairs") if row["figure"] == "time to target, s")
    assert pair["difference, 95% interval"] == "-11 [-23.71, +1.706]"
    assert (pair["pairs"], pair["lower"], pair["higher"], pair["equal"]) == ("2", "2", "0", "0")


def test_runs_that_miss_the_target_are_counted_and_not_averaged(tmp_path: Path, template: Path) -> None:
    """Of 10, 20, 20, 30 s and one that never comes the median is 20 s; no mean, and no mean difference."""
    late, never = [0.5, 0.6, 0.8], [0.5, 0.5, 0.5]
    courses = {"a": [[0.8] * 3, [0.5, 0.8, 0.8], [0.5, 0.8, 0.8], late, never], "b": [[0.8] * 3] * 4 + [never]}
    folders = [
        told(template, tmp_path / f"{name}{seed}", course, seed=seed, cohort=4 if name == "a" else 2)
        for name, runs in courses.items()
        for seed, course in enumerate(runs, 1)
    ]
    found = compare(folders, 0.8)
    base, other = cells(found, "systems")
    assert (base["reached"], other["reached"]) == ("4 of 5", "4 of 5")
    assert base["time to target, s"] == "20 (10 to not reached)"
    assert other["time to target, s"] == "10 (10 to not reached)"
    (pair,) = (row for row in cells(found, "pairs") if row["figure"] == "time to target, s")
    assert pair["difference, 95% interval"] == "not every run reached it"
    told_counts = [pair[key] for key in ("pairs", "lower", "higher", "equal", "neither reached")]
    assert told_counts == ["5", "3", "0", "1", "1"]  # seeds 2, 3 and 4 sooner, seed 1 the same, seed 5 neither


def test_a_median_that_was_not_reached_is_told_so(tmp_path: Path, template: Path) -> None:
    folders = [told(template, tmp_path / str(seed), [0.1] * 3, seed=seed) for seed in (1, 2)]
    (row,) = cells(compare([*folders], 0.9), "systems")
    assert (row["reached"], row["time to target, s"]) == ("0 of 2", "not reached (not reached to not reached)")


def test_device_classes_of_a_real_run(tmp_path: Path) -> None:
    folder = ran(tmp_path, "protocol.rounds=1", "evaluate.per_device=true", "devices[1].profile=jetson-nano").folder
    rows = cells(compare([tmp_path]), "classes")
    assert [(row["device class"], row["devices"]) for row in rows] == [("raspberry-pi-4", "3"), ("jetson-nano", "1")]
    with (folder / "device_accuracy.csv").open() as file:
        accuracies = [float(row["accuracy"]) for row in csv.DictReader(file)]
    assert rows[0]["worst device of any run"] == f"{min(accuracies[:3]):.4g}"
    assert rows[1]["accuracy on own data"] == f"{accuracies[3]:.4g}"


def test_what_rounding_leaves_is_nothing() -> None:
    assert figure_text(-3.7e-17, "", sign=True) == "+0"
    assert (figure_text(1234567.0, "B"), figure_text(0.123456, "s")) == ("1,234,567", "0.1235")


def test_names_with_markup_are_text_everywhere() -> None:
    table = Table("runs", "<script>", ("system & <b>", "50 %"), (("<img src=x onerror=alert(1)>", "a_b$c\\d\n%"),))
    page = as_html("<script>alert(1)</script>", [table])
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    latex = as_latex(table).splitlines()
    assert r"\textless{}img src=x onerror=alert(1)\textgreater{} & a\_b\$c\textbackslash{}d \% \\" in latex
    assert latex[0] == "% <script>"
    assert next(csv.reader(as_csv(table).splitlines())) == ["system & <b>", "50 %"]


def test_long_labels_are_letters_in_a_terminal() -> None:
    labels = [f"protocol.learning_rate={number}" for number in range(28)]
    table = Table("pairs", f"Differences from {labels[27]}", ("system", "x"), [(labels[0], "1"), (labels[27], "2")])
    legend, shown = with_letters([table], labels)
    assert (legend.rows[0], legend.rows[27]) == (("A", labels[0]), ("AB", labels[27]))
    assert (shown.title, shown.rows) == ("Differences from AB", [("A", "1"), ("AB", "2")])
    assert with_letters([table], ["one", "two"]) == [table]


def test_the_command_writes_every_form(tmp_path: Path, template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        told(template, tmp_path / "runs" / str(seed), [0.5, 0.8, 0.9], seed=seed)
    out = tmp_path / "out"
    assert main(["compare", str(tmp_path / "runs"), "--target", "0.8", "--out", str(out)]) == 0
    assert "2 of 2" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "systems.csv", "systems.tex", "runs.csv", "runs.tex", "compare.html",
    }  # fmt: skip
    assert (out / "runs.csv").read_text().startswith("system,seed,final accuracy")


def test_what_cannot_be_compared_is_told(tmp_path: Path, template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="got an empty folder"):
        compare([tmp_path / "empty"])
    broken = told(template, tmp_path / "broken", [0.5, 0.8, 0.9])
    summary = json.loads((broken / "summary.json").read_text())
    (broken / "summary.json").write_text(json.dumps(summary | {"status": "interrupted"}))
    with pytest.raises(RunError, match="got a run that interrupted; expected one that ended by itself"):
        compare([broken])
    with pytest.raises(ScenarioError, match="got a target of 80; expected an accuracy"):
        compare([template], 80)
    assert main(["compare", str(template), "--figures"]) == 2
    assert "expected it with --out DIR" in capsys.readouterr().err
    assert main(["compare", str(template), "--out", str(broken / "summary.json")]) == 2
    assert "a file; expected a folder" in capsys.readouterr().err


def test_figures_are_pdfs_and_the_same_every_time(tmp_path: Path, template: Path) -> None:
    pytest.importorskip("matplotlib")
    from emulator.insight.figures import write_figures

    folders = [told(template, tmp_path / str(seed), [0.5, 0.8, 0.9], seed=seed, name="a.$x$") for seed in (1, 2)]
    texts = []
    for out in (tmp_path / "one", tmp_path / "two"):
        out.mkdir()
        texts.append([path.read_bytes() for path in write_figures(compare(folders, 0.8), out)])
    names = [
        "accuracy_over_bytes.pdf",
        "accuracy_over_joules.pdf",
        "accuracy_over_virtual_time.pdf",
        "time_to_target.pdf",
    ]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == names
    assert texts[0] == texts[1]
    assert all(text.startswith(b"%PDF") for text in texts[0])


def test_figures_without_matplotlib_say_what_is_missing(
    tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """None in ``sys.modules`` is how Python itself remembers that there is no such module."""
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["compare", str(template), "--figures", "--out", str(tmp_path / "out")]) == 2
    assert "got no matplotlib; expected it: pip install 'edge-emulator[figures]'" in capsys.readouterr().err
