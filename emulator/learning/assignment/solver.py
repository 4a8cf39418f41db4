"""The outer loop: bisection on the round's latency, and the baselines that leave a decision out.

P1: min T over selection a, ratios u and bandwidths b, subject to a_k (compute_k(u_k) + bits_k(u_k) / r_k(b_k)) <= T,
sum q_k a_k u_k >= Q, sum a_k b_k <= B, memory and energy caps. (Inferred; ours.) Ratios and bandwidths by turns, as BCD in its
plain form would have it, stall after one turn: every device is tight at T then. So T is outside, and both are found at each T.
"""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

import numpy as np

from emulator.learning.assignment.admm import Admm, Menu, choose, total
from emulator.learning.assignment.domain import Assignment, Candidate, Flags, Floats, Infeasible, Round, Table, Whole
from emulator.learning.assignment.equal import equal, told

CLOSE = 1e-12  # of a latency whose choices are known, relative
ROUNDS = 50  # of polishing


@dataclass(frozen=True)
class Solver:
    """What is optimised. A baseline leaves something out.

    ``ratio``: optimised, the same for all (``uniform``, as small as the requirement lets it be), each device's ``largest`` that
    its caps allow, or the ``full`` model. ``selection``: optimised, or ``all`` that can. ``bandwidth``: optimised, or
    ``equal`` parts for those that take part. ``accuracy``: of the latency in the outer bisection, relative.
    """

    ratio: Literal["optimised", "uniform", "largest", "full"] = "optimised"
    selection: Literal["optimised", "all"] = "optimised"
    bandwidth: Literal["optimised", "equal"] = "optimised"
    accuracy: float = 1e-3
    admm: Admm = field(default_factory=Admm)


UNIFORM = Solver("uniform", "all", "equal")


def solve(candidates: tuple[Candidate, ...], band: Round, solver: Solver = Solver()) -> Assignment:
    """The assignment of least latency that is found. Never worse than equal bandwidth with a uniform ratio.

    Raises Infeasible, naming the constraint that fails and by how much.
    """
    table = Table(candidates, band)
    table.require_reachable()
    if solver.ratio == "uniform":
        found = _uniform(table, solver)
    else:
        if solver.ratio != "optimised":
            table.allowed = table.allowed & (table.ratio == 1.0 if solver.ratio == "full" else _largest(table))
            _require_restricted(table, solver)
        found = _solved(table, solver)
    if found.latency_s > band.latest_s:
        late = found.latency_s - band.latest_s
        raise Infeasible(
            f"latency: the least is {found.latency_s:.6g} s; expected {band.latest_s:.6g} s: {late:.3g} s too late",
            _longest(table, found),
        )
    return found


def _longest(table: Table, found: Assignment) -> int:
    """Who computes longest."""
    seconds = [0.0 if pick is None else table.seconds[row, pick] for row, pick in enumerate(found.choices)]
    return int(np.argmax(seconds))


def _largest(table: Table) -> Flags:
    ratio = np.where(table.allowed, table.ratio, -inf)
    return np.asarray(ratio == ratio.max(axis=1, keepdims=True))


def _require_restricted(table: Table, solver: Solver) -> None:
    """Raises Infeasible where a baseline cannot meet the requirement."""
    each = np.where(table.allowed, table.mass, 0.0).max(axis=1)
    most = float(each.sum())
    if most < table.band.required * (1 - 1e-12):
        raise Infeasible(
            f"convergence requirement: with ratio: {solver.ratio} the sum of q_k u_k reaches {most:.6g} under the caps; "
            f"expected {table.band.required:.6g} or more: {table.band.required - most:.3g} are missing",
            int((np.where(table.there, table.mass, 0.0).max(axis=1) - each).argmax()),
        )


def _uniform(table: Table, solver: Solver) -> Assignment:
    """The best of all common ratios; with all devices taking part, the least that meets the requirement."""
    allowed, best = table.allowed, None
    for level in np.unique(table.ratio[allowed]):
        table.allowed = _at_least(allowed, table.ratio, float(level))
        if np.where(table.allowed, table.mass, 0.0).max(axis=1).sum() < table.band.required * (1 - 1e-12):
            continue
        found = _solved(table, solver)
        if best is None or found.latency_s < best.latency_s:
            best = found
        if solver.selection == "all":
            break
    assert best is not None  # at the largest level everybody does all that it can, and that was found to be enough
    return best


def _at_least(allowed: Flags, ratio: Floats, level: float) -> Flags:
    """Each device's least ratio from ``level`` on; or its largest, where its caps end before."""
    above = np.where(allowed & (ratio >= level), ratio, inf)
    below = np.where(allowed, ratio, -inf)
    wanted = np.where(np.isfinite(above.min(axis=1)), above.min(axis=1), below.max(axis=1))
    return np.asarray(allowed & (ratio == wanted[:, None]))


