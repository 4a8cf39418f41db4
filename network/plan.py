"""What a network is made of, in plain and picklable terms: cells, sites, the core, and how a device hangs on them."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from network.aloha import LoRaCell
from network.band import Band
from network.fading import BlockFading
from network.framing import Connection, Framing
from network.mobility import Place, Position
from network.pathloss import PathLoss
from network.radio import LinkBudget
from network.ratemaps import RateMap
from network.sharing import EqualAirtime, EqualExchanges, EqualPackets, FairRate, Sharing
from network.traces import RateTrace

Kind = Literal["dedicated", "shared", "fifo", "airtime", "dcf", "fdma", "assigned", "lora"]
Duplex = Literal["full", "half"]


@dataclass(frozen=True)
class Fading:
    """Fading and how it is followed.

    ``block``: rates change at every coherence block of ``law``. ``transfer``: the block in which a transfer starts holds for
    all of it. ``mean``: the ergodic mean rate; the band's efficiency is then the mean one already.
    """

    law: BlockFading
    mode: Literal["block", "transfer", "mean"]


@dataclass(frozen=True)
class Radio:
    """A cell's air: its band, path loss, and link budgets each way.

    ``mean`` gives the efficiency in the mean over fading (the band's own without any). ``shadowing_db`` replaces the
    path-loss model's own standard deviation. ``nearest_m``: no distance counts as less (no model holds inside an
    antenna). ``reach``: the smallest mean efficiency (bit/s/Hz) at which a device can be served at all.
    """

    band: Band
    path_loss: PathLoss
    down: LinkBudget
    up: LinkBudget
    mean: RateMap
    shadowing_db: float | None = None
    fading: Fading | None = None
    nearest_m: float = 1.0
    reach: float = 1e-3


@dataclass(frozen=True)
class CellPlan:
    """A cell. Rates in bit/s are its capacity where it is ``shared`` or ``fifo``; latency and jitter are one way.

    ``dedicated``: every device has its own rates, and the cell never binds. ``half`` duplex: both directions draw on one
    medium, of ``uplink_bps``. ``law`` is the rate law of ``airtime`` and ``dcf``. ``loss``: the probability that an attempt
    at a whole transfer fails and is made again. Jitter is the mean of an exponential delay on top of the latency.
    ``lora``: of a ``lora`` cell. ``seed`` keys the cell's air: shadowing, sight and fading of every device in it.
    """

    name: str
    kind: Kind = "dedicated"
    duplex: Duplex = "full"
    downlink_bps: float = inf
    uplink_bps: float = inf
    law: EqualAirtime | EqualPackets | EqualExchanges = field(default_factory=EqualAirtime)
    radio: Radio | None = None
    latency_ns: int = 0
    jitter_ns: int = 0
    framing: Framing = field(default_factory=Framing)
    connection: Connection = field(default_factory=Connection)
    loss: float = 0.0
    site: str | None = None
    position: Position = (0.0, 0.0)
    seed: int = 0
    downlink_trace: RateTrace | None = None
    uplink_trace: RateTrace | None = None
    lora: LoRaCell | None = None

    def __post_init__(self) -> None:
        if (self.kind == "lora") != (self.lora is not None):
            raise ValueError(
                f"lora: got {self.lora!r} for a {self.kind} cell; expected some in a lora cell, none in others"
            )

    def sharing(self, uplink: bool) -> Sharing:
        """The rate law in one direction."""
        if self.kind in ("airtime", "dcf"):
            return self.law
        if self.kind in ("shared", "fifo"):
            return FairRate(self.uplink_bps if uplink or self.duplex == "half" else self.downlink_bps)
        return FairRate()


@dataclass(frozen=True)
class SitePlan:
    """A link up and down that several cells share: a site's backhaul, or the core before the server."""

    name: str
    downlink_bps: float = inf
    uplink_bps: float = inf
    latency_ns: int = 0
    jitter_ns: int = 0


@dataclass(frozen=True)
class Access:
    """How a device hangs on the network.

    Rates in bit/s where its cell has no radio; ``latency_ns`` one way over the cell. ``key`` is the device's own random
    key: fades, shadowing, losses and jitter follow from it, the cell and the time. ``roams``: the cells between which
    it is handed over, its own among them. ``link`` is what records call its link where it is in no cell. ``unlimited``
    (down, up): transfers take the latency alone, and nothing of what others share.
    """

    name: str
    cell: str | None
    uplink_bps: float
    downlink_bps: float
    latency_ns: int
    link: str = "wire"
    key: int = 0
    weight: float = 1.0
    place: Place | None = None
    uplink_trace: RateTrace | None = None
    downlink_trace: RateTrace | None = None
    roams: tuple[str, ...] = ()
    unlimited: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class Handover:
    """When a moving device changes its cell: another one is ``margin_db`` better; ``gap_ns`` without any then.

    Positions are looked at every ``every_ns``.
    """

    margin_db: float = 3.0
    gap_ns: int = 50_000_000
    every_ns: int = 1_000_000_000


@dataclass(frozen=True)
class NetworkPlan:
    """All cells and sites, and the core: the server's own link. ``message_bytes``: of every message, beside its payload.

    ``unlimited`` (down, up): of the ways of edge servers, as of a device's (``Access``).
    """

    core: SitePlan = SitePlan("core")
    sites: tuple[SitePlan, ...] = ()
    cells: tuple[CellPlan, ...] = ()
    handover: Handover = Handover()
    message_bytes: int = 0
    unlimited: tuple[bool, bool] = (False, False)
