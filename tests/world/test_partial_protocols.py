"""All protocols of partial training: bytes to the byte, FedAvg where nothing is cut, devices that go, the same everywhere."""

from typing import Any

import pytest

from emulator.blueprint import Blueprint
from emulator.devices.condition import Condition
from emulator.devices.intervals import Intervals
from emulator.learning.mask import told_bytes
from emulator.learning.models.layers import kept_of
from emulator.learning.submodel import Submodel
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from tests.ray_worlds import on_cluster, on_ray, same
from tests.worlds import CNN, MLP, Played, fleet, living_handles, plan, play, time_only

SAMPLES = (40, 33, 17, 1, 52)
COMMON: dict[str, Any] = {"rounds": 3, "cohort": 5, "learning_rate": 0.1, "batch_size": 16, "momentum": 0.5}
# Two of the five are slow.
GROUPS = [*fleet(3, flop_per_s=1e7), *fleet(2, flop_per_s=2e6)]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("elfish", {}),
    ("elfish", {"download": "full", "selection": "round_robin"}),
    ("elfish", {"aggregation": "P", "selection": "random", "volume": 0.3}),
    ("elfish", {"selection": "fixed"}),
    ("heterofl", {"levels": [1.0, 0.5, 0.25]}),
    ("heterofl", {"aggregation": "H", "assignment": "drawn"}),
    ("fjord", {"levels": [0.2, 0.4, 0.6, 0.8, 1.0]}),
    ("federated_dropout", {"volume": 0.5}),
    ("federated_dropout", {"volume": 0.25, "download": "full", "shared": True}),
]


def world(name: str, settings: dict[str, Any], **changes: Any) -> Blueprint:
    entry = PROTOCOLS[name]
    given: dict[str, Any] = {"problem": MLP, "samples": SAMPLES} | changes
    return plan(entry.run, entry.settings(**COMMON | settings), GROUPS, **given)


# ---- bytes -----------------------------------------------------------------------------------------------------------


