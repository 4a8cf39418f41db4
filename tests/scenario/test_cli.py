"""The command line: exit codes, what goes where, what the tables say. Numbers worked out by hand in the comments."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

import emulator
from emulator.cli import main
from emulator.devices.profile_file import profile_names
from emulator.learning.datasets import DATASETS
from emulator.learning.models import MODELS
from emulator.pretrained import PRETRAINED
from emulator.protocols.catalogue import PROTOCOLS
from emulator.reading import read_scenario
from tests.scenario import worlds

# Two boards and a phone in one cell; 3 rounds of one minibatch each.
STEPS = "protocol={name: fedavg, rounds: 3, cohort: 2, local_steps: 1, learning_rate: 0.1}"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """The tiny scenario in a folder of its own, which is the working folder while the test runs."""
    file = tmp_path / "tiny.yaml"
    file.write_text(worlds.BASE)
    with chdir(tmp_path):
        yield file


def cells(line: str) -> list[str]:
    """The columns of a plain table's line: two spaces or more part them."""
    return [part.strip() for part in line.split("  ") if part.strip()]


# ---- run -----------------------------------------------------------------------------------------------------------


def test_run_prints_the_summary_and_nothing_else(tiny: Path, capsys: Captured) -> None:
    assert main(["run", "tiny.yaml", "--timing-only", "--json", "--out", "runs", STEPS]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert captured.err == ""
    assert (summary["name"], summary["executor"], summary["rounds"]) == ("tiny", "timing-only", 3)
    assert summary["scenario_sha256"] == read_scenario("tiny.yaml", [STEPS]).sha256()
    (folder,) = (tiny.parent / "runs" / "tiny").iterdir()
    assert json.loads((folder / "summary.json").read_text()) == summary


def test_run_shows_progress_on_stderr_and_the_result_on_stdout(tiny: Path, capsys: Captured) -> None:
    assert main(["run", "tiny.yaml", STEPS, "--timing-only"]) == 0
    captured = capsys.readouterr()
    assert "round 3/3" in captured.err
    assert "run folder: results" in captured.out
    assert "\x1b" not in captured.out + captured.err  # no colours in a pipe


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "the following arguments are required: scenario"),
        (["run", "tiny.yaml", "--inlin"], "--inlin"),
        (["run", "tiny.yaml", "--nonsense"], "got unknown argument --nonsense"),
        (["run", "tiny.yaml", "--inline", "--timing-only"], "got --timing-only and --inline; expected one of them"),
        (["run", "tiny.yaml", "--timing-only", "--address", "a:1"], "got --timing-only and --address"),
        (["run", "tiny.yaml", "--decisions", "."], "expected it with --timing-only"),
        (["run", "tiny.yaml", "--timing-only", "--decisions", "."], "expected a run folder with decisions.jsonl"),
        (["run", "tiny.yaml", "--out", "tiny.yaml"], "tiny.yaml is a file"),
        (["run", "tiny.yaml", "--out", "tiny.yaml/deeper"], "tiny.yaml is a file"),
        (["run", "tiny.yaml", "rounds"], "tiny.yaml: override got 'rounds'; expected key=value"),
        (["run", "tiny.yaml", "protocol.round=5"], 'protocol.round: unknown key; expected one of name, rounds'),
        (["check", "tiny.yaml", "--inline"], "got unknown argument --inline"),
        (["list", "protocol"], 'got "protocol"; expected one of: protocols'),
        (["list", "models", "mlp"], "only a profile or a cell can be shown by name"),
        (["list", "profiles", "raspbery-pi-4"], 'did you mean "raspberry-pi-4"?'),
        (["fetch", "fashion"], 'got "fashion"; expected a data set or weights: '),
        (["fetch", "mobilenetv2"], 'did you mean "mobilenetv2-imagenet"?'),
        (["schema", "quickstart"], "got unknown argument quickstart"),
    ],
)  # fmt: skip
def test_wrong_command_lines(words: list[str], says: str, tiny: Path, capsys: Captured) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("emulator: error: ")
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert list(tiny.parent.iterdir()) == [tiny]


