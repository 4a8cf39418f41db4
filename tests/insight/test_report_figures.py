"""The report's building blocks, worked out by hand."""

import numpy as np
import pytest

from emulator.insight.report.charts import Bar, Frame, bars, histogram
from emulator.insight.report.gantt import Line, cover, lines_of, shown
from emulator.insight.report.markup import Markup, table, tag
from emulator.insight.report.numbers import Scale, digits, scaled, seconds, share, steps
from tests.records.samples import EVENTS, compute


def test_only_markup_is_markup() -> None:
    assert tag("p", "<b>&\"'", tag("b", "x"), class_='"') == (
        '<p class="&quot;">&lt;b&gt;&amp;&quot;&#x27;<b>x</b></p>'
    )
    assert tag("rect", x=1.0, y=2.345, stroke_width=None) == '<rect x="1" y="2.35"></rect>'
    assert "<td>&lt;i&gt;</td>" in table(("a",), [("<i>",)])
    assert tag("p", "a\x00b\u202ec") == "<p>a b c</p>"  # no control characters, no turned text
    assert isinstance(tag("p"), Markup)


def test_numbers_for_people() -> None:
    assert [seconds(value) for value in (0, 4e-7, 0.0123, 1.5, 179.0, 180.0, 7200.0, None)] == [
        "0 s", "0.400 µs", "12.3 ms", "1.50 s", "179 s", "3.00 min", "2.00 h", "–",
    ]  # fmt: skip
    assert [digits(value) for value in (1234.5, 12.345, 0.012345)] == ["1,234", "12.3", "0.0123"]
    assert (scaled(59_200_000, "B"), scaled(12, "J")) == ("59.2 MB", "12.0 J")
    assert [share(value) for value in (0.0, 0.056, 0.43, None)] == ["0 %", "5.6 %", "43 %", "–"]


def test_ticks_are_round() -> None:
    assert steps(0, 21.9, 5) == [0, 5, 10, 15, 20]
    assert steps(0.5, 12.5, 6) == [2, 4, 6, 8, 10, 12]
    assert steps(3, 3, 5) == [3]
    assert Scale(0.01, 10, 0, 300, log=True).ticks(5) == pytest.approx([0.01, 0.03, 0.1, 0.3, 1, 3, 10])
    assert Scale(0.01, 10, 0, 300, log=True)(1) == pytest.approx(200)  # two of three decades


def test_a_histogram_counts_every_value() -> None:
    edges, counts = histogram([1.0, 1.0, 2.0], bins=2)
    assert (edges, counts) == ([(1.0, 1.5), (1.5, 2.0)], [2, 1])
    edges, counts = histogram([1.0, 10.0, 100.0], bins=2)  # a factor of ten each
    assert edges[0] == pytest.approx((1.0, 10.0))
    assert counts == [1, 2]
    assert sum(histogram([5.0] * 7)[1]) == 7


def test_bars_are_as_long_as_their_numbers() -> None:
    drawn = bars(Frame("f", "s", right=50.0), [Bar("a", [("c-compute", 1.0), ("c-uplink", 3.0)])])
    # The name needs 8.2 + 14 = 22.2 pixels; 460 - 22.2 - 50 = 387.8 are left for 4 s.
    assert 'x="22.2" y="13" width="96.95"' in drawn
    assert 'x="119.15" y="13" width="290.85"' in drawn


def test_pixels_take_the_part_that_is_covered() -> None:
    pixels = np.zeros(4)  # 10 ns each
    cover(pixels, 5, 25, (0, 40))
    assert pixels.tolist() == [0.5, 1.0, 0.5, 0.0]
    cover(pixels, 32, 34, (0, 40))
    assert pixels.tolist() == pytest.approx([0.5, 1.0, 0.5, 0.2])
    cover(pixels, 50, 60, (0, 40))  # outside
    assert pixels.tolist() == pytest.approx([0.5, 1.0, 0.5, 0.2])


def test_a_round_s_lines_begin_with_the_last_to_be_done() -> None:
    found = lines_of(EVENTS, 1)
    assert [(line.node, line.done_ns / 1e9) for line in found] == [("slow", 3.0), ("fast", 1.5), ("server", 3.25)]
    assert lines_of(EVENTS, 9) == []


def test_of_many_devices_the_slowest_are_shown() -> None:
    lines = [Line(f"device-{place}", [compute(0, "x", "train", (0, 10 - place))]) for place in range(10)]
    kept, left_out = shown(lines, 4)
    # The two slowest, and of the eight others the first and the last.
    assert ([line.node for line in kept], left_out) == (["device-0", "device-1", "device-2", "device-9"], 6)
    assert shown(lines, 10) == (lines, 0)
