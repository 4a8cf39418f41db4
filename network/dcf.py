"""802.11's distributed coordination function in saturation (Bianchi 2000), and what it leaves of the PHY rate.

Bianchi: G. Bianchi, "Performance analysis of the IEEE 802.11 distributed coordination function", IEEE J. Sel. Areas
Commun. 18(3), 2000. n stations always have a frame to send, hear each other, retry for ever, and lose frames to collisions
only; propagation takes no time. Times in microseconds, rates in bit/s. Bad input raises ValueError.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from network.reals import require, require_nonnegative, require_positive
from network.units import BITS_PER_BYTE

_SERVICE_AND_TAIL_BITS = 16 + 6  # around every PSDU: IEEE 802.11-2016, 17.3.2; the later PHYs with BCC too
_DELIMITER_BYTES = 4  # before every A-MPDU subframe, which is padded to 4 bytes: 802.11-2016, 9.7.1
_LONGEST_US = 5484.0  # what L-SIG can announce: aPPDUMaxTime, 802.11-2016, 21.4.4

_UDP_HEADERS = 20 + 8  # IPv4 and UDP, without options
_FRAME_HEADERS = 24 + 4 + 8  # MAC header, FCS (802.11-2016, 9.2.3), LLC/SNAP
_QOS_FRAME_HEADERS = _FRAME_HEADERS + 2  # with the QoS control field


@dataclass(frozen=True)
class DcfTiming:
    """What one frame exchange (data, SIFS, acknowledgement) takes on the air.

    ``preamble_us`` holds everything before the data symbols of ``symbol_us``; ``extension_us`` follows each frame.
    ``header_bits`` are sent with each payload at the data rate: here MAC, FCS, LLC/SNAP, IPv4 and UDP. ``cw_min`` is the
    standard's aCWmin: the back-off starts in 0..cw_min and doubles ``backoff_stages`` times. ``ack_us`` and
    ``block_ack_us`` are whole frames at 24 Mbit/s. ``difs_us`` is the wait before the back-off; with EDCA, AIFS.

    After a collision a station that could decode a preamble waits EIFS (SIFS + an ACK at ``basic_rate_bps``, the lowest +
    DIFS), one that could not waits DIFS. Which of the two happens depends on capture; models take one for all (Bianchi,
    Tinnirello & Scalia in "Emerging Technologies in Wireless LANs", 2008, chapter 4). ``eifs_after_collision`` is off by
    default: that is Bianchi's own Tc, equation 14, and the variant must not be chosen for the better fit.
    """

    slot_us: float
    sifs_us: float
    difs_us: float
    preamble_us: float
    symbol_us: float = 4.0
    extension_us: float = 0.0
    ack_us: float = 20.0 + 2 * 4.0  # 22 + 14 * 8 = 134 bit, 96 a symbol
    block_ack_us: float = 20.0 + 3 * 4.0  # compressed, 64 frames: 22 + 32 * 8 = 278 bit, 96 a symbol
    cw_min: int = 15
    backoff_stages: int = 6
    header_bits: int = (_FRAME_HEADERS + _UDP_HEADERS) * BITS_PER_BYTE
    basic_rate_bps: float = 6e6
    most_frames: int = 1
    eifs_after_collision: bool = False

    def __post_init__(self) -> None:
        for name in ("slot_us", "symbol_us", "basic_rate_bps"):
            require_positive(name, getattr(self, name))
        for name in ("sifs_us", "difs_us", "preamble_us", "extension_us", "ack_us", "block_ack_us", "header_bits"):
            require_nonnegative(name, getattr(self, name))
        require("cw_min", self.cw_min, self.cw_min >= 1, "at least 1")
        require("backoff_stages", self.backoff_stages, 0 <= self.backoff_stages <= 16, "0 to 16")
        require("most_frames", self.most_frames, self.most_frames >= 1, "at least 1")

    @property
    def eifs_us(self) -> float:
        """SIFS + ACK at the lowest rate + DIFS: IEEE 802.11-2016, 10.3.2.3.7. The ACK has a 20 us preamble and 4 us symbols."""
        symbols = math.ceil((_SERVICE_AND_TAIL_BITS + 14 * BITS_PER_BYTE) / (self.basic_rate_bps * 4e-6) - 1e-9)
        return self.sifs_us + 20.0 + 4.0 * symbols + self.extension_us + self.difs_us

    def data_us(self, rate_bps: float, payload_bytes: int, aggregated_frames: int = 1) -> float:
        """One PPDU, in whole symbols. Raises ValueError for one longer than 5.484 ms."""
        frame_bytes = payload_bytes + math.ceil(self.header_bits / BITS_PER_BYTE)
        if aggregated_frames > 1:
            frame_bytes = _DELIMITER_BYTES + 4 * math.ceil(frame_bytes / 4)
        bits = _SERVICE_AND_TAIL_BITS + aggregated_frames * frame_bytes * BITS_PER_BYTE
        symbols = math.ceil(bits / (rate_bps * self.symbol_us * 1e-6) - 1e-9)
        took = self.preamble_us + symbols * self.symbol_us
        require("frame", f"{took:.6g} us", took <= _LONGEST_US, f"at most {_LONGEST_US:.6g} us: fewer bytes or frames")
        return took + self.extension_us


# IEEE 802.11-2016, table 17-21 (OFDM PHY): slot 9, SIFS 16, aCWmin 15, aCWmax 1023; DIFS = SIFS + 2 slots (10.3.7).
# Preamble 16 + SIGNAL 4 (17.3.2).
DCF_11A = DcfTiming(slot_us=9, sifs_us=16, difs_us=34, preamble_us=20)
# Table 18-5 (ERP): SIFS 10, short slot 9 (no 802.11b station near); 6 us signal extension after every frame (clause 18.3).
DCF_11G = replace(DCF_11A, sifs_us=10, difs_us=28, extension_us=6)
# 5 GHz, EDCA best effort: AIFSN 3 (9.4.2.29), so AIFS = 16 + 3 * 9. One spatial stream. HT-mixed: 20 + HT-SIG 8 + HT-STF 4
# + HT-LTF 4 (19.3.9). Guard interval 800 ns. Block acknowledgement of up to 64 frames.
DCF_11N = replace(
    DCF_11A,
    difs_us=43,
    preamble_us=36,
    header_bits=(_QOS_FRAME_HEADERS + _UDP_HEADERS) * BITS_PER_BYTE,
    most_frames=64,
)
# 20 + VHT-SIG-A 8 + VHT-STF 4 + VHT-LTF 4 + VHT-SIG-B 4 (21.3.8).
DCF_11AC = replace(DCF_11N, preamble_us=40)
# IEEE 802.11ax-2021, 27.3.11, HE SU: 20 + RL-SIG 4 + HE-SIG-A 8 + HE-STF 4 + 2x HE-LTF 7.2; symbols 12.8 + 0.8 us; no
# packet extension. Its block acknowledgements of 256 frames are not offered: they are longer by 24 bytes.
DCF_11AX = replace(DCF_11N, preamble_us=43.2, symbol_us=13.6)


def attempt_rate(collision_probability: float, timing: DcfTiming) -> float:
    """Bianchi's equation 7: probability tau that a station sends in a slot, given the p of its frames.

    2 / (1 + W + p W sum_{i<m} (2p)^i) with W = cw_min + 1 and m stages: equation 7 with its factor 1 - 2p divided out.
    """
    p, window = collision_probability, timing.cw_min + 1
    require("collision_probability", p, 0 <= p <= 1, "0 to 1")
    return 2 / (1 + window + p * window * sum((2 * p) ** stage for stage in range(timing.backoff_stages)))


def bianchi(stations: int, timing: DcfTiming) -> tuple[float, float]:
    """(tau, p): attempt and collision probability a slot, where p = 1 - (1 - tau(p))^(n-1) (equations 7 and 9).

    The left side rises in p and the right side falls, so bisection finds the one root to the last bit.
    """
    _require_count("stations", stations)
    if stations == 1:
        return attempt_rate(0.0, timing), 0.0
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        met = -math.expm1((stations - 1) * math.log1p(-attempt_rate(middle, timing)))
        low, high = (middle, high) if middle < met else (low, middle)
    return attempt_rate(high, timing), high


def efficiency(
    stations: int, rate_bps: float, payload_bytes: int, timing: DcfTiming, aggregated_frames: int = 1
) -> float:
    """Payload bits a second of all stations together over ``rate_bps``: Bianchi's equation 13, basic access.

    ``payload_bytes`` excludes the timing's headers. ``aggregated_frames`` above 1 sends that many as one A-MPDU with one
    block acknowledgement: they collide together. Raises ValueError for more of them than the timing allows.
    """
    _require_count("stations", stations)
    _require_count("payload_bytes", payload_bytes)
    _require_count("aggregated_frames", aggregated_frames)
    require_positive("rate_bps", rate_bps)
    most = timing.most_frames
    require("aggregated_frames", aggregated_frames, aggregated_frames <= most, f"at most {most}, as the timing says")
    tau, p = bianchi(stations, timing)
    silent = math.exp(stations * math.log1p(-tau))
    success = stations * tau * (1 - p)  # (1 - tau)^(n-1) is 1 - p
    collision = max(1 - silent - success, 0.0)
    data_us = timing.data_us(rate_bps, payload_bytes, aggregated_frames)
    ack_us = (timing.ack_us if aggregated_frames == 1 else timing.block_ack_us) + timing.extension_us
    success_us = data_us + timing.sifs_us + ack_us + timing.difs_us
    collision_us = data_us + (timing.eifs_us if timing.eifs_after_collision else timing.difs_us)
    slot_us = silent * timing.slot_us + success * success_us + collision * collision_us
    payload_bits = aggregated_frames * payload_bytes * BITS_PER_BYTE
    return success * payload_bits / (slot_us * 1e-6) / rate_bps


def exchange(rate_bps: float, payload_bytes: int, timing: DcfTiming, aggregated_frames: int = 1) -> tuple[float, float]:
    """(payload bits, seconds) of one successful frame exchange at a station's own rate, the wait before it included.

    Of ``aggregated_frames`` as many are sent as fit the longest PPDU at this rate. An acknowledgement at the lowest rate
    follows a frame that is no faster. Raises ValueError where not even one frame fits.
    """
    frames = aggregated_frames
    while frames > 1:
        try:
            timing.data_us(rate_bps, payload_bytes, frames)
            break
        except ValueError:
            frames -= 1
    if frames > 1:
        ack_us = timing.block_ack_us
    elif rate_bps > timing.basic_rate_bps:
        ack_us = timing.ack_us
    else:
        ack_us = timing.eifs_us - timing.sifs_us - timing.difs_us - timing.extension_us
    took = (
        timing.data_us(rate_bps, payload_bytes, frames) + timing.sifs_us + ack_us + timing.extension_us + timing.difs_us
    )
    return float(frames * payload_bytes * BITS_PER_BYTE), took * 1e-6


def successful_share(
    stations: int, rate_bps: float, payload_bytes: int, timing: DcfTiming, aggregated_frames: int = 1
) -> float:
    """The part of the time that stations of one rate spend in successful exchanges: efficiency x rate x time per bit."""
    bits, seconds = exchange(rate_bps, payload_bytes, timing, aggregated_frames)
    return efficiency(stations, rate_bps, payload_bytes, timing, aggregated_frames) * rate_bps * seconds / bits


def anomaly_rate(rates_bps: Iterable[float], efficiency: float) -> float:
    """Rate in bit/s that *each* station gets when all send equally many frames: efficiency / sum(1 / R_i).

    Heusse, Rousseau, Berger-Sabbatel & Duda, "Performance anomaly of 802.11b", INFOCOM 2003: the slowest sets the pace.
    Raises ValueError for no rates, rates that are not above zero, and an efficiency outside (0, 1].
    """
    rates = list(rates_bps)
    require("rates_bps", rates, len(rates) > 0, "at least one")
    require_positive("rates_bps", rates)
    require("efficiency", efficiency, 0 < efficiency <= 1, "above 0, at most 1")
    return efficiency / math.fsum(1 / rate for rate in rates)


def _require_count(what: str, got: int) -> None:
    require(what, got, got >= 1 and got == int(got), "a whole number, at least 1")
