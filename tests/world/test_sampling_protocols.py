"""Sampling policies and protocols: they run, hash alike on Ray, replay without tensors; EcoFed's server knows by itself."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from emulator.blueprint import Blueprint
from emulator.deciding import DecisionMissing
from emulator.devices.condition import Condition
from emulator.devices.presence import Markov
from emulator.learning.codecs.quantise import Int8
from emulator.learning.evaluation import initial_weights
from emulator.learning.figures import Figure, stored_figure
from emulator.learning.frozen import Buffer
from emulator.learning.sgd import Problem
from emulator.learning.shards import Plan
from emulator.learning.split import FP32, Split, code_seed, halves
from emulator.protocols.adp_upload import AdpUploadSettings, adp_upload
from emulator.protocols.ecofed import EcoFedSettings, ecofed
from emulator.protocols.elfish import ElfishSettings, elfish
from emulator.protocols.fedadam import FedAdamSettings, fedadam
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.federated_dropout import FederatedDropoutSettings, federated_dropout
from emulator.protocols.fedgkt import FedGKTSettings, fedgkt
from emulator.protocols.fednova import FedNovaSettings, fednova
from emulator.protocols.heterofl import HeteroFLSettings, heterofl
from emulator.protocols.local_loss import LocalLossSettings, local_loss
from emulator.protocols.parallel_split import ParallelSplitSettings, parallel_split
from emulator.protocols.policies.sampling import OortSampling, PowerOfChoice
from emulator.protocols.scaffold import ScaffoldSettings, scaffold
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from emulator.protocols.splitfed_v2 import SplitFedV2Settings, splitfed_v2
from tests.ray_worlds import on_cluster, on_ray, same
from tests.worlds import CNN, MLP, Played, fleet, living_handles, plan, play, time_only

CUT = Problem(CNN.model, CNN.normalise, cut=2)
GATED = Problem(replace(CNN.model, name="cnn_gated"), CNN.normalise)
GROUPS = [*fleet(3), *fleet(3, flop_per_s=1e8)]

POLICIES: dict[str, dict[str, Any]] = {
    "tifl": {"name": "tifl", "tiers": 2},
    "tifl adaptive": {"name": "tifl", "tiers": 2, "selection": "adaptive", "interval": 1},
    "oort": {"name": "oort", "exploration": 0.5},
    "pow-d": {"name": "power_of_choice", "d": 4},
    "cpow-d": {"name": "power_of_choice", "d": 4, "variant": "cpow-d", "minibatch": 8},
    "rpow-d": {"name": "power_of_choice", "d": 4, "variant": "rpow-d"},
}
FIGURES: dict[str, tuple[Any, Any, Problem, dict[str, Any]]] = {
    "fedavg": (fedavg, FedAvgSettings, MLP, {}),
    "fedadam": (fedadam, FedAdamSettings, MLP, {}),
    "fednova": (fednova, FedNovaSettings, MLP, {}),
    "scaffold": (scaffold, ScaffoldSettings, MLP, {}),
    "adp_upload": (adp_upload, AdpUploadSettings, GATED, {}),
    "elfish": (elfish, ElfishSettings, MLP, {"slowest": 1}),
    "elfish full": (elfish, ElfishSettings, MLP, {"slowest": 1, "download": "full"}),
    "heterofl": (heterofl, HeteroFLSettings, MLP, {"assignment": "drawn"}),
    "federated_dropout": (federated_dropout, FederatedDropoutSettings, MLP, {"volume": 0.5}),
    "ecofed": (ecofed, EcoFedSettings, CUT, {}),
    "ecofed charged": (ecofed, EcoFedSettings, CUT, {"setup": "charge"}),
}
NONE: dict[str, tuple[Any, Any]] = {
    "splitfed_v1": (splitfed_v1, SplitFedV1Settings),
    "splitfed_v2": (splitfed_v2, SplitFedV2Settings),
    "parallel_split": (parallel_split, ParallelSplitSettings),
    "local_loss": (local_loss, LocalLossSettings),
    "fedgkt": (fedgkt, FedGKTSettings),
}


# Every policy with three protocols; every other protocol with two policies, and those in turn.
FIRST = ("fedavg", "elfish", "ecofed")
NAMES, OTHERS = list(POLICIES), [name for name in FIGURES if name not in FIRST]
PAIRS = [(protocol, policy) for protocol in FIRST for policy in NAMES] + [
    (protocol, NAMES[(number + step) % 6]) for number, protocol in enumerate(OTHERS) for step in (0, 3)
]
SOME = [("fedavg", policy) for policy in NAMES] + [
    ("elfish", "tifl adaptive"), ("elfish", "oort"), ("ecofed", "cpow-d"), ("ecofed", "rpow-d"), ("ecofed", "oort"),
]  # fmt: skip


def world(protocol: str, policy: str, rounds: int = 4) -> Blueprint:
    run, kind, problem, own = FIGURES[protocol]
    settings = kind(rounds=rounds, cohort=2, learning_rate=0.1, sampling=POLICIES[policy], **own)
    return plan(run, settings, GROUPS, problem=problem)


def sent(played: Played, kind: str) -> list[int]:
    return [len([event for event in played.transfers(kind) if event.round == row.round]) for row in played.rounds]


@pytest.mark.parametrize(("protocol", "policy"), PAIRS)
def test_runs_and_replays(protocol: str, policy: str) -> None:
    """All rounds are played; with the recorded decisions the clock alone tells the same, and without it refuses."""
    blueprint = world(protocol, policy)
    played = play(blueprint)
    assert len(played.rounds) == 4 and all(len(row.cohort) <= 6 for row in played.rounds)
    assert time_only(blueprint, played.decisions).events == played.events
    assert bool(played.decisions) is (policy != "tifl")
    if played.decisions:
        with pytest.raises(DecisionMissing):
            time_only(blueprint)


@pytest.mark.parametrize("protocol", NONE)
def test_static_tiers_go_with_every_protocol_that_samples(protocol: str) -> None:
    run, kind = NONE[protocol]
    settings = kind(rounds=3, cohort=2, learning_rate=0.1, sampling=POLICIES["tifl"])
    played = time_only(plan(run, settings, GROUPS, problem=CUT))
    assert [len(row.cohort) for row in played.rounds] == [6, 2, 2]
    for row in played.rounds[1:]:  # the slow ones are a tier
        assert len({name >= "device-0003" for name in row.cohort}) == 1


@pytest.mark.parametrize(("protocol", "policy"), SOME)
def test_nothing_is_kept_for_longer_than_it_is_of_use(protocol: str, policy: str) -> None:
    """Handles that live at the end of a round do not grow by one a round: what six devices may leave is theirs alone.

    One skip counter each (ELFISH), or two for an entry of EcoFed's buffer.
    """
    alive = living_handles(world(protocol, policy, rounds=20))
    assert max(alive[-3:]) <= max(alive[1:4]) + 6 * (2 if protocol == "ecofed" else 1)


@pytest.mark.parametrize("policy", POLICIES)
def test_devices_that_come_and_go(policy: str) -> None:
    """Off for 0.2 s after 0.3 s on, on average: probes and rounds lose devices, and all rounds are played and replay."""
    settings = FedAvgSettings(rounds=15, cohort=2, learning_rate=0.1, sampling=POLICIES[policy])  # type: ignore[arg-type]
    conditions = tuple(Condition(Markov(key, 0.3, 0.2)) for key in range(1, 7))
    blueprint = plan(fedavg, settings, GROUPS, conditions=conditions)
    played = play(blueprint)
    assert len(played.rounds) == 15 and played.end.devices_lost > 0
    assert time_only(blueprint, played.decisions).events == played.events


@on_cluster
@pytest.mark.parametrize(("protocol", "policy"), SOME)
def test_the_same_hashes_on_ray(protocol: str, policy: str) -> None:
    blueprint = world(protocol, policy)
    same(on_ray(blueprint), play(blueprint))


# ---- EcoFed: the server knows by itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["tifl adaptive", "oort", "pow-d"])
def test_ecofed_s_figures_cost_no_traffic(policy: str) -> None:
    """Nothing but smashed data and labels is sent; figures are computed at the server."""
    played = play(world("ecofed", policy, rounds=8))
    assert {event.kind for event in played.events if event.verb == "send"} == {"smashed", "labels"}
    looks = [event for event in played.events if event.kind == "stored_figure"]
    assert looks and {event.node for event in looks} == {"server"}


def test_ecofed_explores_devices_without_an_entry() -> None:
    """pow-d with all six as candidates: no entry is an infinite loss, so three update rounds of two fill the buffer."""
    given: dict[str, Any] = {"rounds": 6, "cohort": 2, "learning_rate": 0.1, "replay_period": 1}
    settings = EcoFedSettings(**given, sampling=PowerOfChoice(name="power_of_choice", d=6))
    played = play(plan(ecofed, settings, GROUPS, problem=CUT))
    assert {name for row in played.rounds[:3] for name in row.cohort} == {f"device-{n:04d}" for n in range(6)}
    counts = [len([e for e in played.events if e.kind == "stored_figure" and e.round == n]) for n in range(1, 7)]
    assert counts == [0, 2, 4, 6, 6, 6]


def test_a_stored_figure_by_hand() -> None:
    """Two minibatches of a buffer through a head that is all zero: ten classes alike, a loss of ln 10 for every sample."""
    split = Split(CUT, Plan(4, 1, None), 0.1, smashed=Int8(), gradient=FP32)
    back = halves(initial_weights(1, model=CNN.model), split=split)[1]
    back = {name: torch.zeros_like(tensor) for name, tensor in back.items()}
    stored = Buffer(
        [split.smashed.encode(torch.rand(split.shape(size)), code_seed(5, n)) for n, size in enumerate((4, 2))],
        [torch.zeros(4, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)],
        5,
    )
    for of in ("loss", "rms"):
        found = stored_figure(back, stored, split=split, wanted=Figure(of))
        assert float(found) == pytest.approx(2.302585)
    assert float(stored_figure(back, stored, split=split, wanted=Figure("accuracy"))) == 1.0  # class 0 comes first


# ---- partial training: the whole model once, a part besides ----------------------------------------------------------------


def test_elfish_candidates_that_train_all_get_the_weights_once() -> None:
    """Nobody is a straggler: four downloads for four candidates, of which two train; a straggler is sent its part besides."""
    settings: dict[str, Any] = {"rounds": 3, "cohort": 2, "learning_rate": 0.1, "sampling": POLICIES["pow-d"]}
    whole = play(plan(elfish, ElfishSettings(**settings, threshold=1e6), GROUPS))
    assert sent(whole, "weights") == [4, 4, 4] and sent(whole, "control") == [4, 4, 4]
    part = play(plan(elfish, ElfishSettings(**settings, slowest=1, volume=0.5), GROUPS))
    stragglers = [int(row.metrics["stragglers"]) for row in part.rounds]
    assert sum(stragglers) and sent(part, "weights") == [4 + count for count in stragglers]


def test_a_loss_is_no_part_of_a_device_s_slowness() -> None:
    """Helios' speeds see training alone: with Oort's forward pass ahead of it, devices are as fast as predicted."""
    settings: dict[str, Any] = {"rounds": 4, "cohort": 6, "learning_rate": 0.1, "slowest": 1}
    told = play(plan(elfish, ElfishSettings(**settings, sampling=OortSampling(name="oort")), GROUPS))
    plain = play(plan(elfish, ElfishSettings(**settings), GROUPS))
    assert [row.metrics["pace_s"] for row in told.rounds] == [row.metrics["pace_s"] for row in plain.rounds]
