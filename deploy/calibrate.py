"""Measures a machine as a device profile. One file that needs torch alone: copy it to a board and run it there.

    python calibrate.py --out my-board.yaml [--threads N] [--power-log power.csv] [--iperf-uplink up.csv] ...

Single layers are timed, forward and backward, and each class of operators gets the rates that fit them best: an operator
takes max(FLOPs / rate, bytes / bandwidth) + overhead, the same roofline by which profiles are used. No whole model is
timed, so that models remain a test of the result (``python -m benchmarks.calibration``). A figure's uncertainty is the
standard error of its fit. What no layer is bound by, timings cannot tell: such a figure is left out and the general one
holds, or it is written as what it is at least, and says so.
"""

import argparse
import csv
import math
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import torch
from torch import Tensor, nn

FLOAT = 4  # bytes
Part = tuple[int, int]  # FLOPs and bytes of one operator
Work = list[tuple[Sequence[Part], float]]  # operators and the seconds that they took


class Layer(NamedTuple):
    """One thing to time: its class of operators, what it does, and its operators' FLOPs and bytes."""

    kind: str
    run: Callable[[], object]
    parts: tuple[Part, ...]


class Timed(NamedTuple):
    """A layer's class, its operators, and the seconds of all its repetitions."""

    kind: str
    parts: tuple[Part, ...]
    times: tuple[float, ...]


class Fit(NamedTuple):
    """What fits a class best.

    ``values``: FLOP/s, byte/s, seconds an operator, seconds a call; ``sigma``: of those that the timings tell, the
    standard error of the logarithm; ``bounds``: FLOP/s and byte/s that its layers reached, both surely possible.
    """

    values: tuple[float, float, float, float]
    sigma: dict[int, float]
    bounds: tuple[float, float]


# ---- layers ------------------------------------------------------------------------------------------------------------

# in, out, kernel, side, groups: first layers, wide ones, small maps, a 1x1, a depthwise.
CONVOLUTIONS = (
    (1, 16, 5, 28, 1), (3, 64, 3, 32, 1), (16, 16, 3, 32, 1), (32, 64, 3, 16, 1), (64, 64, 3, 32, 1), (128, 128, 3, 8, 1),
    (256, 256, 3, 4, 1), (512, 512, 3, 2, 1), (64, 256, 1, 16, 1), (96, 96, 3, 16, 96),
)  # fmt: skip
LARGE = (4096, 4096)  # 64 MiB: beyond caches
UPDATES = (LARGE, (3072, 4096), (2048, 4096))
LINEARS = ((784, 200), (512, 10), (512, 512), (3136, 512), LARGE)
BATCHES = (1, 8, 32)
WIDE = 128  # a batch at which products are arithmetic
MAPS = ((16, 28), (64, 16), (64, 32))  # channels and side of feature maps
CHAINS = (2, 4, 8, 16, 32)  # layers in a row that have next to nothing to do


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


def call(length: int) -> Layer:
    """ReLUs of one number: what they take does not grow from zero, for calling torch and autograd costs something, too."""
    x = torch.rand(1, requires_grad=True)
    parts = ((0, 2 * FLOAT),) * length + ((0, 3 * FLOAT),) * length
    return Layer("call", _both(nn.Sequential(*(nn.ReLU() for _ in range(length))), x, torch.rand(1)), parts)


def overhead(length: int) -> Layer:
    """Tiny layers of three usual kinds in a row: what an operator costs that has nothing to do."""
    x = torch.rand(2, 2, requires_grad=True)
    makers = (lambda: nn.Linear(2, 2), lambda: nn.BatchNorm1d(2), nn.ReLU)
    normalised, rectified = ((0, 2 * 16 + 6 * 8), (0, 3 * 16 + 7 * 8), (0, 16)), ((0, 2 * 16), (0, 3 * 16))
    made = (*linear((2, 2), 2).parts, *normalised, *rectified)
    row = nn.Sequential(*(make() for _ in range(length) for make in makers))
    return Layer("overhead", _both(row, x, torch.rand(2, 2)), made * length)


def layers() -> list[Callable[[], Layer]]:
    """Everything that is timed, made one at a time so that little memory is needed."""
    found: list[Callable[[], Layer]] = [partial(make, length) for make in (call, overhead) for length in CHAINS]
    for batch in BATCHES:
        found += [partial(convolution, shape, batch) for shape in CONVOLUTIONS]
        found += [partial(linear, shape, batch) for shape in LINEARS]
        found += [partial(make, shape, batch) for make in (pooling, elementwise, normalisation) for shape in MAPS]
    found += [partial(linear, shape, WIDE) for shape in LINEARS if shape != LARGE]
    return found + [partial(update, shape) for shape in UPDATES]


