"""The shipped catalogue: whole, honest, and every derived figure worked out again."""

from datetime import date

import pytest
import torch
import yaml

from actors.values import Spec
from emulator.devices.processor import seconds
from emulator.devices.profile import Profile
from emulator.devices.profile_file import CATALOGUE, KINDS, load_profile, profile_names
from emulator.learning.meter import Cost
from emulator.learning.models import ModelSpec, weight_specs
from emulator.learning.sgd import LocalSGD, Problem, train
from emulator.learning.shards import Normalisation, Plan, shard_spec
from emulator.learning.tracing import measure


def epoch(spec: ModelSpec, samples: int) -> Cost:
    """What one local epoch of plain SGD in batches of 32 costs."""
    problem = Problem(spec, Normalisation(255.0, (0.5,) * spec.shape[0], (0.5,) * spec.shape[0]))
    weights = {name: torch.empty(w.shape, dtype=w.dtype, device="meta") for name, w in weight_specs(spec).items()}
    inputs = (Spec.of(weights), shard_spec(samples, spec.shape), 0)
    return measure(train, inputs, {"sgd": LocalSGD(problem, Plan(32), 0.01)})[1]


def test_the_devices_that_ship() -> None:
    classes = [
        "raspberry-pi-zero-2w",
        "raspberry-pi-3b",
        "raspberry-pi-4",
        "raspberry-pi-5",
        "orange-pi-5",
        "jetson-nano",
        "jetson-tx2",
        "jetson-xavier-nx",
        "jetson-orin-nano",
        "phone-low",
        "phone-mid",
        "phone-high",
        "esp32-s3",
        "stm32h743",
        "coral-dev-board",
        "aws-deeplens",
        "qcs6490",
        "laptop",
        "mac-mini-m4",
        "edge-server",
        "gpu-server",
        "gpu-server-h200",
    ]
    assert len(classes) == 22
    relative = {"elfish-jetson-nano", "elfish-raspberry-pi", "elfish-deeplens"}
    assert set(profile_names()) == set(classes) | relative
    assert profile_names() == sorted(path.stem for path in CATALOGUE.iterdir())


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_is_whole(name: str) -> None:
    profile = load_profile(name)
    assert isinstance(profile, Profile)
    assert profile.name == name
    for key, source in profile.sources:
        assert source.kind in KINDS, key
        assert len(source.source) > 10, key
        assert date.fromisoformat(source.date) >= date(2026, 1, 1), key


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_tells_powers_memory_and_uncertainties(name: str) -> None:
    profile = load_profile(name)
    assert None not in (profile.idle_w, profile.load_w, profile.send_w, profile.receive_w)
    assert 0 < profile.free_memory_bytes < profile.memory_bytes
    written_out = yaml.safe_load((CATALOGUE / f"{name}.yaml").read_text(encoding="utf-8"))
    for key in ("compute_rate", "memory_bandwidth"):
        assert 0 < written_out[key]["uncertainty"] < 1, key
    carried = name.startswith("phone") or name == "laptop"
    assert (profile.battery_j is not None) == carried
    assert profile.throttling is not None or not carried


def test_radio_powers_of_phones_worked_out_again() -> None:
    """Huang et al. 2012, LTE, mW: 1288 + 438 a Mbit/s sent, 1288 + 52 a Mbit/s received, at 6.3 and 21.3 Mbit/s."""
    phone = load_profile("phone-mid")
    assert phone.send_w == pytest.approx((1288 + 438 * 6.3) / 1000, rel=0.01)
    assert phone.receive_w == pytest.approx((1288 + 52 * 21.3) / 1000, rel=0.01)
    assert phone.battery_j == pytest.approx(4.0 * 3.85 * 3600)


@pytest.mark.parametrize(("name", "fits"), [("esp32-s3", False), ("stm32h743", False), ("raspberry-pi-zero-2w", True)])
def test_microcontrollers_cannot_hold_lenet_in_training(name: str, fits: bool) -> None:
    """Weights and gradients alone are 2 x 61,706 x 4 = 493,648 bytes; with a batch of 32 images, activations come on top."""
    spec = ModelSpec("lenet", 10, (1, 28, 28))
    assert (epoch(spec, 32).peak_bytes <= load_profile(name).free_memory_bytes) == fits


