"""How long work takes on a device: seconds from what a step costs and what the profile can do."""

from collections.abc import Sequence

from emulator.devices.profile import Profile

CostOps = Sequence[tuple[str, int, int, int]]  # (op class, FLOPs, bytes touched, how often)


def seconds(ops: CostOps, profile: Profile, slowdown: float = 1.0) -> float:
    """Seconds for ``ops`` one after another, times ``slowdown``.

    ``roofline``: each operator takes max(FLOPs / rate, bytes / bandwidth) + overhead (Williams et al., CACM 2009, per
    operator), with the figures of its class (``conv matmul pooling normalisation elementwise``) where the profile has them.
    ``additive``: FLOPs / rate + bytes / bandwidth + overhead (ELFISH's W/C + M/V). ``flops``: FLOPs / rate alone (the
    formulas of EcoFed and TinyFEL: no overhead). Raises ValueError for any other mode.
    """
    if profile.compute == "flops":
        return sum(flops * count for _, flops, _, count in ops) / profile.flop_per_s * slowdown
    if profile.compute not in ("roofline", "additive"):
        raise ValueError(f"{profile.name}: compute: got {profile.compute!r}; expected roofline, additive or flops")
    rates, both, total = profile.rates(), profile.compute == "additive", 0.0
    for kind, flops, size, count in ops:
        rate, bandwidth, overhead = rates[kind]
        arithmetic, memory = flops / rate, size / bandwidth
        total += count * ((arithmetic + memory if both else max(arithmetic, memory)) + overhead)
    return total * slowdown
