"""When a device is there: by hand, against a loop over every second, and the table on disk."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.devices.intervals import Intervals, Span, read_intervals, write_intervals
from network.columns import ColumnError

S = 10**9  # ns


def written(folder: Path, text: str) -> Path:
    path = folder / "there.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_once_by_hand() -> None:
    # There in [1, 2) and [4, 6.5): the start belongs to a span, the end does not.
    once = Intervals(None, ((1.0, 2.0), (4.0, 6.5)))
    assert once.at(0) == (False, S)
    assert once.at(S - 1) == (False, S)
    assert once.at(S) == (True, 2 * S)
    assert once.at(2 * S - 1) == (True, 2 * S)
    assert once.at(2 * S) == (False, 4 * S)
    assert once.at(5 * S) == (True, 6_500_000_000)
    assert once.at(6_500_000_000) == (False, None)


def test_repeating_by_hand() -> None:
    # Every 10 s there in [2, 3): at 13 s it has just left and comes back at 22 s.
    daily = Intervals(10.0, ((2.0, 3.0),))
    assert daily.at(0) == (False, 2 * S)
    assert daily.at(12 * S) == (True, 13 * S)
    assert daily.at(13 * S) == (False, 22 * S)
    assert daily.at(10**6 * S + 5) == (False, (10**6 + 2) * S)


def test_a_span_over_the_end_of_the_period_is_one_stay() -> None:
    # There in [8, 10) and again from 0 to 1: from 8 to 11 without a change at 10.
    night = Intervals(10.0, ((0.0, 1.0), (8.0, 10.0)))
    assert night.at(0) == (True, S)
    assert night.at(5 * S) == (False, 8 * S)
    assert night.at(8 * S) == (True, 11 * S)
    assert night.at(10 * S) == (True, 11 * S)


def test_always_never_and_spans_that_touch() -> None:
    assert Intervals(10.0, ((0.0, 10.0),)).at(25 * S) == (True, None)
    assert Intervals(10.0, ((0.0, 4.0), (4.0, 10.0))).at(25 * S) == (True, None)
    assert Intervals(10.0, ()).at(25 * S) == (False, None)
    assert Intervals(None, ()).at(0) == (False, None)
    assert Intervals(None, ((1.0, 2.0), (2.0, 3.0))).at(S) == (True, 3 * S)


def test_a_span_under_a_nanosecond_is_no_change() -> None:
    assert Intervals(10.0, ((1.0, 1.0 + 1e-10), (2.0, 3.0))).at(0) == (False, 2 * S)


@st.composite
def worlds(draw: st.DrawFn) -> Intervals:
    edges = sorted(draw(st.lists(st.integers(0, 20), max_size=10)))
    spans = [(float(a), float(b)) for a, b in zip(edges[::2], edges[1::2], strict=False) if a < b]
    period = draw(st.none() | st.integers(int(spans[-1][1]) if spans else 1, 24).map(float))
    return Intervals(period, tuple(spans))


def there(world: Intervals, second: float) -> bool:
    inside = second if world.period_s is None else second % world.period_s
    return any(start <= inside < end for start, end in world.spans)


@given(worlds(), st.integers(0, 119))
def test_at_equals_a_loop_over_half_seconds(world: Intervals, halves: int) -> None:
    """Edges are whole seconds, so that nothing changes between two half seconds but at the later one."""
    later = range(halves + 1, halves + 2 * 24 + 2)  # more than a period, and the once-only spans end by 20 s
    now = there(world, halves / 2)
    change = next((half for half in later if there(world, half / 2) != now), None)
    assert world.at(halves * S // 2) == (now, None if change is None else change * S // 2)


@given(worlds(), st.integers(0, 60 * S))
def test_following_the_changes_misses_none(world: Intervals, start: int) -> None:
    now, change = world.at(start)
    if change is not None:
        assert change > start
        assert world.at(change - 1)[0] is now
        assert world.at(change)[0] is not now


@pytest.mark.parametrize(
    ("period", "spans", "words"),
    [
        (None, ((2.0, 2.0),), "expected an end after its start"),
        (None, ((3.0, 2.0),), "expected an end after its start"),
        (None, ((0.0, float("inf")),), "expected an end after its start"),
        (None, ((-1.0, 2.0),), "expected ascending spans from zero on"),
        (None, ((0.0, 2.0), (1.0, 3.0)), "got a span from 1 s after 2 s; expected ascending"),
        (10.0, ((5.0, 11.0),), "got a span up to 11 s; expected an end within the period of 10 s"),
        (0.0, (), "got a period of 0 s; expected a nanosecond or more"),
        (1e-10, (), "got a period of 1e-10 s"),
        (float("nan"), (), "got a period of nan s"),
    ],
)
def test_what_is_no_timetable_is_refused(period: float | None, spans: tuple[Span, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Intervals(period, spans)


def test_the_table(tmp_path: Path) -> None:
    text = 'device,start_s,end_s,period_s\na,1,2,10\n"b, c",0.5,1e3,\na,4,6.5,10\n\nnever,,,86400\n'
    assert read_intervals(written(tmp_path, text)) == {
        "a": Intervals(10.0, ((1.0, 2.0), (4.0, 6.5))),
        "b, c": Intervals(None, ((0.5, 1000.0),)),
        "never": Intervals(86400.0, ()),
    }
    assert read_intervals(written(tmp_path, "device,start_s,end_s\r\na,1,2\r\n")) == {
        "a": Intervals(None, ((1.0, 2.0),))
    }


names = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=6)


@given(st.dictionaries(names, worlds(), min_size=1, max_size=4))
def test_written_and_read_back(tmp_path_factory: pytest.TempPathFactory, devices: dict[str, Intervals]) -> None:
    path = tmp_path_factory.mktemp("tables") / "there.csv"
    write_intervals(path, devices)
    assert read_intervals(path) == devices


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: got ''; expected the header device,start_s,end_s,period_s or device,start_s,end_s"),
        ("id,from,to\na,1,2\n", "line 1: got 'id,from,to'; expected the header"),
        ("device,start_s,end_s\n", "got no rows; expected lines of device,start_s,end_s"),
        ("device,start_s,end_s\na,1\n", "line 2: got 'a,1'; expected a name and numbers"),
        ("device,start_s,end_s\n,1,2\n", "line 2: got ',1,2'; expected a name"),
        ("device,start_s,end_s\na,1,2\n\na,3,soon\n", "line 4: end_s: got 'soon'; expected a number"),
        ("device,start_s,end_s\na,1,\n", "line 2: end_s: got ''; expected a number"),
        ("device,start_s,end_s\na,1,inf\n", "line 2: end_s: got 'inf'; expected a number"),
        ("device,start_s,end_s\na,2,1\n", "line 2: got a span from 2 s to 1 s"),
        ("device,start_s,end_s\na,1,3\nb,0,1\na,2,4\n", "line 4: got a span from 2 s after 3 s"),
        ("device,start_s,end_s,period_s\na,1,3,2\n", "line 2: got a span up to 3 s; expected an end within"),
        ("device,start_s,end_s,period_s\na,1,2,0\n", "line 2: got a period of 0 s"),
        ("device,start_s,end_s,period_s\na,1,2,9\na,3,4,\n", "line 3: got a period of no s after 9 s; expected one"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ColumnError) as caught:
        read_intervals(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match="cannot be read"):
        read_intervals(tmp_path / "none.csv")
    (tmp_path / "there.csv").write_bytes(b"device\xff")
    with pytest.raises(ColumnError, match="cannot be read"):
        read_intervals(tmp_path / "there.csv")
