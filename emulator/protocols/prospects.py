"""What a device could do in a round of TinyFEL: what each suffix would cost it, its air and its caps.

Inferred (ours): what a device can do is what the clock would charge it (``node.predict``, ``channel().wires``), its channel is
the mean one or that of the present coherence block, and the energy is that of the profile's powers. Not known ahead, so not
in it: the channel of later blocks, losses, jitter, and what links above the cell may hold back.
"""

from math import inf
from typing import NamedTuple

from emulator.learning.assignment import Candidate, Choice
from emulator.learning.models import summary
from emulator.learning.sgd import LocalSGD, train
from emulator.learning.suffix import Suffix, joined, payload_bytes, shape_of, train_suffix
from emulator.protocols.tinyfel_settings import TinyFELSettings
from emulator.protocols.verbs import Node, Value


class Prospect(NamedTuple):
    """A device as it is now. ``missing``: blocks that it has to be sent; ``downlink_hz``: for that (None: not assigned)."""

    device: Node
    task: tuple[Value, LocalSGD]
    settings: TinyFELSettings
    missing: tuple[int, ...]
    downlink_hz: float | None

    def candidate(self, weight: float, options: tuple[Suffix, ...]) -> Candidate:
        """The device for the solver."""
        device, settings, channel = self.device, self.settings, self.device.channel()
        powers, assigned = device.profile, self.downlink_hz is not None
        if settings.energy_cap_j is not None and powers.load_w is None:
            raise ValueError(f"energy_cap_j: {device.name} has a profile ({powers.name}) without powers; expected some")
        ahead_s = channel.latency_s + channel.wires[1].opening_s + self._joining_s()
        if settings.count_downlink:
            ahead_s += self.download_s(self.downlink_hz)
        strength = channel.signal.strengths_hz(now=self._now)[1] if assigned else 0.0
        return Candidate(
            weight, tuple(self._choice(one, ahead_s) for one in options), strength,
            None if assigned else self._alone_bps()[1],
            self._memory_cap(), settings.energy_cap_j or inf, powers.send_w or 0.0,
        )  # fmt: skip

    def download(self) -> Candidate:
        """The device's download for the solver: one choice, without any computing."""
        channel = self.device.channel()
        wire, signal = channel.wires[0], channel.signal
        size = wire.bytes(self._missing_bytes) / signal.band.scale
        ahead_s = channel.latency_s + wire.opening_s
        return Candidate(1.0, (Choice(1.0, ahead_s, size),), signal.strengths_hz(now=self._now)[0])

    def download_s(self, bandwidth_hz: float | None) -> float:
        """Seconds until the device has the blocks that it is missing, on a part of the band."""
        channel = self.device.channel()
        wire, signal, rate = channel.wires[0], channel.signal, self._alone_bps()[0]
        if bandwidth_hz is not None:
            gain = signal.downlink_gain if self._now else 1.0
            rate = signal.band.rate(signal.downlink_snr * gain, bandwidth_hz / signal.band.bandwidth_hz)
        return float(channel.latency_s + wire.opening_s + 8 * wire.bytes(self._missing_bytes) / rate)

    @property
    def _now(self) -> bool:
        return self.settings.knowledge == "now"

    @property
    def _missing_bytes(self) -> int:
        return payload_bytes(self.task[1].problem.model, self.missing)

    def _alone_bps(self) -> tuple[float, float]:
        """(down, up) alone in the cell; where it has a radio, at the mean signal or the present one."""
        channel = self.device.channel()
        if self._now and channel.signal is not None:
            down, up = channel.signal.rates_now()
            return down, up
        return channel.downlink_bps, channel.uplink_bps

    def _joining_s(self) -> float:
        """Of putting what comes beside the blocks that the device has kept."""
        model = self.task[1].problem.model
        kept = tuple(block for block in range(len(summary(model))) if block not in self.missing)
        if not kept:
            return 0.0
        return self.device.predict(joined, shape_of(model, kept), shape_of(model, self.missing), spec=model).seconds

    def _choice(self, one: Suffix, ahead_s: float) -> Choice:
        channel, cost = self.device.channel(), self._cost(one.first)
        size = channel.wires[1].bytes(one.payload_bytes)
        scale = 1.0 if self.downlink_hz is None else channel.signal.band.scale
        joules = cost.seconds * (self.device.profile.load_w or 0.0)
        return Choice(one.ratio, ahead_s + cost.seconds, size / scale, cost.peak_bytes, joules)

    def _cost(self, first: int) -> Value:
        weights, sgd = self.task
        if first == 0:
            return self.device.predict(train, weights, self.device.data, 0, sgd=sgd)
        return self.device.predict(train_suffix, weights, self.device.data, 0, sgd=sgd, first=first)

    def _memory_cap(self) -> float:
        free = float(self.device.profile.free_memory_bytes)
        share = self.settings.memory_share
        return free if share is None else min(free, share * self._cost(0).peak_bytes)
