"""Finishing times of flows under SimGrid's max-min model: a program of its own, run by any Python that has simgrid.

Reads from standard input ``{"links": {name: bit/s}, "flows": [[start_s, bytes, [link, ...]], ...]}`` and prints the
finishing times in seconds as JSON. Every flow has a host of its own; all go to one sink over the links they name.
"""

import json
import sys
from typing import Any

SETTINGS = (
    "network/model:CM02",  # plain max-min: none of TCP's slow start, cross traffic or bias against long round trips
    "network/TCP-gamma:0", "network/crosstraffic:0", "network/weight-S:0",
    "network/latency-factor:1", "network/bandwidth-factor:1",
    "surf/precision:1e-12", "maxmin/precision:1e-12",
)  # fmt: skip


def main() -> None:
    """Build the platform, run, print."""
    from simgrid import Actor, Comm, Engine, LinkInRoute, NetZone, this_actor

    wanted = json.load(sys.stdin)
    engine = Engine(["reference", "--log=root.thres:error", *(f"--cfg={setting}" for setting in SETTINGS)])
    zone = NetZone.create_star_zone("all")
    sink = zone.create_host("sink", 1e9).seal()
    zone.add_route(sink.netpoint, None, None, None, [], True)
    links = {name: LinkInRoute(zone.create_link(name, rate / 8).seal()) for name, rate in wanted["links"].items()}
    finished: list[float] = [0.0] * len(wanted["flows"])

    def send(number: int, start_s: float, size: int, host: Any) -> None:
        if start_s > 0:
            this_actor.sleep_until(start_s)
        Comm.sendto_async(host, sink, size).wait()
        finished[number] = Engine.clock

    hosts = []
    for number, (_, _, way) in enumerate(wanted["flows"]):
        host = zone.create_host(f"host-{number}", 1e9).seal()
        zone.add_route(host.netpoint, None, None, None, [links[name] for name in way], True)
        hosts.append(host)
    zone.seal()
    for number, (start_s, size, _) in enumerate(wanted["flows"]):
        Actor.create(f"flow-{number}", hosts[number], send, number, start_s, size, hosts[number])
    engine.run()
    print(json.dumps(finished))


if __name__ == "__main__":
    main()
