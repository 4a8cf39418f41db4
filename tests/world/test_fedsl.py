"""Lightweight FedSL: plain FedSL to the bit with every knob off, bytes and seconds by hand, intervals, losses, hashes.

The MLP is cut after its first block: front 64 x 128 + 128 weights (33,280 bytes); a sample's smashed data are 512 bytes, its
label 8. The CNN is cut after two blocks: front 176 + 4,672 trained weights and 96 running statistics (19,776 bytes); smashed
data are 32 x 2 x 2 floats (512 bytes) a sample.
"""

from dataclasses import replace
from typing import Any

import pytest

from emulator.blueprint import Blueprint
from emulator.devices.condition import Condition
from emulator.devices.intervals import Intervals
from emulator.learning.mask import mask_bytes
from emulator.protocols.catalogue import PROTOCOLS
from tests.ray_worlds import on_cluster, on_ray, same
from tests.worlds import CNN, MLP, Played, fleet, living_handles, plan, play, time_only

SAMPLES = (40, 33, 17)
MLP_FRONT, CNN_FRONT = 33_280, 19_776
HERE = Condition()
CASES: list[dict[str, Any]] = [
    {"pruning_rate": 0.3, "gradient_bits": 8, "dropout": 0.3},
    {"pruning_rate": 0.5, "prune_by": "filter", "calibrate": "every", "upload": "kept", "interval": 2},
    {"pruning_rate": 0.5, "prune_by": "filter", "backs": "shared", "dropout": 0.5, "dropout_by": "channel"},
    {"pruning_rate": 0.3, "calibrate": "first", "backs": "shared", "interval": 2, "upload": "kept", "gradient_bits": 4},
    {"gradient_bits": 4, "interval": 2},
]


def world(name: str = "fedsl", samples: tuple[int, ...] = SAMPLES, **settings: Any) -> Blueprint:
    """A device for each number of samples; two rounds, everybody asked, minibatches of 16; the CNN cut after two blocks."""
    changes = {key: settings.pop(key) for key in ("conditions", "groups") if key in settings}
    problem = replace(settings.pop("problem", CNN), cut=settings.pop("cut", 2))
    common = {"rounds": 2, "cohort": len(samples), "learning_rate": 0.1, "batch_size": 16}
    entry = PROTOCOLS[name]
    groups = changes.pop("groups", fleet(len(samples)))
    return plan(entry.run, entry.settings(**common | settings), groups, samples=samples, problem=problem, **changes)


def bytes_of(played: Played, kind: str, direction: str) -> list[int]:
    """Of a kind, round by round; an update that is uploaded as a round ends belongs to it."""
    rows = [event for event in played.transfers(kind) if event.direction == direction]
    return [sum(row.bytes for row in rows if row.round == told.round) for told in played.rounds]


# ---- every knob off (identity) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("problem", "cut"), [(MLP, 1), (CNN, 2), (CNN, 3)])
def test_with_every_knob_off_it_is_splitfed_to_the_bit(problem: Any, cut: int) -> None:
    """Identity: the same rows of events (peaks of memory among them), rounds and weights."""
    common: dict[str, Any] = {
        "problem": problem,
        "cut": cut,
        "momentum": 0.5,
        "weight_decay": 0.01,
        "samples": (40, 33, 17, 1, 0),
    }
    expected, found = play(world("splitfed_v1", **common)), play(world("fedsl", **common))
    assert found.events == expected.events
    assert found.rounds == expected.rounds
    assert found.end.weights_sha256 == expected.end.weights_sha256


def test_the_same_with_codecs_of_updates_and_cuts_of_their_own() -> None:
    """Identity: what SplitFed can do, plain FedSL can."""
    groups = [*fleet(2), *fleet(1)]
    common: dict[str, Any] = {"update_codec": {"codec": "int8-signed"}, "error_feedback": True, "groups": groups}
    assert play(world("splitfed_v1", **common)).end == play(world("fedsl", **common)).end


def test_one_back_for_all_is_parallel_split_learning() -> None:
    """Identity: equal data, so that minibatches of 8 on two devices are one of 16."""
    joined = play(world("fedsl", (32, 32), backs="shared", batch_size=8, momentum=0.5))
    expected = play(world("parallel_split", (32, 32), batch_size=16, momentum=0.5))
    assert joined.end.weights_sha256 == expected.end.weights_sha256
    assert joined.rounds == expected.rounds


