"""LoRa: time on air, EU868's payloads and duty cycle, and how many frames pure ALOHA lets through.

A LoRa channel is no pipe to be shared: frames that overlap are lost. Times in s, bandwidths in Hz, sizes in bytes. Bad
input raises ValueError.
"""

import math
from dataclasses import dataclass

from network.reals import require, require_nonnegative, require_positive

# LoRaWAN Regional Parameters v1.0.3revA, EU863-870 maximum payload (repeater compatible), column N: application bytes
# without options, for DR5 (SF7) to DR0 (SF12). Frames are 13 bytes longer: MHDR 1, FHDR 7, FPort 1, MIC 4 (LoRaWAN 1.0.3
# specification, section 4).
EU868_PAYLOAD_BYTES = {7: 222, 8: 222, 9: 115, 10: 51, 11: 51, 12: 51}
LORAWAN_OVERHEAD_BYTES = 13
# ETSI EN 300 220-2: at most 1 % of the time in the sub-band 868.0-868.6 MHz, unless the device listens before it talks.
EU868_DUTY_CYCLE = 0.01

_LONGEST_SYMBOL_S = 16e-3  # beyond it low data rate optimisation is mandatory: SX1276 data sheet rev. 7, 4.1.1.6


@dataclass(frozen=True)
class LoRa:
    """How a frame is sent: Semtech SX1276/77/78/79 data sheet rev. 7, section 4.1.1.

    ``coding_rate`` 1 to 4 means 4/5 to 4/8. Low data rate optimisation is on where a symbol exceeds 16 ms.
    """

    spreading_factor: int
    bandwidth_hz: float = 125e3
    coding_rate: int = 1
    preamble_symbols: int = 8
    explicit_header: bool = True
    crc: bool = True

    def __post_init__(self) -> None:
        require("spreading_factor", self.spreading_factor, self.spreading_factor in range(7, 13), "7 to 12")
        require("bandwidth_hz", self.bandwidth_hz, self.bandwidth_hz in (125e3, 250e3, 500e3), "125e3, 250e3 or 500e3")
        require("coding_rate", self.coding_rate, self.coding_rate in range(1, 5), "1 to 4 (4/5 to 4/8)")
        require("preamble_symbols", self.preamble_symbols, 6 <= self.preamble_symbols <= 65535, "6 to 65535")

    @property
    def symbol_s(self) -> float:
        """2^SF / BW: section 4.1.1.6."""
        return float(2**self.spreading_factor / self.bandwidth_hz)

    def time_on_air_s(self, frame_bytes: int) -> float:
        """(n_preamble + 4.25 + n_payload) symbols: section 4.1.1.7. Raises ValueError unless 0 to 255 bytes.

        n_payload = 8 + max(ceil((8 PL - 4 SF + 28 + 16 CRC - 20 IH) / (4 (SF - 2 DE))) (CR + 4), 0). ``frame_bytes`` is the
        PHY payload: LoRaWAN's 13 bytes of overhead included.
        """
        require("frame_bytes", frame_bytes, 0 <= frame_bytes <= 255, "0 to 255")
        slow = self.symbol_s > _LONGEST_SYMBOL_S
        bits = 8 * frame_bytes - 4 * self.spreading_factor + 28 + 16 * self.crc - 20 * (not self.explicit_header)
        blocks = math.ceil(bits / (4 * (self.spreading_factor - 2 * slow)))
        payload_symbols = 8 + max(blocks * (self.coding_rate + 4), 0)
        return (self.preamble_symbols + 4.25 + payload_symbols) * self.symbol_s


def fragments(size_bytes: int, payload_bytes: int) -> int:
    """Frames that ``size_bytes`` take at ``payload_bytes`` each (``EU868_PAYLOAD_BYTES``): the ceiling; 0 for nothing."""
    require("size_bytes", size_bytes, size_bytes >= 0, "zero or more")
    require("payload_bytes", payload_bytes, payload_bytes >= 1, "at least 1")
    return -(-size_bytes // payload_bytes)


def duty_cycle_wait_s(time_on_air_s: float, duty_cycle: float = EU868_DUTY_CYCLE) -> float:
    """Silence after a frame: T / d - T, LoRaWAN's T_off. Raises ValueError unless 0 < d <= 1."""
    require_nonnegative("time_on_air_s", time_on_air_s)
    require("duty_cycle", duty_cycle, 0 < duty_cycle <= 1, "above 0, at most 1")
    return time_on_air_s * (1 / duty_cycle - 1)


def upload_s(size_bytes: int, radio: LoRa, duty_cycle: float = EU868_DUTY_CYCLE) -> float:
    """Seconds that a lossless upload over LoRaWAN in EU868 at 125 kHz takes, the silence after its last frame included.

    All frames but the last are full. Raises ValueError for another bandwidth, where other payload limits hold.
    """
    require("bandwidth_hz", radio.bandwidth_hz, radio.bandwidth_hz == 125e3, "125e3, which the payload limits are for")
    payload = EU868_PAYLOAD_BYTES[radio.spreading_factor]
    whole, rest = divmod(size_bytes, payload)
    on_air_s = whole * radio.time_on_air_s(payload + LORAWAN_OVERHEAD_BYTES)
    if fragments(size_bytes, payload) > whole:
        on_air_s += radio.time_on_air_s(rest + LORAWAN_OVERHEAD_BYTES)
    return on_air_s + duty_cycle_wait_s(on_air_s, duty_cycle)


def aloha_load(
    devices: int, duty_cycle: float = EU868_DUTY_CYCLE, channels: int = 8, spreading_factors: int = 6
) -> float:
    """G: frames begun in one frame time on one of the channels x spreading factors, all orthogonal, devices spread evenly.

    That they are orthogonal, and no frame survives a collision, are assumptions: capture would let more through.
    """
    require("devices", devices, devices >= 0, "zero or more")
    require("duty_cycle", duty_cycle, 0 < duty_cycle <= 1, "above 0, at most 1")
    require_positive("channels", channels)
    require_positive("spreading_factors", spreading_factors)
    return devices * duty_cycle / (channels * spreading_factors)


def aloha_success(load: float) -> float:
    """Probability that a frame meets no other: exp(-2G), pure ALOHA with Poisson arrivals and frames of one length.

    Abramson, "The ALOHA system", AFIPS Fall Joint Computer Conference, 1970.
    """
    require_nonnegative("load", load)
    return math.exp(-2 * load)
