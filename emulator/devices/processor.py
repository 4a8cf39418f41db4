"""How long work takes on a device: seconds from what a step costs and what the profile can do."""

from collections.abc import Sequence

from emulator.devices.profile import Profile

CostOps = Sequence[tuple[str, int, int, int]]  # (op class, FLOPs, bytes touched, how often)


def seconds(ops: CostOps, profile: Profile, slowdown: float = 1.0) -> float:
    """Seconds for ``ops`` one after another, times ``slowdown``.

    ``roofline``: each operator takes max(FLOPs / rate, bytes / bandwidth) + overhead (Williams et al., CACM 2009, per
    operator). ``additive``: FLOPs / rate + bytes / bandwidth + overhead (ELFISH's W/C + M/V). ``flops``: FLOPs / rate
    alone (the formulas of EcoFed and TinyFEL: no overhead). Raises ValueError for any other mode.
    """
    rate, bandwidth, overhead = profile.flop_per_s, profile.memory_bandwidth_bytes_per_s, profile.overhead_s
    if profile.compute == "flops":
        total = sum(flops * count for _, flops, _, count in ops) / rate
    elif profile.compute == "additive":
        total = sum(count * (flops / rate + size / bandwidth + overhead) for _, flops, size, count in ops)
    elif profile.compute == "roofline":
        total = sum(count * (max(flops / rate, size / bandwidth) + overhead) for _, flops, size, count in ops)
    else:
        raise ValueError(f"{profile.name}: compute: got {profile.compute!r}; expected roofline, additive or flops")
    return total * slowdown
