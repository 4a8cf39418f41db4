"""The event clock beside the closed form of a round's time: FLOPs alone, a share of the server per client, links of their own,
no latency, no pipelining. Per minibatch of B samples with a elements at the cut, up and down in bit/s:

T_FL = n/B t_full + 8 W / up + 8 W / down (W bytes of weights, up and down)
T_DPFL = n/B (t_fwd + 8 (4 a B + 8 B) / up + t_srv + 8 (4 a B) / down + t_bwd) + 8 W_d / up + 8 W_d / down
T_Eco = 1/rho n/B (t_fwd + 8 (a B + 8 B + 4) / up) + n/B t_learn; 8 B are the labels, 4 the scale.

And EcoFed's acceptance check 6 (c): the order of the three systems, with a server that clients share.
"""

from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from emulator.learning.models import build
from emulator.protocols.ecofed import EcoFedSettings, ecofed
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from tests.world.test_ecofed import shapes
from tests.worlds import fleet, plan, profile, time_only

DEVICE, SERVER, UP, DOWN = 2e9, 50e9, 10e6, 25e6
BATCHES, B, ELEMENTS = 5, 10, 8192
# Multiply-adds of the paper's VGG-11 per image, layer by layer: 3 x 3 convolutions, then 2048-4096-4096-10.
CHANNELS, SIDES = (3, 64, 128, 256, 256, 512, 512, 512, 512), (32, 16, 8, 8, 4, 4, 2, 2)
CONVS = [9 * CHANNELS[i] * CHANNELS[i + 1] * SIDES[i] ** 2 for i in range(8)]
LINEARS = [2048 * 4096, 4096 * 4096, 4096 * 10]
FRONT, BACK = sum(CONVS[:2]), sum(CONVS[2:]) + sum(LINEARS)
FIRST = CONVS[0]  # the images need no gradient


def seconds(protocol: Any, settings: Any, changes: dict[str, Any] | None = None, **device: float) -> list[float]:
    """Virtual seconds of the rounds, of two clients with 50 samples each."""
    groups = fleet(2, **({"flop_per_s": DEVICE, "uplink_bps": UP, "downlink_bps": DOWN} | device))
    changes = changes or {"server": profile(flop_per_s=SERVER), "discipline": "share_per_client"}
    blueprint = plan(protocol, settings, groups, problem=shapes("vgg11_ecofed"), samples=(BATCHES * B,) * 2, **changes)
    return [(row.end_ns - row.start_ns) / 1e9 for row in time_only(blueprint).rounds]


def weights_bytes(blocks: slice) -> int:
    """Bytes of those blocks' weights, running statistics included."""
    model = build(replace(shapes("vgg11_ecofed").model))
    return sum(4 * tensor.numel() for tensor in model[blocks].state_dict().values())


SIZE: dict[str, Any] = {"cohort": 2, "batch_size": B, "learning_rate": 0.01}


def test_federated_learning() -> None:
    flops = 2 * B * (3 * (FRONT + BACK) - FIRST)
    expected = BATCHES * flops / DEVICE + 8 * weights_bytes(slice(None)) * (1 / UP + 1 / DOWN)
    assert seconds(fedavg, FedAvgSettings(rounds=1, **SIZE)) == pytest.approx([expected], rel=1e-6)


def test_split_federated_learning() -> None:
    forward, backward = 2 * B * FRONT / DEVICE, 2 * B * (2 * FRONT - FIRST) / DEVICE
    server = 2 * B * 3 * BACK / SERVER
    batch = forward + 8 * (4 * ELEMENTS * B + 8 * B) / UP + server + 8 * 4 * ELEMENTS * B / DOWN + backward
    expected = BATCHES * batch + 8 * weights_bytes(slice(0, 2)) * (1 / UP + 1 / DOWN)
    assert seconds(splitfed_v1, SplitFedV1Settings(rounds=1, **SIZE)) == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("period", [1, 2, 4])
def test_ecofed(period: int) -> None:
    forward = 2 * B * FRONT / DEVICE
    learning = 2 * B * (3 * BACK - CONVS[2]) / SERVER  # nobody needs the gradient of the smashed data
    sending = BATCHES * (forward + 8 * (ELEMENTS * B + 8 * B + 4) / UP)
    rounds = [sending * (number % period == 0) + BATCHES * learning for number in range(4)]
    assert seconds(ecofed, EcoFedSettings(rounds=4, replay_period=period, **SIZE)) == pytest.approx(rounds, rel=1e-6)


def compared(device: float, share: float, factor: float) -> tuple[float, float, float]:
    """Mean round of FL, split FL and EcoFed: two clients that share a server, links of ``factor`` times 10/25 Mbit/s."""
    links = {"flop_per_s": device, "uplink_bps": factor * UP, "downlink_bps": factor * DOWN}
    shared = {"server": profile(flop_per_s=2 * share), "discipline": "shared"}
    asked = (
        (fedavg, FedAvgSettings(rounds=1, **SIZE)),
        (splitfed_v1, SplitFedV1Settings(rounds=1, **SIZE)),
        (ecofed, EcoFedSettings(rounds=2, **SIZE)),
    )
    fl, split, eco = (fmean(seconds(protocol, settings, shared, **links)) for protocol, settings in asked)
    return fl, split, eco


@pytest.mark.parametrize("device", [2e9, 4e9, 8e9])
def test_the_order_of_the_three_systems(device: float) -> None:
    """Check 6 (c): T_FL > T_DPFL > T_Eco on 10/25 Mbit/s, T_DPFL / T_Eco 2 to 4 and larger on slower links."""
    ratios = []
    for factor in (2.0, 1.0, 0.5):
        fl, split, eco = compared(device, SERVER, factor)
        assert fl > split > eco
        ratios.append(split / eco)
    assert 2 < ratios[1] < 4
    assert ratios == sorted(ratios)
