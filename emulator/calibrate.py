"""Measures a machine as a device profile. One file that needs torch alone: copy it to a board and run it there.

    python calibrate.py --out my-board.yaml [--threads N] [--power-log power.csv] [--iperf-uplink up.csv] ...

Single layers are timed, forward and backward, and each class of operators gets the rates that fit them best: an operator
takes max(FLOPs / rate, bytes / bandwidth) + overhead, the same roofline by which profiles are used. No whole model is
timed, so that models remain a test of the result (``python -m benchmarks.calibration``). A figure's uncertainty is the
standard error of its fit: the standard deviation of log(fitted / measured) over the layers of its class, divided by the
root of their number.
"""

import argparse
import csv
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import NamedTuple

import torch
from torch import Tensor, nn

FLOAT = 4  # bytes
Part = tuple[int, int]  # FLOPs and bytes of one operator


class Layer(NamedTuple):
    """One thing to time: its class of operators, what it does, and its operators' FLOPs and bytes."""

    kind: str
    run: Callable[[], object]
    parts: tuple[Part, ...]


class Timed(NamedTuple):
    """A layer's median seconds, and the standard deviation of its repetitions' logarithm."""

    layer: Layer
    seconds: float
    spread: float


class Rates(NamedTuple):
    """What fits a class best, and how well: FLOP/s, byte/s, seconds an operator, standard error of the log."""

    flop_per_s: float
    bytes_per_s: float
    overhead_s: float
    sigma: float


# ---- layers ------------------------------------------------------------------------------------------------------------

# in, out, kernel, side, groups: first layers, wide ones, small maps, a 1x1, a depthwise.
CONVOLUTIONS = (
    (1, 16, 5, 28, 1), (3, 64, 3, 32, 1), (16, 16, 3, 32, 1), (32, 64, 3, 16, 1), (64, 64, 3, 32, 1), (128, 128, 3, 8, 1),
    (256, 256, 3, 4, 1), (512, 512, 3, 2, 1), (64, 256, 1, 16, 1), (96, 96, 3, 16, 96),
)  # fmt: skip
LARGE = (4096, 4096)  # 64 MiB: beyond caches
LINEARS = ((784, 200), (512, 10), (512, 512), (3136, 512), LARGE)
BATCHES = (1, 8, 32)
MAPS = ((16, 28), (64, 16), (64, 32))  # channels and side of feature maps
CHAIN = 16  # operators in a row, to tell what one costs that does nothing


