"""The blocks of a scenario that describe a cell's air: path loss, link budget, rate map, fading, contention, traces."""

from functools import lru_cache, partial
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from emulator.quantities import Decibels, Frequency, PositiveDuration, PositiveLength, PowerLevel
from emulator.section import Section, with_digest, wrong
from network import dcf, harq
from network.aloha import LoRaCell
from network.band import Band
from network.columns import ColumnError
from network.fading import BlockFading
from network.lora import LoRa
from network.mobility import Track, read_track
from network.pathloss import FreeSpace, InH, LogDistance, PathLoss, UMa, UMi
from network.plan import Fading, Radio
from network.radio import LinkBudget
from network.ratemaps import Cqi, Ergodic, NrMcs, RateMap, Shannon, Steps
from network.sharing import EqualExchanges
from network.traces import RateTrace, read_trace

TIMINGS = {
    "802.11a": dcf.DCF_11A, "802.11g": dcf.DCF_11G, "802.11n": dcf.DCF_11N, "802.11ac": dcf.DCF_11AC,
    "802.11ax": dcf.DCF_11AX,
}  # fmt: skip


class ContentionSettings(Section):
    """802.11's contention: Bianchi's model for the stations that are active; a slow station's exchanges take longer."""

    timing: Literal["802.11a", "802.11g", "802.11n", "802.11ac", "802.11ax"]
    frame: int = Field(default=1472, ge=1, le=11454, description="payload bytes a frame")
    aggregated: int = Field(
        default=1, ge=1, le=64, description="frames sent in one go (A-MPDU), fewer where rates are low"
    )

    def law(self, rate_bps: float) -> EqualExchanges:
        """The rate law of a cell whose stations mostly have this rate; raises ValueError where its frames do not fit."""
        share = partial(_share, self, rate_bps)
        share(1)
        return EqualExchanges(partial(_exchange, self), share)


@lru_cache(maxsize=4096)
def _share(contention: ContentionSettings, rate_bps: float, stations: int) -> float:
    timing = TIMINGS[contention.timing]
    return dcf.successful_share(max(1, stations), rate_bps, contention.frame, timing, contention.aggregated)


@lru_cache(maxsize=4096)
def _exchange(contention: ContentionSettings, rate_bps: float) -> tuple[float, float]:
    return dcf.exchange(rate_bps, contention.frame, TIMINGS[contention.timing], contention.aggregated)


class LoRaSettings(Section):
    """A LoRa cell: frames at random, lost where they overlap. EU868's figures by default."""

    spreading_factor: int = Field(default=7, ge=7, le=12)
    channels: int = Field(default=8, ge=1, le=64, description="orthogonal, drawn for each frame")
    duty_cycle: float = Field(default=0.01, gt=0, le=1, description="share of time on air of a device")
    downlink_duty_cycle: float = Field(default=0.1, gt=0, le=1, description="of the gateway, for all downlinks")
    backoff: float = Field(
        default=3.0, ge=0, le=1000, description="longest random wait after a collision, in times on air"
    )

    def build(self) -> LoRaCell:
        """As the network runs it, on 125 kHz, coding rate 4/5."""
        radio = LoRa(self.spreading_factor)
        return LoRaCell(radio, self.channels, self.duty_cycle, self.downlink_duty_cycle, self.backoff)


class PathLossSettings(Section):
    """How the signal weakens over distance."""

    model: Literal["log-distance", "free-space", "umi", "uma", "inh"] = Field(
        description="log-distance; free-space; TR 38.901 street canyon, macro, indoor office"
    )
    constant: Decibels | None = Field(default=None, description="log-distance: loss at 1 km (128.1 dB)")
    slope: Decibels | None = Field(default=None, description="log-distance: per factor ten of distance (37.6 dB)")
    cell_height: PositiveLength | None = Field(default=None, description="umi, uma, inh: of the antenna")
    device_height: PositiveLength | None = Field(default=None, description="umi, uma, inh")
    office: Literal["mixed", "open"] | None = Field(default=None, description="inh")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        street = {"cell_height", "device_height"}
        takes = {"log-distance": {"constant", "slope"}, "free-space": set[str](), "umi": street, "uma": street}
        takes["inh"] = street | {"office"}
        given = {key for key, value in self if value is not None and key != "model"}
        strange = sorted(given - takes[self.model])
        if strange:
            raise wrong(
                f"got {', '.join(strange)} for {self.model}; expected {', '.join(sorted(takes[self.model])) or 'none'}"
            )
        return self

    def build(self, frequency_hz: float) -> PathLoss:
        """The model; raises ValueError outside its range."""
        if self.model == "log-distance":
            return LogDistance(**_given(constant_db=self.constant, slope_db=self.slope))
        if self.model == "free-space":
            return FreeSpace(frequency_hz)
        heights = _given(bs_height_m=self.cell_height, ue_height_m=self.device_height)
        if self.model == "inh":
            return InH(frequency_hz, **heights, **_given(office=self.office))
        return (UMi if self.model == "umi" else UMa)(frequency_hz, **heights)


class RateMapSettings(Section):
    """From signal to bits."""

    kind: Literal["shannon", "cqi", "nr-mcs"] = "shannon"
    gap: Decibels = Field(default=0.0, description="shannon: distance to capacity")
    ceiling: float | None = Field(default=None, gt=0, description="shannon: bit/s/Hz at most")
    layers: int = Field(default=1, ge=1, le=8, description="spatial streams, each at this signal")

    def build(self) -> Shannon | Steps:
        """The map, of one layer; raises ValueError for a negative gap."""
        if self.kind == "shannon":
            return Shannon(self.gap, self.ceiling or inf)
        return Cqi() if self.kind == "cqi" else NrMcs()


