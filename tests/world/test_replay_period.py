"""EcoFed's adaptive replay period: the rule by hand, decisions that replay, refusals."""

import json
from contextlib import chdir
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from emulator.cli import main
from emulator.deciding import DecisionMissing
from emulator.learning.sgd import Problem
from emulator.protocols.ecofed import EcoFedSettings, ecofed
from emulator.protocols.replay_period import Schedule
from emulator.reading import ScenarioError, read_scenario
from emulator.tasks import ProtocolError
from emulator.yaml_text import dump
from tests.scenario import worlds
from tests.worlds import CNN, fleet, plan, play, time_only

COMMON: dict[str, Any] = {"rounds": 1, "cohort": 3, "learning_rate": 0.05, "replay_period": "adaptive"}


def settings(**changes: Any) -> EcoFedSettings:
    return EcoFedSettings(**COMMON | changes)


def sent(schedule: Schedule, accuracies: list[float], rounds: int) -> list[int]:
    """The update rounds, with what each look sees."""
    seen = iter(accuracies)
    found = []
    for number in range(rounds):
        if schedule.wants(number):
            schedule.look(next(seen), 0.0)
        if schedule.due(number):
            found.append(number)
    return found


def test_the_rule_by_hand() -> None:
    """Looks before rounds 0, 4, 8, ...; periods from then on, with what was gained in brackets.

    0: 1; 4: 1 (0.4); 8: 2 (0.05), last sent in 7, so 9 and 11; 12: 4 (0.005), so 15; 16: 8 (0.0005), so 23; 20: 8 (lost);
    24: 1 (0.2), and at once.
    """
    accuracies = [0.1, 0.5, 0.55, 0.555, 0.5555, 0.5, 0.7]
    found = sent(Schedule(settings(adapt_every=4)), accuracies, 27)
    assert found == [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 15, 23, 24, 25, 26]


def test_a_loss_gains_by_falling() -> None:
    schedule = Schedule(settings(adapt_every=4, bands=[0.5], periods=[1, 3], gain_of="loss"))
    schedule.look(0.0, 2.0)
    schedule.look(0.0, 1.6)
    assert schedule.period == 3
    schedule.look(0.0, 1.0)
    assert schedule.period == 1


@pytest.mark.parametrize("period", [1, 2, 3, 8])
def test_a_fixed_period_never_looks(period: int) -> None:
    schedule = Schedule(settings(replay_period=period))
    assert not schedule.wants(0)
    assert sent(schedule, [], 20) == list(range(0, 20, period))


def test_a_run_follows_its_decisions_and_the_clock_alone_replays_them() -> None:
    """Looks before rounds 0, 2, 4, 6; two bands that split what this run gains; the schedule again from what was read."""
    chosen = settings(rounds=8, adapt_every=2, bands=[0.1, 0.02], periods=[1, 2, 3], batch_size=16)
    blueprint = plan(ecofed, chosen, fleet(5), problem=Problem(CNN.model, CNN.normalise, 2))
    played = play(blueprint)
    reads = [decision.value for decision in played.decisions]
    accuracies = [seen[0] for seen in reads]  # type: ignore[index]
    assert len(accuracies) == 4 and all(0 <= accuracy <= 1 for accuracy in accuracies)
    assert accuracies[1:] == pytest.approx([played.rounds[number].validation_accuracy for number in (1, 3, 5)])
    gains = [after - before for before, after in pairwise(accuracies)]
    periods = [1, *(1 if gain >= 0.1 else 2 if gain >= 0.02 else 3 for gain in gains)]
    assert [row.metrics["replay_period"] for row in played.rounds] == [period for period in periods for _ in range(2)]
    updates = [number for number, row in enumerate(played.rounds) if row.metrics["updated"]]
    assert updates == sent(Schedule(chosen), accuracies, 8)
    assert time_only(blueprint, played.decisions).events == played.events
    with pytest.raises(DecisionMissing, match="decides on data"):
        time_only(blueprint)


def test_without_validation_data_there_is_nothing_to_look_at() -> None:
    blueprint = plan(ecofed, settings(), fleet(3), problem=Problem(CNN.model, CNN.normalise, 2))
    from dataclasses import replace

    with pytest.raises(ProtocolError, match="no sample held out"):
        play(replace(blueprint, observation=replace(blueprint.observation, validation_samples=0)))


def written(folder: Path) -> Path:
    protocol = {
        **COMMON,
        "name": "ecofed",
        "rounds": 4,
        "adapt_every": 2,
    }
    text = {**worlds.data(), "model": {"name": "cnn", "cut": 2}, "protocol": protocol}
    (folder / "a.yaml").write_text(dump(text))
    return folder / "a.yaml"


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chdir(tmp_path):
        written(tmp_path)
        assert main(["run", "a.yaml", "--timing-only"]) == 2
        told = capsys.readouterr().err
        assert "--decisions RUN" in told and told.count("\n") == 1
        assert main(["run", "a.yaml", "--inline", "--json"]) == 0
        first = json.loads(capsys.readouterr().out)
        folder = next((tmp_path / "results" / "tiny").iterdir())
        assert main(["run", "a.yaml", "--timing-only", "--decisions", str(folder), "--json"]) == 0
        again = json.loads(capsys.readouterr().out)
        assert again["events_sha256"] == first["events_sha256"]
        assert main(["check", "a.yaml"]) == 0
        assert "decides on data, so its traffic shows when it runs" in capsys.readouterr().out
        assert read_scenario(str(folder / "scenario.yaml"), []).sha256() == first["scenario_sha256"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"replay_period": 0}, "replay_period: got 0; expected 1 or more, or adaptive"),
        ({"replay_period": 2, "bands": [0.1]}, r"bands: got \[0.1\] beside replay_period 2; expected none"),
        ({"replay_period": 2, "adapt_every": 3}, "adapt_every: got 3 beside replay_period 2"),
        ({"bands": [0.1, 0.2, 0.3]}, "bands: got .*expected gains that fall"),
        ({"periods": [1, 2]}, "periods: got .*expected 4 of 1 or more"),
    ],
)
def test_rules_that_cannot_be(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(**changes)


def test_a_scenario_without_validation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"evaluate.validation: got 0; expected above 0, as ecofed decides on"):
        read_scenario(str(written(tmp_path)), ["evaluate.validation=0.0"])
