"""SplitFed v2, parallel split learning, local losses, FedGKT and pipelining: bytes and seconds by hand, losses, hashes.

The MLP is cut after its first block: front 64 x 128 + 128 weights (33,280 bytes), head 128 x 10 + 10 (5,160 bytes); a sample's
smashed data are 512 bytes, its label 8, its logits 40. Devices and server do 1 GFLOP/s; 8 Mbit/s up, 16 Mbit/s down.
"""

from dataclasses import replace
from typing import Any

import pytest

from emulator.blueprint import Blueprint
from emulator.devices.condition import Condition
from emulator.devices.intervals import Intervals
from emulator.learning.random import choose, seed_of
from emulator.protocols.catalogue import PROTOCOLS
from emulator.rows import Event
from tests.ray_worlds import on_cluster, on_ray, same
from tests.worlds import CNN, MLP, fleet, living_handles, plan, play, time_only

SAMPLES = (40, 33, 17)
FRONT, HEAD = 33_280, 5_160
HERE = Condition()
CASES: list[tuple[str, dict[str, Any]]] = [
    ("splitfed_v1", {"pipeline": 2}),
    ("split_learning", {"pipeline": 3}),
    ("splitfed_v2", {}),
    ("splitfed_v2", {"pipeline": 2}),
    ("parallel_split", {}),
    ("local_loss", {"pipeline": 2}),
    ("fedgkt", {"server_epochs": 2}),
]


def world(name: str, samples: tuple[int, ...] = SAMPLES, **settings: Any) -> Blueprint:
    """A device for each number of samples; two rounds, everybody asked, minibatches of 16."""
    changes = {key: settings.pop(key) for key in ("conditions", "groups") if key in settings}
    problem = replace(settings.pop("problem", MLP), cut=settings.pop("cut", 1))
    common = {"rounds": 2, "cohort": len(samples), "learning_rate": 0.1, "batch_size": 16}
    entry = PROTOCOLS[name]
    groups = changes.pop("groups", fleet(len(samples)))
    return plan(entry.run, entry.settings(**common | settings), groups, samples=samples, problem=problem, **changes)


# ---- bytes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "up", "down"),
    [
        # 90 samples: 520 bytes each up, 512 down; the front of three devices both ways.
        ("splitfed_v2", [90 * 520 + 3 * FRONT] * 2, [90 * 512 + 3 * FRONT] * 2),
        ("parallel_split", [90 * 520 + 3 * FRONT] * 2, [90 * 512 + 3 * FRONT] * 2),
        # Front and head both ways; no gradient.
        ("local_loss", [90 * 520 + 3 * (FRONT + HEAD)] * 2, [3 * (FRONT + HEAD)] * 2),
        # Features, labels, logits up; front and head down once, from then on the server's logits.
        ("fedgkt", [90 * 560] * 2, [3 * (FRONT + HEAD), 90 * 40]),
    ],
)
def test_bytes_of_a_round(name: str, up: list[int], down: list[int]) -> None:
    rounds = time_only(world(name)).rounds
    assert [row.uplink_bytes for row in rounds] == up
    assert [row.downlink_bytes for row in rounds] == down
    assert [row.overhead_bytes for row in rounds] == [0, 0]


def sent(events: list[Event], kind: str, node: str = "device-0000") -> list[int]:
    ends = ((event.node, event.peer) for event in events)
    rows = (event for event, both in zip(events, ends, strict=True) if node in both)
    return [event.bytes for event in rows if event.kind == kind and event.verb == "send" and event.round == 1]


def test_bytes_of_a_minibatch() -> None:
    # 40 samples are minibatches of 16, 16 and 8. int8 is a byte an entry and 4 of scale; the gradient stays in float32.
    played = time_only(world("splitfed_v2", smashed={"codec": "int8"}))
    assert sent(played.events, "smashed") == [16 * 128, 16 * 128, 8 * 128]
    assert sent(played.events, "labels") == [128, 128, 64]
    assert sent(played.events, "cut_gradient") == [16 * 512, 16 * 512, 8 * 512]
    # The cohort's minibatch of 16 is shared by data: ceil(90 / 16) = 6 of them, so 40, 33 and 17 samples go in 7, 6, 3.
    played = time_only(world("parallel_split"))
    assert sent(played.events, "smashed") == [7 * 512] * 5 + [5 * 512]
    assert sent(played.events, "smashed", "device-0001") == [6 * 512] * 5 + [3 * 512]
    assert sent(played.events, "smashed", "device-0002") == [3 * 512] * 5 + [2 * 512]
    assert sum(event.kind == "back_joint" for event in played.events) == 2 * 6


