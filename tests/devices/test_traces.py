"""FedScale's two files, in tiny worlds with the numbers worked out; and the tables that they become."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.devices.traces import (
    COMMANDS,
    Capacity,
    Intervals,
    main,
    read_capacity,
    read_fedscale_availability,
    read_fedscale_capacity,
    read_intervals,
    write_capacity,
)

# Client 3834 of FedScale's file, as several repositories quote it.
CLIENT_3834: dict[str, Any] = {
    "duration": 211625,
    "inactive": [65881, 133574, 208292, 276575, 295006, 356236, 400906, 475099],
    "finish_time": 518400,
    "active": [12788, 100044, 188992, 271372, 276663, 352625, 356267, 441193],
    "model": "CPH1801",
}
# From FedScale's own page on it (docs/dataset/sys): two spans, the first one empty.
CLIENT_107740: dict[str, Any] = {
    "duration": 1, "inactive": [88494, 93284], "finish_time": 518400, "active": [88494, 93283], "model": "SM-G611MT"
}  # fmt: skip
# Client 432802 of the capacities.
CLIENT_432802 = {"computation": 162.0, "communication": 5648.109619499134}


def saved(folder: Path, value: object, protocol: int = 3) -> Path:
    path = folder / "in.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def changed(entry: dict[str, Any], **changes: Any) -> dict[int, dict[str, Any]]:
    return {3834: {**entry, **changes}}


@pytest.mark.parametrize("protocol", range(6))
def test_fedscale_capacity_by_hand(tmp_path: Path, protocol: int) -> None:
    # 162 ms to infer a sample: 0.162 s * 3 = 0.486 s to train on one. 5648.1... kbit/s * 1024 = 5,783,664.25... bit/s.
    # FedScale itself: batch 20, 30 steps: 3 * 20 * 30 * 162 / 1000 = 291.6 s; here 600 samples * 0.486 s.
    read = read_fedscale_capacity(saved(tmp_path, {432802: CLIENT_432802, "b": {**CLIENT_432802, "more": 1}}, protocol))
    assert list(read) == ["432802", "b"]
    found = read["432802"]
    assert found == read["b"]
    assert found.train_s_per_sample == pytest.approx(0.486, rel=1e-15)
    assert 20 * 30 * found.train_s_per_sample == pytest.approx(291.6, rel=1e-15)
    # An update of 10**6 bytes: 10**6 / 1024 * 8 "kbits" / 5648.1 there, 8 * 10**6 / rate here.
    assert 8e6 / found.rate_bps == pytest.approx(1e6 / 1024 * 8 / 5648.109619499134, rel=1e-15)


def test_numpy_numbers_as_in_the_shipped_file(tmp_path: Path) -> None:
    entry = {key: np.float64(value) for key, value in CLIENT_432802.items()}
    plain = read_fedscale_capacity(saved(tmp_path, {1: CLIENT_432802}))
    assert read_fedscale_capacity(saved(tmp_path, {1: entry})) == plain


@pytest.mark.parametrize("protocol", range(6))
def test_fedscale_availability_by_hand(tmp_path: Path, protocol: int) -> None:
    read = read_fedscale_availability(saved(tmp_path, {3834: CLIENT_3834, 107740: CLIENT_107740}, protocol))
    first, second = read["3834"], read["107740"]
    assert first.period_s == 518400
    assert first.spans[0] == (12788, 65881)
    # "duration" is the time that the client is there, not the period.
    assert sum(end - start for start, end in first.spans) == 211625
    assert second == Intervals(518400, ((93283, 93284),))
    # Six days later the same again: from 12788 s to 65881 s of the second period.
    assert first.at((518400 + 20000) * 10**9) == (True, (518400 + 65881) * 10**9)


def their_answer(trace: dict[str, Any], time_s: float) -> bool:
    """FedScale's rule without its index, which needs a call in every span: closed spans, time modulo finish_time."""
    inside = time_s % trace["finish_time"]
    return any(a <= inside <= b for a, b in zip(trace["active"], trace["inactive"], strict=True))


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 40), st.integers(0, 100))
def test_there_as_fedscale_says_but_for_the_last_instant(
    tmp_path_factory: pytest.TempPathFactory, edges: list[int], period: int, second: int
) -> None:
    """Spans overlap, touch, are empty and reach beyond the period here: half a second is never an edge."""
    spans = [sorted(pair) for pair in zip(edges[::2], edges[1::2], strict=False)]
    trace = {"active": [a for a, _ in spans], "inactive": [b for _, b in spans], "finish_time": period}
    found = read_fedscale_availability(saved(tmp_path_factory.mktemp("traces"), {1: trace}))["1"]
    assert found.at(second * 10**9 + 10**9 // 2)[0] == their_answer(trace, second + 0.5)


def test_overlaps_are_joined_and_a_client_may_never_be_there(tmp_path: Path) -> None:
    trace = {"active": [5, 0, 3, 12], "inactive": [6, 4, 5, 30], "finish_time": 20}
    empty: dict[str, Any] = {"active": [25], "inactive": [26], "finish_time": 20}
    read = read_fedscale_availability(saved(tmp_path, {1: trace, 2: empty}))
    assert read == {"1": Intervals(20.0, ((0.0, 6.0), (12.0, 20.0))), "2": Intervals(20.0, ())}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1], "got [1]; expected a dict of clients"),
        ({}, "got {}; expected a dict of clients"),
        ({1: [162.0, 5648.1]}, "client 1: got [162.0, 5648.1]; expected a dict"),
        ({1: CLIENT_432802, "1": CLIENT_432802}, "got the client '1'; expected numbers or names, each once"),
        ({"": CLIENT_432802}, "got the client ''; expected numbers or names"),
        ({"a\nb": CLIENT_432802}, "got the client 'a\\nb'; expected numbers or names"),
        ({1.5: CLIENT_432802}, "got the client 1.5; expected numbers or names"),
        ({True: CLIENT_432802}, "got the client True; expected numbers or names"),
        ({7: {"computation": 162.0}}, "client 7: communication: got None; expected a number"),
        ({7: {**CLIENT_432802, "computation": "fast"}}, "client 7: computation: got 'fast'; expected a number"),
        ({7: {**CLIENT_432802, "computation": True}}, "client 7: computation: got True; expected a number"),
        ({7: {**CLIENT_432802, "computation": float("nan")}}, "client 7: computation: got nan; expected a number"),
        ({7: {**CLIENT_432802, "computation": 10**400}}, "client 7: computation: got 1000"),
        (
            {7: {**CLIENT_432802, "computation": 0}},
            "client 7: train_s_per_sample: got 0.0; expected a finite number above",
        ),
        (
            {7: {**CLIENT_432802, "communication": -1.0}},
            "client 7: rate_bps: got -1024.0; expected a finite number above",
        ),
    ],
)
def test_other_capacities_are_refused(tmp_path: Path, value: object, words: str) -> None:
    path = saved(tmp_path, value)
    with pytest.raises(ValueError, match=r"in\.pkl: ") as caught:
        read_fedscale_capacity(path)
    assert f"{path}: {words}" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({3834: CLIENT_432802}, "finish_time: got None; expected a number"),
        (changed(CLIENT_3834, finish_time=0), "finish_time: got 0; expected seconds above zero"),
        (changed(CLIENT_3834, active=12788), "active: got 12788; expected a list of seconds"),
        (changed(CLIENT_3834, active=["a"]), "active: got 'a'; expected a number"),
        (changed(CLIENT_3834, active=[1, 2]), "got 2 active and 8 inactive; expected as many of each"),
        (changed(CLIENT_3834, active=[5], inactive=[4]), "got active 5, inactive 4; expected zero or more, the second"),
        (changed(CLIENT_3834, active=[-5], inactive=[4]), "got active -5, inactive 4; expected zero or more"),
        (changed(CLIENT_3834, active=[[1]], inactive=[4]), "active: got [1]; expected a number"),
    ],
)
def test_other_availabilities_are_refused(tmp_path: Path, value: object, words: str) -> None:
    path = saved(tmp_path, value)
    with pytest.raises(ValueError, match=r"in\.pkl: ") as caught:
        read_fedscale_availability(path)
    assert f"{path}: client 3834: {words}" in str(caught.value)


