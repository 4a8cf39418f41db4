"""Broken words about availability, load, charge, completeness, outages and memory: exit code 2, one line, nothing written."""

from contextlib import chdir
from pathlib import Path

import pytest

from emulator.cli import main
from tests.scenario.worlds import BASE, swapped

HEADER = "device,start_s,end_s\n"
FILES = {
    "empty.csv": "", "header.csv": HEADER, "word.csv": HEADER + "a,0,10\na,ten,20\n",
    "order.csv": HEADER + "a,5,10\na,0,3\n", "cells.csv": HEADER + "a,5\n", "rates.csv": "time,rate\n1,2\n",
    "negative.csv": HEADER + "a,-5,10\n", "endless.csv": HEADER + "a,0,inf\n", "backwards.csv": HEADER + "a,9,3\n",
    "period.csv": "device,start_s,end_s,period_s\na,0,10,5\n", "good.csv": HEADER + "a,0,10\n",
}  # fmt: skip

# what stands in a group -> (the key's path below the group, what the message says)
GROUP = {
    "availability: markov": ("availability: ", "got 'markov'; expected a mapping"),
    "availability: {}": ("availability: ", "with its kind: always, diurnal, markov, trace"),
    "availability: {mean_on: 1 s}": ("availability: ", "with its kind: always, diurnal, markov, trace"),
    "availability: {kind: markow, mean_on: 1 s}": ("availability.kind: ", 'got "markow"; expected a kind: '),
    "availability: {kind: merkov, mean_on: 1 s}": ("availability.kind: ", 'did you mean "markov"?'),
    "availability: {kind: markov, mean_off: 1 s}": ("availability.mean_on: ", "missing"),
    "availability: {kind: markov, mean_on: 0 s, mean_off: 1 s}": ("availability.mean_on: ", "above zero"),
    "availability: {kind: markov, mean_on: -1 s, mean_off: 1 s}": ("availability.mean_on: ", 'got "-1 s"; expected'),
    "availability: {kind: markov, mean_on: 10, mean_off: 1 s}": ("availability.mean_on: ", "a duration with a unit"),
    "availability: {kind: markov, mean_on: 10 MB, mean_off: 1 s}": ("availability.mean_on: ", "units: s, ms"),
    "availability: {kind: markov, mean_on: 1 us, mean_off: 1 s}": ("availability.mean_on: ", "from 1 ms to 1e+09 s"),
    "availability: {kind: markov, mean_on: 1 s, mean_off: 1e300 s}": ("availability.mean_off: ", "from 1 ms to"),
    "availability: {kind: markov, mean_on: 1 s, mean_of: 1 s}": ("availability.mean_of: ", 'did you mean "mean_off"?'),
    "availability: {kind: diurnal, length: 24 h}": ("availability: ", "got a length of 86400 s in a period of 86400 s"),
    "availability: {kind: diurnal, period: 6 h}": ("availability: ", "expected less than the period"),
    "availability: {kind: diurnal, length: 0 s}": ("availability.length: ", "above zero"),
    "availability: {kind: diurnal, period: 1 ns, length: 0.1 ns}": ("availability.length: ", "from 1 ms to"),
    "availability: {kind: diurnal, start: -1 h}": ("availability.start: ", 'got "-1 h"'),
    "availability: {kind: diurnal, start: '22:00'}": ("availability.start: ", 'got "22:00"'),
    "availability: {kind: diurnal, spread: 1}": ("availability.spread: ", "got 1; expected a duration with a unit"),
    "availability: {kind: always, start: 1 h}": ("availability.start: ", "unknown key; expected one of kind"),
    "availability: {kind: trace}": ("availability.file: ", "missing"),
    "availability: {kind: trace, file: 5}": ("availability.file: ", "got 5; expected text"),
    "availability: {kind: trace, file: no.csv}": ("availability: ", "no.csv: cannot be read: No such file"),
    "availability: {kind: trace, file: .}": ("availability: ", "cannot be read: Is a directory"),
    "availability: {kind: trace, file: empty.csv}": (
        "availability: ",
        "empty.csv: line 1: got ''; expected the header",
    ),
    "availability: {kind: trace, file: header.csv}": ("availability: ", "header.csv: got no rows; expected lines of"),
    "availability: {kind: trace, file: word.csv}": (
        "availability: ",
        "word.csv: line 3: start_s: got 'ten'; expected a",
    ),
    "availability: {kind: trace, file: order.csv}": ("availability: ", "order.csv: line 3: got a span from 0 s after"),
    "availability: {kind: trace, file: cells.csv}": ("availability: ", "cells.csv: line 2: got 'a,5'; expected a name"),
    "availability: {kind: trace, file: rates.csv}": ("availability: ", "rates.csv: line 1: got 'time,rate'; expected"),
    "availability: {kind: trace, file: negative.csv}": ("availability: ", "expected ascending spans from zero on"),
    "availability: {kind: trace, file: endless.csv}": ("availability: ", "end_s: got 'inf'; expected a number"),
    "availability: {kind: trace, file: backwards.csv}": ("availability: ", "expected an end after its start"),
    "availability: {kind: trace, file: period.csv}": ("availability: ", "within the period of 5 s"),
    "availability: {kind: trace, file: good.csv, sha256: abc}": (
        "availability: ",
        "expected abc: the file has changed",
    ),
    "availabilty: {kind: always}": ("availabilty: ", 'did you mean "availability"?'),
    "load: 0.5": ("load: ", "got 0.5; expected a mapping"),
    "load: {mean_idle: 1 s, mean_busy: 1 s}": ("load.speed: ", "missing"),
    "load: {mean_idle: 1 s, mean_busy: 1 s, speed: 0}": ("load.speed: ", "got 0; expected a number above 0"),
    "load: {mean_idle: 1 s, mean_busy: 1 s, speed: 1.5}": ("load.speed: ", "expected a number at most 1"),
    "load: {mean_idle: 1, mean_busy: 1 s, speed: 0.5}": ("load.mean_idle: ", "a duration with a unit"),
    "load: {mean_idle: 1 s, mean_busy: 1 ns, speed: 0.5}": ("load.mean_busy: ", "from 1 ms to"),
    "load: {mean_idle: 1 s, mean_bussy: 1 s, speed: 1}": ("load.mean_bussy: ", 'did you mean "mean_busy"?'),
    "charge: 0": ("charge: ", "got 0; expected a number above 0"),
    "charge: 1.5": ("charge: ", "got 1.5; expected a number at most 1"),
    "charge: 50 %": ("charge: ", "got '50 %'; expected a number"),
    "charge: .nan": ("charge: ", "expected a finite number"),
    "completeness: 0.5": ("completeness: ", "got 0.5; expected a mapping"),
    "completeness: {high: 0.5}": ("completeness.low: ", "missing"),
    "completeness: {low: 0}": ("completeness.low: ", "got 0; expected a number above 0"),
    "completeness: {low: 0.8, high: 0.2}": ("completeness: ", "got low 0.8 above high 0.2; expected low to high"),
    "completeness: {low: 0.5, high: 1.5}": ("completeness.high: ", "expected a number at most 1"),
    "outages: {mean_up: 1 s, mean_down: 1 s}": ("outages: ", "unknown key; expected one of"),
}
# what stands in a cell
CELL = {
    "outages: true": ("outages: ", "got True; expected a mapping"),
    "outages: {mean_up: 1 s}": ("outages.mean_down: ", "missing"),
    "outages: {mean_up: 1 s, mean_down: 0 s}": ("outages.mean_down: ", "above zero"),
    "outages: {mean_up: 10, mean_down: 1 s}": ("outages.mean_up: ", "a duration with a unit"),
    "outages: {mean_up: 1 us, mean_down: 1 s}": ("outages.mean_up: ", "from 1 ms to"),
    "outages: {mean_up: 1 s, mean_dwon: 1 s}": ("outages.mean_dwon: ", 'did you mean "mean_down"?'),
    "outage: {mean_up: 1 s, mean_down: 1 s}": ("outage: ", 'did you mean "outages"?'),
}
# what stands at the top
TOP = {
    "on_out_of_memory: ignore": ("on_out_of_memory: ", "got 'ignore'; expected 'fail' or 'exclude'"),
    "on_out_of_memory: true": ("on_out_of_memory: ", "got True; expected"),
    "on_out_of_memry: fail": ("on_out_of_memry: ", 'did you mean "on_out_of_memory"?'),
}
ROAMING = """\
    home-wifi: {sharing: airtime, radio: {}}
    yard: {sharing: airtime, radio: {}, outages: {mean_up: 1 h, mean_down: 1 min}}
"""
HOME = "    home-wifi: {uplink: 20 Mbit/s, downlink: 40 Mbit/s, latency: 5 ms}\n"
CASES = [
    (
        swapped(HOME, ROAMING).replace("cell: home-wifi}", "cell: home-wifi, mobility: {cells: [home-wifi, yard]}}"),
        "devices[0].",
        "mobility.cells: ",
        "got yard, which has outages; expected cells without",
    ),
    *((swapped("cell: home-wifi}", f"cell: home-wifi, {key}}}"), "devices[0].", *said) for key, said in GROUP.items()),
    *(
        (swapped("latency: 5 ms}\n  b", f"latency: 5 ms, {key}}}\n  b"), "network.cells.home-wifi.", *said)
        for key, said in CELL.items()
    ),
    *((f"{BASE}{key}\n", "", *said) for key, said in TOP.items()),
]


@pytest.mark.parametrize(("text", "above", "place", "says"), CASES, ids=["handed over", *GROUP, *CELL, *TOP])
def test_broken_conditions(
    text: str, above: str, place: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, words in {**FILES, "broken.yaml": text}.items():
        (tmp_path / name).write_text(words, encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    with chdir(tmp_path):
        code = main(["run", "broken.yaml", "--inline", "--out", "runs"])
    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert told.err.startswith(f"emulator: error: broken.yaml: {above}{place}"), told.err
    assert says in told.err
    assert told.err.count("\n") == 1
    assert len(told.err) < 600
    assert sorted(tmp_path.iterdir()) == before