@pytest.mark.parametrize("by", ["weight", "filter"])
def test_a_rate_that_prunes_nothing_changes_no_weight(by: str) -> None:
    """Identity on the pruned path: floor(0.0001 x 4,848) = 0 weights; floor(0.03 x 32) = 0 filters."""
    rate = {"weight": 0.0001, "filter": 0.03}[by]
    found = play(world(pruning_rate=rate, prune_by=by, upload="kept", momentum=0.5))
    assert found.end.weights_sha256 == play(world(momentum=0.5)).end.weights_sha256
    assert found.transfers("mask") == []


def test_a_mask_rides_with_its_update() -> None:
    """Exact: with 100 bytes of framing a message, one of them for update and mask."""
    usual = world(samples=(40,), rounds=1, pruning_rate=0.5, upload="kept")
    network = replace(usual.wiring.plan, message_bytes=100)
    played = time_only(replace(usual, wiring=replace(usual.wiring, plan=network)))
    found = {kind: [row.overhead_bytes for row in played.transfers(kind)] for kind in ("update", "mask")}
    assert found == {"update": [100], "mask": [0]}


# ---- when what is pruned is told -----------------------------------------------------------------------------------------


def chosen(played: Played) -> list[int]:
    """The rounds in which each device chose what to prune."""
    return [event.round for event in played.events if event.kind == "choose"]


@pytest.mark.parametrize("by", ["weight", "filter"])
def test_an_only_minibatch_tells_what_to_prune_in_later_rounds(by: str) -> None:
    """Exact: 16 samples are one minibatch. It goes unpruned in the device's first round, as nothing is known yet, and is pruned
    from then on by what the last one told, as with ``first``; with 40 samples, three minibatches, each round prunes.
    """
    settings: dict[str, Any] = {"rounds": 3, "pruning_rate": 0.5, "prune_by": by, "momentum": 0.5}
    only = play(world(samples=(16,), calibrate="every", **settings))
    assert chosen(only) == [2, 3]
    first = play(world(samples=(16,), calibrate="first", **settings))
    assert (only.events, only.end.weights_sha256) == (first.events, first.end.weights_sha256)
    assert chosen(time_only(world(samples=(40,), calibrate="every", **settings))) == [1, 2, 3]
    assert chosen(time_only(world(samples=(16,), **settings))) == [1, 2, 3]
    if by == "filter":
        rows = [event for event in only.events if event.kind == "lean_front"]
        assert rows[0].flops > rows[-1].flops


def test_calibrating_every_only_minibatch_is_refused() -> None:
    words = "calibrate: got every with local_steps 1; expected first or never"
    for rates in ({"pruning_rate": 0.5}, {"pruning_rates": {"test": 0.5}}):
        with pytest.raises(ValueError, match=words):
            world(local_steps=1, calibrate="every", **rates)
    world(local_steps=1, calibrate="every")  # nothing is pruned
    world(local_steps=2, calibrate="every", pruning_rate=0.5)


# ---- bytes (exact) -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.25, 0.5, 0.75])
def test_dropout_sends_its_share_both_ways_and_a_seed(p: float) -> None:
    """Exact: smashed data and cut gradients are (1 - p) of plain FedSL's; 8 bytes a minibatch each way; all else as it was.

    Minibatches of 16, 16, 8; 16, 16, 1; 16, 1 samples of 128 entries: p takes a whole number of each.
    """
    plain, found = time_only(world()), time_only(world(dropout=p))
    for kind in ("smashed", "cut_gradient"):
        sent = sorted(event.bytes for event in plain.transfers(kind))
        assert sorted(event.bytes for event in found.transfers(kind)) == [(1 - p) * size for size in sent]
    assert [row.overhead_bytes for row in found.rounds] == [8 * 2 * 8] * 2
    up, down = (1 - p) * 90 * 512 + 90 * 8 + 3 * CNN_FRONT, (1 - p) * 90 * 512 + 3 * CNN_FRONT
    assert [(row.uplink_bytes, row.downlink_bytes) for row in found.rounds] == [(up, down)] * 2


def test_dropout_by_channel_and_as_a_bitmap() -> None:
    """Exact: 32 channels, 24 of them kept: the same bytes; a bitmap of 4 bytes in place of the seed, within the payload."""
    found = time_only(world(dropout=0.25, dropout_by="channel", dropout_mask="bitmap"))
    assert found.rounds[0].overhead_bytes == 0
    assert found.rounds[0].downlink_bytes == 0.75 * 90 * 512 + 8 * 4 + 3 * CNN_FRONT


