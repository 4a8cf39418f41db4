"""The block of ratios and selection: at a given latency, the cheapest choices that meet the convergence requirement.

A device's u_k is 0 (it rests) or one of its ratios; a choice costs the part of the band that it needs. ADMM splits
min sum cost_k(v_k) subject to q.v >= Q into v, minimised device by device, and z, projected on the half-space; as the set of
v is discrete it is a heuristic, and exchanges follow. All of this is inferred (ours), but that ADMM is used.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from emulator.learning.assignment.domain import Floats, Whole

EXCHANGEABLE = (
    300  # device-option pairs up to which two devices are changed at once; beyond, one device is a small part
)
TINY = 1e-12


@dataclass(frozen=True)
class Admm:
    """ADMM's penalty (times the number of devices over ten), most iterations, and max |v - z| at which it ends."""

    penalty: float = 1.0
    iterations: int = 120
    tolerance: float = 1e-3


class Menu(NamedTuple):
    """Costs and ratios by device and option, option 0 being to rest; weights q; and Q."""

    cost: Floats
    ratio: Floats
    weight: Floats
    required: float

    @property
    def mass(self) -> Floats:
        """q_k u_k of every option."""
        return np.asarray(self.weight[:, None] * self.ratio)


def choose(menu: Menu, admm: Admm, known: Whole | None = None) -> Whole | None:
    """Options at little cost that meet the requirement; None where no finite cost does. ``known`` do, and are improved on."""
    reach = np.where(np.isfinite(menu.cost), menu.mass, -np.inf).max(axis=1)
    if reach.sum() < menu.required * (1 - TINY) or np.isinf(reach).any():
        return None
    found = [raised(menu, pick) for pick in (_iterated(menu, admm), _priced(menu))]
    found += [] if known is None else [known]
    return min((lowered(menu, pick) for pick in found), key=lambda pick: total(menu.cost, pick))


def _iterated(menu: Menu, admm: Admm) -> Whole:
    """ADMM: its cheapest v that meets the requirement, else its last one."""
    weight, square = menu.weight, float(menu.weight @ menu.weight)
    half = admm.penalty * 5 / len(weight)
    z = np.full(len(weight), min(1.0, menu.required / float(weight.sum())))
    dual = np.zeros(len(weight))
    best: Whole | None = None
    least = np.inf
    for _ in range(admm.iterations):
        pick: Whole = np.argmin(menu.cost + half * (menu.ratio - (z - dual)[:, None]) ** 2, axis=1)
        v = menu.ratio[np.arange(len(pick)), pick]
        cost = total(menu.cost, pick)
        if weight @ v >= menu.required and cost < least:
            best, least = pick, cost
        y = v + dual
        z = y + weight * max(0.0, menu.required - float(weight @ y)) / square
        dual = y - z
        if np.abs(v - z).max() < admm.tolerance:
            break
    return pick if best is None else best


def _priced(menu: Menu) -> Whole:
    """The dual's answer: each device takes what is cheapest at the least price of q u at which the requirement is met."""
    low, high = 0.0, 1.0
    while _at(menu, high)[1] < menu.required * (1 - TINY) and high < 1e30:
        high *= 4
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _at(menu, middle)[1] >= menu.required else (middle, high)
    return _at(menu, high)[0]


def _at(menu: Menu, price: float) -> tuple[Whole, float]:
    pick = np.argmin(menu.cost - price * menu.mass, axis=1)
    return pick, total(menu.mass, pick)


def total(values: Floats, pick: Whole) -> float:
    """Sum over devices of what their options are worth."""
    return float(values[np.arange(len(pick)), pick].sum())


def _changes(menu: Menu, pick: Whole) -> tuple[Floats, Floats]:
    """What each other option of each device would change: cost and mass."""
    rows = np.arange(len(pick))
    mass = menu.mass
    return menu.cost - menu.cost[rows, pick][:, None], mass - mass[rows, pick][:, None]


def raised(menu: Menu, pick: Whole) -> Whole:
    """More and more, the cheapest per mass first, until the requirement is met (it can be)."""
    pick = pick.copy()
    while (short := menu.required * (1 - TINY) - total(menu.mass, pick)) > 0:
        cost, mass = _changes(menu, pick)
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = np.where((mass > 0) & np.isfinite(cost), cost / np.minimum(mass, short), np.inf)
        device, option = np.unravel_index(int(worth.argmin()), worth.shape)
        if not np.isfinite(worth[device, option]):
            break
        pick[device] = option
    return pick


def lowered(menu: Menu, pick: Whole) -> Whole:
    """Change one device at a time, or two at once, to the largest saving that keeps the requirement, while there is any."""
    pick = pick.copy()
    for _ in range(50 * len(pick)):
        cost, mass = _changes(menu, pick)
        slack = total(menu.mass, pick) - menu.required * (1 - TINY)
        saving = np.where(mass >= -slack, cost, np.inf)
        device, option = np.unravel_index(int(saving.argmin()), saving.shape)
        if saving[device, option] < -TINY:
            pick[device] = option
        elif cost.size > EXCHANGEABLE or not _exchange(pick, cost, mass, slack):
            break
    return pick


def _exchange(pick: Whole, cost: Floats, mass: Floats, slack: float) -> bool:
    """Change the two devices that save most together, in place; False where no two do."""
    devices, options = np.nonzero(np.isfinite(cost))
    gain, change = cost[devices, options], mass[devices, options]
    joint = gain[:, None] + gain
    joint[(change[:, None] + change < -slack) | (devices[:, None] == devices)] = np.inf
    first, second = np.unravel_index(int(joint.argmin()), joint.shape)
    if not joint[first, second] < -TINY:
        return False
    for one in (first, second):
        pick[devices[one]] = options[one]
    return True