def test_no_gradient_where_there_is_none() -> None:
    for name in ("local_loss", "fedgkt"):
        assert time_only(world(name)).transfers("cut_gradient") == []
        with pytest.raises(ValueError, match="cut_gradient: got int8; expected none, as no gradient is sent here"):
            world(name, cut_gradient={"codec": "int8"})


# ---- seconds ---------------------------------------------------------------------------------------------------------------
#
# One minibatch of 16: 2 x 16 x 64 x 128 = 262,144 FLOPs forward on the device and as many backward (weights alone); the back
# or the head 2 x 16 x 128 x 10 = 40,960 forward, as many for its weights and as many for the smashed data.
# On the air, in ms: front 16.64 down and 33.28 up; smashed data and labels together 8.32; cut gradient 4.096.


def ended(name: str, samples: tuple[int, ...], **settings: Any) -> float:
    """Milliseconds of one round."""
    return time_only(world(name, samples, rounds=1, **settings)).end.virtual_ns / 1e6


def test_seconds_of_one_minibatch() -> None:
    way = 16.64 + 0.262144 + 8.32 + 4.096 + 0.262144 + 33.28
    # Two devices arrive at once: the server takes one after the other, 122,880 FLOPs each.
    assert ended("splitfed_v2", (16, 16)) == pytest.approx(way + 2 * 0.12288, abs=1e-5)
    # The server takes both at once: 32 samples, 245,760 FLOPs.
    assert ended("parallel_split", (16, 16), batch_size=32) == pytest.approx(way + 0.24576, abs=1e-5)
    # The uplink is busy from the end of the forward pass until the weights have left: (8,192 + 128 + 38,440) bytes at
    # 1 byte/us; the backward pass and the server's step happen meanwhile. Front and head come in 19.22.
    assert ended("local_loss", (16, 16)) == pytest.approx(19.22 + 0.262144 + 46.76, abs=1e-5)
    # FedGKT: training 2 x 262,144 + 3 x 40,960 FLOPs, extraction 262,144 + 40,960; 16 x 560 bytes; the server twice 81,920.
    assert ended("fedgkt", (16, 16)) == pytest.approx(19.22 + 0.647168 + 0.303104 + 8.96 + 2 * 0.08192, abs=1e-5)


def test_seconds_of_two_minibatches_under_way() -> None:
    """Alone, one after the other: twice (forward, up, server, down, backward). Together: see below.

    Forward passes end at 0.262144 and 0.524288 ms; the uplink is busy from 0.262144 on with 16,640 bytes, until T. It is
    fair, so minibatch 0 gains the 134.144 bytes that it was ahead when the others came: its smashed data are there at
    T - 0.134144 and served at T - 0.011264; its gradient has the downlink (2,000 bytes/ms) for itself until T + 0.12288,
    that is for 268.288 bytes, then half of it: there at T + 0.12288 + 7.923712. Its backward pass ends 0.262144 later, when
    the other gradient is there (T - 0.011264 + 16,384 / 2,000 = T + 8.180736), and then the other backward pass follows.
    """
    one = 0.262144 + 8.32 + 0.12288 + 4.096 + 0.262144
    uploaded = 0.262144 + 16.64
    two = uploaded + 0.12288 + 7.923712 + 2 * 0.262144
    for name in ("splitfed_v1", "split_learning", "splitfed_v2"):
        assert ended(name, (32,)) == pytest.approx(16.64 + 2 * one + 33.28, abs=1e-5)
        assert ended(name, (32,), pipeline=2) == pytest.approx(16.64 + two + 33.28, abs=1e-5)


def test_no_more_minibatches_on_the_air_than_may_be() -> None:
    """Exact: with ``pipeline: 1`` a forward pass begins when all of the minibatch before is there, labels too.

    Of a minibatch's 2,048 smashed entries 20 are kept: 88 bytes with the seed, fewer than the 128 of labels. On a shared
    uplink the smashed data are there after 176 bytes, the labels after 216.
    """
    played = time_only(
        world("local_loss", (48,), smashed={"codec": "dropout", "p": 0.99}, rounds=1, groups=fleet(1, flop_per_s=1e12))
    )
    names = played.transfers("labels")
    passes = [row for row in played.events if row.kind == "front_local"]
    assert [row.bytes + row.overhead_bytes for row in played.transfers("smashed")] == [88] * 3
    assert [row.end_ns - row.start_ns for row in names[:2]] == [216_000] * 2
    assert [row.start_ns for row in passes[1:]] == [row.end_ns for row in names[:2]]


