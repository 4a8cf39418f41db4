"""TCP uploads of given sizes through one bottleneck: sources - router - sink, second of the last byte of each.

Only the middle link is a bottleneck, unless ``--access-bps`` makes a source's own link slower than its share.
"""

import argparse

from arrivals import completions, fresh, ns, say, watch

SEGMENT_BYTES = 1448  # with 32 bytes of TCP (timestamps) and 20 of IP: a packet of 1500 bytes
ACCESS_BPS = 1e9
JITTER_S = 1e-3  # starts are spread over this, so that a seed is a different run


def simulate(
    seed: int, sizes: list[int], rate_bps: float, delay_s: float, access_bps: list[float], queue: str
) -> list[float]:
    """Second of the last byte of each upload."""
    fresh(seed)
    sources, middle = ns.NodeContainer(), ns.NodeContainer()
    sources.Create(len(sizes))
    middle.Create(2)  # router, sink
    stack = ns.InternetStackHelper()
    stack.Install(sources)
    stack.Install(middle)
    router, sink = middle.Get(0), middle.Get(1)

    wire = ns.PointToPointHelper()
    wire.SetDeviceAttribute("DataRate", ns.StringValue(f"{rate_bps:.0f}bps"))
    wire.SetChannelAttribute("Delay", ns.TimeValue(ns.Seconds(delay_s)))
    wire.SetQueue("ns3::DropTailQueue", "MaxSize", ns.StringValue("2p"))  # the queue proper is the discipline's
    devices = wire.Install(router, sink)
    discipline = ns.TrafficControlHelper()
    if queue == "fair":
        discipline.SetRootQueueDisc("ns3::FqCoDelQueueDisc", "Target", ns.StringValue("1000s"))
    elif queue == "fq_codel":
        discipline.SetRootQueueDisc("ns3::FqCoDelQueueDisc")
    else:
        discipline.SetRootQueueDisc("ns3::FifoQueueDisc", "MaxSize", ns.StringValue("100p"))
    discipline.Install(devices.Get(0))
    addresses = ns.Ipv4AddressHelper()
    addresses.SetBase(ns.Ipv4Address("10.200.0.0"), ns.Ipv4Mask("255.255.255.0"))
    target = addresses.Assign(devices).GetAddress(1)

    starts = ns.CreateObject[ns.UniformRandomVariable]()
    for index, size in enumerate(sizes):
        access = ns.PointToPointHelper()
        access.SetDeviceAttribute("DataRate", ns.StringValue(f"{access_bps[index]:.0f}bps"))
        access.SetChannelAttribute("Delay", ns.TimeValue(ns.MicroSeconds(1)))
        addresses.SetBase(ns.Ipv4Address(f"10.1.{index}.0"), ns.Ipv4Mask("255.255.255.0"))
        addresses.Assign(access.Install(sources.Get(index), router))
        port = 5000 + index
        upload = ns.BulkSendHelper("ns3::TcpSocketFactory", ns.InetSocketAddress(target, port).ConvertTo())
        upload.SetAttribute("MaxBytes", ns.UintegerValue(size))
        upload.SetAttribute("SendSize", ns.UintegerValue(SEGMENT_BYTES))
        upload.Install(sources.Get(index)).Start(ns.Seconds(starts.GetValue(0.0, JITTER_S)))
        sinks = ns.PacketSinkHelper(
            "ns3::TcpSocketFactory", ns.InetSocketAddress(ns.Ipv4Address.GetAny(), port).ConvertTo()
        ).Install(sink)
        sinks.Start(ns.Seconds(0.0))
        watch(sinks.Get(0))
    ns.Ipv4GlobalRoutingHelper.PopulateRoutingTables()
    ns.Simulator.Stop(ns.Seconds(20 * 8 * sum(sizes) / min(rate_bps, *access_bps) + 10))
    ns.Simulator.Run()
    done = completions(sizes)
    ns.Simulator.Destroy()
    return done


def main() -> None:
    """Read the case, run it once per seed, print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", required=True, help="bytes of each upload")
    parser.add_argument("--rate-bps", type=float, default=10e6)
    parser.add_argument("--delay-s", type=float, default=0.005)
    parser.add_argument("--access-bps", type=float, nargs="+", help="each source's own link")
    parser.add_argument("--queue", choices=["fair", "fq_codel", "fifo"], default="fair")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    case = parser.parse_args()
    access_bps = case.access_bps or [ACCESS_BPS] * len(case.sizes)

    ns.Config.SetDefault("ns3::TcpSocket::SegmentSize", ns.UintegerValue(SEGMENT_BYTES))
    runs = [simulate(seed, case.sizes, case.rate_bps, case.delay_s, access_bps, case.queue) for seed in case.seeds]
    say(done_s=runs)


if __name__ == "__main__":
    main()
