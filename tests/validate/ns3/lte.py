"""UEs of one LTE cell, round robin, buffers always full: what each gets in a window, above the radio link control."""

import argparse

from arrivals import fresh, ns, say


def goodput(seed: int, count: int, distance_m: float, warm_up_s: float, seconds: float) -> dict[str, list[float]]:
    """Uplink and downlink bit/s of each UE."""
    fresh(seed)
    lte = ns.CreateObject[ns.LteHelper]()
    lte.SetSchedulerType("ns3::RrFfMacScheduler")
    lte.SetEnbDeviceAttribute("UlBandwidth", ns.UintegerValue(100))
    lte.SetEnbDeviceAttribute("DlBandwidth", ns.UintegerValue(100))
    towers, ues = ns.NodeContainer(), ns.NodeContainer()
    towers.Create(1)
    ues.Create(count)
    mobility = ns.MobilityHelper()
    mobility.SetMobilityModel("ns3::ConstantPositionMobilityModel")
    mobility.Install(towers)
    mobility.SetPositionAllocator(
        "ns3::UniformDiscPositionAllocator", "rho", ns.DoubleValue(0.1), "X", ns.DoubleValue(distance_m)
    )
    mobility.Install(ues)
    tower_devices = lte.InstallEnbDevice(towers)
    ue_devices = lte.InstallUeDevice(ues)
    lte.Attach(ue_devices, tower_devices.Get(0))
    lte.ActivateDataRadioBearer(ue_devices, ns.EpsBearer(ns.EpsBearer.GBR_CONV_VOICE))
    lte.EnableRlcTraces()
    stats = lte.GetRlcStats()
    stats.SetAttribute("StartTime", ns.TimeValue(ns.Seconds(warm_up_s)))
    stats.SetAttribute("EpochDuration", ns.TimeValue(ns.Seconds(10 * (warm_up_s + seconds))))
    ns.Simulator.Stop(ns.Seconds(warm_up_s + seconds))
    ns.Simulator.Run()
    bearer = 3  # the logical channel of the first data bearer; 1 and 2 carry signalling
    rates = {
        "up_bps": [8 * stats.GetUlRxData(imsi, bearer) / seconds for imsi in range(1, count + 1)],
        "down_bps": [8 * stats.GetDlRxData(imsi, bearer) / seconds for imsi in range(1, count + 1)],
    }
    ns.Simulator.Destroy()
    return rates


def main() -> None:
    """Read the case, run it once per seed, print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True, help="UEs")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured for this long")
    parser.add_argument("--warm-up-s", type=float, default=1.0, help="not measured")
    parser.add_argument("--distance-m", type=float, default=100.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    case = parser.parse_args()

    # Every UE needs a sounding slot of its own: 80 subframes are enough for 80 UEs.
    ns.Config.SetDefault("ns3::LteEnbRrc::SrsPeriodicity", ns.UintegerValue(80))
    say(runs=[goodput(seed, case.count, case.distance_m, case.warm_up_s, case.seconds) for seed in case.seeds])


if __name__ == "__main__":
    main()
