"""The network: devices in cells, cells on sites or on the core, the server behind the core."""

from collections.abc import Callable
from typing import NamedTuple

import simpy

from network.attachment import Attachment
from network.cell import Above, Cell
from network.flow import Station
from network.hub import Hub
from network.plan import Access, NetworkPlan, SitePlan
from network.sharing import UNLIMITED_BPS
from network.transfer import Transfer, Way


class Edge(NamedTuple):
    """A site's edge server on the network, and its ways: behind the site's cells, before its backhaul."""

    site: str
    to_server: Way
    from_server: Way

    @property
    def link(self) -> str:
        """What records call its link."""
        return self.site


class Network:
    """Everything between the devices and the server, on a SimPy clock of integer nanoseconds.

    Raises ValueError for a cell on a site that is not there and OutOfReach for a device that its cell cannot serve.
    """

    def __init__(self, env: simpy.Environment, plan: NetworkPlan) -> None:
        self.env = env
        self.plan = plan
        self._sites = {site.name: site for site in plan.sites}
        core = Hub(plan.core.downlink_bps, plan.core.uplink_bps)
        wires_only = not plan.sites and all(cell.kind == "dedicated" for cell in plan.cells)
        self.core = Above(env, core, wires_only)
        self._above = {
            site.name: Above(env, Hub(site.downlink_bps, site.uplink_bps, core), False) for site in plan.sites
        }
        self.cells = {cell.name: Cell(env, cell, self.above(cell.site)) for cell in plan.cells}

    def above(self, site: str | None) -> Above:
        """What a site's cells hang on; without a site, the core."""
        if site is None:
            return self.core
        if site not in self._above:
            raise ValueError(f"site: got {site!r}; expected one of {', '.join(self._above) or 'no sites at all'}")
        return self._above[site]

    def cell_of(self, access: Access) -> Cell | None:
        """The cell in which a device starts."""
        if access.cell is None:
            return None
        if access.cell not in self.cells:
            known = ", ".join(self.cells) or "no cells at all"
            raise ValueError(f"{access.name}: got cell {access.cell!r}; expected one of {known}")
        return self.cells[access.cell]

    def hops(self, cell: Cell | None) -> list[SitePlan]:
        """The links between a cell and the server."""
        site = cell.plan.site if cell is not None else None
        return [self.plan.core] if site is None else [self._sites[site], self.plan.core]

    def attach(self, access: Access) -> Attachment:
        """Put a device on the network."""
        return Attachment(self, access)

    def edge(self, site: str) -> Edge:
        """Put an edge server at a site."""
        above, hops = self.above(site), (self._sites[site], self.plan.core)
        jitter = tuple(hop.jitter_ns for hop in hops)
        found = Edge(site, Way(True, True), Way(False, True))
        for way in (found.to_server, found.from_server):
            delays = (sum(hop.latency_ns for hop in hops), jitter if any(jitter) else ())
            way.lead(above.wires[way.uplink], Station(UNLIMITED_BPS), delays)
            way.unlimited = self.plan.unlimited[way.uplink]
        return found

    def send(
        self, way: Way, size_bytes: int, on_arrival: Callable[[], None], bandwidth_hz: float | None = None
    ) -> Transfer:
        """Send ``size_bytes`` one way; ``on_arrival`` is called when the last one is there."""
        return Transfer(self.env, way, size_bytes, on_arrival).go(bandwidth_hz)