def served(events: list[Event]) -> list[str]:
    """Whose minibatches the server took, in order: the device whose forward pass made its input."""
    makers = {event.op: event.node for event in events if event.kind == "forward"}
    return [
        makers[op]
        for event in events
        if event.kind == "back" and event.round == 1
        for op in event.inputs
        if op in makers
    ]


def test_the_order_at_the_one_back() -> None:
    """Who comes first is served first; those of one instant in the order drawn for the round."""
    ranks = choose(seed_of(1, "order", 1), 3, 3)
    drawn = [f"device-{ranks.index(rank):04d}" for rank in range(3)]
    assert served(time_only(world("splitfed_v2", (32, 32, 32))).events) == drawn * 2
    # Device 2's forward pass takes ten times as long: 2.6 instead of 0.26 ms, and 8.3 ms on the air do not change that.
    slow = [*fleet(2), *fleet(1, flop_per_s=1e8)]
    order = served(time_only(world("splitfed_v2", (16, 16, 16), groups=slow)).events)
    assert order == [name for name in drawn if name != "device-0002"] + ["device-0002"]


def test_alone_and_one_after_the_other_all_are_the_same() -> None:
    """Theory: one device, one round, BatchNorm and momentum: whatever the path, the bits and the seconds of SplitFed v1."""
    common = {"rounds": 1, "problem": CNN, "cut": 2, "momentum": 0.5, "weight_decay": 0.01}
    expected = play(world("splitfed_v1", (32,), **common))
    for name in ("splitfed_v2", "split_learning", "parallel_split"):
        played = play(world(name, (32,), **common))
        assert played.end.weights_sha256 == expected.end.weights_sha256, name
        assert played.end.virtual_ns == expected.end.virtual_ns, name


# ---- devices that go -------------------------------------------------------------------------------------------------------


def leaving(name: str, until_s: float, **settings: Any) -> Blueprint:
    """The second device goes in the first round (at 0: before it) and stays away."""
    gone = Condition(Intervals(None, ((0, until_s),) if until_s else ()))
    return world(name, conditions=(HERE, gone, HERE), **settings)


@pytest.mark.parametrize("until_s", [0.01, 0.018, 0.0285, 0.04])  # in the download, an upload, an answer, later
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_lost_device_leaves_the_rest_unharmed(name: str, settings: dict[str, Any], until_s: float) -> None:
    played = play(leaving(name, until_s, **settings))
    assert [len(row.finished) for row in played.rounds][1] == 2
    assert played.end.status == "done"
    assert played.rounds[1].uplink_bytes > 57 * 520


@pytest.mark.parametrize("name", ["local_loss", "fedgkt", "parallel_split"])
def test_who_goes_ahead_of_its_first_minibatch_changes_nothing(name: str) -> None:
    """In the middle of its download: the others' weights are those of a world in which it never was.

    Parallel split learning shares a minibatch by the data of all who were asked; one minibatch of all makes that no matter.
    """
    settings = {"batch_size": 90} if name == "parallel_split" else {}
    lost, without = (play(leaving(name, until_s, **settings)) for until_s in (0.01, 0))
    assert lost.end.devices_lost == 1
    assert lost.end.weights_sha256 == without.end.weights_sha256


# ---- the same everywhere ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [*((*case, MLP) for case in CASES), *((*CASES[number], CNN) for number in (0, 1, 3, 5, 6))],
)
def test_the_clock_alone_tells_the_same(name: str, settings: dict[str, Any], problem: Any) -> None:
    blueprint = world(
        name, (40, 33, 17, 1, 0), problem=problem, cut=(problem is CNN and 2) or 1, momentum=0.5, **settings
    )
    played = play(blueprint)
    assert played.events == time_only(blueprint).events
    assert played.end.weights_sha256 == play(blueprint).end.weights_sha256


@on_cluster
@pytest.mark.parametrize(
    ("name", "settings"), [next(case for case in CASES if case[0] == name) for name in ("splitfed_v2", "fedgkt")]
)
def test_the_same_hashes_on_ray(name: str, settings: dict[str, Any]) -> None:
    blueprint = world(name, problem=CNN, cut=2, momentum=0.5, **settings)
    same(on_ray(blueprint), play(blueprint))


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_handles_return_to_their_baseline_every_round(name: str, settings: dict[str, Any]) -> None:
    blueprint = world(name, rounds=5, **settings)
    living = living_handles(blueprint)
    assert len(set(living[1:-1])) == 1, living
