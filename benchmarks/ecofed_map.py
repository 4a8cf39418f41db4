"""Where EcoFed's published speed-ups hold: 21x over FL, 2.86x over split FL (Wu et al., TPDS 2024, does not say where).

``python -m benchmarks.ecofed_map`` plays rounds of the three systems on the clock alone (VGG-11, 500 images a client, batches
of 10) across device speed, server speed and link, FLOPs alone, a share of the server per client, links of their own; then the
contours of both figures, and where they cross. Beside it the same systems on catalogue devices with roofline and contention.
"""

from dataclasses import replace
from itertools import pairwise
from math import exp, log
from typing import Any

from actors.inline import TimingOnly
from actors.program import path_of
from emulator.blueprint import Blueprint, Observation
from emulator.devices.population import GroupSpec, draw
from emulator.devices.profile import Profile
from emulator.devices.profile_file import load_profile
from emulator.learning.models import ModelSpec
from emulator.learning.random import stream
from emulator.learning.sgd import Problem
from emulator.learning.shards import Normalisation
from emulator.protocols.ecofed import EcoFedSettings, ecofed
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from emulator.rows import Round
from emulator.simulation import Simulation
from emulator.wiring import Wiring, plain
from emulator.world import Seeds
from network.plan import CellPlan, NetworkPlan

FL, DPFL = 21.0, 2.86  # published speed-ups of EcoFed over them
DEVICES = (1e9, 2e9, 4e9, 8e9, 16e9)
SERVERS = (1e10, 2.5e10, 5e10, 1e11, 2e11, 4e11)
LINKS = {"3G 2/2": (2e6, 2e6), "4G 10/25": (10e6, 25e6), "4G+ 20/40": (20e6, 40e6), "Wi-Fi 50/50": (50e6, 50e6)}
PROBLEM = Problem(ModelSpec("vgg11_ecofed", 10, (3, 32, 32), True), Normalisation(255.0, (0.5,) * 3, (0.5,) * 3), cut=2)
SIZE: dict[str, Any] = {"batch_size": 10, "learning_rate": 0.01, "momentum": 0.9}

Speedups = tuple[float, float]  # over FL, over split FL


def blueprint(group: GroupSpec, server: Profile, **changes: Any) -> Blueprint:
    """Clients of 500 images; the protocol is filled in later."""
    fleet = draw([group], lambda *names: stream(0, *names))
    cells = () if group.cell is None else (CellPlan(group.cell.name),)
    return Blueprint(
        "", FedAvgSettings(rounds=1, cohort=group.count, **SIZE), PROBLEM, Seeds(0, 0, 0, 0, 0), fleet, (500,) * group.count,
        server, Wiring(NetworkPlan(cells=cells), plain(fleet)), Observation(1, 0, 0, False), **changes,
    )  # fmt: skip


def seconds(base: Blueprint, protocol: Any, settings: Any) -> float:
    """Mean virtual seconds of a round."""
    plan = replace(base, protocol=path_of(protocol), settings=settings)
    ends = [row.end_ns for rows in Simulation(plan, TimingOnly()).messages() for row in rows if isinstance(row, Round)]
    return ends[-1] / 1e9 / len(ends)


def speedups(base: Blueprint) -> Speedups:
    """EcoFed's over both."""
    cohort = len(base.devices)
    eco = seconds(base, ecofed, EcoFedSettings(rounds=2, cohort=cohort, **SIZE))
    fl = seconds(base, fedavg, FedAvgSettings(rounds=1, cohort=cohort, **SIZE))
    return fl / eco, seconds(base, splitfed_v1, SplitFedV1Settings(rounds=1, cohort=cohort, **SIZE)) / eco