class FadingSettings(Section):
    """Fast fading, keyed by device, cell and coherence block of virtual time.

    ``block``: the rate changes at every block. ``transfer``: the block in which a transfer starts holds for all of it.
    ``mean``: the ergodic mean rate; good from about a hundred blocks a transfer on.
    """

    kind: Literal["rayleigh", "rician"] = "rayleigh"
    k_factor: float = Field(default=0.0, ge=0, le=1000, description="rician: direct over scattered power")
    coherence: PositiveDuration = Field(default=0.01, description="how long a gain holds")
    mode: Literal["block", "transfer", "mean"] = "block"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.kind == "rician") != (self.k_factor > 0):
            raise wrong(
                f"got k_factor {self.k_factor:g} for {self.kind} fading; expected one above 0 for rician fading only"
            )
        return self

    def build(self) -> Fading:
        """As the network follows it."""
        return Fading(BlockFading(max(1, round(self.coherence * 1e9)), self.k_factor), self.mode)


class HarqSettings(Section):
    """Retransmission by blocks: what failed attempts cost is taken off the rate."""

    errors: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=[0.1], min_length=1, description="error rate of each attempt; the last holds for further ones"
    )
    attempts: int = Field(default=4, ge=1, le=64)


class RadioSettings(Section):
    """A cell's air. Powers are fixed; other cells' interference counts as a rise of the noise floor."""

    frequency: Frequency = 3.5e9
    bandwidth: Frequency = 20e6
    path_loss: PathLossSettings = PathLossSettings(model="log-distance")
    shadowing: Decibels | None = Field(default=None, description="standard deviation; absent: the model's own")
    cell_power: PowerLevel = 43.0
    device_power: PowerLevel = 23.0
    cell_gain: Decibels = 0.0
    device_gain: Decibels = 0.0
    cell_noise_figure: Decibels = 5.0
    device_noise_figure: Decibels = 9.0
    interference: Decibels = Field(default=0.0, description="rise of the noise floor")
    rate_map: RateMapSettings = RateMapSettings()
    fading: FadingSettings | None = None
    harq: HarqSettings | None = None
    efficiency: float = Field(
        default=1.0, gt=0, le=1, description="share of the band's time and width that carries data"
    )
    radius: PositiveLength = Field(default=250.0, description="devices are placed within it, uniformly by area")
    nearest: PositiveLength = Field(default=10.0, description="no device is nearer, and no distance counts as less")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.nearest > self.radius:
            raise wrong(f"got nearest {self.nearest:g} m beyond radius {self.radius:g} m; expected at most the radius")
        for key in ("cell_noise_figure", "device_noise_figure", "interference", "shadowing"):
            if (getattr(self, key) or 0.0) < 0:
                raise wrong(f"got {key} {getattr(self, key):g} dB; expected zero or more")
        try:
            self.build("none")
        except ValueError as error:
            raise wrong(str(error)) from None
        return self

    def build(self, split: Literal["none", "equal", "assigned"]) -> Radio:
        """The air as the network uses it. Raises ValueError for what no model covers."""
        loss = self.path_loss.build(self.frequency)
        for distance in (self.nearest, self.radius):
            loss.nlos_db(distance)
        plain: RateMap = self.rate_map.build()
        fading = self.fading.build() if self.fading is not None else None
        mean = Ergodic(self.rate_map.build(), self.fading.k_factor) if self.fading is not None else plain
        now = mean if fading is not None and fading.mode == "mean" else plain
        down = self._budget(self.cell_power, self.device_noise_figure)
        up = self._budget(self.device_power, self.cell_noise_figure)
        band = Band(self.bandwidth, now, split, self._scale())
        return Radio(band, loss, down, up, mean, self.shadowing, fading, self.nearest)

    def _scale(self) -> float:
        goodput = 1.0
        if self.harq is not None:
            errors = (self.harq.errors + self.harq.errors[-1:] * self.harq.attempts)[: self.harq.attempts]
            goodput = harq.goodput_factor(errors, self.harq.attempts)
        return self.efficiency * self.rate_map.layers * goodput

    def _budget(self, power_dbm: float, noise_figure_db: float) -> LinkBudget:
        noise = noise_figure_db + self.interference
        return LinkBudget(power_dbm, self.cell_gain, self.device_gain, noise, self.bandwidth)


class FileSettings(Section):
    """Something that a file tells. Its digest is written down, so that a scenario's hash covers what the file holds."""

    file: str = Field(description="path of the file")
    sha256: str | None = Field(default=None, description="of the file; written when resolved, checked when given")

    @model_validator(mode="before")
    @classmethod
    def _sum_up(cls, data: Any) -> Any:
        return with_digest(data, "file", "sha256")


class TrackSettings(FileSettings):
    """Places from a file of ``seconds,x,y`` lines (metres); between them straight lines, at both ends standing still."""

    @model_validator(mode="after")
    def _reads(self) -> Self:
        try:
            self.build()
        except ColumnError as error:
            raise wrong(str(error)) from None
        return self

    def build(self) -> Track:
        """The track."""
        return read_track(Path(self.file))


class TraceSettings(FileSettings):
    """Rates from a file of ``seconds,bit/s`` lines. ``after`` says what comes after its end."""

    after: Literal["loop", "hold", "fail"] = "fail"
    scale: float = Field(default=1.0, gt=0, description="multiplies all rates")

    @model_validator(mode="after")
    def _reads(self) -> Self:
        try:
            self.build()
        except ColumnError as error:
            raise wrong(str(error)) from None
        return self

    def build(self) -> RateTrace:
        """The trace."""
        return read_trace(Path(self.file), self.after, self.scale)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
