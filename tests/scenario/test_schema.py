"""The JSON Schema, judged by an independent validator."""

import json
from typing import Any

import jsonschema
import pytest

from emulator.reading import read_scenario
from emulator.scenario import shipped_files
from emulator.schema import known_keys, schema
from emulator.yaml_text import load
from tests.scenario import worlds
from tests.scenario.test_broken import CASES

SHIPPED = shipped_files()
# What a schema cannot tell: two keys together, sizes of data sets, values beyond JSON, what is wrong as YAML only.
BEYOND = {
    "unknown cell", "cell without cells", "zero rate", "stop at zero", "endless rate", "an exponent that fills memory",
    "not a number", "overflowing",
    "slowdown without figure", "slowdown's wrong figure", "slowdown upside down", "cohort larger than fleet",
    "more devices than samples", "more samples than there are", "more tests than there are", "shares too small",
    "too many shards", "epochs and steps", "stop without validation", "model too large for the images",
    "a site that is not there", "airtime without rates", "bands without a radio", "shared without capacity",
    "half-duplex wires", "frames too long", "a radio beside rates", "frequency out of the model's range",
    "radius out of the model's range", "a strange figure for a model", "a noise figure below zero", "no such fading",
    "no coherence", "everybody out of reach", "a distance without a radio", "a trace that is not there",
    "an edge protocol without edges", "a hand-over to nowhere",
    "a share of nobody knows how many", "shares that do not sum up", "counts that leave none",
    "counts that sum to another number", "a figure that the profile lacks", "a factor on what the cell decides",
    "a factor on a radio's rate", "a draw that leaves no memory", "a Zipf law without ranks", "values from nowhere",
    "a file of values that is not there", "a profile that is not there", "a digest of a shipped profile",
    "a fleet beside other devices",
    "a cut for no split", "weights that are not there", "a root for embedded data",
}  # fmt: skip
YAML_ALONE = list(CASES)[list(CASES).index("empty file") :]


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


def test_it_is_json() -> None:
    assert json.loads(json.dumps(schema(), allow_nan=False)) == schema()


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: str(path.stem))
def test_it_takes_the_shipped_scenarios(file: Any, validator: Any) -> None:
    validator.validate(load(file.read_text()))
    validator.validate(read_scenario(str(file)).resolved())


def test_it_takes_every_optional_block(validator: Any) -> None:
    validator.validate(worlds.data())


@pytest.mark.parametrize("name", [name for name in CASES if name not in BEYOND and name not in YAML_ALONE])
def test_it_refuses_what_reading_refuses(name: str, validator: Any) -> None:
    assert not validator.is_valid(load(CASES[name].text))


@pytest.mark.parametrize("name", sorted(BEYOND))
def test_what_is_said_to_be_beyond_it_is(name: str, validator: Any) -> None:
    assert validator.is_valid(load(CASES[name].text))


def test_it_helps_editors() -> None:
    found = schema()
    assert "digits" in found["$defs"]["DataSettings"]["properties"]["dataset"]["enum"]
    assert "lenet" in found["$defs"]["ModelSettings"]["properties"]["name"]["enum"]
    assert "raspberry-pi-4" in found["$defs"]["DeviceGroup"]["properties"]["profile"]["anyOf"][0]["enum"]
    assert [part["properties"]["name"]["const"] for part in found["properties"]["protocol"]["oneOf"]][:1] == ["fedavg"]
    rate = found["$defs"]["BackhaulSettings"]["properties"]["rate"]["anyOf"][0]
    assert (rate["type"], rate["examples"]) == ("string", ["20 Mbit/s"])


@pytest.mark.parametrize(
    ("keys", "protocol", "some"),
    [
        ((), None, {"name", "seed", "devices"}),
        (("devices", 0), None, {"profile", "count", "cell"}),
        (("devices", 1, "slowdown"), None, {"distribution", "sigma"}),
        (("devices", 0, "vary", "memory"), None, {"distribution", "factor"}),
        (("data", "partition", "dirichlet"), None, {"kind", "alpha"}),
        (("network", "cells", "lte"), None, {"uplink", "downlink", "latency"}),
        (("protocol",), "fedprox", {"name", "rounds", "mu"}),
    ],
)
def test_known_keys(keys: tuple[int | str, ...], protocol: str | None, some: set[str]) -> None:
    assert some <= set(known_keys(keys, protocol))