def moved(played: Played, kind: str) -> dict[tuple[int, str], int]:
    """Bytes by round and device."""
    rows = [row for row in played.events if row.verb == "send" and row.kind == kind]
    return {(row.round, row.node if kind == "update" else str(row.peer)): row.bytes for row in rows}


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_bytes_are_those_of_the_kept_entries_and_the_mask(name: str, settings: dict[str, Any]) -> None:
    """Exact: k of the MLP's 128 neurons are 64 k weights and k biases, 10 k weights behind them and 10 biases, of 4 bytes.

    The mask of k of 128 travels where the device cuts: a bitmap of 16 bytes, or k positions of 7 bits.
    """
    played = time_only(world(name, settings))
    up, down, masks = (moved(played, kind) for kind in ("update", "weights", "mask"))
    assert set(up) == set(down)
    counts = {key: (size // 4 - 10) // 75 for key, size in up.items()}
    assert up == {key: 4 * (75 * count + 10) for key, count in counts.items()}
    assert min(counts.values()) < 128
    if settings.get("download") == "full":
        assert set(down.values()) == {4 * (75 * 128 + 10)}
        cut = {key: count for key, count in counts.items() if count < 128}
        assert masks == {key: min(16, -(-count * 7 // 8)) for key, count in cut.items()}
        assert masks == {key: told_bytes(Submodel(MLP.model, (count,))) for key, count in cut.items()}
    else:
        assert down == up
        assert masks == {}
    assert sum(row.uplink_bytes for row in played.rounds) == sum(up.values())
    assert sum(row.downlink_bytes for row in played.rounds) == sum(down.values()) + sum(masks.values())
    assert sum(row.overhead_bytes for row in played.rounds) == 0
    allowed = {kept_of(128, level) for level in settings.get("levels", [])} or set(range(1, 129))
    assert set(counts.values()) <= allowed


def test_levels() -> None:
    """By pace: slow devices have a fifth of the speed; the largest level at which they keep it. Drawn: the same every round."""
    counts = moved(time_only(world("heterofl", {"levels": [1.0, 0.5, 0.1], "aggregation": "P"})), "update")
    assert counts[1, "device-0000"] == 4 * (75 * 128 + 10)
    # T of the fast: 33 samples 0.1335 and 40 samples 0.1618 + 0.0384 s; 52 samples at a fifth: 0.1 of it 0.107 s, 0.5 0.53 s.
    assert counts[1, "device-0004"] == 4 * (75 * 13 + 10)
    drawn = moved(time_only(world("heterofl", {"assignment": "drawn"})), "update")
    assert all(drawn[1, name] == drawn[2, name] == drawn[3, name] for number, name in drawn if number == 1)
    widths = moved(time_only(world("fjord", {"levels": [0.25, 0.5, 0.75, 1.0], "rounds": 12})), "update")
    assert len({size for (_, name), size in widths.items() if name == "device-0000"}) == 4


# ---- where nothing is cut ------------------------------------------------------------------------------------------------


WHOLE: list[tuple[str, dict[str, Any]]] = [
    ("heterofl", {"levels": [1.0]}),
    ("heterofl", {"levels": [1.0], "assignment": "drawn", "download": "full"}),
    ("fjord", {"levels": [1.0]}),
    ("federated_dropout", {"volume": 1.0}),
    ("federated_dropout", {"volume": 1.0, "aggregation": "H", "download": "full"}),
]


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [*((*case, MLP) for case in WHOLE), *((*WHOLE[number], CNN) for number in (1, 2, 3))],
)
def test_with_nothing_cut_it_is_fedavg_to_the_bit(name: str, settings: dict[str, Any], problem: Any) -> None:
    plain = play(plan(fedavg, FedAvgSettings(**COMMON), GROUPS, samples=SAMPLES, problem=problem))
    found = play(world(name, settings, problem=problem))
    assert found.end.weights_sha256 == plain.end.weights_sha256
    assert found.events == plain.events


# ---- the same everywhere -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [*((*case, MLP) for case in CASES), *((*CASES[number], CNN) for number in (0, 2, 4, 6, 8))],
)
def test_the_clock_alone_tells_the_same(name: str, settings: dict[str, Any], problem: Any) -> None:
    blueprint = world(name, settings, problem=problem, samples=(40, 33, 17, 1, 0))
    played = play(blueprint)
    assert played.events == time_only(blueprint).events
    assert played.end.weights_sha256 == play(blueprint).end.weights_sha256


@on_cluster
@pytest.mark.parametrize(("name", "settings"), [CASES[0], CASES[4], CASES[6], CASES[7]])
def test_the_same_hashes_on_ray(name: str, settings: dict[str, Any]) -> None:
    blueprint = world(name, settings, problem=CNN)
    same(on_ray(blueprint), play(blueprint))


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_handles_return_to_their_baseline_every_round(name: str, settings: dict[str, Any]) -> None:
    steady = {} if name != "fjord" else {"levels": [0.5]}
    blueprint = world(name, {"rounds": 6} | settings | steady)
    living = living_handles(blueprint)
    assert len(set(living[1:-1])) == 1, living


# In the download, in training, later: each protocol each of them, but not in each of its forms.
@pytest.mark.parametrize(
    ("name", "settings", "until_s"),
    [
        *((*case, until_s) for number in (0, 4, 6, 7) for case in [CASES[number]] for until_s in (0.01, 0.03, 0.1)),
        *((*CASES[number], until_s) for number, until_s in ((1, 0.01), (2, 0.03), (3, 0.1), (5, 0.03), (8, 0.1))),
    ],
)
def test_a_lost_device_leaves_the_rest_unharmed(name: str, settings: dict[str, Any], until_s: float) -> None:
    gone = Condition(Intervals(None, ((0, until_s),)))
    conditions = (Condition(),) * 4 + (gone,)
    played = play(world(name, settings, conditions=conditions))
    assert played.end.status == "done"
    assert [len(row.finished) for row in played.rounds] == [4, 4, 4]


# ---- learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_it_learns(name: str, settings: dict[str, Any]) -> None:
    """Property: in eight rounds of digits every variant knows more than half of them (a guess: a tenth)."""
    played = play(world(name, {"rounds": 8} | settings, samples=(200,) * 5, problem=MLP))
    assert played.rounds[-1].accuracy is not None
    assert played.rounds[-1].accuracy > 0.5
