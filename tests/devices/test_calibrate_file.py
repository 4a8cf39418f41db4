"""Calibration as a command: alone on a board, with power logs and iperf reports, and refusing what is wrong before it
measures. No absolute time is tested."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from deploy import calibrate
from deploy.calibrate import DURATIONS, ENERGIES, Figure, read_iperf, read_power, text
from emulator.cli import main
from emulator.devices.profile_file import FIGURES, read_profile
from emulator.learning.meter import Meter
from network.units import DURATION, ENERGY

SOURCE = Path(calibrate.__file__)
POWER = "state,power_w\nidle,2\nidle,4\nload,6\nload,6\nsend,0.5\nreceive,0.25\n"
IPERF = "20261121120000,10.0.0.2,5001,10.0.0.1,40000,3,0.0-10.0,25000000,{}\n"
QUICK = ["--threads", "1", "--budget", "0.001"]
Captured = pytest.CaptureFixture[str]

# A board has torch and what torch needs, and nothing of ours: those imports fail there, and so they do here.
BOARD = """
import runpy, sys, warnings
warnings.simplefilter("ignore")  # torch's, about numpy
ABSENT = {"ray", "simpy", "yaml", "numpy", "pydantic", "emulator", "network", "actors", "benchmarks", "tests"}
class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"no {name} on a board", name=name)
sys.meta_path.insert(0, Absent)
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    assert not ABSENT & {name.partition(".")[0] for name in sys.modules}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a power log and a report, the working folder while a test runs."""
    (tmp_path / "power.csv").write_text(POWER)
    (tmp_path / "up.csv").write_text(IPERF.format("20000000"))
    with chdir(tmp_path):
        yield tmp_path


def alone(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The file, copied to where nothing of ours is, in a Python of its own (-I: no PYTHONPATH, no working folder)."""
    copy = shutil.copy(SOURCE, folder / "calibrate.py")
    command = [sys.executable, "-I", "-c", BOARD, str(copy), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)


# ---- alone on a board ----------------------------------------------------------------------------------------------


def test_it_imports_torch_and_the_standard_library_only() -> None:
    nodes = list(ast.walk(ast.parse(SOURCE.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"torch"}


def test_a_whole_profile_from_a_board(folder: Path) -> None:
    words = ["--power-log", "power.csv", "--battery", "15 Wh", "--iperf-uplink", "up.csv", "--latency", "3 ms"]
    (folder / "board.yaml").write_text("old")
    done = alone(folder, *QUICK, "--out", "board.yaml", "--force", "--about", 'a "board" \\ of ours\n', *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "board.yaml\n", "")
    profile = read_profile(folder / "board.yaml")
    assert profile.about == "a 'board' / of ours "
    assert (profile.idle_w, profile.load_w, profile.send_w, profile.receive_w) == (3.0, 6.0, 0.5, 0.25)
    assert (profile.battery_j, profile.uplink_bps, profile.downlink_bps, profile.latency_s) == (54_000, 2e7, 5e7, 0.003)
    kinds = {key: source.kind for key, source in profile.sources}
    assert (kinds["memory"], kinds["downlink"], kinds["uplink"]) == ("measured", "assumed", "measured")
    assert set(kinds) <= set(FIGURES)
    assert 0 < profile.free_memory_bytes < profile.memory_bytes
    assert min(rate for rates in profile.rates().values() for rate in rates) > 0


def test_bad_input_alone_is_one_line_and_exit_code_2(folder: Path) -> None:
    done = alone(folder, *QUICK, "--out", "gone/board.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "calibrate: error: --out: got gone/board.yaml; expected a file in a folder that exists"
    )
    assert done.stderr.count("\n") == 1


# ---- power logs and iperf, by hand ---------------------------------------------------------------------------------


def test_a_power_log(folder: Path) -> None:
    # Idle: mean of 2 and 4, standard deviation sqrt(2) of n - 1, over 3. Load: no spread, so the least that is written.
    idle, load, send, receive = read_power(folder / "power.csv")
    assert (idle.key, idle.value, idle.kind, idle.source) == (
        "idle_power",
        "3 W",
        "measured",
        "power log power.csv, 2 samples",
    )
    assert idle.uncertainty == pytest.approx(2**0.5 / 3)
    assert (load.value, load.uncertainty) == ("6 W", 0.01)
    assert (send.value, send.uncertainty, receive.value) == ("0.5 W", None, "0.25 W")  # one sample tells no spread


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "power.csv: line 1: got nothing; expected the header state,power_w"),
        ("state;power_w\n", "power.csv: line 1: got state;power_w; expected the header state,power_w"),
        (
            "state,power_w\n\nidel,2\n",
            "power.csv: line 3: got idel,2; expected a state (idle, load, send, receive) and",
        ),
        ("state,power_w\nidle\n", "power.csv: line 2: got idle; expected a state"),
        ("state,power_w\nidle,2,3\n", "power.csv: line 2: got idle,2,3; expected a state"),
        ("state,power_w\nidle,2 W\n", "power.csv: line 2: got '2 W'; expected a number, zero or more"),
        ("state,power_w\nidle,-2\n", "power.csv: line 2: got '-2'; expected a number, zero or more"),
        ("state,power_w\nidle,nan\n", "power.csv: line 2: got 'nan'; expected a number"),
        ("state,power_w\nidle,\n", "power.csv: line 2: got ''; expected a number"),
        (
            "state,power_w\nidle,2\nload,5\n",
            "power.csv: got no sample of send, receive; expected some of each: idle, load",
        ),
        (POWER.replace("load,6", "load,1"), "power.csv: got load 1 W, idle 3 W; expected all that is drawn"),
        (POWER.replace("load,6", "load,0").replace("idle,2\nidle,4", "idle,0"), "power.csv: got load 0 W, idle 0 W"),
        ("state,power_w\nidle," + "2" * 200_000, "power.csv: cannot be read as CSV: field larger than"),
    ],
)
def test_a_broken_power_log(folder: Path, content: str, message: str) -> None:
    (folder / "power.csv").write_text(content)
    with pytest.raises(ValueError) as caught:
        read_power(Path("power.csv"))
    assert str(caught.value).startswith(message)


