"""What all simulations share: the ns-3 bindings, a clock at every sink, and one JSON line as the result."""

import json
from typing import Any

from ns import ns

# Sinks are watched in C++: a Python callback per packet would take longer than the simulation.
ns.cppyy.cppdef("""
#include "ns3/core-module.h"
#include "ns3/network-module.h"
#include "ns3/applications-module.h"

namespace arrivals {
struct Sink {
    double from = 0;         // bytes before this second are not counted
    unsigned long bytes = 0; // received by the application
    double last = 0;         // second of the last arrival
    void Take(ns3::Ptr<const ns3::Packet> packet, const ns3::Address&) {
        last = ns3::Simulator::Now().GetSeconds();
        if (last >= from) bytes += packet->GetSize();
    }
};
std::vector<Sink*> sinks;

void Watch(ns3::Ptr<ns3::Application> application, double from) {
    auto sink = new Sink;
    sink->from = from;
    sinks.push_back(sink);
    application->TraceConnectWithoutContext("Rx", ns3::MakeCallback(&Sink::Take, sink));
}
unsigned Count() { return sinks.size(); }
unsigned long Bytes(unsigned index) { return sinks[index]->bytes; }
double Last(unsigned index) { return sinks[index]->last; }
void Forget() { sinks.clear(); }
}
""")
_here = ns.cppyy.gbl.arrivals


def fresh(seed: int) -> None:
    """Start a new simulation with its own random numbers."""
    _here.Forget()
    ns.RngSeedManager.SetSeed(1)
    ns.RngSeedManager.SetRun(seed)
    ns.RngSeedManager.ResetNextStreamIndex()  # else a run would depend on those before it


def watch(application: Any, from_s: float = 0.0) -> None:
    """Count what arrives at a PacketSink from ``from_s`` on; sinks are numbered in the order of these calls."""
    _here.Watch(application, from_s)


def totals() -> list[int]:
    """Bytes each sink has counted."""
    return [int(_here.Bytes(index)) for index in range(_here.Count())]


def last_s() -> list[float]:
    """Second of the last arrival at each sink."""
    return [float(_here.Last(index)) for index in range(_here.Count())]


def completions(sizes: list[int]) -> list[float]:
    """Second of the last byte of each transfer. Raises RuntimeError when one has not ended."""
    if totals() != sizes:
        raise RuntimeError(f"not all bytes have arrived: {totals()} of {sizes}")
    return last_s()


def say(**result: Any) -> None:
    """The result of the script: one line of JSON, the last of its output."""
    print(json.dumps(result), flush=True)
