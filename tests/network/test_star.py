"""Transfers between devices and the server, by hand."""

import simpy

from network.star import Access, Attachment, Star


def arrival(star: Star, env: simpy.Environment, direction: str, size: int, device: Attachment) -> list[int]:
    seen: list[int] = []
    getattr(star, direction)(device, size, lambda: seen.append(int(env.now)))
    env.run()
    return seen


def test_the_slower_link_and_both_latencies_count() -> None:
    # Up: 1 MB at min(2, 8) Mbit/s = 4 s, then 5 ms of the device and 3 ms of the server. Down: at min(16, 8) = 1 s.
    for direction, seconds_ns in (("uplink", 4_000_000_000), ("downlink", 1_000_000_000)):
        env = simpy.Environment(0)
        star = Star(env, 8e6, 3_000_000)
        device = Attachment(Access("cell", 2e6, 16e6, 5_000_000))
        assert arrival(star, env, direction, 1_000_000, device) == [seconds_ns + 8_000_000]


def test_directions_do_not_disturb_each_other() -> None:
    env = simpy.Environment(0)
    star = Star(env, 8e6)
    device = Attachment(Access("cell", 1e9, 1e9, 0))
    seen: list[int] = []
    star.uplink(device, 1_000_000, lambda: seen.append(int(env.now)))
    star.downlink(device, 1_000_000, lambda: seen.append(int(env.now)))
    env.run()
    assert seen == [1_000_000_000, 1_000_000_000]


def test_an_aborted_transfer_never_arrives() -> None:
    env = simpy.Environment(0)
    star = Star(env, 8e6, 1_000)
    device = Attachment(Access("cell", 1e9, 1e9, 0))
    seen: list[str] = []
    cut = star.uplink(device, 1_000_000, lambda: seen.append("cut"))
    star.uplink(device, 1_000_000, lambda: seen.append("kept"))
    cut.abort()
    env.run()
    assert seen == ["kept"]
    assert env.now == 1_000_001_000  # alone on the link from the start


def test_abort_while_only_the_latency_is_left() -> None:
    env = simpy.Environment(0)
    star = Star(env, 8e6, 500_000_000)
    device = Attachment(Access("cell", 1e9, 1e9, 0))
    seen: list[str] = []
    cut = star.uplink(device, 1_000_000, lambda: seen.append("cut"))
    env.run(until=1_200_000_000)
    assert cut.sent_bytes() == 1_000_000
    cut.abort()
    env.run()
    assert seen == []