def test_a_log_from_a_spreadsheet(folder: Path) -> None:
    Path("power.csv").write_bytes(b"\xef\xbb\xbf" + POWER.replace("\n", "\r\n").replace(",", ", ").encode())
    assert [figure.value for figure in read_power(Path("power.csv"))] == ["3 W", "6 W", "0.5 W", "0.25 W"]


def test_a_binary_file_is_no_log(folder: Path) -> None:
    Path("power.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"^power\.csv: cannot be read as CSV: 'utf-8' codec"):
        read_power(Path("power.csv"))


def test_iperf_reports(folder: Path) -> None:
    # 18 and 22 Mbit/s: mean 20, standard deviation sqrt(8), over 20.
    Path("two.csv").write_text(IPERF.format(18_000_000) + IPERF.format(22_000_000))
    figure = read_iperf(Path("two.csv"), "uplink")
    assert (figure.key, figure.value, figure.source) == ("uplink", "2e+07 bit/s", "iperf, two.csv, 2 reports")
    assert figure.uncertainty == pytest.approx(8**0.5 / 20)
    assert read_iperf(Path("up.csv"), "uplink").uncertainty is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "up.csv: got no line; expected the nine columns of iperf -y C, the last one bit/s"),
        ("[  3]  0.0-10.0 sec  25 MBytes\n", "up.csv: line 1: got 1 columns; expected the nine columns"),
        (IPERF.format(1) + "\n1,2,3\n", "up.csv: line 3: got 3 columns"),
        (IPERF.format("20 Mbit/s"), "up.csv: line 1: got '20 Mbit/s'; expected a number"),
        (IPERF.format(0), "up.csv: got 0 bit/s; expected a rate above zero"),
    ],
)
def test_a_broken_report(folder: Path, content: str, message: str) -> None:
    Path("up.csv").write_text(content)
    with pytest.raises(ValueError) as caught:
        read_iperf(Path("up.csv"), "uplink")
    assert str(caught.value).startswith(message)


def test_without_an_uncertainty_the_kind_s_holds() -> None:
    told = text("x", [Figure("latency", "3 ms", "made up", "measured", None)])
    assert "uncertainty" not in told
    assert "uncertainty: 0.250" in text("x", [Figure("latency", "3 ms", "made up", "measured", 0.25)])


# ---- what is wrong is found before anything is measured, and nothing is written ------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threads", "0"], "--threads: got 0; expected 1 to "),
        (["--threads", "100000"], "--threads: got 100000; expected 1 to "),
        (["--threads", "two"], "argument --threads: invalid int value: 'two'"),
        (["--budget", "0"], "--budget: got 0.0 s; expected more than zero"),
        (["--budget", "nan"], "--budget: got nan s; expected more than zero"),
        (["--budget", "inf"], "--budget: got inf s; expected more than zero and at most 60"),
        (["--about", " "], "--about: got ' '; expected what the machine is, in words"),
        (["--out", "power.csv"], "--out: got power.csv; expected a name that ends in .yaml"),
        (["--out", "gone/x.yaml"], "--out: got gone/x.yaml; expected a file in a folder that exists; gone does not"),
        (["--out", "old.yaml"], "--out: got old.yaml, which exists; expected a new name, or --force"),
        (["--out", "folder.yaml", "--force"], "--out: got folder.yaml, which exists"),
        (["--latency", "3"], "--latency: got '3'; expected a duration with a unit, e.g. '3 ms' (ns, us, ms, s"),
        (["--latency", "3 Wh"], "--latency: got '3 Wh'; expected a duration"),
        (["--latency=-3 ms"], "--latency: got '-3 ms'; expected a duration"),
        (["--latency", ""], "--latency: got ''; expected a duration"),
        (
            ["--battery", "15", "--power-log", "power.csv"],
            "--battery: got '15'; expected an energy above zero with a unit",
        ),
        (["--battery", "0 Wh", "--power-log", "power.csv"], "--battery: got '0 Wh'; expected an energy above zero"),
        (["--battery", "15 Wh"], "got --battery alone; expected it with --power-log"),
        (["--power-log", "gone.csv"], "No such file or directory: 'gone.csv'"),
        (["--power-log", "up.csv"], "up.csv: line 1: got 20261121120000,"),
        (["--iperf-uplink", "power.csv"], "power.csv: line 1: got 2 columns"),
        (["--iperf-downlink", "gone.csv"], "No such file or directory: 'gone.csv'"),
    ],
)
def test_bad_input(folder: Path, capsys: Captured, words: list[str], message: str) -> None:
    (folder / "old.yaml").write_text("kept")
    (folder / "folder.yaml").mkdir()
    before = sorted(folder.iterdir())
    with Meter() as meter:
        assert main(["calibrate", *words]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert meter.cost().ops == ()  # nothing was measured
    assert sorted(folder.iterdir()) == before
    assert (folder / "old.yaml").read_text() == "kept"


def test_the_file_alone_knows_the_units() -> None:
    assert (set(DURATIONS), set(ENERGIES)) == (set(DURATION.units), set(ENERGY.units))
    for given in ("3 ms", "0.5 s", "3ms"):
        calibrate._quantity("--latency", given, DURATIONS, "")
        DURATION.parse(given)
