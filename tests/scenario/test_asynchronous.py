"""Asynchronous protocols in scenarios: every refusal with its reason, what check tells, what does not fit a device."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from emulator.cli import main
from emulator.memory_check import needs
from emulator.preparation import prepare
from emulator.protocols.base import Rounds
from emulator.protocols.catalogue import PROTOCOLS
from emulator.reading import ScenarioError, read_scenario
from tests.scenario import worlds

BASIC = {"rounds": 2, "concurrency": 3, "learning_rate": 0.1}
OWN: dict[str, dict[str, Any]] = {"fedasync": {}, "fedbuff": {"buffer": 2}, "semi_async": {"window_s": 1.0}}


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """Three devices on the MLP, which has two blocks."""
    file = tmp_path / "tiny.yaml"
    file.write_text(worlds.BASE)
    return str(file)


def block(name: str, **changes: Any) -> str:
    given = {**BASIC, **OWN[name.removeprefix("split_").removeprefix("frozen_")], **changes}
    words = ", ".join(f"{key}: {value}" for key, value in given.items() if value is not None)
    return f"protocol={{name: {name}, {words}}}"


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "more at work than there are": (
        "fedasync", {"concurrency": 4}, "protocol.concurrency: got 4; expected at most the fleet's 3 devices",
    ),
    "a buffer of more than there are": (
        "fedbuff", {"buffer": 4}, "protocol.buffer: got 4; expected at most the fleet's 3 devices",
    ),
    "nobody at work": ("fedasync", {"concurrency": 0}, "protocol.concurrency: "),
    "no concurrency": ("fedasync", {"concurrency": None}, "protocol.concurrency: "),
    "an empty buffer": ("fedbuff", {"buffer": 0}, "protocol.buffer: "),
    "no rounds": ("fedbuff", {"rounds": 0}, "protocol.rounds: "),
    "a cohort, which rounds alone have": ("fedasync", {"cohort": 2}, "protocol.cohort: "),
    "a buffer for one at a time": ("fedasync", {"buffer": 2}, "protocol.buffer: "),
    "no window": ("semi_async", {"window_s": None}, "protocol.window_s: "),
    "a window of no time": ("semi_async", {"window_s": 0}, "protocol.window_s: "),
    "a window before now": ("semi_async", {"window_s": -1.5}, "protocol.window_s: "),
    "a window that never ends": ("semi_async", {"window_s": ".inf"}, "protocol.window_s: "),
    "another way with empty windows": ("semi_async", {"empty": "fail"}, "protocol.empty: "),
    "mixing nothing in": ("fedasync", {"mixing": 0}, "protocol.mixing: "),
    "mixing more than all": ("fedasync", {"mixing": 1.1}, "protocol.mixing: "),
    "a negative proximal term": ("fedasync", {"rho": -0.1}, "protocol.rho: "),
    "a server that stands still": ("fedbuff", {"server_learning_rate": 0}, "protocol.server_learning_rate: "),
    "another weighting": ("fedbuff", {"weighting": "loud"}, "protocol.weighting: "),
    "another function of staleness": ("fedasync", {"staleness": "{kind: cubic}"}, "protocol.staleness"),
    "a figure of another function": ("fedasync", {"staleness": "{kind: polynomial, b: 4}"}, "protocol.staleness"),
    "a constant that falls": ("fedbuff", {"staleness": "{kind: constant, a: 1}"}, "protocol.staleness"),
    "staleness that weighs more": ("fedbuff", {"staleness": "{kind: polynomial, a: -1}"}, "protocol.staleness"),
    "a hinge before now": ("fedbuff", {"staleness": "{kind: hinge, b: -1}"}, "protocol.staleness"),
    "epochs and steps": ("fedbuff", {"local_epochs": 1, "local_steps": 2}, "exclude each other"),
    "feedback of nothing": ("fedbuff", {"error_feedback": "true"}, "error_feedback: got true"),
    "a proximal term without all of the model": ("split_fedasync", {"rho": 0.1}, "protocol.rho: "),
    "no cut": ("split_fedbuff", {}, "model.cut: got none; expected 1"),
    "a gradient to a frozen front": (
        "frozen_fedasync", {"cut_gradient": "{codec: fp16}"}, "cut_gradient: got fp16; expected none",
    ),
    "updates of a frozen front": (
        "frozen_fedbuff", {"update_codec": "{codec: fp16}"}, "update_codec: got fp16; expected none",
    ),
    "weights for a frozen front": (
        "frozen_semi_async", {"weights_codec": "{codec: fp16}"}, "weights_codec: got fp16; expected none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tiny: str) -> None:
    name, changes, words = REFUSED[case]
    with pytest.raises(ScenarioError) as caught:
        read_scenario(tiny, [block(name, **changes)])
    assert words in str(caught.value)


def test_a_frozen_front_has_one_cut() -> None:
    cuts = ["model.cut=2", "devices[0].cut=2", "devices[1].cut=3"]
    with pytest.raises(
        ScenarioError, match=r"devices\[1\].cut: got 3 beside 2; expected one cut for all, as the server"
    ):
        read_scenario("ecofed_small", [*cuts, block("frozen_fedasync")])
    assert read_scenario("ecofed_small", [*cuts, block("split_fedasync")]).cuts == [2, 3]


def test_unfinished_work_is_for_whole_models(tiny: str) -> None:
    part = "devices[0].completeness={low: 0.5, high: 1.0}"
    read_scenario(tiny, [part, block("fedasync")])
    with pytest.raises(ScenarioError, match=r"devices\[0\].completeness: got 0.5 to 1"):
        read_scenario(tiny, [part, "model.cut=1", block("split_fedasync")])


@pytest.mark.parametrize("name", OWN)
def test_settings_are_without_those_of_rounds(name: str) -> None:
    fields = PROTOCOLS[name].settings.model_fields
    assert {"rounds", "concurrency", "staleness", "learning_rate", "update_codec"} <= set(fields)
    assert "cohort" not in fields
    with pytest.raises(ValidationError):
        PROTOCOLS[name].settings(**{**BASIC, **OWN[name], "cohort": 3})


@pytest.mark.parametrize("name", [f"{training}{rule}" for training in ("", "split_", "frozen_") for rule in OWN])
def test_memory_is_looked_at_on_every_device(name: str, tiny: str) -> None:
    """The slow phone's step counts, too, although the boards come several times before it."""
    cut = [] if name in OWN else ["model={name: cnn, cut: 2, batch_statistics: true}"]
    plan = prepare(read_scenario(tiny, [block(name), *cut])).plan
    assert isinstance(plan.settings, Rounds)
    found = needs(plan, plan.settings)
    assert found is not None
    assert all(device.shelf is not None and device.shelf.largest is not None for device in found[0])


def test_check_tells_the_first_aggregation(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", tiny, block("fedbuff")]) == 0
    out = capsys.readouterr().out
    assert "first of 2 rounds, 3 devices: " in out
    assert "memory of the largest step" in out


def test_the_shipped_scenario_learns(tmp_path: Path) -> None:
    """On the clock alone: fifty aggregations of five, phones among them, late."""
    assert main(["run", "async_small", "--timing-only", "--out", str(tmp_path)]) == 0
    rows = next(tmp_path.rglob("rounds.csv")).read_text().splitlines()
    assert len(rows) == 51
    assert {"staleness", "staleness_max", "merged", "in_flight"} <= set(rows[0].split(","))
