"""From a scenario to its fleet: what is drawn from which seed, and whose figures hold."""

from emulator.preparation import draw_fleet, prepare
from emulator.reading import read_scenario


def test_one_concern_varies_and_the_others_stay() -> None:
    first, second = read_scenario("quickstart"), read_scenario("quickstart", ["seeds.fleet=9"])
    assert tuple(second.all_seeds) == (7, 9, 7, 7, 7)
    assert [device.slowdown for device in draw_fleet(first)] != [device.slowdown for device in draw_fleet(second)]
    same = prepare(first).parts, prepare(second).parts
    assert all((a == b).all() for a, b in zip(*same, strict=True))


def test_another_group_does_not_move_the_first() -> None:
    first = draw_fleet(read_scenario("quickstart"))
    second = draw_fleet(read_scenario("quickstart", ["devices[2].count=5"]))
    assert first == second[: len(first)]


def test_the_fleet_is_as_the_scenario_says() -> None:
    devices = draw_fleet(read_scenario("quickstart", ["devices[0].uplink=1 Mbit/s", "devices[0].latency=7 ms"]))
    assert [device.name for device in devices[:2]] == ["device-0000", "device-0001"]
    assert (devices[0].uplink_bps, devices[0].downlink_bps, devices[0].latency_s) == (1e6, 40e6, 0.007)
    assert devices[12].uplink_bps == 18.88e6  # the profile's own Wi-Fi is slower than the cell's 20 Mbit/s
    assert devices[19].latency_s == 0.035
    assert len({device.slowdown for device in devices[12:18]}) == 6
