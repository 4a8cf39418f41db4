"""Broken scenarios: exit code 2, one message with file and key path, nothing written."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.cli import main
from emulator.scenario import scenarios_folder

GOOD: dict[str, Any] = yaml.safe_load((scenarios_folder() / "quickstart.yaml").read_text())


def changed(path: str, value: Any) -> str:
    """The quickstart with one thing changed; ``...`` takes the key away."""
    data: Any = yaml.safe_load(yaml.safe_dump(GOOD))
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    here = data
    for step in steps:
        here = here[step]
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return yaml.safe_dump(data)


GOOD_TEXT = yaml.safe_dump(GOOD)

BROKEN: dict[str, tuple[str | bytes, str, str]] = {
    # what: (text, key path, words)
    "unknown key": (changed("protocl", {}), "protocl", 'did you mean "protocol"'),
    "typo in a section": (changed("evaluate.evry", 2), "evaluate.evry", 'did you mean "every"'),
    "typo in a group": (changed("devices.0.profle", "x"), "devices[0].profle", 'did you mean "profile"'),
    "typo in a cell": (changed("network.cells.lte.uplnk", "6 Mbit/s"), "network.cells.lte.uplnk", 'did you mean "uplink"'),
    "typo in the protocol": (changed("protocol.round", 3), "protocol.round", 'did you mean "rounds"'),
    "typo in the partition": (changed("data.partition.alfa", 3), "data.partition.alfa", 'did you mean "alpha"'),
    "another protocol's setting": (changed("protocol.mu", 0.1), "protocol.mu", "unknown key"),
    "missing name": (changed("name", ...), "name", "missing"),
    "missing protocol": (changed("protocol", ...), "protocol", "missing"),
    "missing protocol name": (changed("protocol.name", ...), "protocol.name", "missing; got"),
    "missing rounds": (changed("protocol.rounds", ...), "protocol.rounds", "missing"),
    "missing data set": (changed("data.dataset", ...), "data.dataset", "missing"),
    "no device": (changed("devices", []), "devices", "at least 1"),
    "devices not a list": (changed("devices", 3), "devices", "got 3"),
    "missing unit": (changed("network.cells.lte.uplink", "20"), "network.cells.lte.uplink", 'with a unit, e.g. "20 Mbit/s"'),
    "number for a rate": (changed("network.cells.lte.uplink", 20), "network.cells.lte.uplink", "got 20; expected a rate"),
    "wrong unit": (changed("network.backhaul.latency", "5 Mbit/s"), "network.backhaul.latency", "expected a duration"),
    "misspelt unit": (changed("network.backhaul.rate", "5 mbit/s"), "network.backhaul.rate", 'did you mean "Mbit/s"'),
    "negative rate": (changed("devices.0.uplink", "-5 Mbit/s"), "devices[0].uplink", "expected a rate"),
    "zero rate": (changed("devices.0.downlink", "0 bit/s"), "devices[0].downlink", "above zero"),
    "zero count": (changed("devices.0.count", 0), "devices[0].count", "greater than or equal to 1"),
    "fractional count": (changed("devices.0.count", 1.5), "devices[0].count", "got 1.5"),
    "count as text": (changed("devices.0.count", "three"), "devices[0].count", "got 'three'"),
    "cohort larger than the fleet": (changed("protocol.cohort", 21), "protocol.cohort", "at most the fleet's 20"),
    "unknown profile": (changed("devices.0.profile", "raspbery-pi-4"), "devices[0].profile", 'did you mean "raspberry-pi-4"'),
    "unknown server profile": (changed("server.profile", "cloud"), "server.profile", "expected a profile"),
    "unknown data set": (changed("data.dataset", "cifar-10"), "data.dataset", 'did you mean "cifar10"'),
    "unknown model": (changed("model.name", "lenett"), "model.name", 'did you mean "lenet"'),
    "model that cannot take the images": (changed("model.name", "vgg11"), "model.name", "pixels a side; got 1x8x8"),
    "unknown protocol": (changed("protocol.name", "fedavgg"), "protocol.name", 'did you mean "fedavg"'),
    "unknown cell": (changed("devices.0.cell", "home-wfi"), "devices[0].cell", 'did you mean "home-wifi"'),
    "unknown partition": (changed("data.partition.kind", "random"), "data.partition", 'got "random"'),
    "partition without kind": (changed("data.partition.kind", ...), "data.partition", "kind"),
    "negative alpha": (changed("data.partition.alpha", -1), "data.partition.alpha", "got -1"),
    "epochs and steps": (changed("protocol.local_steps", 3), "protocol", "exclude each other"),
    "zero rounds": (changed("protocol.rounds", 0), "protocol.rounds", "got 0"),
    "rounds as text": (changed("protocol.rounds", "ten"), "protocol.rounds", "got 'ten'"),
    "negative learning rate": (changed("protocol.learning_rate", -0.1), "protocol.learning_rate", "greater than 0"),
    "not a number": (changed("protocol.learning_rate", float("nan")), "protocol.learning_rate", "finite"),
    "infinite": (changed("protocol.learning_rate", float("inf")), "protocol.learning_rate", "finite"),
    "momentum of one": (changed("protocol.momentum", 1), "protocol.momentum", "less than 1"),
    "validation share of one": (changed("evaluate.validation", 1.0), "evaluate.validation", "less than 1"),
    "stop without validation": (
        changed("stop", {"accuracy": 0.9}).replace("validation: 0.1", "validation: 0"), "stop.accuracy", "evaluate.validation",
    ),
    "accuracy above one": (changed("stop", {"accuracy": 95}), "stop.accuracy", "less than or equal to 1"),
    "slowdown without sigma": (changed("devices.1.slowdown", {"distribution": "lognormal"}), "devices[1].slowdown", "sigma"),
    "unknown distribution": (
        changed("devices.1.slowdown", {"distribution": "gauss"}), "devices[1].slowdown.distribution", "'lognormal'",
    ),
    "uniform upside down": (
        changed("devices.1.slowdown", {"distribution": "uniform", "low": 3.0, "high": 1.0}),
        "devices[1].slowdown", "above high",
    ),
    "more devices than samples": (changed("devices.0.count", 5000), "devices", "training samples"),
    "more test samples than there are": (changed("evaluate.samples", 5000), "evaluate.samples", "360 test samples"),
    "zero actors": (changed("actors", {"devices_per_actor": 0}), "actors.devices_per_actor", 'expected "auto"'),
    "negative seed": (changed("seed", -1), "seed", "got -1"),
    "name with a slash": (changed("name", "a/b"), "name", "got 'a/b'"),
    "null section": (changed("data", None), "data", "got None"),
    "empty file": ("", "", "the file is empty"),
    "only a comment": ("# nothing\n", "", "the file is empty"),
    "a list": ("- 1\n- 2\n", "", "got list; expected a mapping"),
    "a word": ("hello\n", "", "got str; expected a mapping"),
    "not YAML": ("name: [1, 2\n", "", "not a scenario in YAML"),
    "a tab": ("name:\n\t- x\n", "", "line 2"),
    "duplicate key": (GOOD_TEXT + "seed: 8\n", "", 'duplicate key "seed"'),
    "duplicate key inside": ("name: x\nprotocol: {rounds: 1, rounds: 2}\n", "", 'duplicate key "rounds"'),
    "a Python object": ("name: !!python/object/apply:os.system ['true']\n", "", "tags are refused"),
    "an unknown tag": ("name: !secret x\n", "", "tags are refused"),
    "two documents": (GOOD_TEXT + "---\nname: second\n", "", "2 YAML documents"),
    "a number as key": (GOOD_TEXT + "3: x\n", "", "key 3 is not text"),
    "not UTF-8": (b"name: \xff\xfe\n", "", "not UTF-8"),
}  # fmt: skip


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("emulator: error: ")
    assert told.err.count("\n") == 1, told.err
    assert "Traceback" not in told.err
    return told.err


@pytest.mark.parametrize("what", list(BROKEN))
@pytest.mark.parametrize("command", ["run", "check"])
def test_broken(what: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, place, words = BROKEN[what]
    file = tmp_path / "broken.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    out = tmp_path / "results"
    message = refused([command, str(file), *(["--inline", "--out", str(out)] if command == "run" else [])], capsys)
    assert f"broken.yaml: {place}" in message
    assert words.replace('"', "'") in message.replace('"', "'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.yaml"]


def test_there_are_enough_of_them() -> None:
    assert len(BROKEN) >= 60


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["run", "."], "is a folder"),
        (["run", "quickstart", "protocol.round=1"], 'did you mean "rounds"'),
        (["run", "quickstart", "protocol"], "expected key=value"),
        (["run", "quickstart", "devices[7].count=1"], "the list has 3 entries"),
        (["run", "quickstart", "name.first=x"], "there is nothing under"),
        (["run", "quickstart", "protocol.rounds=[1"], "the value is not YAML"),
        (["run", "quickstart", "--decisions", "x"], "--decisions goes with --timing-only"),
        (["run", "quickstart", "--inline", "--timing-only"], "--inline excludes"),
        (["run", "quickstart", "--fast"], "unknown argument --fast"),
        (["run", "quickstart", "--timing-only", "--decisions", "nowhere"], "nowhere"),
        (["list", "profile"], 'did you mean "profiles"'),
        (["list", "profiles", "pi"], "expected a profile"),
        (["list", "models", "mlp"], "only a profile"),
        (["fetch", "imagenet"], "expected a data set"),
        (["fly"], "invalid choice"),
        ([], "required"),
    ],
)
def test_wrong_command_lines(words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "results")] if words[:1] == ["run"] else []
    assert says in refused([*words, *out], capsys)
    assert not (tmp_path / "results").exists()