def closed(device: float, server: float, link: tuple[float, float]) -> Speedups:
    """The paper's setting: one client stands for all."""
    plain_profile = replace(load_profile("raspberry-pi-4"), compute="flops", throttling=None)
    board = replace(plain_profile, flop_per_s=device, convolution_flop_per_s=None, matmul_flop_per_s=None)
    group = GroupSpec(board, 1, uplink_bps=link[0], downlink_bps=link[1], latency_s=0.0)
    return speedups(blueprint(group, replace(board, flop_per_s=server), discipline="share_per_client"))


def crossing(low: tuple[float, float], high: tuple[float, float], target: float) -> float | None:
    """Where a speed-up reaches a target between two (server speed, speed-up) points: straight in logarithms."""
    (x0, y0), (x1, y1) = low, high
    if (y0 - target) * (y1 - target) > 0:
        return None
    share = 0.5 if y0 == y1 else (log(target) - log(y0)) / (log(y1) - log(y0))
    return exp(log(x0) + share * (log(x1) - log(x0)))


def contour(points: list[tuple[float, float]], target: float) -> float | None:
    """The first server speed at which a row of the map reaches a target."""
    found = (crossing(low, high, target) for low, high in pairwise(points))
    return next((speed for speed in found if speed is not None), None)


def show_map() -> dict[str, list[tuple[float, float | None, float | None]]]:
    """Print the speed-ups link by link; gives (device speed, server speed at 21x, at 2.86x) of each row."""
    contours: dict[str, list[tuple[float, float | None, float | None]]] = {}
    for name, link in LINKS.items():
        print(f"\n{name} Mbit/s: over FL / over split FL; rows: device GFLOP/s, columns: server GFLOP/s per client")
        print(f"{'':>6}" + "".join(f"{server / 1e9:>15.0f}" for server in SERVERS))
        for device in DEVICES:
            row = [(server, closed(device, server, link)) for server in SERVERS]
            print(f"{device / 1e9:>6.0f}" + "".join(f"{over[0]:>8.1f} /{over[1]:>5.2f}" for _, over in row))
            both = [[(server, over[which]) for server, over in row] for which in (0, 1)]
            contours.setdefault(name, []).append((device, contour(both[0], FL), contour(both[1], DPFL)))
    return contours


def show_contours(contours: dict[str, list[tuple[float, float | None, float | None]]]) -> None:
    """Print where each figure is reached, and between which devices the two contours cross."""
    for name, rows in contours.items():
        print(f"\n{name}: server GFLOP/s per client at which the published figures are reached")
        for device, fl, dpfl in rows:
            told = " ".join(
                f"{words} {'never' if at is None else f'{at / 1e9:.1f}'}"
                for words, at in (("21x", fl), ("2.86x", dpfl))
            )
            print(f"  device {device / 1e9:>3.0f} GFLOP/s: {told}")
        known = [(device, log(fl / dpfl)) for device, fl, dpfl in rows if fl is not None and dpfl is not None]
        for (low, before), (high, after) in pairwise(known):
            if before * after <= 0:
                at = exp(log(low) + before / (before - after) * (log(high) - log(low)))
                print(f"  both at once: a device of about {at / 1e9:.1f} GFLOP/s")


def show_real() -> None:
    """Twenty Raspberry Pi 4 on 4G, a T4 as the server, rooflines; the server first come first served, or shared."""
    board, server = load_profile("raspberry-pi-4"), load_profile("edge-server")
    group = GroupSpec(board, 20, uplink_bps=10e6, downlink_bps=25e6, latency_s=0.035)
    print("\nroofline, 20 Raspberry Pi 4 over 4G 10/25 with 35 ms, a T4 as the server:")
    for discipline in ("fifo", "shared", "share_per_client"):
        over = speedups(blueprint(group, server, discipline=discipline))
        print(f"  server {discipline:16}: {over[0]:.1f}x over FL, {over[1]:.2f}x over split FL")


def main() -> bool:
    """Everything; there is no limit to keep."""
    show_contours(show_map())
    show_real()
    return True


if __name__ == "__main__":
    main()
