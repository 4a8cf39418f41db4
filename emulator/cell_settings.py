"""The blocks of a scenario that describe the network: cells, sites, the backhaul, hand-over."""

from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from emulator.air import ContentionSettings, LoRaSettings, RadioSettings, TraceSettings
from emulator.condition_settings import OutageSettings
from emulator.nearest import unknown
from emulator.presets import load_preset, preset_names
from emulator.quantities import Decibels, Duration, PositiveDuration, Rate, Size
from emulator.section import DIGEST, PROFILE, Profiled, ProfileName, Section, known, wrong
from network.framing import Connection, Framing
from network.plan import CellPlan, Handover, NetworkPlan, SitePlan
from network.sharing import EqualAirtime, EqualPackets

CellName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
PresetName = Annotated[str, *known("a preset", preset_names())]
Sharing = Literal["dedicated", "shared", "fifo", "airtime", "dcf", "fdma", "assigned", "lora"]
RADIO_ONLY = ("fdma", "assigned")
GIVEN_RATES = ("dedicated", "shared", "fifo")
SPLITS: dict[str, Literal["none", "equal", "assigned"]] = {"fdma": "equal", "assigned": "assigned"}


class FramingSettings(Section):
    """Packets: payload bytes, and header bytes before them; headers count as overhead."""

    payload: int = Field(default=1448, ge=1, description="payload bytes a packet")
    header: int = Field(ge=0, description="header bytes a packet")


class ConnectionSettings(Section):
    """The opening of a connection and TCP's slow start."""

    round_trips: float = Field(default=0.0, ge=0, le=100, description="before the first bit: 1 for TCP, 2 with TLS 1.3")
    once: bool = Field(default=True, description="only before a device's first transfer each way")
    initial_window: int = Field(default=0, ge=0, description="bytes of TCP's first window (14480); 0: no slow start")


class CapacitySettings(Section):
    """What a shared cell, or its queue, carries in all."""

    uplink: Rate | None = Field(default=None, description="absent: never the bottleneck")
    downlink: Rate | None = None


class CellTraces(Section):
    """Capacities that change with time."""

    uplink: TraceSettings | None = None
    downlink: TraceSettings | None = None


