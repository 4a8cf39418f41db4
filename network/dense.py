"""A medium whose stations' own rates differ all and change at any time: block fading, and bands split among stations.

All flows stand in arrays; an event or a tick costs O(flows) in numpy, a few microseconds for hundreds and under a tenth
of a millisecond for ten thousand. While nobody is on the air there are no ticks.
"""

from math import inf

import numpy as np
import simpy
from numpy.typing import NDArray

from network.band import Band, BandFull
from network.fading import BlockFading
from network.flow import Flow, RadioStation, Station
from network.hub import Hub, Offers
from network.levels import Floats, water_level
from network.sharing import UNLIMITED_BPS, Sharing
from network.table import Table
from network.timer import LazyTimer
from network.units import NS_PER_S
from network.virtual_time import HALF_NS


class DenseMedium:
    """Flows of ``RadioStation``s on a band, shared by ``law``, under ``fading`` (None: the mean holds throughout)."""

    def __init__(
        self,
        env: simpy.Environment,
        band: Band,
        law: Sharing,
        fading: BlockFading | None = None,
        hub: Hub | None = None,
    ) -> None:
        self.env = env
        self.band = band
        self.law = law
        self.fading = fading
        self._hub = hub
        self._table = Table()
        self._stations: dict[RadioStation, None] = {}
        self._since_ns = env.now
        self._limits = (inf, inf)
        self._level = inf
        self._shape: tuple[Floats | float, Floats | float] = (1.0, 1.0)  # weights, flows of the same station
        self._phi: Floats | float = 1.0
        self._load: Floats | float = 1.0
        self._bound = np.zeros(0)
        self._bounded = False
        self._caps: Floats | None = None
        self._bits: tuple[int, NDArray[np.uint64]] | None = None
        self._sequence = 0
        self._ending = False
        self._timer = LazyTimer(env, self._on_time)
        self._ticks = LazyTimer(env, self._on_tick)
        if hub is not None:
            hub.join(self)

    # -- flows --------------------------------------------------------------------------------------------------

    def start(self, flow: Flow) -> None:
        """Put a flow on the air now; one without a bit ends at once. Raises BandFull where bands are assigned."""
        if not flow.bits > 0:
            flow.left = 0.0
            flow.on_done()
            return
        self._advance()
        part, table, station = self._part(flow), self._table, flow.station
        assert isinstance(station, RadioStation)
        station.flows.append(flow)
        self._stations[station] = None
        slot = flow.slot = table.add(flow)
        self._sequence += 1
        flow.tag = self._sequence
        flow.medium = self
        table.left[slot], table.snr[slot], table.keys[slot] = flow.left, station.snr * flow.gain, station.key
        table.weight[slot], table.part[slot], table.cap[slot] = station.weight, part, flow.cap_bps
        table.up[slot], table.through[slot] = flow.uplink, flow.through
        self._count(station)
        self._tune(slice(slot, slot + 1))
        if self.fading is not None and self._ticks.due_ns == inf:
            self._ticks.set((self.fading.block(int(self.env.now)) + 1) * self.fading.block_ns)
        self._changed()

    def _part(self, flow: Flow) -> float:
        if self.band.split != "assigned":
            return 1.0
        wanted, whole = flow.bandwidth_hz, self.band.bandwidth_hz
        if wanted is None or not wanted > 0:
            raise BandFull(f"bandwidth_hz: got {wanted}; expected what this flow is given of the band's {whole:g} Hz")
        left = (1 - float(self._table.part[: len(self._table.flows)].sum())) * whole
        if wanted > left + whole * 1e-9:
            raise BandFull(
                f"bandwidth_hz: got {wanted:g}; expected at most the {left:g} Hz left of the band's {whole:g} Hz"
            )
        return wanted / whole

    def abort(self, flow: Flow) -> None:
        """Take a flow off the air at once."""
        self._advance()
        self._leave(flow)
        self._changed()

    def left_bits(self, flow: Flow) -> float:
        """Bits of a flow that have not left by now."""
        table, slot = self._table, flow.slot
        left = table.left[slot] - table.rate[slot] * ((self.env.now - self._since_ns) / NS_PER_S)
        return float(min(flow.bits, max(0.0, left)))

    def rerate(self, station: Station, rate_bps: float) -> None:
        """Rates follow from signals here; ``retune`` is for those."""
        raise TypeError("a station's rate on a band follows from its signal")

    def retune(self, station: RadioStation) -> None:
        """A station's mean ratio has changed: it has moved."""
        if station.flows:
            self._advance()
            for flow in station.flows:
                self._table.snr[flow.slot] = station.snr * flow.gain
                self._tune(slice(flow.slot, flow.slot + 1))
            self._changed()

    def recap(self, flow: Flow, cap_bps: float) -> None:
        """A flow's own limit changes now."""
        flow.limit_to(cap_bps)
        self._advance()
        self._table.cap[flow.slot] = cap_bps
        self._changed()

    def _leave(self, flow: Flow) -> None:
        flow.left = float(min(flow.bits, max(0.0, self._table.left[flow.slot])))
        flow.medium = None
        self._table.drop(flow)
        station = flow.station
        assert isinstance(station, RadioStation)
        station.flows.remove(flow)
        if station.flows:
            self._count(station)
        else:
            del self._stations[station]

    def _count(self, station: Station) -> None:
        for flow in station.flows:
            self._table.shared[flow.slot] = len(station.flows)

    # -- the air ------------------------------------------------------------------------------------------------

    def _tune(self, flows: slice) -> None:
        """Find the own rates of these flows: what they reach in the present block on their part of the band."""
        table, snr = self._table, self._table.snr[flows]
        if self.fading is not None:
            block = self.fading.block(int(self.env.now))
            snr = snr * self.fading.gains(self._drawn(flows, block), block)
        part: Floats | float = 1.0
        if self.band.split == "equal":
            part = 1.0 / max(1, len(self._stations))
        elif self.band.split == "assigned":
            part = table.part[flows]
        table.own[flows] = self.band.rates(snr, part)

    def _drawn(self, flows: slice, block: int) -> NDArray[np.uint64]:
        """Random bits for these flows; those of all flows are kept for the next block, which may have the same ones."""
        assert self.fading is not None
        if flows.stop - flows.start < len(self._table.flows):
            return self.fading.bits(self._table.keys[flows], block)
        group = block // self.fading.served
        if self._bits is None or self._bits[0] != group:
            self._bits = (group, self.fading.bits(self._table.keys[flows], block))
        return self._bits[1]

    def _on_tick(self) -> None:
        flows = len(self._table.flows)
        if not flows or self.fading is None:
            return
        self._advance()
        self._tune(slice(0, flows))
        self._ticks.set((self.fading.block(int(self.env.now)) + 1) * self.fading.block_ns)
        self._settle()

    # -- sharing ------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        now = self.env.now
        if now > self._since_ns:
            n = len(self._table.flows)
            self._table.left[:n] -= self._table.rate[:n] * ((now - self._since_ns) / NS_PER_S)
        self._since_ns = now

    def _changed(self) -> None:
        """Flows came, went or moved: what follows from who is there is found anew."""
        if self._ending:
            return
        self._bits = None
        table, n = self._table, len(self._table.flows)
        alone = len(self._stations) == n and all(station.weight == 1.0 for station in self._stations)
        self._shape = (1.0, 1.0) if alone else (table.weight[:n].copy(), table.shared[:n].copy())
        caps = table.cap[:n]
        self._caps = caps.copy() if n and caps.min() < inf else None
        if self.band.split == "equal" and n:
            self._tune(slice(0, n))
        self._settle()

    def _settle(self) -> None:
        self._terms()
        if self._hub is None:
            self.limit(inf, inf)
            self.apply()
        else:
            self._hub.settle(self)

    def _terms(self) -> None:
        """Weight, load and bound of every flow; one whose signal is lost in this block takes no part."""
        n = len(self._table.flows)
        own = self._table.own[:n]
        every = not n or bool(own.min() > 0)
        phi, load, limit = self.law.terms(own if every else np.where(own > 0, own, 1.0), *self._shape)
        if self._caps is not None:
            limit = np.minimum(limit, self._caps)
        self._phi, self._load, self._bounded = phi, load, isinstance(limit, np.ndarray)
        if self._bounded:
            self._bound = np.minimum(limit, UNLIMITED_BPS) / phi
        if not every:
            heard = own > 0
            self._phi, self._load = phi * heard, load * heard
            self._bound, self._bounded = np.where(heard, self._bound if self._bounded else inf, 0.0), True

    def limit(self, down_bps: float, up_bps: float) -> None:
        """No flow that goes on over the links above may exceed these rates; ``apply`` makes it so."""
        self._limits = (down_bps, up_bps)
        n, load, capacity = len(self._table.flows), self._load, self.law.capacity(len(self._stations))
        if not n or capacity == inf:
            self._level = inf
        elif self._bounded or not down_bps == up_bps == inf:
            self._level = water_level(self._bounds(), np.broadcast_to(load, n), capacity)
        else:
            self._level = capacity / float(load.sum() if isinstance(load, np.ndarray) else load * n)

    def _bounds(self) -> Floats:
        down, up = self._limits
        n = len(self._table.flows)
        if down == up == inf:
            return self._bound if self._bounded else np.full(n, inf)
        limits = np.where(self._table.through[:n], np.where(self._table.up[:n], up, down), inf)
        with np.errstate(divide="ignore"):
            bounds: Floats = limits / self._phi
        return np.minimum(self._bound, bounds) if self._bounded else bounds

    def offers(self, uplink: bool) -> Offers:
        """(rates in bit/s, flows of each) that this medium would put on the links above if they did not bind."""
        bounds = self._bound if self._bounded else np.full(len(self._table.flows), inf)
        rates = (self._phi * np.minimum(bounds, min(self._level, UNLIMITED_BPS)))[self._mine(uplink)]
        return rates, np.ones(len(rates))

    def carried(self) -> tuple[float, float]:
        """Bit/s (down, up) over the links above, under the limit set last."""
        rates = self._rates()
        return float(rates[self._mine(False)].sum()), float(rates[self._mine(True)].sum())

    def coupled(self) -> bool:
        """A limit on some flows always leaves airtime to others here, unless the band is split for good."""
        return len(self._table.flows) > 1 and self.law.capacity(len(self._stations)) < inf

    def moved(self) -> bool:
        """Whether ``apply`` has anything to do: signals may have changed at any time."""
        return True

    def apply(self) -> None:
        """Go on at the rates that hold from now, and set the timer for the first flow to finish."""
        self._advance()  # the links above may have called, with nothing new here
        table, n = self._table, len(self._table.flows)
        if not n:
            self._timer.set(inf)
            return
        rates = table.rate[:n]
        if self._bounded or self._limits != (inf, inf):
            rates[:] = self._rates()
            with np.errstate(divide="ignore", invalid="ignore"):
                first = float(np.fmin.reduce(table.left[:n] / rates))
        else:
            np.multiply(self._phi, min(self._level, UNLIMITED_BPS), out=rates)
            first = float((table.left[:n] / rates).min())
        self._timer.set(inf if first == inf else self.env.now + max(0, round(first * NS_PER_S)))

    def _mine(self, uplink: bool) -> NDArray[np.bool_]:
        n = len(self._table.flows)
        return np.asarray((self._table.up[:n] == uplink) & self._table.through[:n])

    def _rates(self) -> Floats:
        return np.asarray(self._phi * np.minimum(self._bounds(), min(self._level, UNLIMITED_BPS)))

    def _on_time(self) -> None:
        self._advance()
        table, n = self._table, len(self._table.flows)
        slots = np.flatnonzero(table.left[:n] <= table.rate[:n] * (HALF_NS / NS_PER_S))
        finished = sorted((table.flows[slot] for slot in slots), key=lambda flow: flow.tag)
        self._ending = True
        if self._hub is not None:
            self._hub.hold()
        for flow in finished:
            self._leave(flow)
            flow.left = 0.0
        for flow in finished:
            flow.on_done()
        self._ending = False
        self._changed()
        if self._hub is not None:
            self._hub.release()