def test_data_that_do_not_fit_are_told_with_the_file(tiny: Path, capsys: Captured) -> None:
    # 1437 samples less a tenth of each class leave about 1294; 3 devices x 450 shards are 1350.
    assert main(["run", "tiny.yaml", "data.partition={kind: shards, shards_per_device: 450}"]) == 2
    assert capsys.readouterr().err.startswith("emulator: error: tiny.yaml: data.partition: ")
    assert list(tiny.parent.iterdir()) == [tiny]


def test_a_failure_is_told_in_one_line_and_with_debug_in_full(tiny: Path, capsys: Captured) -> None:
    (tiny.parent / "damaged").mkdir()
    (tiny.parent / "damaged" / "decisions.jsonl").write_text("this is no JSON\n")
    words = ["run", "tiny.yaml", "--timing-only", "--decisions", "damaged"]
    assert main(words) in (1, 2)
    short = capsys.readouterr().err
    assert short.count("\n") == 1
    assert main([*words, "--debug"]) in (1, 2)
    assert "Traceback" in capsys.readouterr().err


# ---- check ---------------------------------------------------------------------------------------------------------


def test_check_shows_the_fleet(tiny: Path, capsys: Captured) -> None:
    assert main(["check", "tiny.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fleet: 3 devices"
    board, phone = cells(lines[2]), cells(lines[3])
    # A cell's rate is an upper bound: the board's own uplink of 18.88 Mbit/s is below the cell's 20.
    assert board == [
        "raspberry-pi-4",
        "home-wifi",
        "2",
        "11.9 GFLOP/s",
        "1.00 to 1.00",
        "18.88 Mbit/s",
        "40 Mbit/s",
        "5 ms",
    ]
    assert phone[:3] == ["phone-low", "-", "1"]
    assert phone[5] == "4 Mbit/s"  # the group's own figure


def test_check_shows_model_data_and_traffic(tiny: Path, capsys: Captured) -> None:
    assert main(["check", "tiny.yaml", STEPS]) == 0
    out = capsys.readouterr().out
    # 64 x 128 + 128 weights and biases, then 128 x 10 + 10: 9,610 parameters of 4 bytes.
    assert "mlp: 9,610 parameters, 38,440 bytes of weights" in out
    # A cohort of two gets the weights and gives them back: 2 x 38,440 bytes each way.
    assert "first of 3 rounds, 2 devices: 76,880 bytes up, 76,880 bytes down, " in out
    assert out.endswith(f"tiny: valid; scenario_sha256 {read_scenario('tiny.yaml', [STEPS]).sha256()}\n")
    assert list(tiny.parent.iterdir()) == [tiny]  # check writes nothing


def test_check_counts_every_sample_once(tiny: Path, capsys: Captured) -> None:
    assert main(["check", "tiny.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("samples of each class"))
    held_out = int(lines[start].split(";")[1].split()[0])
    rows = [[int(part) for part in cells(line)[1:]] for line in lines[start + 2 : start + 5]]
    assert all(row[0] == sum(row[1:]) for row in rows)
    assert sum(row[0] for row in rows) + held_out == 1437


def test_check_tells_who_does_not_fit(tiny: Path, capsys: Captured) -> None:
    """An ESP32-S3 has 312 KiB free; the run refuses it with exit code 2 and one line, and goes on without it when told to."""
    both = "devices=[{profile: esp32-s3, count: 2}, {profile: laptop, count: 1}]"
    assert main(["check", "tiny.yaml", both, "model.name=cnn", "on_out_of_memory=exclude"]) == 0
    assert "2 of 2 esp32-s3 would be left out" in capsys.readouterr().out
    assert main(["check", "tiny.yaml", both, "model.name=cnn"]) == 2
    out = capsys.readouterr().out
    assert [cells(line)[-1] for line in out.splitlines() if line.startswith("esp32-s3")][-1] == "0 of 2"
    assert [cells(line)[-1] for line in out.splitlines() if line.startswith("laptop")][-1] == "1 of 1"
    assert "2 of 2 esp32-s3 would end the run: device-0000: out of memory: train needs" in out
    options = ["tiny.yaml", both, "model.name=cnn", "protocol.cohort=3", "--inline", "--json"]
    assert main(["run", *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("emulator: error: device-000")
    assert "out of memory: train needs" in error
    assert main(["run", *options, "on_out_of_memory=exclude"]) == 0
    assert json.loads(capsys.readouterr().out)["devices_lost"] == 2


def test_check_is_compact_for_many_devices(tiny: Path, capsys: Captured) -> None:
    assert (
        main(["check", "tiny.yaml", "devices[0].count=99", "data.partition={kind: iid}", "evaluate.validation=0"]) == 0
    )
    out = capsys.readouterr().out
    table = out[out.index("samples of each class") : out.index("memory of")].splitlines()
    assert len(table) == 2 + 10 + 3
    assert cells(table[-3])[0] == "90 more"
    # 1437 samples over 100 devices: 37 of 15 and 63 of 14.
    assert cells(table[-2])[:2] == ["all 100", "14 to 15"]
    assert sum(int(part) for part in cells(table[-2])[2:]) == 1437
    assert cells(table[-1])[:2] == ["holding none", "0"]


def test_check_ignores_stops_when_it_looks_at_the_first_round(tiny: Path, capsys: Captured) -> None:
    assert main(["check", "tiny.yaml", "stop={virtual_time: 1 ns, accuracy: 0.5}"]) == 0
    assert "first of 2 rounds, 3 devices: " in capsys.readouterr().out


def test_check_without_the_data_says_so(tiny: Path, capsys: Captured) -> None:
    words = ["data={dataset: cifar10, root: nowhere}", "model.name=cnn"]
    assert main(["check", "tiny.yaml", *words]) == 0
    out = capsys.readouterr().out
    assert "cifar10 is not on this machine (emulator fetch cifar10): data and traffic not checked" in out
    assert "tiny: valid; " in out


# ---- list, schema, fetch ---------------------------------------------------------------------------------------------


def test_list_shows_everything(capsys: Captured) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    first = {line.split()[0] for line in out.splitlines() if line.strip()}
    assert {"protocols", "profiles", "datasets", "models", "weights", "scenarios"} <= first
    assert {*PROTOCOLS, *profile_names(), *DATASETS, *MODELS, *PRETRAINED, "quickstart", "hundreds_300"} <= first
    assert out.isascii()  # plain in a pipe
    (mlp,) = (line for line in out.splitlines() if line.split()[:1] == ["mlp"])
    assert all(part in mlp for part in ("9,610", "101,770", "394,634", "2"))  # n x 128 + 128 + 128 x 10 + 10


@pytest.mark.parametrize(
    ("what", "row"),
    [
        ("protocols", ["fedprox", "FedAvg with a proximal term"]),
        ("profiles", ["raspberry-pi-4", "11.9 GFLOP/s"]),
        ("datasets", ["digits", "1x8x8", "1437 + 360", "yes"]),
        ("weights", ["mobilenetv2-imagenet", "mobilenetv2", "ImageNet-1k", "MIT"]),
        ("scenarios", ["quickstart", "Twenty mixed devices"]),
    ],
)
def test_list_one_kind(what: str, row: list[str], capsys: Captured) -> None:
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(what)
    (line,) = (line for line in lines if line.split()[:1] == row[:1])
    assert all(part in line for part in row)


def test_list_one_profile_with_its_sources(capsys: Captured) -> None:
    assert main(["list", "profiles", "raspberry-pi-4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("raspberry-pi-4: ")
    assert all(figure in out for figure in ("compute_rate", "memory_bandwidth", "overhead", "uplink", "latency"))


def test_schema_is_json_on_stdout(capsys: Captured) -> None:
    assert main(["schema"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["title"] == "Edge emulator scenario"
    assert captured.err == ""


def test_nothing_to_fetch_for_embedded_data(capsys: Captured) -> None:
    assert main(["fetch", "digits"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("digits: ")
    assert captured.err == "digits is embedded; there is nothing to fetch\n"


# ---- as a process ------------------------------------------------------------------------------------------------------


def test_as_a_module(tiny: Path) -> None:
    command = [sys.executable, "-m", "emulator", "check", "tiny.yaml", "protocol.cohort=9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tiny.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "emulator: error: tiny.yaml: protocol.cohort: got 9; expected at most the fleet's 3 devices\n"


def test_help_and_version_need_no_heavy_library() -> None:
    code = (
        "import sys, emulator.cli\n"
        "try:\n    emulator.cli.main(['--version'])\n"
        "except SystemExit as end:\n    code = end.code\n"
        "sys.exit(code or bool({'torch', 'ray', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"emulator {emulator.__version__}\n")
