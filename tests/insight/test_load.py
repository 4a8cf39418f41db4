"""The one reader of run folders."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import emulator
from emulator.cli import main
from emulator.insight.load import RunError
from emulator.preparation import prepare

WORDS = ["quickstart", "protocol.rounds=2", "model.name=mlp", "protocol.cohort=3", "--timing-only"]


def ran(out: Path) -> Path:
    assert main(["run", *WORDS, "--json", "--out", str(out)]) == 0
    (folder,) = out.glob("*/*")
    return folder


def test_tables_of_a_run(tmp_path: Path) -> None:
    found = emulator.load(ran(tmp_path))
    assert (found.name, found.ended, found.decisions) == ("quickstart", True, [])
    assert list(found.rounds["round"]) == [1, 2]
    assert len(found.events) == found.summary["ops"]
    assert found.rounds["end_s"].iloc[-1] == found.summary["virtual_s"]
    assert found.scenario.resolved() == found.resolved
    assert (len(found.devices), found.devices["profile"].iloc[0]) == (20, "raspberry-pi-4")
    # Digits train on 1437 samples; a tenth of each class is held out.
    assert found.devices["samples"].sum() + len(prepare(found.scenario).validation) == 1437


def test_importing_the_package_stays_light() -> None:
    code = "import sys, emulator; print([name for name in ('torch', 'pandas', 'pyarrow') if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    empty, foreign = tmp_path / "empty", tmp_path / "foreign"
    empty.mkdir()
    foreign.mkdir()
    (foreign / "notes.txt").write_text("hello")
    for folder, words in (
        (tmp_path / "none", "no such folder"),
        (foreign / "notes.txt", "got a file"),
        (empty, "got an empty folder"),
        (foreign, "got a folder without scenario.yaml, summary.json, rounds.csv"),
    ):
        with pytest.raises(RunError, match=words):
            emulator.load(folder)


def spoilt(folder: Path, **changes: Any) -> None:
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_run_that_did_not_end_says_so(tmp_path: Path) -> None:
    folder = ran(tmp_path)
    spoilt(folder, status="interrupted")
    assert not emulator.load(folder).ended
    spoilt(folder, schema_version=2)
    with pytest.raises(RunError, match="got schema_version 2; expected 1"):
        emulator.load(folder)
    (folder / "summary.json").write_text("{}")
    with pytest.raises(RunError, match="got another file of that name"):
        emulator.load(folder)
    (folder / "summary.json").unlink()
    with pytest.raises(RunError, match="was killed or still goes on"):
        emulator.load(folder)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    found = emulator.load(ran(tmp_path))
    (found.folder / "events.parquet").write_bytes(b"PAR1")
    (found.folder / "rounds.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match=r"events\.parquet: not a whole Parquet file"):
        _ = found.events
    with pytest.raises(RunError, match=r"rounds\.csv: got other columns"):
        _ = found.rounds
