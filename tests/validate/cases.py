"""Every simulation by name: the script and its arguments. The long ones come first, so that processors end together."""

from typing import Final

SEEDS: Final = ("--seeds", 1, 2, 3, 4, 5)
STATIONS: Final = (1, 2, 5, 10, 20, 50)
UES: Final = (1, 10, 20, 40)
MB: Final = 1_000_000

LINK_BPS: Final = 10e6
FAST_LINK_BPS: Final = 100e6
DELAY_S: Final = 0.005
FAST_ACCESS_BPS: Final = 1e9
# name: bytes of each upload
EQUAL: Final = {"2 equal": [4 * MB] * 2, "4 equal": [4 * MB] * 4, "10 equal": [4 * MB] * 10}
UNEQUAL: Final = {
    "2 unequal": [2 * MB, 4 * MB],
    "4 unequal": [index * MB for index in range(1, 5)],
    "10 unequal": [index * MB for index in range(1, 11)],
}
UPLOADS: Final = EQUAL | UNEQUAL
CAPPED_SIZES: Final = [2 * MB] * 4
CAPS_BPS: Final = [1e6, 2e6, FAST_ACCESS_BPS, FAST_ACCESS_BPS]
FAST_SIZES: Final = [10 * MB, 20 * MB, 30 * MB, 40 * MB]

FAST, SLOW, HT = "OfdmRate54Mbps", "OfdmRate6Mbps", "HtMcs7"
WIFI_BYTES: Final = 5 * MB
HT_BYTES: Final = 20 * MB


def _saturated(*more: object) -> tuple[object, ...]:
    return ("wifi.py", "udp", *SEEDS, *more)


def _uploads(size: int, modes: list[str], *more: object) -> tuple[object, ...]:
    return ("wifi.py", "tcp", *SEEDS, "--sizes", *[size] * len(modes), "--modes", *modes, *more)


def _cases() -> dict[str, tuple[object, ...]]:
    cases: dict[str, tuple[object, ...]] = {}
    for count in reversed(STATIONS):
        cases[f"saturated {count}"] = _saturated("--modes", *[FAST] * count)
        cases[f"saturated lock-on {count}"] = _saturated("--lock-on", "--modes", *[FAST] * count)
    for count in (10, 5, 1):
        cases[f"saturated 11n {count}"] = _saturated("--standard", "n", "--modes", *[HT] * count)
        cases[f"saturated 11n rts {count}"] = _saturated("--standard", "n", "--rts", "--modes", *[HT] * count)
        cases[f"uploads {count}"] = _uploads(WIFI_BYTES, [FAST] * count)
    for count in (5, 1):
        for access in ("", " rts"):
            more = ["--standard", "n"] + (["--rts"] if access else [])
            cases[f"uploads 11n{access} {count}"] = _uploads(HT_BYTES, [HT] * count, *more)
    for count in (10, 5, 2):
        modes = [SLOW] + [FAST] * (count - 1)
        cases[f"saturated mixed {count}"] = _saturated("--seconds", 10, "--modes", *modes)
    cases["saturated slow"] = _saturated("--modes", SLOW)
    cases["uploads mixed 5"] = _uploads(WIFI_BYTES, [SLOW] + [FAST] * 4)
    cases["uploads slow"] = _uploads(WIFI_BYTES, [SLOW])
    for count in reversed(UES):
        cases[f"lte {count}"] = ("lte.py", "--count", count, "--seeds", 1, 2)
    for name, sizes in UPLOADS.items():
        cases[f"link {name}"] = ("tcp_shared.py", *SEEDS, "--delay-s", DELAY_S, "--sizes", *sizes)
    cases["link capped"] = (
        "tcp_shared.py", *SEEDS, "--delay-s", DELAY_S, "--sizes", *CAPPED_SIZES, "--access-bps", *CAPS_BPS
    )  # fmt: skip
    for queue in ("fq_codel", "fifo"):
        for rate, sizes in ((LINK_BPS, UPLOADS["4 unequal"]), (FAST_LINK_BPS, FAST_SIZES)):
            cases[f"link {queue} {rate:g}"] = (
                "tcp_shared.py", *SEEDS, "--queue", queue, "--delay-s", DELAY_S, "--rate-bps", rate, "--sizes", *sizes
            )  # fmt: skip
    return cases


CASES: Final = _cases()