@pytest.mark.parametrize("name", profile_names())
def test_effective_rates_are_derived_in_the_open(name: str) -> None:
    # A rate that training reaches is on no data sheet: it was measured, or its source shows the arithmetic.
    source = dict(load_profile(name).sources)["compute_rate"]
    assert source.kind in ("measured", "derived")
    assert any(character.isdigit() for character in source.source)


# Worked out again from the figures that the sources name, in GFLOP/s; 3% for the rounding of the written figures.
# Pi 3B, Zero 2 W, Coral, DeepLens: cores x GHz x 8 FLOP a cycle, times the Pi 4's HPL share 11.9 / (4 x 1.8 x 8).
# Jetsons without a measured GEMM: cores x 2 x GHz, times 4.3 / 8.1 (T4: GEMM of peak), times a half.
# Phones: 1.02 GFLOP a step over the seconds that FLASH lists. Microcontrollers: 4 cycles a FLOP. The others: half of the
# measured GEMM, or of float32 at twice HPL's float64.
@pytest.mark.parametrize(
    ("name", "gflop_per_s"),
    [
        ("raspberry-pi-3b", 4 * 1.2 * 8 * 11.9 / (4 * 1.8 * 8)),
        ("raspberry-pi-zero-2w", 4 * 1.0 * 8 * 11.9 / (4 * 1.8 * 8)),
        ("raspberry-pi-4", 11.9 * 2 * 0.5),
        ("raspberry-pi-5", 35.2 * 2 * 0.5),
        ("jetson-nano", 128 * 2 * 0.921 * 4.3 / 8.1 * 0.5),
        ("jetson-tx2", 256 * 2 * 1.3 * 4.3 / 8.1 * 0.5),
        ("jetson-xavier-nx", 384 * 2 * 1.1 * 4.3 / 8.1 * 0.5),
        ("jetson-orin-nano", 1310 * 0.5),
        ("orange-pi-5", 53.333 * 2 * 0.5),
        ("qcs6490", 48.4 * 2 * 0.5),
        ("coral-dev-board", 4 * 1.5 * 8 * 11.9 / (4 * 1.8 * 8)),
        ("aws-deeplens", 2 * 1.8 * 8 * 11.9 / (4 * 1.8 * 8)),
        ("esp32-s3", 0.24 / 4),
        ("stm32h743", 0.48 / 4),
        ("mac-mini-m4", (2900 + 2980) / 2 * 0.5),
        ("phone-low", 1.02 / 1.642),
        ("phone-mid", 1.02 / 0.588),
        ("phone-high", 1.02 / 0.179),
        ("laptop", 560 * 0.5),
        ("edge-server", 4300 * 0.5),
        ("gpu-server", (17600 + 19200) / 2 * 0.5),
        ("gpu-server-h200", 51000 * 0.5),
    ],
)
def test_compute_rates_worked_out_again(name: str, gflop_per_s: float) -> None:
    assert load_profile(name).flop_per_s == pytest.approx(gflop_per_s * 1e9, rel=0.03)


# What streaming code reaches, not the bus's peak; 2% for rounding. Boards: twice the bytes that sbc-bench's memcpy copies a
# second (one read, one written); Pi 4: the mean of STREAM's four kernels. GPUs: bus bits / 8 x transfers a second, times the
# share of a T4 (220 / 320) or of HBM (0.9). Phones: the mean share of four boards. Computers: the share of an M1's core.
M1 = 2 * 27.96 / 68.25
BOARDS = (2.6 / 3.6 + 5.2 / 12.8 + 8.9 / 17.1 + 23.9 / 34.1) / 4


