"""``emulator explain``: from a run folder to the answer; refusals; and a real run through the command line beside a what-if."""

import json
from pathlib import Path
from typing import Any

import pytest

import emulator
from emulator.cli import main
from emulator.insight.explain import Explanation, explain
from emulator.insight.load import RunError
from emulator.insight.what_if import Change, cautions, what_if
from tests.scenario.worlds import text

PLAIN = {"network": {"cells": {"home-wifi": {"uplink": "20 Mbit/s", "downlink": "40 Mbit/s", "latency": "5 ms"}}}}
CLOCK = ["--timing-only", "--json"]


def ran(out: Path, words: list[str], **changes: Any) -> Path:
    """The folder of a run of the three-device scenario: two in home wi-fi, a phone with an uplink of 4 Mbit/s."""
    file = out / "tiny.yaml"
    out.mkdir(exist_ok=True)
    file.write_text(text({**PLAIN, **changes}))
    assert main(["run", str(file), *words, *CLOCK, "--out", str(out / "results")]) == 0
    (folder,) = (out / "results" / "tiny").iterdir()
    return folder


def explained(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["explain", str(folder), "--json", *words]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_answer_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ran(tmp_path, [])
    capsys.readouterr()
    assert main(["explain", str(folder)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == ("device-0002 (phone-low) set 2 of 2 rounds, 100% of the critical path; its bottleneck: uplink")
    assert told[1] == "critical path by class: phone-low 100%"
    assert told[2].startswith("what would save most: ")
    assert any(line.startswith("without device-0002") for line in told)


def test_all_of_it_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = explained(ran(tmp_path, []), capsys)
    assert (found["straggler"], len(found["rounds"]), len(found["devices"]), len(found["parts"])) == (
        "device-0002",
        2,
        3,
        6,
    )
    for each in found["rounds"]:
        assert sum(each["seconds"].values()) == pytest.approx(each["duration_s"], abs=1e-9)
        assert each["segments"][-1]["end_s"] - each["segments"][0]["start_s"] == pytest.approx(
            each["duration_s"], abs=1e-9
        )
    assert {"change", "before_s", "after_s", "saved", "rounds_s", "same_work", "refused"} == set(found["what_if"][0])
    assert found["cautions"] == []
    assert found["fairness"]["jain"] == 1.0
    assert sum(each["data_share"] for each in found["devices"]) == pytest.approx(1.0)
    assert "what_if" not in explained(Path(found["run"]), capsys, "--no-what-if")


def test_a_what_if_is_the_real_run(tmp_path: Path) -> None:
    base = emulator.load(ran(tmp_path / "a", []))
    real = emulator.load(ran(tmp_path / "b", ["devices[1].uplink=1000000000 Gbit/s"]))
    (result,) = what_if(base, [Change(fast="uplink", device="device-0002")])
    assert result.rounds_s == pytest.approx(list(real.rounds["duration_s"]), abs=1e-8)
    assert result.before_s == pytest.approx(base.rounds["duration_s"].sum())
    assert result.same_work


def test_deadlines_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending = "protocol.ending={name: fixed, seconds: 0.05}"
    found = explained(ran(tmp_path, [ending]), capsys)
    assert [(each["set_by"], each["bottleneck"]) for each in found["rounds"]] == [("deadline", "deadline")] * 2
    assert found["cautions"] == ["rounds end by fixed: other devices may count"]


def test_who_waits_for_devices_to_come_back(tmp_path: Path) -> None:
    # All three are there from 100 s on alone: the first round waits for them, whoever then sets it.
    there = tmp_path / "there.csv"
    there.write_text("device,start_s,end_s\n" + "".join(f"{number},100,9999\n" for number in range(3)))
    availability = {"kind": "trace", "file": str(there)}
    group = {"profile": "phone-low", "count": 3, "availability": availability}
    found = explain(ran(tmp_path, [], devices=[group], network={}))
    drawn, away = found.paths[0].segments[:2]  # the server draws the weights to start from meanwhile
    assert (drawn.kind, away.kind, away.end_ns / 1e9) == ("server compute", "away", 100.0)
    assert found.paths[0].set_by == "away"
    assert cautions(found.run) == ["devices come and go: at other times others are there to be drawn"]


def test_a_run_without_a_round_is_refused(tmp_path: Path) -> None:
    folder = ran(tmp_path, ["stop.virtual_time=1 ms"])
    with pytest.raises(RunError, match="no round ended"):
        Explanation(emulator.load(folder))


def spoilt(path: Path, old: str, new: str) -> None:
    words = path.read_text()
    assert words.count(old) == 1
    path.write_text(words.replace(old, new))


def test_a_run_that_was_cut_short_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ran(tmp_path, [])
    spoilt(folder / "summary.json", '"status": "done"', '"status": "interrupted"')
    capsys.readouterr()
    assert main(["explain", str(folder), "--no-what-if"]) == 0
    assert capsys.readouterr().out.startswith("note: the run was interrupted; its 2 whole rounds are explained\n")


def test_a_clock_that_gives_other_times_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ran(tmp_path, [])
    spoilt(folder / "scenario.yaml", "uplink: 4 Mbit/s", "uplink: 5 Mbit/s")
    assert main(["explain", str(folder)]) == 2
    assert "got other times when its scenario is played again (rounds differ)" in capsys.readouterr().err


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert main(["explain", str(folder)]) == 2
        assert capsys.readouterr().err.startswith(f"emulator: error: {folder}: got ")
    assert main(["explain", str(tmp_path), "--strange"]) == 2
