"""LoRa: the data sheet's formula by hand, published vectors, simulated ALOHA, properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.lora import (
    EU868_PAYLOAD_BYTES,
    LORAWAN_OVERHEAD_BYTES,
    LoRa,
    aloha_load,
    aloha_success,
    duty_cycle_wait_s,
    fragments,
    upload_s,
)


def test_the_known_vector() -> None:
    # 13 bytes, SF9: symbols of 4.096 ms; (104 - 36 + 44) / 36 = 3.1, 4 blocks of 5: 8 + 20; (12.25 + 28) * 4.096 ms.
    assert LoRa(9).time_on_air_s(13) == pytest.approx(0.164864, rel=1e-15)


@pytest.mark.parametrize(
    ("radio", "frame_bytes", "symbols"),
    [
        # SF12: 32.768 ms > 16 ms, so 4 * 10 bits a block: (408 - 48 + 44) / 40 = 10.1: 11 * 5 + 8 + 12.25.
        (LoRa(12), 51, 75.25),
        # SF11 at 250 kHz: 8.192 ms, no optimisation: (408 - 44 + 44) / 44 = 9.3: 10 * 5.
        (LoRa(11, 250e3), 51, 70.25),
        # CR 4/8, no header, no CRC: (80 - 28 + 28 - 20) / 28 = 2.1: 3 * 8.
        (LoRa(7, coding_rate=4, explicit_header=False, crc=False), 10, 44.25),
        # Nothing at SF12 without header and CRC: (0 - 48 + 28 - 20) is negative: the 8 symbols of the minimum.
        (LoRa(12, explicit_header=False, crc=False), 0, 20.25),
        # A longer preamble: (0 - 28 + 44) / 28 = 0.6: 1 * 5.
        (LoRa(7, preamble_symbols=12), 0, 12 + 4.25 + 8 + 5),
    ],
)
def test_symbols_by_hand(radio: LoRa, frame_bytes: int, symbols: float) -> None:
    assert radio.time_on_air_s(frame_bytes) / radio.symbol_s == pytest.approx(symbols, rel=1e-12)


def test_model_of_100_kb() -> None:
    # Full frames and a last one; symbols each; symbol in ms; at 1 % 100 times the time on air.
    # SF7: 450 of 235 bytes (68 blocks of 5), one of 113 (33). SF9: 869 of 128 (29), one of 78 (18). SF12: 1960 of 64 (13),
    # one of 53 (11).
    on_air_s = {
        7: (450 * (20.25 + 340) + 20.25 + 165) * 1.024e-3,
        9: (869 * (20.25 + 145) + 20.25 + 90) * 4.096e-3,
        12: (1960 * (20.25 + 65) + 20.25 + 55) * 32.768e-3,
    }
    for spreading_factor, expected in on_air_s.items():
        assert upload_s(100_000, LoRa(spreading_factor)) == pytest.approx(100 * expected, rel=1e-12)
    # In hours 4.6, 16.35 and 152.
    hours = [upload_s(100_000, LoRa(spreading_factor)) / 3600 for spreading_factor in on_air_s]
    assert hours == pytest.approx([4.616, 16.35, 152.2], rel=1e-3)
    assert [fragments(100_000, EU868_PAYLOAD_BYTES[sf]) for sf in on_air_s] == [451, 870, 1961]


def test_upload_by_hand() -> None:
    # 223 bytes at SF7: a full frame and one of a single byte; with no duty cycle only their time on air.
    radio = LoRa(7)
    expected = radio.time_on_air_s(235) + radio.time_on_air_s(14)
    assert upload_s(223, radio, 1.0) == pytest.approx(expected)
    assert upload_s(223, radio) == pytest.approx(100 * expected)
    assert upload_s(222, radio, 1.0) == radio.time_on_air_s(235)
    assert upload_s(0, radio) == 0


def test_duty_cycle() -> None:
    # One second on air at 1 % is followed by 99 s of silence.
    assert duty_cycle_wait_s(1.0) == pytest.approx(99)
    assert duty_cycle_wait_s(1.0, 1.0) == 0


def test_aloha_of_many_devices() -> None:
    # 100 * 1 % / 48 = 0.0208: e^-0.0417 = 95.9 %; ten times as many: e^-0.417 = 65.9 %.
    assert round(aloha_success(aloha_load(100)), 3) == 0.959
    assert round(aloha_success(aloha_load(1000)), 3) == 0.659


def test_aloha_against_simulation() -> None:
    # 100,000 Poisson starts, 0.3 a frame time: a frame survives when both neighbours start a frame time away or more.
    # Success of neighbouring frames is correlated (they share a gap): three times the independent variance bounds it.
    gaps = np.random.default_rng(11).exponential(1 / 0.3, 100_001)
    alone = (gaps[:-1] >= 1) & (gaps[1:] >= 1)
    p = aloha_success(0.3)
    assert abs(alone.mean() - p) < 4.5 * math.sqrt(3 * p * (1 - p) / 100_000)


@given(st.integers(7, 11), st.integers(0, 254))
def test_slower_and_longer_take_longer(spreading_factor: int, frame_bytes: int) -> None:
    radio, slower = LoRa(spreading_factor), LoRa(spreading_factor + 1)
    assert slower.time_on_air_s(frame_bytes) > radio.time_on_air_s(frame_bytes)
    assert radio.time_on_air_s(frame_bytes + 1) >= radio.time_on_air_s(frame_bytes)
    assert LoRa(spreading_factor, 250e3).time_on_air_s(frame_bytes) < radio.time_on_air_s(frame_bytes)


@given(st.integers(0, 10**7), st.sampled_from(sorted(EU868_PAYLOAD_BYTES)))
def test_fragments_hold_everything(size: int, spreading_factor: int) -> None:
    payload = EU868_PAYLOAD_BYTES[spreading_factor]
    count = fragments(size, payload)
    assert (count - 1) * payload < size <= count * payload or (size, count) == (0, 0)
    assert payload + LORAWAN_OVERHEAD_BYTES <= 255


def test_refusals() -> None:
    with pytest.raises(ValueError, match="spreading_factor: got 6; expected 7 to 12"):
        LoRa(6)
    with pytest.raises(ValueError, match="bandwidth_hz: got 1000; expected 125e3, 250e3 or 500e3"):
        LoRa(7, 1000)
    with pytest.raises(ValueError, match="coding_rate: got 5; expected 1 to 4"):
        LoRa(7, coding_rate=5)
    with pytest.raises(ValueError, match="preamble_symbols: got 5; expected 6 to 65535"):
        LoRa(7, preamble_symbols=5)
    with pytest.raises(ValueError, match="frame_bytes: got 256; expected 0 to 255"):
        LoRa(7).time_on_air_s(256)
    with pytest.raises(ValueError, match="duty_cycle: got 0; expected above 0, at most 1"):
        duty_cycle_wait_s(1.0, 0)
    with pytest.raises(ValueError, match=r"bandwidth_hz: got 250000\.0; expected 125e3"):
        upload_s(10, LoRa(7, 250e3))
    with pytest.raises(ValueError, match="size_bytes: got -1; expected zero or more"):
        fragments(-1, 51)
    with pytest.raises(ValueError, match="load: got -1; expected finite, zero or more"):
        aloha_success(-1)
    with pytest.raises(ValueError, match="channels: got 0; expected finite, above zero"):
        aloha_load(10, channels=0)