def test_a_deep_or_endless_value_is_shown_in_short(tmp_path: Path) -> None:
    deep = tmp_path / "deep.pkl"
    deep.write_bytes(b"}K\x01" + b"]" * 50_000 + b"a" * 49_999 + b"s.")
    endless: list[object] = []
    endless.append(endless)
    for path in (deep, saved(tmp_path, {1: endless})):
        with pytest.raises(ValueError, match=r"client 1: got \[\[.*\.\.\..*\]\]; expected a dict"):
            read_fedscale_capacity(path)


@pytest.mark.parametrize("read", [read_fedscale_availability, read_fedscale_capacity])
def test_a_pickle_that_calls_something_is_refused(tmp_path: Path, read: Any) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch '{tmp_path}/touched'",)

    with pytest.raises(ValueError, match=r"got the name '(posix|nt) system'; expected plain data"):
        read(saved(tmp_path, changed(CLIENT_3834, model=Touch())))
    assert not (tmp_path / "touched").exists()


positive = st.floats(1e-6, 1e9)


@given(st.dictionaries(st.integers(0, 99).map(str), st.builds(Capacity, positive, positive), min_size=1))
def test_capacities_written_and_read_back(
    tmp_path_factory: pytest.TempPathFactory, devices: dict[str, Capacity]
) -> None:
    path = tmp_path_factory.mktemp("tables") / "capacity.csv"
    write_capacity(path, devices)
    assert read_capacity(path) == devices


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("a,0.1,5\na,0.1,5", "line 3: got 'a' again; expected one line a device"),
        ("a,0,5", "line 2: train_s_per_sample: got 0.0; expected a finite number above zero"),
        ("a,0.1,fast", "line 2: rate_bps: got 'fast'; expected a number"),
        ("a,0.1", "line 2: got 'a,0.1'; expected a name and numbers: device,train_s_per_sample,rate_bps"),
    ],
)
def test_a_broken_table_of_capacities_is_refused(tmp_path: Path, lines: str, words: str) -> None:
    path = tmp_path / "capacity.csv"
    path.write_text(f"device,train_s_per_sample,rate_bps\n{lines}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line") as caught:
        read_capacity(path)
    assert str(caught.value) == f"{path}: {words}"


