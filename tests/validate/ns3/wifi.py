"""Stations of one Wi-Fi cell sending to their access point: TCP uploads of given sizes, or saturating UDP.

Every node hears every other with the same power, so that no frame survives a collision and nobody is hidden.
"""

import argparse
from typing import Any

from arrivals import completions, fresh, ns, say, totals, watch

RSS_DBM = -50.0  # above the energy detection threshold: a station sees any transmission as a busy medium
UDP_BYTES = 1472  # with 8 of UDP and 20 of IP: a packet of 1500 bytes
SEGMENT_BYTES = 1448  # with 32 of TCP (timestamps) and 20 of IP: a packet of 1500 bytes
START_S = 3.0  # by 1 s every station is associated
JITTER_S = 1e-3  # TCP uploads start within this after START_S
GREETING_S = 0.02  # UDP: every station first has the medium to itself for so long
GREETINGS = 5
WARM_UP_S = 0.5  # UDP: from the first packet to the first that counts

STANDARDS = {
    "a": (ns.WIFI_STANDARD_80211a, "{36, 20, BAND_5GHZ, 0}", "OfdmRate24Mbps"),
    "n": (ns.WIFI_STANDARD_80211n, "{36, 20, BAND_5GHZ, 0}", "OfdmRate24Mbps"),
}


def cell(modes: list[str], standard: str, lock_on: bool) -> tuple[Any, Any, Any]:
    """Associated stations, one per mode, with IP addresses: (stations, access point, its address)."""
    which, channel, control = STANDARDS[standard]
    stations, point = ns.NodeContainer(), ns.NodeContainer()
    stations.Create(len(modes))
    point.Create(1)
    air = ns.YansWifiChannelHelper()
    air.SetPropagationDelay("ns3::ConstantSpeedPropagationDelayModel")
    air.AddPropagationLoss("ns3::FixedRssLossModel", "Rss", ns.DoubleValue(RSS_DBM))
    phy = ns.YansWifiPhyHelper()
    phy.SetChannel(air.Create())
    phy.Set("ChannelSettings", ns.StringValue(channel))
    if lock_on:
        phy.DisablePreambleDetectionModel()
    wifi = ns.WifiHelper()
    wifi.SetStandard(which)
    mac = ns.WifiMacHelper()
    ssid = ns.SsidValue(ns.Ssid("cell"))
    devices = ns.NetDeviceContainer()
    mac.SetType("ns3::StaWifiMac", "Ssid", ssid)
    for index, mode in enumerate(modes):
        wifi.SetRemoteStationManager(
            "ns3::ConstantRateWifiManager", "DataMode", ns.StringValue(mode), "ControlMode", ns.StringValue(control)
        )
        devices.Add(wifi.Install(phy, mac, stations.Get(index)))
    fastest = max(modes, key=lambda mode: int("".join(filter(str.isdigit, mode))))
    wifi.SetRemoteStationManager(
        "ns3::ConstantRateWifiManager", "DataMode", ns.StringValue(fastest), "ControlMode", ns.StringValue(control)
    )
    mac.SetType("ns3::ApWifiMac", "Ssid", ssid)
    devices.Add(wifi.Install(phy, mac, point))
    ns.WifiHelper.AssignStreams(devices, 100)

    mobility = ns.MobilityHelper()
    mobility.SetMobilityModel("ns3::ConstantPositionMobilityModel")
    mobility.Install(stations)
    mobility.Install(point)
    stack = ns.InternetStackHelper()
    stack.Install(stations)
    stack.Install(point)
    addresses = ns.Ipv4AddressHelper()
    addresses.SetBase(ns.Ipv4Address("10.1.0.0"), ns.Ipv4Mask("255.255.0.0"))
    given = addresses.Assign(devices)
    ns.NeighborCacheHelper().PopulateNeighborCache()  # no address resolution on the air
    return stations, point.Get(0), given.GetAddress(len(modes))