def convolution(shape: tuple[int, int, int, int, int], batch: int) -> Layer:
    """A convolution forward and backward, with padding that keeps the side, stride 1, a bias."""
    inside, outside, kernel, side, groups = shape
    x = torch.rand(batch, inside, side, side, requires_grad=True)
    layer = nn.Conv2d(inside, outside, kernel, padding=kernel // 2, groups=groups)
    gradient = torch.rand(batch, outside, side, side)
    flops = 2 * batch * outside * side * side * (inside // groups) * kernel * kernel
    maps, weights = batch * side * side * (inside + outside), layer.weight.numel()
    forward = (flops, FLOAT * (maps + weights + outside))
    backward = (2 * flops, FLOAT * (maps + weights + batch * side * side * inside + weights + outside))
    return Layer("convolution", _both(layer, x, gradient), (forward, backward))


def linear(shape: tuple[int, int], batch: int) -> Layer:
    """A linear layer forward (one product) and backward (two, and a sum for the bias)."""
    inside, outside = shape
    x = torch.rand(batch, inside, requires_grad=True)
    layer = nn.Linear(inside, outside)
    flops, weights = 2 * batch * inside * outside, inside * outside
    size = FLOAT * (batch * inside + weights + batch * outside)
    parts = ((flops, size + FLOAT * outside), (flops, size), (flops, size), (0, FLOAT * (batch + 1) * outside))
    return Layer("matmul", _both(layer, x, torch.rand(batch, outside)), parts)


def pooling(shape: tuple[int, int], batch: int) -> Layer:
    """Maximum over 2 x 2, whose positions (8 bytes each) are kept for the way back."""
    channels, side = shape
    x = torch.rand(batch, channels, side, side, requires_grad=True)
    large, small = batch * channels * side * side, batch * channels * (side // 2) ** 2
    forward = (0, FLOAT * (large + small) + 8 * small)
    backward = (0, FLOAT * (small + large + large) + 8 * small)
    gradient = torch.rand(batch, channels, side // 2, side // 2)
    return Layer("pooling", _both(nn.MaxPool2d(2), x, gradient), (forward, backward))


def elementwise(shape: tuple[int, int], batch: int) -> Layer:
    """ReLU: one tensor read and one written forward, two read and one written backward."""
    channels, side = shape
    x = torch.rand(batch, channels, side, side, requires_grad=True)
    size = FLOAT * x.numel()
    return Layer("elementwise", _both(nn.ReLU(), x, torch.rand_like(x)), ((0, 2 * size), (0, 3 * size)))


def normalisation(shape: tuple[int, int], batch: int) -> Layer:
    """BatchNorm in training; its vectors of channels (weight, bias, two statistics each way) count, too."""
    channels, side = shape
    x = torch.rand(batch, channels, side, side, requires_grad=True)
    size, vector = FLOAT * x.numel(), FLOAT * channels
    parts = ((0, 2 * size + 6 * vector), (0, 3 * size + 7 * vector), (0, 16))  # and a counter of batches
    return Layer("normalisation", _both(nn.BatchNorm2d(channels), x, torch.rand_like(x)), parts)


def update(shape: tuple[int, int]) -> Layer:
    """SGD's step on a weight: two tensors read, one written, no new memory."""
    weights, gradients = [torch.rand(shape)], [torch.rand(shape)]
    size = FLOAT * weights[0].numel()
    run = lambda: torch._foreach_add_(weights, gradients, alpha=-1e-9)  # noqa: E731
    return Layer("memory", run, ((0, 3 * size),))


def chain() -> Layer:
    """Operators that have nothing to do: what one costs by itself."""
    layers = nn.Sequential(*(nn.ReLU() for _ in range(CHAIN)))
    x = torch.rand(1, requires_grad=True)
    return Layer("overhead", _both(layers, x, torch.rand(1)), ((0, 2 * FLOAT),) * CHAIN + ((0, 3 * FLOAT),) * CHAIN)


def layers() -> list[Callable[[], Layer]]:
    """Everything that is timed, made one at a time so that little memory is needed."""
    found: list[Callable[[], Layer]] = [chain]
    for batch in BATCHES:
        found += [lambda s=shape, b=batch: convolution(s, b) for shape in CONVOLUTIONS]  # type: ignore[misc]
        found += [lambda s=shape, b=batch: linear(s, b) for shape in LINEARS]  # type: ignore[misc]
        for make in (pooling, elementwise, normalisation):
            found += [lambda m=make, s=shape, b=batch: m(s, b) for shape in MAPS]  # type: ignore[misc]
    return [*found, lambda: update(LARGE)]


def _both(layer: nn.Module, x: Tensor, gradient: Tensor) -> Callable[[], object]:
    wanted = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), wanted, gradient)


# ---- timing and fitting ------------------------------------------------------------------------------------------------


def clock(layer: Layer, budget_s: float) -> Timed:
    """The median of as many repetitions as fit the budget (five at least), after two to warm up."""
    for _ in range(2):
        layer.run()
    times: list[float] = []
    end = time.perf_counter() + budget_s
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        layer.run()
        times.append(time.perf_counter() - start)
    spread = pstdev(map(math.log, times)) / math.sqrt(len(times))
    return Timed(layer, median(times), spread)


def fit(timed: Sequence[Timed], fixed: dict[int, float]) -> Rates:
    """Rate, bandwidth and overhead that fit best: least squares of the logarithm, by a shrinking search on each in turn.

    ``fixed`` keeps some of the three (0: rate, 1: bandwidth, 2: overhead) at a value.
    """
    best = [fixed.get(0, 1e10), fixed.get(1, 1e10), fixed.get(2, 2e-5)]
    error = _error(timed, best)
    factor = 16.0
    while factor > 1.001:
        moved = False
        for index in (index for index in range(3) if index not in fixed):
            for trial in (best[index] * factor, best[index] / factor):
                other = [*best[:index], trial, *best[index + 1 :]]
                found = _error(timed, other)
                if found < error * (1 - 1e-9):
                    best, error, moved = other, found, True
        factor = factor if moved else math.sqrt(factor)
    return Rates(best[0], best[1], best[2], math.sqrt(error) / len(timed))


def predicted(parts: Sequence[Part], rates: Sequence[float]) -> float:
    """Seconds of operators by the roofline."""
    return sum(max(flops / rates[0], size / rates[1]) + rates[2] for flops, size in parts)


def _error(timed: Sequence[Timed], rates: Sequence[float]) -> float:
    return sum(math.log(predicted(each.layer.parts, rates) / each.seconds) ** 2 for each in timed)


def fit_all(timed: Sequence[Timed]) -> dict[str, Rates]:
    """The rates of every class; classes without arithmetic have none to fit."""
    groups: dict[str, list[Timed]] = {}
    for each in timed:
        groups.setdefault(each.layer.kind, []).append(each)
    none = math.inf
    found = {"overhead": fit(groups["overhead"], {0: none, 1: none})}
    overhead = found["overhead"].overhead_s
    for kind in ("pooling", "normalisation", "elementwise", "memory"):
        found[kind] = fit(groups[kind], {0: none, 2: overhead})
    found["matmul"] = fit(groups["matmul"], {2: overhead})
    found["convolution"] = fit(groups["convolution"], {})
    return found


# ---- the profile -------------------------------------------------------------------------------------------------------

POWERS = ("idle", "load", "send", "receive")
FLOPS, BYTES, SECONDS = (1e9, "GFLOP/s"), (1e9, "GB/s"), (1e-6, "us")


class Figure(NamedTuple):
    """One figure of a profile, as its file has it."""

    key: str
    value: str
    source: str
    kind: str
    uncertainty: float


def figures(rates: dict[str, Rates], threads: int) -> list[Figure]:
    """What was fitted, as figures. The general rate is the convolutions': what has no class of its own is like them."""
    how = f"single layers forward and backward, {threads} threads, torch {torch.__version__}, median of repetitions"
    conv, matmul, memory, small = (rates[kind] for kind in ("convolution", "matmul", "memory", "overhead"))
    told = [
        ("compute_rate", conv.flop_per_s, FLOPS, conv),
        ("memory_bandwidth", memory.bytes_per_s, BYTES, memory),
        ("overhead", small.overhead_s, SECONDS, small),
        ("convolution_rate", conv.flop_per_s, FLOPS, conv),
        ("convolution_bandwidth", conv.bytes_per_s, BYTES, conv),
        ("convolution_overhead", conv.overhead_s, SECONDS, conv),
        ("matmul_rate", matmul.flop_per_s, FLOPS, matmul),
        ("matmul_bandwidth", matmul.bytes_per_s, BYTES, matmul),
        *(
            (f"{kind}_bandwidth", rates[kind].bytes_per_s, BYTES, rates[kind])
            for kind in ("pooling", "normalisation", "elementwise")
        ),
    ]
    return [
        Figure(key, f"{value / unit[0]:.4g} {unit[1]}", how, "measured", max(0.01, rate.sigma))
        for key, value, unit, rate in told
    ]


def memory() -> list[Figure]:
    """The machine's memory and what is taken of it now, this process included."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = [Figure("memory", f"{size} B", "the operating system's count of pages", "measured", 0.0)]
    table = Path("/proc/meminfo")
    if table.exists():
        lines = (line.split() for line in table.read_text().splitlines())
        free = next(int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
        words = "all memory less what is available with torch loaded"
        found.append(Figure("reserved_memory", f"{size - free} B", words, "measured", 0.1))
    return found


def read_power(path: Path) -> list[Figure]:
    """Powers from a log with the columns ``state,power_w``; states: idle, load (all drawn while computing), send, receive
    (drawn by the radio on top). Raises ValueError for another header, another state, a number that is none or a missing state.
    """
    samples: dict[str, list[float]] = {state: [] for state in POWERS}
    for number, row in _rows(path, ("state", "power_w")):
        if row["state"] not in samples:
            raise ValueError(f"{path}: line {number}: got state {row['state']!r}; expected {', '.join(POWERS)}")
        samples[row["state"]].append(_number(path, number, row["power_w"]))
    empty = [state for state in POWERS if not samples[state]]
    if empty:
        raise ValueError(f"{path}: got no sample of {', '.join(empty)}; expected all of {', '.join(POWERS)}")
    words = f"power log {path.name}"
    return [_mean(f"{state}_power", samples[state], "W", f"{words}, {len(samples[state])} samples") for state in POWERS]


def read_iperf(path: Path, key: str) -> Figure:
    """A rate from iperf 2's report in CSV (``iperf -c HOST -y C``): the ninth column is bit/s; several lines are averaged.

    Raises ValueError for lines with fewer columns and numbers that are none.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    short = next((number for number, row in rows if len(row) < 9), None)
    if short is not None or not rows:
        raise ValueError(f"{path}: line {short or 1}: expected the nine columns of iperf -y C, the last one bit/s")
    rates = [_number(path, number, row[8]) for number, row in rows]
    return _mean(key, rates, "bit/s", f"iperf, {path.name}, {len(rates)} reports")


def _rows(path: Path, header: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != header:
            raise ValueError(f"{path}: got columns {reader.fieldnames}; expected {','.join(header)}")
        return [(number, row) for number, row in enumerate(reader, 2)]


def _number(path: Path, line: int, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{path}: line {line}: got {text!r}; expected a number, zero or more")
    return value


def _mean(key: str, values: list[float], unit: str, source: str) -> Figure:
    middle = fmean(values)
    spread = pstdev(values) / middle if middle else 0.0
    return Figure(key, f"{middle:.6g} {unit}", source, "measured", min(2.0, spread))


def text(about: str, found: Sequence[Figure]) -> str:
    """The profile's file."""
    lines = [f"about: {_quoted(about)}", "compute: roofline"]
    for each in found:
        lines += [
            f"{each.key}:", f"  value: {each.value}", f"  kind: {each.kind}", f"  date: {date.today():%Y-%m-%d}",
            f"  uncertainty: {each.uncertainty:.3f}", f"  source: {_quoted(each.source)}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _quoted(words: str) -> str:
    return '"' + words.replace("\\", "/").replace('"', "'") + '"'


# ---- the command -------------------------------------------------------------------------------------------------------

# Where nothing was measured: a usual connection, told as assumed.
CONNECTION = (("uplink", "20 Mbit/s"), ("downlink", "50 Mbit/s"), ("latency", "5 ms"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, for this file alone and for ``emulator calibrate``."""
    parser.add_argument(
        "--out", type=Path, default=Path("my-device.yaml"), help="the profile's file (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (default: %(default)s)")
    parser.add_argument(
        "--budget", type=float, default=0.15, help="seconds for each of 74 layers (default: %(default)s)"
    )
    parser.add_argument(
        "--about", default=f"{platform.node()}, {platform.machine()}", help="what the machine is, in words"
    )
    parser.add_argument("--power-log", type=Path, help="CSV: state,power_w (idle, load, send, receive)")
    for way in ("uplink", "downlink"):
        parser.add_argument(f"--iperf-{way}", type=Path, help=f"iperf -y C of the {way}")
    parser.add_argument("--latency", help="one way to the first hop, e.g. '3 ms'")
    parser.add_argument("--battery", help="energy of the full battery, e.g. '15 Wh'; needs a power log")


def calibrate(options: argparse.Namespace) -> dict[str, Rates]:
    """Measure, and write the profile. Raises ValueError for imports that are no power log or no iperf report."""
    if options.threads < 1 or not options.budget > 0:
        raise ValueError(f"got {options.threads} threads, {options.budget} s; expected at least one and more than zero")
    if options.battery and not options.power_log:
        raise ValueError("got --battery alone; expected it with --power-log")
    imported = _imports(options)
    torch.set_num_threads(options.threads)
    makers = layers()
    timed = []
    for number, make in enumerate(makers, 1):
        if sys.stderr.isatty():
            print(f"\r{number} of {len(makers)} layers", end="", file=sys.stderr, flush=True)
        timed.append(clock(make(), options.budget))
    rates = fit_all(timed)
    options.out.write_text(
        text(options.about, [*figures(rates, options.threads), *memory(), *imported]), encoding="utf-8"
    )
    return rates


def _imports(options: argparse.Namespace) -> list[Figure]:
    found = read_power(options.power_log) if options.power_log else []
    if options.battery:
        found.append(Figure("battery", options.battery, "given when calibrating", "datasheet", 0.05))
    given = {"uplink": options.iperf_uplink, "downlink": options.iperf_downlink}
    for key, usual in CONNECTION:
        if given.get(key):
            found.append(read_iperf(given[key], key))
        elif key == "latency" and options.latency:
            found.append(Figure(key, options.latency, "given when calibrating", "measured", 0.1))
        else:
            found.append(Figure(key, usual, "not measured: a usual Wi-Fi connection", "assumed", 0.5))
    return found


def main() -> int:
    """Run as a file of its own."""
    parser = argparse.ArgumentParser(description="Measures this machine as a device profile.")
    add_arguments(parser)
    options = parser.parse_args()
    try:
        calibrate(options)
    except (OSError, ValueError) as error:
        print(f"calibrate: error: {error}", file=sys.stderr)
        return 2
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