class CellSettings(Section):
    """A cell: how its devices share it, and what it gives each of them; ``preset`` fills in what is left out."""

    preset: PresetName | None = Field(default=None, description="name of a preset (emulator list cells)")
    sharing: Sharing = Field(
        default="dedicated",
        description="dedicated: each device its own rates; shared: one capacity, fair by rate; fifo: one transfer at a time; "
        "airtime: equal time; dcf: equal packets, as 802.11; fdma: equal parts of the band; assigned: by the protocol; "
        "lora: frames at random",
    )
    duplex: Literal["full", "half"] = Field(
        default="full", description="half: both directions take turns on one medium"
    )
    uplink: Rate | None = Field(default=None, description="of a device alone in the cell; absent: its profile's")
    downlink: Rate | None = None
    latency: Duration | None = Field(default=None, description="one way; absent: the device's profile's")
    jitter: Duration = Field(default=0.0, description="mean of an exponential delay on top of the latency")
    capacity: CapacitySettings | None = Field(default=None, description="shared and fifo cells")
    efficiency: float | None = Field(
        default=None, gt=0, le=1, description="airtime and dcf: share that carries payload"
    )
    contention: ContentionSettings | None = Field(default=None, description="dcf: Bianchi's efficiency instead")
    radio: RadioSettings | None = Field(default=None, description="rates follow from the signal")
    lora: LoRaSettings | None = Field(default=None, description="of a lora cell")
    framing: FramingSettings | None = None
    connection: ConnectionSettings | None = None
    loss: float = Field(default=0.0, ge=0, lt=1, description="probability that a whole transfer has to be sent again")
    traces: CellTraces | None = Field(default=None, description="shared and fifo: capacity over time")
    outages: OutageSettings | None = Field(default=None, description="absent: never out")
    site: str | None = Field(default=None, description="name of a site under network.sites")
    position: list[float] = Field(default=[0.0, 0.0], min_length=2, max_length=2, description="x, y in metres")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """What a preset says holds where the scenario says nothing."""
        if not isinstance(data, dict) or data.get("preset") not in preset_names():
            return data  # an unknown name is told of when the field is read
        return _over(load_preset(data["preset"]).settings, data)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for finding in self._findings():
            raise wrong(finding)
        return self

    def _findings(self) -> Iterator[str]:
        kind = self.sharing
        if kind in RADIO_ONLY and self.radio is None:
            yield f"sharing: got {kind} without radio; expected a radio block: its band is what is shared out"
        if self.radio is not None and kind in GIVEN_RATES:
            yield f"radio: got one in a {kind} cell; expected airtime, dcf, fdma or assigned, where rates follow from it"
        if self.radio is not None and (self.uplink is not None or self.downlink is not None):
            yield "uplink: got a rate beside radio; expected one of the two: a radio's rates follow from the signal"
        if self.radio is None and kind in ("airtime", "dcf") and self.uplink is None:
            yield f"uplink: missing; expected the rate of a device alone in the {kind} cell, or a radio block"
        if self.capacity is not None and kind not in ("shared", "fifo"):
            yield f"capacity: got one for a {kind} cell; expected it for shared and fifo cells only"
        if kind in ("shared", "fifo") and self.capacity is None and self.traces is None:
            yield f"capacity: missing; expected what a {kind} cell carries in all"
        if self.duplex == "half" and kind in ("dedicated", "lora", *RADIO_ONLY):
            yield f"duplex: got half for a {kind} cell; expected full: its directions never meet"
        if self.efficiency is not None and kind not in ("airtime", "dcf"):
            yield f"efficiency: got one for a {kind} cell; expected it for airtime and dcf cells only"
        if self.lora is not None and kind != "lora":
            yield f"lora: got it for a {kind} cell; expected sharing: lora"
        if kind == "lora" and (self.framing is not None or self.connection is not None):
            yield "framing: got headers or connections in a lora cell; expected neither: its frames have their own"
        if kind == "lora" and (self.radio is not None or self.uplink is not None or self.downlink is not None):
            yield "uplink: got a rate or a radio in a lora cell; expected neither: its rates follow from the spreading factor"
        yield from self._law_findings()

    def _law_findings(self) -> Iterator[str]:
        if self.contention is not None and (self.sharing != "dcf" or self.efficiency is not None):
            yield "contention: got it beside an efficiency or outside dcf; expected it in dcf cells, in place of efficiency"
        if self.contention is not None and self.radio is not None:
            yield "contention: got it beside radio; expected efficiency there: Bianchi's model knows one rate for all"
        if self.contention is not None and self.uplink is not None:
            try:
                self.contention.law(self.uplink)
            except ValueError as error:
                yield f"contention: {error}"
        if self.traces is not None and self.sharing not in ("shared", "fifo"):
            yield f"traces: got them for a {self.sharing} cell; expected shared or fifo; a device's own go with its group"
        if self.traces is not None and self.duplex == "half" and self.traces.downlink is not None:
            yield "traces.downlink: got one in a half-duplex cell; expected uplink alone, which holds for both directions"

    def plan(self, name: str, seed: int) -> CellPlan:
        """As the network builds it."""
        up, down = (self.capacity.uplink, self.capacity.downlink) if self.capacity is not None else (None, None)
        framing, connection, traces = self.framing, self.connection, self.traces
        packets = self.contention.law(self.uplink or 0) if self.contention is not None else None
        constant = EqualAirtime(self.efficiency or 1.0)
        return CellPlan(
            name, self.sharing, self.duplex, down or inf, up or inf,
            packets or (_packets(self.efficiency or 1.0) if self.sharing == "dcf" else constant),
            self.radio.build(SPLITS.get(self.sharing, "none")) if self.radio is not None else None,
            0, round(self.jitter * 1e9),
            Framing(framing.payload, framing.header) if framing is not None else Framing(),
            Connection(connection.round_trips, connection.once, connection.initial_window)
            if connection is not None
            else Connection(),
            self.loss, self.site, (self.position[0], self.position[1]), seed,
            traces.downlink.build() if traces is not None and traces.downlink is not None else None,
            traces.uplink.build() if traces is not None and traces.uplink is not None else None,
            (self.lora or LoRaSettings()).build() if self.sharing == "lora" else None,
        )  # fmt: skip