def uploads(seed: int, sizes: list[int], modes: list[str], standard: str, lock_on: bool) -> list[float]:
    """Seconds from the start to the last byte of each TCP upload."""
    fresh(seed)
    stations, point, target = cell(modes, standard, lock_on)
    starts = ns.CreateObject[ns.UniformRandomVariable]()
    for index, size in enumerate(sizes):
        port = 5000 + index
        upload = ns.BulkSendHelper("ns3::TcpSocketFactory", ns.InetSocketAddress(target, port).ConvertTo())
        upload.SetAttribute("MaxBytes", ns.UintegerValue(size))
        upload.SetAttribute("SendSize", ns.UintegerValue(SEGMENT_BYTES))
        upload.Install(stations.Get(index)).Start(ns.Seconds(START_S + starts.GetValue(0.0, JITTER_S)))
        sink = ns.PacketSinkHelper(
            "ns3::TcpSocketFactory", ns.InetSocketAddress(ns.Ipv4Address.GetAny(), port).ConvertTo()
        ).Install(point)
        watch(sink.Get(0))
    ns.Simulator.Stop(ns.Seconds(START_S + 20 * 8 * sum(sizes) / 6e6))
    ns.Simulator.Run()
    done = completions(sizes)
    ns.Simulator.Destroy()
    return [last - START_S for last in done]


def saturation(
    seed: int, modes: list[str], standard: str, lock_on: bool, seconds: float, offered_bps: float
) -> list[float]:
    """UDP goodput of each station in bit/s, all of them with a packet to send at any time."""
    fresh(seed)
    stations, point, target = cell(modes, standard, lock_on)
    begin_s = START_S + WARM_UP_S
    starts = ns.CreateObject[ns.UniformRandomVariable]()
    for index in range(len(modes)):
        port = 5000 + index
        source = ns.OnOffHelper("ns3::UdpSocketFactory", ns.InetSocketAddress(target, port).ConvertTo())
        source.SetConstantRate(ns.DataRate(int(offered_bps / len(modes))), UDP_BYTES)
        # Block acknowledgement is agreed upon with the first frames. Lost in collisions, the agreement may never come.
        greeting = ns.UdpClientHelper(ns.InetSocketAddress(target, port).ConvertTo())
        greeting.SetAttribute("MaxPackets", ns.UintegerValue(GREETINGS))
        greeting.SetAttribute("Interval", ns.TimeValue(ns.MilliSeconds(1)))
        greeting.Install(stations.Get(index)).Start(ns.Seconds(START_S - GREETING_S * (index + 1)))
        source.Install(stations.Get(index)).Start(ns.Seconds(START_S + starts.GetValue(0.0, WARM_UP_S / 10)))
        sink = ns.PacketSinkHelper(
            "ns3::UdpSocketFactory", ns.InetSocketAddress(ns.Ipv4Address.GetAny(), port).ConvertTo()
        ).Install(point)
        watch(sink.Get(0), begin_s)
    ns.Simulator.Stop(ns.Seconds(begin_s + seconds))
    ns.Simulator.Run()
    goodput = [8 * total / seconds for total in totals()]
    if min(goodput) == 0:
        raise RuntimeError(f"a station was never heard: {goodput}")
    ns.Simulator.Destroy()
    return goodput


def main() -> None:
    """Read the case, run it once per seed, print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traffic", choices=["tcp", "udp"])
    parser.add_argument("--modes", nargs="+", required=True, help="one per station, such as OfdmRate54Mbps")
    parser.add_argument("--standard", choices=sorted(STANDARDS), default="a")
    parser.add_argument("--sizes", type=int, nargs="+", help="tcp: bytes of each upload")
    parser.add_argument("--seconds", type=float, default=4.0, help="udp: measured for this long")
    parser.add_argument("--offered-bps", type=float, default=100e6, help="udp: all stations together")
    parser.add_argument("--lock-on", action="store_true", help="lock on to any preamble, even one in a collision")
    parser.add_argument("--rts", action="store_true", help="reserve the medium (RTS/CTS) before every frame")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    case = parser.parse_args()

    if case.rts:
        ns.Config.SetDefault("ns3::WifiRemoteStationManager::RtsCtsThreshold", ns.UintegerValue(0))
    ns.Config.SetDefault("ns3::TcpSocket::SegmentSize", ns.UintegerValue(SEGMENT_BYTES))
    if case.traffic == "tcp":
        say(done_s=[uploads(seed, case.sizes, case.modes, case.standard, case.lock_on) for seed in case.seeds])
    else:
        rates = [
            saturation(seed, case.modes, case.standard, case.lock_on, case.seconds, case.offered_bps)
            for seed in case.seeds
        ]
        say(goodput_bps=rates)


if __name__ == "__main__":
    main()