# ---- bandwidth as needed --------------------------------------------------------------------------------------------------


def _solved(table: Table, solver: Solver) -> Assignment:
    if solver.bandwidth == "equal":
        return equal(table, everybody=solver.selection == "all")
    pick, latency = _start(table, solver)
    history, low = [latency], 0.0
    while latency - low > solver.accuracy * latency:
        middle = (low + latency) / 2
        tried = _tried(table, middle, solver)
        if tried is None:
            low = middle
        else:
            pick, latency = tried, min(middle, _latency(table, tried, middle))
            history.append(latency)
    return _polished(table, solver, pick, history)


def _start(table: Table, solver: Solver) -> tuple[Whole, float]:
    """Choices to begin with: those of equal parts and a uniform ratio where allowed, else any that the band carries."""
    if solver.ratio == "optimised":
        other = Table(table.candidates, table.band)
        try:
            found = _uniform(other, replace(UNIFORM, accuracy=solver.accuracy))
        except Infeasible:
            pass
        else:
            pick = np.array([0 if choice is None else choice + 1 for choice in found.choices])
            return pick, _latency(table, pick, found.latency_s * (1 + 1e-9))
    return _grown(table, solver)


def _grown(table: Table, solver: Solver) -> tuple[Whole, float]:
    latency = max(1e-3, float(table.seconds[table.allowed].max(initial=0.0)))
    for _ in range(100):
        pick = _tried(table, latency, solver)
        if pick is not None:
            return pick, _latency(table, pick, latency)
        latency *= 2
    _refuse_band(table, solver)
    raise AssertionError("unreachable")


def _refuse_band(table: Table, solver: Solver) -> None:
    menu = _menu(table, 1e30, solver)
    pick = choose(menu, solver.admm)
    if pick is None:
        out = table.allowed.any(axis=1) & ~np.isfinite(table.bandwidths(1e30)).any(axis=1)
        raise Infeasible("energy caps: some device can meet them on no part of the band", int(out.argmax()))
    needs = total(menu.cost, pick) * table.band.bandwidth_hz
    raise Infeasible(
        f"bandwidth: the energy caps need {needs:.6g} Hz however long a round takes; expected {table.band.bandwidth_hz:.6g} Hz "
        f"or less: {needs - table.band.bandwidth_hz:.3g} Hz are missing",
        int(menu.cost[np.arange(len(pick)), pick].argmax()),
    )


def _menu(table: Table, latency_s: float, solver: Solver) -> Menu:
    need = table.bandwidths(latency_s)
    need[np.isfinite(need)] /= table.band.bandwidth_hz
    must = (solver.selection == "all") & table.allowed.any(axis=1)
    rest = np.where(must, inf, 0.0)[:, None]
    ratio = np.concatenate([np.zeros_like(rest), table.ratio], axis=1)
    return Menu(np.concatenate([rest, need], axis=1), ratio, table.weight, table.band.required)


def _tried(table: Table, latency_s: float, solver: Solver) -> Whole | None:
    """Choices that the band carries by then; None where none are found."""
    menu = _menu(table, latency_s, solver)
    pick = choose(menu, solver.admm)
    return pick if pick is not None and total(menu.cost, pick) <= 1 else None


def _needs(table: Table, pick: Whole, latency_s: float) -> Floats:
    """Hz of each device at these choices."""
    need = np.concatenate([np.zeros((len(pick), 1)), table.bandwidths(latency_s)], axis=1)
    return np.asarray(need[np.arange(len(pick)), pick])


def _carried(table: Table, pick: Whole, latency_s: float) -> bool:
    needs = float(_needs(table, pick, latency_s).sum())
    return bool(np.isfinite(needs)) and needs <= table.band.bandwidth_hz


def _latency(table: Table, pick: Whole, high: float) -> float:
    """The least latency at which the band carries these choices; it does at ``high``."""
    low = 0.0
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _carried(table, pick, middle) else (middle, high)
    return high


def _polished(table: Table, solver: Solver, pick: Whole, history: list[float]) -> Assignment:
    """Search on below the latency found, as long as that helps: the bisection took what was not found for impossible."""
    for _ in range(ROUNDS):
        menu = _menu(table, history[-1], solver)
        other = choose(menu, solver.admm, pick)
        if other is None or total(menu.cost, other) >= total(menu.cost, pick) - 1e-12:
            break
        pick = other
        history.append(_latency(table, pick, history[-1]))
    parts = _needs(table, pick, history[-1])
    return Assignment(told(pick), tuple(parts.tolist()), history[-1], tuple(history))