def _over(preset: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What is given, block by block, over what the preset says."""
    merged = {
        key: _over(preset[key], value) if isinstance(value, dict) and isinstance(preset.get(key), dict) else value
        for key, value in given.items()
    }
    return {**preset, **merged}


def _packets(efficiency: float) -> EqualPackets:
    return EqualPackets(partial(_constant, efficiency))


def _constant(efficiency: float, stations: int) -> float:
    return efficiency


class EdgeSettings(Profiled):
    """An edge server at a site: a node between its cells and its backhaul."""

    profile: ProfileName = Field(default="edge-server", description=PROFILE)
    profile_sha256: str | None = Field(default=None, description=DIGEST)


class SiteSettings(Section):
    """A backhaul that several cells share; its rates each way are shared fairly by all flows in flight."""

    uplink: Rate | None = Field(default=None, description="absent: never the bottleneck")
    downlink: Rate | None = None
    latency: Duration = Field(default=0.0, description="one way")
    jitter: Duration = Field(default=0.0, description="mean of an exponential delay on top")
    edge: EdgeSettings | None = Field(default=None, description="an edge server here, for protocols with an edge tier")

    def plan(self, name: str) -> SitePlan:
        """As the network builds it."""
        return SitePlan(
            name, self.downlink or inf, self.uplink or inf, round(self.latency * 1e9), round(self.jitter * 1e9)
        )


class BackhaulSettings(Section):
    """The server's own link, shared exactly fairly by all flows in flight; the same rate each way."""

    rate: Rate | None = Field(default=None, description="absent: never the bottleneck")
    latency: Duration = Field(default=0.0, description="one way, added to each device's own")
    jitter: Duration = Field(default=0.0, description="mean of an exponential delay on top")


class HandoverSettings(Section):
    """When moving devices change their cell."""

    margin: Decibels = Field(default=3.0, description="how much better another cell has to be")
    gap: Duration = Field(default=0.05, description="without any cell meanwhile")
    every: PositiveDuration = Field(default=1.0, description="how often positions are looked at")


class NetworkSettings(Section):
    """Cells, the sites they stand on, and the server's link."""

    cells: dict[CellName, CellSettings] = Field(default_factory=dict, json_schema_extra={"additionalProperties": False})
    sites: dict[CellName, SiteSettings] = Field(default_factory=dict, json_schema_extra={"additionalProperties": False})
    backhaul: BackhaulSettings = BackhaulSettings()
    handover: HandoverSettings = HandoverSettings()
    framing: Size = Field(
        default=0,
        description="of every message, e.g. of its pickling; labels ride with smashed data, masks with weights",
    )

    def findings(self) -> Iterator[str]:
        """What does not go together."""
        for name, cell in self.cells.items():
            if cell.site is not None and cell.site not in self.sites:
                words = unknown(cell.site, self.sites, "a site under network.sites")
                yield f"network.cells.{name}.site: {words}"

    def plan(self, seed: Callable[[str], int]) -> NetworkPlan:
        """As the network builds it; ``seed`` gives a cell's own by its name."""
        back, over = self.backhaul, self.handover
        rate, latency, jitter = back.rate or inf, round(back.latency * 1e9), round(back.jitter * 1e9)
        return NetworkPlan(
            SitePlan("core", rate, rate, latency, jitter),
            tuple(site.plan(name) for name, site in self.sites.items()),
            tuple(cell.plan(name, seed(name)) for name, cell in self.cells.items()),
            Handover(over.margin, round(over.gap * 1e9), max(1, round(over.every * 1e9))),
            self.framing,
        )