@pytest.mark.parametrize(("interval", "rounds"), [(1, 6), (2, 6), (3, 6), (6, 6)])
def test_fronts_travel_every_interval_only(interval: int, rounds: int) -> None:
    """Exact: down in the first round of an interval, up in the last, 0 in all others; all in all 1 / I of plain FedSL's."""
    played = time_only(world(interval=interval, rounds=rounds))
    fronts = 3 * CNN_FRONT
    assert bytes_of(played, "weights", "downlink") == [fronts * (n % interval == 0) for n in range(rounds)]
    assert bytes_of(played, "update", "uplink") == [fronts * (n % interval == interval - 1) for n in range(rounds)]
    assert bytes_of(played, "smashed", "uplink") == [90 * 512] * rounds


def test_all_start_from_the_same_front_after_an_aggregation() -> None:
    """Exact: what every device is sent is one and the same value, made by one average."""
    played = time_only(world(interval=2, rounds=4))
    sent = {event.inputs for event in played.transfers("weights") if event.round == 3}
    assert len(sent) == 1
    averages = [event for event in played.events if event.kind == "average"]
    assert len(averages) == 4 + 2  # backs every round, fronts every second


@pytest.mark.parametrize(("by", "rate"), [("weight", 0.3), ("weight", 0.98), ("filter", 0.25)])
def test_what_is_kept_alone_travels_with_its_mask(by: str, rate: float) -> None:
    """Exact, at interval 1: the same weights as with whole uploads, in fewer bytes.

    By weight 4,848 - floor(rate 4,848) floats, 96 statistics and the smaller of a bitmap of 606 bytes and 13 bits for each
    kept one. By filter 12 of 16 and 24 of 32: (9 + 4) 12 + (9 x 12 + 4) 24 floats; bitmaps of 2 and 4 bytes.
    """
    settings: dict[str, Any] = {"pruning_rate": rate, "prune_by": by, "momentum": 0.5}
    whole, kept = play(world(**settings)), play(world(upload="kept", **settings))
    assert whole.end.weights_sha256 == kept.end.weights_sha256
    left = 4_848 - int(rate * 4_848)
    update = 4 * (left + 96) if by == "weight" else 4 * (13 * 12 + 112 * 24)
    mask = min(606, -(-13 * left // 8)) if by == "weight" else 6
    assert by == "filter" or mask == mask_bytes(4_848, left)
    assert bytes_of(kept, "update", "uplink") == [3 * update] * 2
    assert bytes_of(kept, "mask", "uplink") == [3 * mask] * 2


# ---- seconds (exact, by hand) --------------------------------------------------------------------------------------------


def milliseconds(**settings: Any) -> float:
    """Of a round of one minibatch of 16 on one device; the MLP cut after its first block."""
    return time_only(world(samples=(16,), problem=MLP, cut=1, rounds=1, **settings)).end.virtual_ns / 1e6


def test_seconds_of_one_minibatch() -> None:
    """As in SplitFed; with dropout of a half 4,096 + 8 bytes up at 1,000 and down at 2,000 bytes/ms.

    Half of the 128 hidden units pruned: 2 x 16 x 64 x 64 = 131,072 FLOPs forward and as many backward in place of twice that.
    """
    server, on_air = 0.12288, 16.64 + 33.28
    assert milliseconds() == pytest.approx(on_air + 2 * 0.262144 + 8.32 + server + 4.096, abs=1e-5)
    assert milliseconds(dropout=0.5) == pytest.approx(on_air + 2 * 0.262144 + 4.232 + server + 2.052, abs=1e-5)
    pruned = milliseconds(pruning_rate=0.5, prune_by="filter")
    assert pruned == pytest.approx(on_air + 2 * 0.131072 + 8.32 + server + 4.096, abs=1e-5)
    assert milliseconds(pruning_rate=0.5) == milliseconds()


def test_sparse_kernels_are_charged_what_the_front_keeps() -> None:
    """Exact, the CNN cut after two blocks, 32 samples in two minibatches of 16; at 1 GFLOP/s a FLOP is a nanosecond.

    3 MAC_c 2 n (1 - lambda) with MAC_c = 9,216 + 73,728, less the first layer's gradient of its inputs, which nobody needs,
    and in the last minibatch, which tells the gradients of all weights, 2 n lambda MAC_c more. lambda is a half (2,424 of
    4,848). Other devices pay for all of it; what travels, and the weights, are the same.
    """
    macs, first, n = 82_944, 9_216, 16
    each = (3 * macs - first) * 2 * n
    expected = {True: 2 * each // 2 + macs * 2 * n // 2, False: 2 * each}
    found = {}
    for sparse, flops in expected.items():
        groups = fleet(1, sparse_kernels=sparse)
        played = found[sparse] = play(world(samples=(32,), rounds=1, pruning_rate=0.5, momentum=0.5, groups=groups))
        own = [event for event in played.events if event.node == "device-0000" and event.verb == "compute"]
        assert sum(event.flops for event in own) == flops == played.rounds[0].device_flops
        assert sum(event.end_ns - event.start_ns for event in own) == flops
    assert found[True].end.weights_sha256 == found[False].end.weights_sha256
    assert found[False].end.virtual_ns - found[True].end.virtual_ns == expected[False] - expected[True]


def test_sparse_kernels_save_nothing_where_no_single_weight_is_pruned() -> None:
    """Identity: without pruning, and by filter."""
    cases: list[dict[str, Any]] = [{}, {"pruning_rate": 0.5, "prune_by": "filter"}]
    for settings in cases:
        one, other = (time_only(world(groups=fleet(3, sparse_kernels=own), **settings)) for own in (False, True))
        assert one.events == other.events


def test_rounds_are_faster_than_those_of_plain_fedsl() -> None:
    """Directional: each knob that saves bytes or work by itself, and all of them."""
    plain = time_only(world(rounds=4)).end.virtual_ns
    each: list[dict[str, Any]] = [
        {"pruning_rate": 0.3, "prune_by": "filter"},
        {"pruning_rate": 0.3, "upload": "kept"},
        {"dropout": 0.1},
        {"interval": 2},
    ]
    both = {**each[0], **each[2], **each[3], "gradient_bits": 8}
    times = [time_only(world(rounds=4, **settings)).end.virtual_ns for settings in (*each, both)]
    assert max(times) < plain
    assert min(times) == times[-1]


# ---- devices that differ, and that go ------------------------------------------------------------------------------------


def test_pruning_rates_by_profile() -> None:
    groups = [*fleet(1, name="slow"), *fleet(1, name="fast")]
    settings: dict[str, Any] = {
        "pruning_rates": {"slow": 0.5},
        "prune_by": "filter",
        "upload": "kept",
        "groups": groups,
    }
    played = time_only(world(samples=(16, 16), rounds=1, **settings))
    sent = {event.node: event.bytes for event in played.transfers("update")}
    assert sent == {"device-0000": 4 * (13 * 8 + (9 * 8 + 4) * 16), "device-0001": CNN_FRONT}


# Each case with two moments, each moment with two cases or three.
@pytest.mark.parametrize(
    ("settings", "until_s"),
    [
        *zip(CASES, [0.005, 0.02, 0.035, 0.05, 0.005], strict=True),
        *zip(CASES, [0.035, 0.05, 0.005, 0.02, 0.02], strict=True),
    ],
)
def test_a_lost_device_leaves_the_rest_unharmed(settings: dict[str, Any], until_s: float) -> None:
    """The second device goes in the first round and stays away; with longer intervals it is missed until their end."""
    gone = Condition(Intervals(None, ((0, until_s),)))
    played = play(world(conditions=(HERE, gone, HERE), rounds=4, **settings))
    assert played.end.status == "done"
    assert [len(row.finished) for row in played.rounds] == [2] * 4
    assert played.end.devices_lost == 1


def test_a_team_that_is_lost_is_followed_by_another() -> None:
    """All of a team go in the middle of an interval: those who are there next start from the last aggregated front."""
    gone, late = Condition(Intervals(None, ((0, 0.03),))), Condition(Intervals(None, ((0, 0.03), (1.0, 9.0))))
    played = play(world(samples=(40, 33), conditions=(gone, late), rounds=4, interval=4))
    assert played.end.status == "done"
    assert played.rounds[-1].finished == ("device-0001",)


# ---- the same everywhere -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", CASES)
def test_the_clock_alone_tells_the_same(settings: dict[str, Any]) -> None:
    blueprint = world(samples=(40, 17, 1, 0), momentum=0.5, rounds=4, **settings)
    played = play(blueprint)
    assert played.events == time_only(blueprint).events
    assert played.end.weights_sha256 == play(blueprint).end.weights_sha256


@pytest.mark.parametrize("settings", CASES)
def test_handles_return_to_their_baseline(settings: dict[str, Any]) -> None:
    """After every interval; with the garbage collector off."""
    living = living_handles(world(rounds=8, **settings))
    every = settings.get("interval", 1)
    assert len(set(living[every - 1 : -1 : every][1:])) == 1, living


@on_cluster
@pytest.mark.parametrize("settings", [CASES[0], CASES[1]])
def test_the_same_hashes_on_ray(settings: dict[str, Any]) -> None:
    blueprint = world(momentum=0.5, **settings)
    same(on_ray(blueprint), play(blueprint))
