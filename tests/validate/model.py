"""What the platform's network model says of the cases that ns-3 simulates. Rates in bit/s, sizes in bytes, times in s."""

from collections.abc import Sequence
from math import fsum, inf, sqrt
from statistics import fmean, stdev

import simpy

from network.classes import ClassMedium
from network.dcf import DcfTiming, bianchi
from network.flow import Flow, Station
from network.sharing import FairRate, Sharing
from network.units import BITS_PER_BYTE, NS_PER_S

# 97.5 % quantiles of Student's t for 1 to 9 degrees of freedom.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def finish_times(law: Sharing, sizes_bytes: Sequence[int], rates_bps: Sequence[float]) -> list[float]:
    """Second at which each flow ends when all start at 0, each from a station of its own with that rate alone."""
    env = simpy.Environment(0)
    medium = ClassMedium(env, law)
    done = [0.0] * len(sizes_bytes)

    def end(index: int) -> None:
        done[index] = env.now / NS_PER_S

    for index, (size, rate) in enumerate(zip(sizes_bytes, rates_bps, strict=True)):
        medium.start(Flow(Station(rate), float(size * BITS_PER_BYTE), lambda index=index: end(index)))  # type: ignore[misc]
    env.run()
    return done


def batch_times(rate_bps: float, sizes_bytes: Sequence[int], caps_bps: Sequence[float] | None = None) -> list[float]:
    """The same on a link shared fairly, each flow limited by its own cap: max-min."""
    caps = caps_bps if caps_bps is not None else [inf] * len(sizes_bytes)
    return finish_times(FairRate(rate_bps), sizes_bytes, caps)


def share_bps(law: Sharing, rates_bps: Sequence[float]) -> list[float]:
    """Rate of each station while all are sending: a fixed point, read off the time of equal, large transfers."""
    size = 10**9
    return [size * BITS_PER_BYTE / took for took in finish_times(law, [size] * len(rates_bps), rates_bps)]


def mixed_saturation_bps(rates_bps: Sequence[float], payload_bytes: int, timing: DcfTiming) -> float:
    """Goodput of *each* station when their PHY rates differ: Bianchi's slots, with each frame's own time on the air.

    Attempts do not depend on rates, so every station succeeds equally often. A collision lasts as long as its longest
    frame: with frames in ascending order, the k-th is the longest when none above it is sent, and some below it is.
    Acknowledgements at 24 Mbit/s, or at the data rate where that is lower.
    """
    tau, p = bianchi(len(rates_bps), timing)
    success = tau * (1 - p)  # of one station, a slot
    frames = sorted(timing.data_us(rate, payload_bytes) for rate in rates_bps)
    after_us = timing.eifs_us if timing.eifs_after_collision else timing.difs_us
    slow_ack_us = timing.eifs_us - timing.sifs_us - timing.difs_us
    acks = [timing.ack_us if rate > timing.basic_rate_bps else slow_ack_us for rate in rates_bps]
    slot_us = (1 - tau) ** len(frames) * timing.slot_us
    slot_us += success * fsum(frame + timing.sifs_us + timing.difs_us for frame in frames) + success * fsum(acks)
    for below, frame in enumerate(frames):
        longest = tau * (1 - tau) ** (len(frames) - 1 - below) * (1 - (1 - tau) ** below)
        slot_us += longest * (frame + after_us)
    return success * payload_bytes * BITS_PER_BYTE / (slot_us * 1e-6)


def confidence(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half width of its 95 % confidence interval) of independent runs; half width 0 for one run."""
    if len(values) == 1:
        return values[0], 0.0
    return fmean(values), _STUDENT[len(values) - 2] * stdev(values) / sqrt(len(values))
