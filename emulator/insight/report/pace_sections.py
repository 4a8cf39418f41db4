"""Sections about time: the critical path, what if, where time goes, Gantt charts, and how round times are spread."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emulator.insight.critical_path import KINDS
from emulator.insight.report import charts
from emulator.insight.report.charts import Bar, Frame, Spread
from emulator.insight.report.facts import Facts
from emulator.insight.report.gantt import gantt, lines_of, shown
from emulator.insight.report.markup import Markup, folded, join, note, table, tag
from emulator.insight.report.numbers import axis_of_time, digits, seconds, share
from emulator.insight.report.verdict import average, feasible
from emulator.insight.what_if import Change, Result

MOST_COLUMNS, MOST_ROWS = 120, 15
COLOURS = {
    "device compute": "c-compute", "uplink": "c-uplink", "downlink": "c-downlink", "device queue": "c-other",
    "server compute": "c-server", "server queue": "c-server", "deadline": "c-crit", "away": "c-other", "idle": "c-wait",
}  # fmt: skip
WORK = {"computing": "c-compute", "sending": "c-uplink", "receiving": "c-downlink", "waiting": "c-wait"}


def critical_path(facts: Facts) -> Markup:
    """Rounds as columns of what ended them, and who set how many."""
    kinds = [kind for kind in KINDS if any(kind in path.by_kind() for path in facts.paths)]
    longest = max(path.seconds for path in facts.paths)
    size, unit = axis_of_time(longest)
    groups = _groups(len(facts.paths), MOST_COLUMNS)
    edges = [
        (facts.paths[first].window.round - 0.5, facts.paths[last - 1].window.round + 0.5) for first, last in groups
    ]
    stacks = [_mean(facts, first, last, (kinds, size)) for first, last in groups]
    frame = Frame("Critical path of each round by kind of time", "round", f"critical path ({unit})")
    means = note(f"Each column is the mean of {groups[0][1]} rounds.") if len(groups) < len(facts.paths) else None
    drawn = tag(
        "div", charts.columns(frame, edges, stacks), charts.legend({kind: COLOURS[kind] for kind in kinds}), means
    )
    told = note(
        "The critical path is the chain of work that ended a round: shortening anything else does not shorten the round."
    )
    return join([told, tag("div", drawn, _owners(facts), class_="pair"), folded("Every round", _every(facts))])


def _groups(count: int, most: int) -> list[tuple[int, int]]:
    size = -(-count // most)
    return [(first, min(count, first + size)) for first in range(0, count, size)]


def _mean(facts: Facts, first: int, last: int, how: tuple[Sequence[str], float]) -> list[tuple[str, float]]:
    kinds, size = how
    spent: list[Mapping[Any, int]] = [path.by_kind() for path in facts.paths[first:last]]
    return [(COLOURS[kind], sum(each.get(kind, 0) for each in spent) / len(spent) / 1e9 / size) for kind in kinds]


def _owners(facts: Facts) -> Markup:
    owners = list(facts.found.owners.items())
    rows = [
        (name, device.about if (device := facts.devices.get(name)) else facts.role(name), facts.set_rounds[name],
         share(ns / 1e9 / facts.whole_s if facts.whole_s else None), _mostly(facts, name))
        for name, ns in owners[:MOST_ROWS]
    ]  # fmt: skip
    rest = note(f"and {len(owners) - MOST_ROWS} more") if len(owners) > MOST_ROWS else None
    return tag("div", table(("who", "what it is", "rounds set", "of all time", "mostly"), rows, 2), rest)


def _mostly(facts: Facts, name: str) -> str:
    return next(iter(facts.spent(name)), "").removeprefix("device ").removeprefix("server ")


def _every(facts: Facts) -> Markup:
    rows = [
        (path.window.round, path.set_by, path.bottleneck, seconds(path.seconds), share(path.share))
        for path in facts.paths
    ]
    return table(("round", "set by", "bottleneck", "duration", "its share"), rows, 3)


def what_ifs(facts: Facts) -> Markup:
    """The clock run again with one thing changed."""
    answers = facts.answers
    if not answers:
        return note(f"There is no what-if table: {facts.unanswered}.")
    kept = [each for each in answers if each.refused is None]
    rows = (
        [Bar("as it was", [("c-wait", kept[0].before_s / _count(kept[0]))], average(kept[0], before=True))]
        if kept
        else []
    )
    rows += [
        Bar(
            _short(each.change),
            [("c-compute" if feasible(each) else "c-downlink", each.after_s / _count(each))],
            average(each),
        )
        for each in kept
    ]
    frame = Frame("Mean round if one thing were changed", "mean round (s)")
    told = note(
        "Not estimated: the clock ran again from this folder's scenario, with the same draws. What is infinitely fast is a "
        "bound: nothing can save more there."
    )
    header = ("change", "mean round", "all rounds", "saved", "same work")
    more = [note(f"Bear in mind: {words}.") for words in facts.cautions]
    if facts.unasked:
        more.append(
            note(f"{facts.unasked} more, which take longer to play: emulator report {facts.run.folder.name} --what-if")
        )
    listed = table(header, [_answer(each) for each in answers])
    return join([told, tag("div", charts.bars(frame, rows), listed, class_="pair"), *more])


def _short(change: Change) -> str:
    if change.fast is None:
        return str(change).replace("all devices", "all")
    return f"∞ {change.fast}" + ("" if change.fast == "server" else f": {change.device or 'all'}")


def _count(result: Result) -> int:
    return len(result.rounds_s) or 1


def _answer(each: Result) -> tuple[object, ...]:
    if each.refused is not None:
        return str(each.change), "no result", None, None, each.refused
    return (str(each.change), average(each), seconds(each.after_s), f"{100 * each.saved:.1f} %",
            "yes" if each.same_work else "no")  # fmt: skip


def where_time_goes(facts: Facts) -> Markup:
    """What devices of each class do while a round that they take part in goes on."""
    rows, listed = [], []
    for name, parts in facts.parts.items():
        if not parts:
            continue
        count = len(parts)
        times = [sum(getattr(part, key) for part in parts) / count for key in ("compute_s", "uplink_s", "downlink_s")]
        waits = sum(part.waiting_s for part in parts) / count
        lengths = [*times, waits]
        rows.append(Bar(name, list(zip(WORK.values(), lengths, strict=True)), seconds(sum(lengths))))
        listed.append((name, len(facts.classes[name]), count, *map(seconds, lengths), _busy(parts)))
    if not rows:
        return note("No device took part in any round.")
    frame = Frame("Mean time of a device in a round by class", "seconds in a round")
    header = ("class", "devices", "parts in rounds", "computing", "sending", "receiving", "waiting", "at work")
    told = note(
        "Mean over the rounds that a device took part in. Waiting: for its turn, the server, or slower devices."
    )
    return join([told, charts.legend(WORK), tag("div", charts.bars(frame, rows), table(header, listed), class_="pair")])


def _busy(parts: Sequence[object]) -> str:
    busy = sum(part.busy_s for part in parts)  # type: ignore[attr-defined]
    whole = busy + sum(part.waiting_s for part in parts)  # type: ignore[attr-defined]
    return share(busy / whole if whole else None)


def gantts(facts: Facts) -> Markup:
    """Three rounds, device by device."""
    names = {device.name: device.about for device in facts.devices.values()}
    colours = {"computing": "c-compute", "uplink": "c-uplink", "downlink": "c-downlink", "asked, not at work": "c-wait",
               "critical path": "c-crit"}  # fmt: skip
    found: list[object] = [charts.legend(colours)]
    for name, path in facts.picked():
        lines, left_out = shown(lines_of(facts.run.rows, path.window.round))
        title = f"The {name} round: number {path.window.round}, {seconds(path.seconds)}, set by {path.set_by}"
        found.append(tag("h3", title if len(facts.paths) > 1 else f"The only round: {seconds(path.seconds)}"))
        found.append(gantt(lines, path, names))
        if left_out:
            found.append(
                note(f"{left_out} of its devices are left out: the slowest are there, and others in even steps.")
            )
    return join(found)


def round_times(facts: Facts) -> Markup:
    """How long devices take for their part of a round."""
    done = {name: [part.time_s for part in parts if part.outcome == "done"] for name, parts in facts.parts.items()}
    every = [value for values in done.values() for value in values if value > 0]
    if not every:
        return note("No device's work was done in any round.")
    edges, counts = charts.histogram(every)
    log = charts.wide_span(every)
    size, unit = axis_of_time(max(every))
    frame = Frame(
        "Distribution of device round times", f"round time of a device ({unit})", "parts in rounds", log_x=log
    )
    shown_edges = [(low / size, high / size) for low, high in edges]
    columns = charts.columns(frame, shown_edges, [[("c-compute", count)] for count in counts])
    rows = [Spread(name, _five(values, size)) for name, values in done.items() if any(values)]
    spread = Frame("Device round times by class", f"round time ({unit})", log_x=log)
    ratio = max(every) / float(np.median(every))
    told = note(f"The slowest took {digits(ratio)} times the median. By class: line from fastest to slowest, bar from the "
                "first to the ninth tenth, dot at the median.")  # fmt: skip
    return join([told, tag("div", columns, charts.spreads(spread, rows), class_="pair")])


def _five(values: Sequence[float], size: float) -> tuple[float, float, float, float, float]:
    least, lower, middle, upper, most = np.quantile(np.asarray(values) / size, [0, 0.1, 0.5, 0.9, 1]).tolist()
    return least, lower, middle, upper, most