def _both(layer: nn.Module, x: Tensor, gradient: Tensor) -> Callable[[], object]:
    wanted = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), wanted, gradient)


# ---- timing --------------------------------------------------------------------------------------------------------------

PASSES = 3  # over all layers, so that a disturbance of seconds spoils only a part of any layer's repetitions


def quick(times: Sequence[float]) -> float:
    """The lower quartile: what a layer takes when undisturbed, even where most of its repetitions were not."""
    return sorted(times)[(len(times) - 1) // 4]


def repetitions(run: Callable[[], object], budget_s: float) -> tuple[float, ...]:
    """Seconds of as many repetitions as fit the budget (two at least), after one to warm up.

    With one thread they are that thread's processor time, to which other programs' turns add nothing.
    """
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    run()
    times: list[float] = []
    end = time.perf_counter() + budget_s
    while len(times) < 2 or time.perf_counter() < end:
        start = clock()
        run()
        times.append(max(clock() - start, 1e-9))
    return tuple(times)


def one_pass(budget_s: float) -> list[Timed]:
    """Every layer, ``budget_s`` seconds each."""
    makers, timed = layers(), []
    for number, make in enumerate(makers, 1):
        if sys.stderr.isatty():
            print(f"\r{number} of {len(makers)} layers ", end="", file=sys.stderr, flush=True)
        layer = make()
        timed.append(Timed(layer.kind, layer.parts, repetitions(layer.run, budget_s)))
    return timed


def merged(passes: Sequence[Sequence[Timed]]) -> list[Timed]:
    """All passes' repetitions together."""
    return [
        Timed(same[0].kind, same[0].parts, tuple(each for one in same for each in one.times))
        for same in zip(*passes, strict=True)
    ]


# ---- fitting -------------------------------------------------------------------------------------------------------------

START = (1e10, 1e10, 2e-5, 5e-5)  # of rate, bandwidth, overhead and call
CLEARLY = 8.0  # F above which a figure is told: about one in a hundred by chance, for fifteen layers or more
EXACT = 1e-6  # mean square of logarithms that is no error at all


def fit(timed: Sequence[Timed], fixed: dict[int, float], absent: dict[int, float] | None = None) -> Fit:
    """What fits best: least squares of the logarithm.

    ``fixed`` keeps some of the four (0: rate, 1: bandwidth, 2: overhead, 3: call) at a value. ``absent`` says for some of
    the others what holds without them; one that does not clearly improve the fit is taken as absent.
    """
    best, error = _search(timed, fixed)
    for index, without in (absent or {}).items():
        fewer, freedom = fixed | {index: without}, max(1, len(timed) - 4 + len(fixed))
        other, larger = _search(timed, fewer)
        if larger - error <= CLEARLY * (error / freedom + EXACT):
            fixed, best, error = fewer, other, larger
    free = [index for index in range(4) if index not in fixed]
    rate, bandwidth, overhead_s, call_s = best
    work: Work = [(each.parts, quick(each.times)) for each in timed]
    return Fit(
        (rate, bandwidth, overhead_s, call_s), _errors(work, best, free, error), (_most(timed, 0), _most(timed, 1))
    )


def _most(timed: Sequence[Timed], index: int) -> float:
    """The most FLOP/s (0) or byte/s (1) that any layer reached."""
    return max(sum(part[index] for part in each.parts) / quick(each.times) for each in timed)


def _search(timed: Sequence[Timed], fixed: dict[int, float]) -> tuple[list[float], float]:
    """A shrinking search on each of the four in turn, to be near; then steps on all at once."""
    work: Work = [(each.parts, quick(each.times)) for each in timed]
    best = [fixed.get(index, START[index]) for index in range(4)]
    free = [index for index in range(4) if index not in fixed]
    error, factor = _error(work, best), 16.0
    while factor > 1.1:
        moved = False
        for index in free:
            for trial in (best[index] * factor, best[index] / factor):
                other = [*best[:index], trial, *best[index + 1 :]]
                found = _error(work, other)
                if found < error * (1 - 1e-3):
                    best, error, moved = other, found, True
        factor = factor if moved else math.sqrt(factor)
    return _polished(work, best, free)


def _polished(work: Work, best: list[float], free: list[int]) -> tuple[list[float], float]:
    """Levenberg's and Marquardt's damped least squares on the figures' logarithms (SIAM J. Appl. Math. 11, 1963)."""
    error, damping = _error(work, best), 1e-3
    for _ in range(200 if free and math.isfinite(error) else 0):
        slope = _slopes(work, best, free)
        off = torch.tensor([math.log(predicted(parts, best) / took) for parts, took in work], dtype=torch.float64)
        square = slope.T @ slope + damping * torch.eye(len(free), dtype=torch.float64)
        steps = torch.linalg.solve(square, -slope.T @ off).clamp(-1, 1).tolist()
        other = list(best)
        for index, step in zip(free, steps, strict=True):
            other[index] *= math.exp(step)
        found = _error(work, other)
        if found < error:
            best, error, damping = other, found, damping / 4
        else:
            damping *= 4
        if max(map(abs, steps)) < 1e-7:
            break
    return best, error


def predicted(parts: Sequence[Part], values: Sequence[float]) -> float:
    """Seconds of a call of operators by the roofline."""
    rate, bandwidth, overhead_s, call_s = values
    return sum(max(flops / rate, size / bandwidth) for flops, size in parts) + len(parts) * overhead_s + call_s


def _error(work: Work, values: Sequence[float]) -> float:
    """The sum of squares; infinite where the figures say that something takes no time."""
    told = [(predicted(parts, values), took) for parts, took in work]
    return sum(math.log(one / took) ** 2 for one, took in told) if all(one for one, _ in told) else math.inf


def _errors(work: Work, values: Sequence[float], free: Sequence[int], error: float) -> dict[int, float]:
    """Standard errors of the logarithms: the roots of the diagonal of s^2 (J'J)^-1 with s^2 = error / (n - p).

    (Least squares, linearised: Seber & Wild, Nonlinear Regression, 1989, section 2.1.) nan: no layer to spare.
    """
    slope = _slopes(work, values, free)
    spread = error / (len(work) - len(free)) if len(work) > len(free) else math.nan
    variances = spread * torch.linalg.pinv(slope.T @ slope).diagonal().clamp(min=0)
    return {index: math.sqrt(each) for index, each in zip(free, variances.tolist(), strict=True)}


def _slopes(work: Work, values: Sequence[float], free: Sequence[int]) -> Tensor:
    """d log(seconds) / d log(figure): each figure's share of each layer's seconds, less than zero for the rates."""
    rows = [_shares(parts, values) for parts, _ in work]
    return torch.tensor([[row[index] for index in free] for row in rows], dtype=torch.float64)


def _shares(parts: Sequence[Part], values: Sequence[float]) -> tuple[float, float, float, float]:
    rate, bandwidth, overhead_s, call_s = values
    pairs = [(flops / rate, size / bandwidth) for flops, size in parts]
    arithmetic = sum(a for a, b in pairs if a > b)
    streaming = sum(b for a, b in pairs if a <= b)
    whole = predicted(parts, values)
    return -arithmetic / whole, -streaming / whole, len(parts) * overhead_s / whole, call_s / whole


def fit_all(timed: Sequence[Timed]) -> dict[str, Fit]:
    """The fits of every class; classes without arithmetic have no rate to fit."""
    groups: dict[str, list[Timed]] = {}
    for each in timed:
        groups.setdefault(each.kind, []).append(each)
    none = math.inf
    found = {kind: fit(groups[kind], {0: none, 1: none}) for kind in ("call", "overhead")}
    # A layer timed alone bears the cost of a call, which a step has once.
    call_s, general = found["call"].values[3], found["overhead"].values[2]
    for kind in ("pooling", "normalisation", "elementwise", "memory"):
        found[kind] = fit(groups[kind], {0: none, 2: general, 3: call_s})
    found["matmul"] = fit(groups["matmul"], {2: general, 3: call_s}, {0: none, 1: none})
    found["convolution"] = fit(groups["convolution"], {3: call_s}, {0: none, 1: none})
    return found


# ---- the profile -------------------------------------------------------------------------------------------------------

POWERS = ("idle", "load", "send", "receive")
UNITS = ((1e9, "GFLOP/s"), (1e9, "GB/s"), (1e-6, "us"))
GENERAL = (("compute_rate", "convolution", 0), ("memory_bandwidth", "memory", 1), ("overhead", "overhead", 2))
OWN = (
    ("convolution_rate", "convolution", 0), ("convolution_bandwidth", "convolution", 1),
    ("convolution_overhead", "convolution", 2), ("matmul_rate", "matmul", 0), ("matmul_bandwidth", "matmul", 1),
    ("pooling_bandwidth", "pooling", 1), ("normalisation_bandwidth", "normalisation", 1),
    ("elementwise_bandwidth", "elementwise", 1),
)  # fmt: skip


class Figure(NamedTuple):
    """One figure of a profile, as its file has it; without an uncertainty its kind's holds."""

    key: str
    value: str
    source: str
    kind: str
    uncertainty: float | None


def figures(fits: dict[str, Fit], how: str) -> list[Figure]:
    """What was fitted, as figures. The general rate is the convolutions': what has no class of its own is like them."""
    general = {index: _value(fits[kind], index) for _, kind, index in GENERAL}
    own = [
        (key, kind, index)
        for key, kind, index in OWN
        if index in fits[kind].sigma or (index < 2 and fits[kind].bounds[index] > general[index])
    ]
    return [_figure(key, fits[kind], index, how) for key, kind, index in (*GENERAL, *own)]


def _value(found: Fit, index: int) -> float:
    return found.values[index] if index in found.sigma else found.bounds[index]


def _figure(key: str, found: Fit, index: int, how: str) -> Figure:
    scale, unit = UNITS[index]
    value, sigma = f"{_value(found, index) / scale:.4g} {unit}", found.sigma.get(index)
    if sigma is None:
        return Figure(
            key,
            value,
            f"at least so much: the most that any layer reached, none was bound by it; {how}",
            "derived",
            None,
        )
    return Figure(key, value, how, "measured", None if math.isnan(sigma) else min(2.0, max(0.01, sigma)))


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
    (drawn by the radio on top). Each is its samples' mean; the uncertainty is their standard deviation over it.

    Raises ValueError for another header, another state, a number that is none, a missing state or a load below idle.
    """
    rows = list(_rows(path))
    if not rows or rows[0][1] != ["state", "power_w"]:
        got = ",".join(rows[0][1]) if rows else "nothing"
        raise ValueError(f"{path}: line {rows[0][0] if rows else 1}: got {got}; expected the header state,power_w")
    samples: dict[str, list[float]] = {state: [] for state in POWERS}
    for number, row in rows[1:]:
        if len(row) != 2 or row[0] not in samples:
            accepted = f"a state ({', '.join(POWERS)}) and a power in W"
            raise ValueError(f"{path}: line {number}: got {','.join(row)}; expected {accepted}")
        samples[row[0]].append(_number(path, number, row[1]))
    empty = [state for state in POWERS if not samples[state]]
    if empty:
        raise ValueError(f"{path}: got no sample of {', '.join(empty)}; expected some of each: {', '.join(POWERS)}")
    idle, load = fmean(samples["idle"]), fmean(samples["load"])
    if load < idle or load == 0:
        raise ValueError(f"{path}: got load {load:g} W, idle {idle:g} W; expected all that is drawn while computing")
    words = f"power log {path.name}"
    return [_mean(f"{state}_power", samples[state], "W", f"{words}, {len(samples[state])} samples") for state in POWERS]


def read_iperf(path: Path, key: str) -> Figure:
    """A rate from iperf 2's report in CSV (``iperf -c HOST -y C``), the mean of its lines.

    Columns: time, four of addresses and ports, id, interval, bytes, bit/s (iperf 2, reportCSV_bw_format in
    src/Locale.c). Raises ValueError for fewer columns, numbers that are none, and no rate at all.
    """
    rows, accepted = list(_rows(path)), "the nine columns of iperf -y C, the last one bit/s"
    if not rows:
        raise ValueError(f"{path}: got no line; expected {accepted}")
    for number, row in rows:
        if len(row) < 9:
            raise ValueError(f"{path}: line {number}: got {len(row)} columns; expected {accepted}")
    rates = [_number(path, number, row[8]) for number, row in rows]
    if not any(rates):
        raise ValueError(f"{path}: got 0 bit/s; expected a rate above zero")
    return _mean(key, rates, "bit/s", f"iperf, {path.name}, {len(rates)} reports")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, columns) of every line of a CSV file that is not blank."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            for row in reader:
                if any(row):
                    yield reader.line_num, [column.strip() for column in row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as CSV: {error}") from None


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{path}: line {line}: got {text!r}; expected a number, zero or more")
    return value


def _mean(key: str, values: list[float], unit: str, source: str) -> Figure:
    """One sample tells no uncertainty."""
    middle = fmean(values)
    spread = min(2.0, max(0.01, stdev(values) / middle)) if len(values) > 1 and middle else None
    return Figure(key, f"{middle:.6g} {unit}", source, "measured", spread)


def text(about: str, found: Sequence[Figure]) -> str:
    """The profile's file."""
    lines = [f"about: {_quoted(about)}", "compute: roofline"]
    for each in found:
        lines += [f"{each.key}:", f"  value: {each.value}", f"  kind: {each.kind}", f"  date: {date.today():%Y-%m-%d}"]
        lines += [] if each.uncertainty is None else [f"  uncertainty: {each.uncertainty:.3f}"]
        lines += [f"  source: {_quoted(each.source)}"]
    return "\n".join(lines) + "\n"


def _quoted(words: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in words)
    return '"' + plain.replace("\\", "/").replace('"', "'") + '"'


# ---- the command -------------------------------------------------------------------------------------------------------

# Where nothing was measured: a usual connection, told as assumed.
CONNECTION = (("uplink", "20 Mbit/s"), ("downlink", "50 Mbit/s"), ("latency", "5 ms"))
DURATIONS, ENERGIES = ("ns", "us", "ms", "s", "min", "h", "d"), ("mJ", "J", "kJ", "MJ", "mWh", "Wh", "kWh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, for this file alone and for ``emulator calibrate``."""
    out = Path("my-device.yaml")
    parser.add_argument("--out", type=Path, default=out, help="the profile's file (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace that file if it exists")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (default: %(default)s)")
    parser.add_argument("--budget", type=float, default=0.2, help="seconds for each layer (default: %(default)s)")
    parser.add_argument(
        "--about", default=f"{platform.node()}, {platform.machine()}", help="what the machine is, in words"
    )
    parser.add_argument("--power-log", type=Path, help="CSV: state,power_w (idle, load, send, receive)")
    for way in ("uplink", "downlink"):
        parser.add_argument(f"--iperf-{way}", type=Path, help=f"iperf -y C of the {way}")
    parser.add_argument("--latency", help="one way to the first hop, e.g. '3 ms'")
    parser.add_argument("--battery", help="energy of the full battery, e.g. '15 Wh'; needs a power log")


def calibrate(options: argparse.Namespace) -> dict[str, Fit]:
    """Measure, and write the profile. Raises ValueError and OSError for wrong options and files, before anything is
    measured."""
    check(options)
    imported = _imports(options)
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    fits = fit_all(merged([one_pass(options.budget / PASSES) for _ in range(PASSES)]))
    found = figures(fits, how(options.threads, load))
    with options.out.open("w" if options.force else "x", encoding="utf-8") as file:
        file.write(text(options.about, [*found, *memory(), *imported]))
    return fits


def how(threads: int, load: float) -> str:
    """How the figures were found, in words."""
    clock = "processor time" if threads == 1 else "wall time"
    return (
        f"single layers forward and backward, {threads} threads, torch {torch.__version__}, lower quartile of {clock}, "
        f"load average {load:.1f} before"
    )


def check(options: argparse.Namespace) -> None:
    """Raises ValueError for options that cannot be met."""
    cores, out = os.cpu_count() or 1, options.out
    if not 1 <= options.threads <= cores:
        raise ValueError(f"--threads: got {options.threads}; expected 1 to {cores}, this machine's processors")
    if not 0 < options.budget <= 60:
        raise ValueError(f"--budget: got {options.budget} s; expected more than zero and at most 60")
    if not options.about.strip():
        raise ValueError(f"--about: got {options.about!r}; expected what the machine is, in words")
    if out.suffix != ".yaml":
        raise ValueError(
            f"--out: got {out}; expected a name that ends in .yaml, by which scenarios know a profile's file"
        )
    if not out.parent.is_dir():
        raise ValueError(f"--out: got {out}; expected a file in a folder that exists; {out.parent} does not")
    if out.is_dir() or (out.exists() and not options.force):
        raise ValueError(f"--out: got {out}, which exists; expected a new name, or --force to replace a file")
    _quantity("--latency", options.latency, DURATIONS, "a duration with a unit, e.g. '3 ms'")
    _quantity("--battery", options.battery, ENERGIES, "an energy above zero with a unit, e.g. '15 Wh'")
    if options.battery and not options.power_log:
        raise ValueError("got --battery alone; expected it with --power-log")


def _quantity(option: str, given: str | None, units: Sequence[str], accepted: str) -> None:
    if given is None:
        return
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([A-Za-z]+)", given, re.ASCII)
    if match is None or match[2] not in units or (option == "--battery" and float(match[1]) == 0):
        raise ValueError(f"{option}: got {given!r}; expected {accepted} ({', '.join(units)})")


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
    parser = argparse.ArgumentParser(description="Measures this machine as a device profile.", allow_abbrev=False)
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