def test_the_command_converts_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.csv"
    availability = {3834: CLIENT_3834, 107740: CLIENT_107740}
    assert main(["fedscale-availability", str(saved(tmp_path, availability)), str(out)]) == 0
    assert out.read_text(encoding="utf-8").splitlines()[:2] == [
        "device,start_s,end_s,period_s",
        "3834,12788,65881,518400",
    ]
    assert read_intervals(out) == read_fedscale_availability(tmp_path / "in.pkl")
    assert main(["fedscale-capacity", str(saved(tmp_path, {432802: CLIENT_432802})), str(out)]) == 0
    assert read_capacity(out) == read_fedscale_capacity(tmp_path / "in.pkl")
    assert capsys.readouterr().out == f"{out}: 2 devices\n{out}: 1 devices\n"


def test_the_command_tells_bad_input_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pkl = str(saved(tmp_path, [1]))
    cases: list[list[str]] = [[], ["other", pkl, "x"]]
    for name in COMMANDS:
        cases += [[name, pkl, str(tmp_path / "o")], [name, pkl, str(tmp_path)], [name, str(tmp_path / "none"), "x"]]
    for case in cases:
        assert main(case) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert "got" in err or "cannot be read" in err
    assert main(["fedscale-capacity", str(saved(tmp_path, {1: CLIENT_432802})), str(tmp_path)]) == 2
    assert "directory" in capsys.readouterr().err


def test_the_module_runs_as_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emulator.devices.traces", "fedscale-capacity", str(tmp_path / "none"), "out.csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path / 'none'}: cannot be read: {done.stderr.partition('cannot be read: ')[2]}"
    assert done.stderr.count("\n") == 1
