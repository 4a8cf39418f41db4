"""What a protocol may use, as types: the world, its nodes and their two verbs."""

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")
Value = Any  # a handle: shapes and bytes are known, its data come later


class Unmet(ValueError):
    """What the user's settings ask for cannot be met, as the world is now: ``protocol.key: got X; what is missing``."""


class DeviceLost(Exception):
    """The device is gone (out of reach, out of battery). Raised at the ``await``; its work is not run."""

    def __init__(self, device: str) -> None:
        super().__init__(f"device {device} is lost")
        self.device = device


class Predicted(Protocol):
    """What a compute would cost on a node."""

    @property
    def seconds(self) -> float:
        """Nominal, without queueing."""

    @property
    def peak_bytes(self) -> int:
        """Memory, inputs included."""


class Until(NamedTuple):
    """Work in pieces that may end early: at virtual second ``time_s`` those that are done count, and the rest never happens.

    ``pieces``: how many there are; ``first(n)``: the step's settings for the first n of them, which change no shape.
    """

    time_s: float
    pieces: int
    first: Callable[[int], dict[str, Any]]


class Work(Awaitable[Any], Protocol):
    """A compute under way."""

    @property
    def pieces(self) -> int | None:
        """How many pieces were done, once it is awaited; None without ``until``."""


class Connection(Protocol):
    """A device's own connection, alone on it."""

    @property
    def uplink_bps(self) -> float:
        """Bits a second."""

    @property
    def downlink_bps(self) -> float:
        """Bits a second."""

    @property
    def latency_s(self) -> float:
        """One way, to the server."""

    @property
    def link(self) -> str:
        """Its cell's name; empty for a link of its own."""

    @property
    def wires(self) -> tuple[Any, Any]:
        """Down and up: bytes on the air for a payload, and seconds before the first bit (``network/framing.py``)."""

    def download_s(self, payload_bytes: int) -> float:
        """Seconds from the server, alone on the way."""

    def upload_s(self, payload_bytes: int) -> float:
        """Seconds to the server, alone on the way."""

    @property
    def signal(self) -> Any:
        """Where there is a radio: its band, powers and gains (``network/attachment.py``)."""


class Node(Protocol):
    """A device, an edge server or the server."""

    name: str
    samples: int

    @property
    def cut(self) -> int | None:
        """Blocks on the device, where the model is split."""

    @property
    def data(self) -> Value:
        """The device's own training data."""

    @property
    def edge(self) -> "Node | None":
        """The edge server at the device's site."""

    @property
    def completeness(self) -> float:
        """Share of its local work that the device does in this round."""

    def compute(
        self,
        step: Callable[..., Any],
        *inputs: Any,
        near: "Node | None" = None,
        until: Until | None = None,
        **settings: Any,
    ) -> Work:
        """Real tensor work here, and virtual seconds from its measured cost."""

    def send(self, value: Value, *, to: Any, kind: str, bandwidth_hz: float | None = None) -> Awaitable[Value]:
        """A real payload to another node, and virtual seconds from its real bytes; on a part of an assigned band."""

    @property
    def profile(self) -> Any:
        """What the machine can do: ``free_memory_bytes`` and more."""

    def predict(self, step: Callable[..., Any], *inputs: Any, **settings: Any) -> Predicted:
        """What ``compute`` would cost; inputs may be shapes (``Spec``). Costs no virtual time."""

    def channel(self) -> Connection:
        """A device's connection as it is now."""


class Mailbox(Protocol):
    """A queue: items come out in order of arrival."""

    def put(self, item: Any) -> None:
        """Leave an item."""

    def get(self) -> Awaitable[Any]:
        """The oldest item, now or when it comes."""

    def __len__(self) -> int: ...


class World(Protocol):
    """Everything around a protocol."""

    @property
    def server(self) -> Node:
        """The server."""

    @property
    def devices(self) -> Sequence[Node]:
        """The fleet, those that are away too."""

    @property
    def validation(self) -> Value:
        """The validation split, at the server, for decisions."""

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""

    @property
    def round(self) -> int:
        """The round under way, from 1."""

    def seed(self, *names: str | int) -> int:
        """A seed keyed by who and what."""

    async def sample(self, count: int, *, busy: Collection[Node] | None = None) -> Sequence[Node]:
        """Devices drawn for this round; with ``busy``, one of several draws in it, among those that are not busy."""

    def sample_now(self, count: int, *, busy: Collection[Node] | None = None) -> Sequence[Node]:
        """As ``sample``, of those that are there now; nobody where nobody is."""

    def gather(
        self, clients: Mapping[K, Coroutine[Any, Any, V]], *, first: int | None = None, within_s: float | None = None
    ) -> Awaitable[dict[K, V]]:
        """Clients side by side; the results of those that count, in the given order."""

    async def wait(self, seconds: float = 0.0) -> None:
        """So many virtual seconds, or to the end of this instant: after all else that happens in it."""

    def not_asked(self, devices: Iterable[Node]) -> None:
        """Of those whom ``gather`` was given in this round these were never begun."""

    def spawn(self, client: Coroutine[Any, Any, V]) -> Awaitable[V]:
        """A client that goes on by itself; it ends at the latest with the one that spawned it."""

    async def read(self, value: Value, *, of: Collection[Node] = ()) -> Any:
        """The data of a value at the server, to branch on; logged as a decision. ``of``: devices whose numbers these are."""

    def mailbox(self) -> "Mailbox":
        """A queue between clients and a server loop."""

    def took_part(self, asked: Iterable[Node], finished: Mapping[Node, float]) -> None:
        """Devices asked in this round, and those whose work was kept, with seconds; of gathered ones the records know."""

    def report(self, *weights: Value, **metrics: Value) -> None:
        """End the round with these weights, whole or in parts, and with figures: plain numbers, or values of one number."""
