"""What devices draw: joules of computing, sending, receiving and idling, and batteries that run empty.

Powers are whole nanowatts and times whole nanoseconds, so energies are whole attojoules (1e-18 J): sums are exact in any
order. A radio that has several transfers under way draws its power once; each transfer is told an equal share of it.
"""

from collections.abc import Callable

import simpy

from emulator.devices.profile import Profile
from network.timer import LazyTimer

KINDS = ("idle", "compute", "send", "receive")
ATTO = 10**18
NANO = 10**9


class Ledger:
    """What a whole fleet has drawn, by kind."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._drawn_nw = dict.fromkeys(KINDS, 0)
        self._used_aj = dict.fromkeys(KINDS, 0)
        self._since_ns = dict.fromkeys(KINDS, 0)

    def draw(self, kind: str, more_nw: int) -> None:
        """From now on so much more (or less) is drawn."""
        now = int(self._env.now)
        self._used_aj[kind] += self._drawn_nw[kind] * (now - self._since_ns[kind])
        self._since_ns[kind] = now
        self._drawn_nw[kind] += more_nw

    def joules(self) -> dict[str, float]:
        """Joules of each kind until now."""
        now = int(self._env.now)
        return {
            kind: (self._used_aj[kind] + self._drawn_nw[kind] * (now - self._since_ns[kind])) / ATTO for kind in KINDS
        }


class Battery:
    """A charge that falls with what is drawn; ``on_empty`` is called at the nanosecond at which it has run out."""

    def __init__(self, env: simpy.Environment, charge_j: float, on_empty: Callable[[], None]) -> None:
        self._env = env
        self._left_aj = round(charge_j * ATTO)
        self._drawn_nw = 0
        self._since_ns = int(env.now)
        self._timer = LazyTimer(env, on_empty)

    def left_j(self) -> float:
        """Joules left now."""
        return self._now_aj() / ATTO

    def draw(self, drawn_nw: int) -> None:
        """From now on so much is drawn in all."""
        self._left_aj = self._now_aj()
        self._since_ns = int(self._env.now)
        self._drawn_nw = drawn_nw
        if drawn_nw:
            self._timer.set(self._since_ns + -(-self._left_aj // drawn_nw))
        else:
            self._timer.set(float("inf"))

    def _now_aj(self) -> int:
        return max(0, self._left_aj - self._drawn_nw * (int(self._env.now) - self._since_ns))


class Supply:
    """One device's powers at work. Raises ValueError for a profile that tells no powers."""

    def __init__(self, env: simpy.Environment, profile: Profile, ledger: Ledger) -> None:
        if profile.idle_w is None or profile.load_w is None or profile.send_w is None or profile.receive_w is None:
            raise ValueError(f"{profile.name} tells no powers")
        watts = {
            "idle": profile.idle_w, "compute": profile.load_w - profile.idle_w,
            "send": profile.send_w, "receive": profile.receive_w,
        }  # fmt: skip
        self._env = env
        self._ledger = ledger
        self._power_nw = {kind: round(value * NANO) for kind, value in watts.items()}
        self._users = dict.fromkeys(KINDS, 0)
        self._each_aj = dict.fromkeys(KINDS, 0.0)  # what a user of a kind has drawn that was there from the start
        self._since_ns = dict.fromkeys(KINDS, 0)
        self.battery: Battery | None = None
        self._off = False
        self.begin("idle")

    def power_from(self, battery: Battery) -> None:
        """From now on a battery is all there is."""
        self.battery = battery
        battery.draw(self.drawn_nw())

    def begin(self, kind: str) -> float:
        """One more user of a kind; gives the mark to hand to ``joules_since``."""
        return self._use(kind, 1)

    def end(self, kind: str) -> None:
        """One user less."""
        self._use(kind, -1)

    def joules_since(self, kind: str, mark: float) -> float:
        """Joules of one user of a kind since its mark. Asking changes nothing, not even how sums are rounded."""
        return (self._each_now_aj(kind) - mark) / ATTO

    def off(self) -> None:
        """Nothing is drawn any more."""
        if not self._off:
            self.end("idle")
            self._off = True

    def _each_now_aj(self, kind: str) -> float:
        users = self._users[kind]
        passed_ns = int(self._env.now) - self._since_ns[kind]
        return self._each_aj[kind] + (self._power_nw[kind] * passed_ns / users if users else 0.0)

    def _use(self, kind: str, more: int) -> float:
        """So many more users from now on; what each has drawn until now."""
        each = self._each_aj[kind] = self._each_now_aj(kind)
        self._since_ns[kind] = int(self._env.now)
        before = self._users[kind]
        after = self._users[kind] = before + more
        if not before or not after:  # users never fall below none
            self._ledger.draw(kind, self._power_nw[kind] if after else -self._power_nw[kind])
            if self.battery is not None:
                self.battery.draw(self.drawn_nw())
        return each

    def drawn_nw(self) -> int:
        """Nanowatts drawn now."""
        return sum(self._power_nw[kind] for kind in KINDS if self._users[kind])
