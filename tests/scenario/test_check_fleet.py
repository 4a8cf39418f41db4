"""``emulator check --devices`` and ``--draws``: every device as the run has it, and the spread of the first round."""

import csv
from contextlib import chdir
from io import StringIO
from math import exp, sqrt
from pathlib import Path
from statistics import NormalDist, median

import pytest

from emulator.checking import spread_of_first_round
from emulator.cli import main
from emulator.devices.profile_file import load_profile
from emulator.preparation import prepare
from emulator.reading import ScenarioError, read_scenario
from emulator.yaml_text import dump
from tests.scenario import worlds

Captured = pytest.CaptureFixture[str]
PHONE = load_profile("phone-low")
CIFAR = ["data={dataset: cifar10, root: nowhere}", "model.name=cnn"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(worlds.BASE)
    return file


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


# ---- --devices: exact by hand ----------------------------------------------------------------------------------------------


def test_csv_is_every_device_in_si_units_and_nothing_else(tiny: Path, capsys: Captured) -> None:
    assert main(["check", str(tiny), "--devices", "csv"]) == 0
    captured = capsys.readouterr()
    found = rows(captured.out)
    assert captured.err == ""
    assert [row["device"] for row in found] == ["device-0000", "device-0001", "device-0002"]
    assert [row["profile"] for row in found] == ["raspberry-pi-4", "raspberry-pi-4", "phone-low"]
    assert [row["cell"] for row in found] == ["home-wifi", "home-wifi", ""]
    # The board's own 18.88 Mbit/s is below the cell's 20; the phone's group says 4 Mbit/s.
    assert [float(row["uplink_bps"]) for row in found] == [18.88e6, 18.88e6, 4e6]
    assert [float(row["latency_s"]) for row in found] == [0.005, 0.005, 0.035]
    plan = prepare(read_scenario(str(tiny))).plan
    assert [int(row["samples"]) for row in found] == list(plan.samples)
    assert [float(row["slowdown"]) for row in found] == [device.slowdown for device in plan.devices]
    memory = [device.profile.free_memory_bytes for device in plan.devices]
    assert [int(row["free_memory_bytes"]) for row in found] == memory


def test_the_table_has_units_and_leaves_out_what_nobody_has(tiny: Path, capsys: Captured) -> None:
    assert (
        main(["check", str(tiny), "--devices", "devices[0].vary={memory: {distribution: constant, factor: 0.3}}"]) == 2
    )
    assert "invalid choice" in capsys.readouterr().err  # what follows --devices is its form
    words = ["check", str(tiny), "devices[0].vary={memory: {distribution: constant, factor: 0.3}}", "--devices"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fleet: 3 devices"
    assert len(lines) == 2 + 3
    board, phone = lines[2].split(), lines[4].split()
    assert board[:5] == ["device-0000", "raspberry-pi-4", "home-wifi", "11.9", "GFLOP/s"]
    assert board[5] == "1.000"
    assert phone[1:3] == ["phone-low", "-"]
    assert phone[-2] == "/".join(f"{getattr(PHONE, key):.3g}" for key in ("idle_w", "load_w", "send_w", "receive_w"))


def test_without_the_data_no_samples_are_told(tiny: Path, capsys: Captured) -> None:
    assert main(["check", str(tiny), *CIFAR, "--devices", "csv"]) == 0
    assert {row["samples"] for row in rows(capsys.readouterr().out)} == {""}


def test_powers_and_battery(tiny: Path, tmp_path: Path, capsys: Captured) -> None:
    said = {"source": "by hand", "kind": "assumed"}
    figures = {
        "compute_rate": "1 GFLOP/s", "memory_bandwidth": "1 GB/s", "memory": "1 GiB", "overhead": "0 s",
        "uplink": "1 Mbit/s", "downlink": "1 Mbit/s", "latency": "0 s", "idle_power": "1 W", "load_power": "3 W",
        "send_power": "2 W", "receive_power": "1 W", "battery": "10 Wh",
    }  # fmt: skip
    text = dump({"about": "x", **{key: {"value": value, **said, "date": "DAY"} for key, value in figures.items()}})
    (tmp_path / "mine.yaml").write_text(text.replace("DAY", "2026-11-01"))
    with chdir(tmp_path):
        assert main(["check", "tiny.yaml", "devices[0].profile=mine.yaml", "--devices", "csv"]) == 0
    board = rows(capsys.readouterr().out)[0]
    powers = [float(board[key]) for key in ("idle_w", "load_w", "send_w", "receive_w", "battery_j")]
    assert powers == [1.0, 3.0, 2.0, 1.0, 36_000.0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--devices", "xml"], "argument --devices: invalid choice: 'xml'"),
        (["--draws", "0"], "got --draws 0; expected one fleet or more"),
        (["--draws", "many"], "argument --draws: invalid int value: 'many'"),
        (["--draws", "3", "--devices"], "got --draws 3 and --devices; expected one fleet or more to draw, without"),
    ],
)
def test_wrong_words(words: list[str], says: str, tiny: Path, capsys: Captured) -> None:
    assert main(["check", str(tiny), *words]) == 2
    assert capsys.readouterr().err.startswith(f"emulator: error: {says}")


# ---- --draws -------------------------------------------------------------------------------------------------------------

MINE = """\
about: one uncertain figure, so that the first round's time follows from it
compute: flops
compute_rate: {value: 1 MFLOP/s, source: by hand, date: 2026-11-01, kind: assumed, uncertainty: 0.4}
memory_bandwidth: {value: 1 GB/s, source: by hand, date: 2026-11-01, kind: assumed, uncertainty: 0}
memory: {value: 1 GiB, source: by hand, date: 2026-11-01, kind: assumed}
overhead: {value: 0 s, source: by hand, date: 2026-11-01, kind: assumed, uncertainty: 0}
uplink: {value: 1000 Gbit/s, source: by hand, date: 2026-11-01, kind: assumed, uncertainty: 0}
downlink: {value: 1000 Gbit/s, source: by hand, date: 2026-11-01, kind: assumed, uncertainty: 0}
latency: {value: 0 s, source: by hand, date: 2026-11-01, kind: assumed, uncertainty: 0}
"""
STEPS = "protocol={name: fedavg, rounds: 3, cohort: 1, local_steps: 1, learning_rate: 0.1}"


# Theory: one device, one step, links of no account: the first round lasts work / rate, so its log is normal with deviation
# 0.4 around that of the nominal round. 60 draws: the median's standard error is 1.2533 x 0.4 / sqrt(60) = 0.065. Four of it.
def test_the_spread_of_the_first_round_is_that_of_the_one_uncertain_figure(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    devices = f"devices=[{{profile: {tmp_path / 'mine.yaml'}, count: 1}}]"
    scenario = read_scenario(str(tiny), [devices, STEPS, "network={}"])
    found = spread_of_first_round(scenario, 60)
    assert len(set(found)) == 60
    rates = [
        prepare(read_scenario(str(tiny), [devices, STEPS, "network={}", f"seeds={{fleet: {7 + number}}}", DRAWN])).plan
        for number in range(3)
    ]
    # Fleet seeds 7, 8, 9: time x rate is the same work each time.
    work = [seconds * plan.devices[0].profile.flop_per_s for seconds, plan in zip(found, rates, strict=False)]
    assert work == pytest.approx([work[0]] * 3, rel=1e-3)
    assert abs(median(found) / (work[0] / 1e6) - 1) < exp(4 * 1.2533 * 0.4 / sqrt(60)) - 1
    high = sorted(found)[56] / median(found)  # about the 95 % quantile: exp(0.4 x 1.645) = 1.93
    assert abs(high / exp(0.4 * NormalDist().inv_cdf(0.95)) - 1) < 0.6


DRAWN = "population={uncertainty: drawn}"


def test_draws_are_told_in_one_line(tiny: Path, capsys: Captured) -> None:
    assert main(["check", str(tiny), STEPS, "--draws", "5"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("first round over"))
    assert line.startswith("first round over 5 fleets drawn within the profiles' uncertainties: ")
    middle, low, high = (float(word) for word in line.replace(",", "").split() if "." in word)
    assert low <= middle <= high


def test_a_first_draw_is_the_drawn_scenario_itself(tiny: Path, capsys: Captured) -> None:
    (first,) = spread_of_first_round(read_scenario(str(tiny), [STEPS]), 1)
    assert main(["check", str(tiny), STEPS, DRAWN]) == 0
    assert f"{first:.3f} s of virtual time" in capsys.readouterr().out


def test_draws_need_data(tiny: Path) -> None:
    with pytest.raises(ScenarioError, match=r"data\.dataset: "):
        spread_of_first_round(read_scenario(str(tiny), CIFAR), 1)