@pytest.mark.parametrize(
    ("name", "gigabytes_per_s"),
    [
        ("raspberry-pi-zero-2w", 2 * 1.3),
        ("raspberry-pi-3b", 2 * 1.13),
        ("raspberry-pi-4", (5.5273 + 5.5619 + 4.8552 + 4.8441) / 4),
        ("raspberry-pi-5", 2 * 4.4478),
        ("orange-pi-5", 2 * 11.951),
        ("qcs6490", 2 * 8.6506),
        ("coral-dev-board", 2 * 2.23),
        ("aws-deeplens", 2 * 4.682),
        ("jetson-nano", 64 / 8 * 3.2 * 220 / 320),
        ("jetson-tx2", 128 / 8 * 3.733 * 220 / 320),
        ("jetson-xavier-nx", 128 / 8 * 3.733 * 220 / 320),
        ("jetson-orin-nano", 128 / 8 * 6.4 * 220 / 320),
        ("edge-server", 256 / 8 * 10.0 * 220 / 320),
        ("gpu-server", 5120 / 8 * 2.43 * 0.9),
        ("gpu-server-h200", 4800 * 0.9),
        ("phone-low", 32 / 8 * 1.6 * BOARDS),
        ("phone-mid", 32 / 8 * 3.733 * BOARDS),
        ("phone-high", 64 / 8 * 4.266 * BOARDS),
        ("laptop", 128 / 8 * 3.2 * M1),
        ("mac-mini-m4", 120 * M1),
        ("esp32-s3", 0.24 * 4 / 2),
        ("stm32h743", 0.24 * 8 / 4),
    ],
)
def test_memory_bandwidths_worked_out_again(name: str, gigabytes_per_s: float) -> None:
    assert load_profile(name).memory_bandwidth_bytes_per_s == pytest.approx(gigabytes_per_s * 1e9, rel=0.02)


# Figures by class of operators, carried over from one x86 core (docs/calibration.md: medians of five calibrations), to every
# profile that trains on a processor; 1% for rounding. By instructions: bytes for each FLOP of the compute rate.
BY_RATE = {"convolution": 0.0342, "pooling": 0.0429, "normalisation": 0.0952}
ON_PROCESSORS = {
    "raspberry-pi-zero-2w", "raspberry-pi-3b", "raspberry-pi-4", "raspberry-pi-5", "orange-pi-5", "coral-dev-board",
    "aws-deeplens", "qcs6490", "laptop", "phone-low", "phone-mid", "phone-high",
}  # fmt: skip
CARRIED = {f"{kind}_bandwidth" for kind in (*BY_RATE, "matmul")} | {"convolution_overhead"}


@pytest.mark.parametrize("name", sorted(ON_PROCESSORS))
def test_figures_by_class_worked_out_again(name: str) -> None:
    profile, sources = load_profile(name), dict(load_profile(name).sources)
    for kind, share in BY_RATE.items():
        found = getattr(profile, f"{kind}_bytes_per_s")
        assert found == pytest.approx(profile.flop_per_s * share, rel=0.01), kind
        assert found <= profile.memory_bandwidth_bytes_per_s, kind
    assert profile.matmul_bytes_per_s == pytest.approx(profile.memory_bandwidth_bytes_per_s * 0.26, rel=0.01)
    assert profile.convolution_overhead_s == pytest.approx(profile.overhead_s * 10.7, rel=0.01)
    assert {(sources[key].kind, sources[key].uncertainty) for key in CARRIED} == {("derived", 0.5)}


@pytest.mark.parametrize("name", sorted(set(profile_names()) - ON_PROCESSORS))
def test_no_other_profile_has_figures_by_class(name: str) -> None:
    assert not {
        key for key, _ in load_profile(name).sources if key.startswith(("conv", "matmul", "pool", "norm", "elem"))
    }


@pytest.mark.parametrize(("board", "minutes"), [("jetson-nano", 16), ("raspberry-pi", 30), ("deeplens", 80)])
def test_elfish_boards_take_the_minutes_of_the_paper(board: str, minutes: int) -> None:
    """One epoch over 10,000 images in batches of 32 is 10,000 x 2 x 225,533,952 FLOP (worked out beside the model)."""
    cost = epoch(ModelSpec("alexnet", 10, (3, 32, 32)), 10_000)
    assert cost.flops == 10_000 * 2 * 225_533_952
    assert seconds(cost.ops, load_profile(f"elfish-{board}")) == pytest.approx(60 * minutes, rel=1e-3)


def test_faster_generations_are_faster() -> None:
    for family in (
        ("raspberry-pi-zero-2w", "raspberry-pi-3b", "raspberry-pi-4", "raspberry-pi-5"),
        ("jetson-nano", "jetson-tx2", "jetson-xavier-nx", "jetson-orin-nano"),
        ("esp32-s3", "stm32h743", "phone-low", "phone-mid", "phone-high", "laptop", "mac-mini-m4"),
        ("edge-server", "gpu-server", "gpu-server-h200"),
        ("elfish-deeplens", "elfish-raspberry-pi", "elfish-jetson-nano"),
    ):
        rates = [load_profile(name).flop_per_s for name in family]
        assert rates == sorted(rates)
