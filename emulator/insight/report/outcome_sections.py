"""Sections about what came of it: accuracy, traffic, energy, who pays, the fleet, and the scenario."""

from collections.abc import Sequence
from statistics import mean, pstdev

import pandas as pd

from emulator.insight.report import charts
from emulator.insight.report.charts import Bar, Frame, Series
from emulator.insight.report.facts import Device, Facts
from emulator.insight.report.markup import Markup, folded, join, note, table, tag
from emulator.insight.report.numbers import axis_of_time, digits, scaled, seconds, share
from emulator.insight.waiting import jain

MOST_DEVICES = 1000  # rows of the fleet's table
ACCURACIES = {"test": ("accuracy", "c-compute"), "validation": ("validation_accuracy", "c-uplink")}
ENERGIES = {"idle": "c-wait", "compute": "c-compute", "send": "c-uplink", "receive": "c-downlink"}


def accuracy(facts: Facts) -> Markup:
    """Accuracy against rounds and against virtual time."""
    rounds = facts.run.rounds
    there = {name: how for name, how in ACCURACIES.items() if rounds[how[0]].notna().any()}
    if not there:
        why = (
            "it was timing only: no tensor was made"
            if facts.run.summary["executor"] == "timing-only"
            else "none was due"
        )
        return note(f"The run was not evaluated ({why}), so there is no accuracy to show.")
    size, unit = axis_of_time(float(rounds["end_s"].max()))
    found = [
        charts.lines(Frame(f"Accuracy against {what}", what, "accuracy"), _curves(rounds, there, (key, by)), (0.0, 1.0))
        for key, by, what in (("round", 1.0, "round"), ("end_s", size, f"virtual time ({unit})"))
    ]
    return join([charts.legend({name: css for name, (_, css) in there.items()}), tag("div", *found, class_="pair")])


def _curves(rounds: pd.DataFrame, there: dict[str, tuple[str, str]], x: tuple[str, float]) -> list[Series]:
    key, by = x
    curves = []
    for name, (column, css) in there.items():
        kept = rounds[rounds[column].notna()]
        curves.append(Series(name, list(zip(kept[key] / by, kept[column], strict=True)), css))
    return curves


def traffic(facts: Facts) -> Markup:
    """Bytes by kind, and up and down by round."""
    summary, events = facts.run.summary, facts.run.events
    kinds = sorted(summary["bytes_by_kind"].items(), key=lambda item: -item[1])
    if not sum(count for _, count in kinds):
        return note("Nothing was sent.")
    sends = events[events["verb"] == "send"]
    ways = sends.groupby(["kind", "direction"], observed=True)["bytes"].sum()
    size = 1e9 if kinds[0][1] >= 1e9 else 1e6 if kinds[0][1] >= 1e6 else 1e3
    rows = [Bar(kind, _ways(kind, count, (ways, size)), scaled(count, "B")) for kind, count in kinds]
    frame = Frame("Bytes by kind of send", {1e9: "GB", 1e6: "MB", 1e3: "kB"}[size])
    colours = {"uplink": "c-uplink", "downlink": "c-downlink", "framing, both ways": "c-other"}
    cells = sends.assign(link=sends["link"].astype(object)).groupby("link")[["bytes", "overhead_bytes"]].sum()
    listed = [
        (link, scaled(row.bytes, "B"), scaled(row.overhead_bytes, "B"))
        for link, row in zip(cells.index, cells.itertuples(), strict=True)
    ]
    more = None if len(listed) == len(facts.devices) else table(("cell or wire", "payload", "overhead"), listed[:200])
    return join([charts.legend(colours), tag("div", charts.bars(frame, rows), more, class_="pair")])


def _ways(kind: str, count: int, how: tuple[pd.Series, float]) -> list[tuple[str, float]]:
    ways, size = how
    found = [(f"c-{way}", float(ways.get((kind, way), 0)) / size) for way in ("uplink", "downlink")]
    rest = count / size - sum(value for _, value in found)
    return [*found, ("c-other", max(0.0, rest))]


def energy(facts: Facts) -> Markup:
    """Joules by kind, and by class beside idling."""
    by_kind = facts.run.summary["energy_by_kind"]
    if by_kind is None:
        return note("There are no energies: not every device's profile tells its powers.")
    total = sum(by_kind.values())
    rows = [
        Bar(kind, [(ENERGIES.get(kind, "c-other"), joules)], scaled(joules, "J")) for kind, joules in by_kind.items()
    ]
    kinds = charts.bars(Frame("Energy of all devices by kind", "joules"), rows)
    spent = {name: _joules(facts, members) for name, members in facts.classes.items()}
    classes = [
        Bar(name, [("c-compute", work), ("c-uplink", air)], scaled(work + air, "J"))
        for name, (work, air) in spent.items()
    ]
    told = note(f"{scaled(total, 'J')} in all, {share(by_kind['idle'] / total if total else None)} of it idling. "
                "By class: beside idling, computing and the radio.")  # fmt: skip
    legend = charts.legend(
        {"idle": "c-wait", "computing": "c-compute", "sending": "c-uplink", "receiving": "c-downlink"}
    )
    drawn = charts.bars(Frame("Energy beside idling by class", "joules (the radio as one)"), classes)
    return join([told, legend, tag("div", kinds, drawn, class_="pair")])


def _joules(facts: Facts, members: Sequence[Device]) -> tuple[float, float]:
    names = {member.name for member in members}
    events = facts.run.events
    mine = events[events["node"].isin(names) | events["peer"].isin(names)]
    computes = mine["verb"] == "compute"
    return float(mine.loc[computes, "energy_j"].sum()), float(mine.loc[~computes, "energy_j"].sum())


# ---- who pays ------------------------------------------------------------------------------------------------------------


def who_pays(facts: Facts) -> Markup:
    """Accuracy by class and label, the worst tenth, and whether devices take part as much as they have data."""
    return join([_scores(facts), _labels(facts), _participation(facts)])


def _scores(facts: Facts) -> Markup:
    scored = sorted((one for one in facts.devices.values() if one.accuracy is not None), key=_score)
    if not scored:
        return note(
            "No accuracy by device: the scenario does not ask for evaluate.per_device, or the run made no tensors."
        )
    values = [_score(one) for one in scored]
    worst = scored[: max(1, round(len(scored) / 10))]
    told = tag("p", f"Accuracy of the last weights on each device's own data: mean {mean(values):.3f}, spread (standard "
               f"deviation) {pstdev(values):.3f}; the worst tenth ({len(worst)} devices) has "
               f"{mean(map(_score, worst)):.3f}.")  # fmt: skip
    rows = []
    for name, members in facts.classes.items():
        mine = [_score(one) for one in members if one.accuracy is not None]
        if mine:
            bad = sum(one in worst for one in members)
            rows.append((name, len(members), f"{mean(mine):.3f}", f"{min(mine):.3f}", f"{max(mine):.3f}", bad))
    header = ("class", "devices", "mean accuracy", "worst", "best", "in the worst tenth")
    listed = [(one.name, one.about, one.samples, f"{one.finished}/{one.asked}", f"{_score(one):.3f}") for one in worst]
    low = table(("device", "class and cell", "samples", "kept/asked", "accuracy"), listed[:50], 2)
    return join([told, tag("div", table(header, rows), folded("The worst tenth", low), class_="pair")])


def _score(device: Device) -> float:
    return device.accuracy or 0.0


def _labels(facts: Facts) -> Markup | None:
    labels = facts.run.summary.get("accuracy_by_label")
    if not labels:
        return None
    rows = [
        Bar(f"label {place}", [("c-compute", value or 0.0)], "no sample" if value is None else f"{value:.3f}")
        for place, value in enumerate(labels[:100])
    ]
    drawn = charts.bars(Frame("Test accuracy by label", "test accuracy"), rows)
    return join([tag("h3", "Test accuracy by label"), tag("div", drawn, class_="pair")])


def _participation(facts: Facts) -> Markup:
    work, data = (sum(getattr(one, key) for one in facts.devices.values()) for key in ("finished", "samples"))
    title = tag("h3", "Taking part, and having data")
    if not work or not data:
        return join([title, note("No device's work was kept in any round.")])
    dots = [(100 * one.samples / data, 100 * one.finished / work) for one in facts.devices.values()]
    frame = Frame(
        "Share of the kept work against share of the data", "share of the data (%)", "share of the kept work (%)"
    )
    rows = [
        (name, len(members), share(sum(one.samples for one in members) / data),
         share(sum(one.finished for one in members) / work), sum(not one.finished for one in members))
        for name, members in facts.classes.items()
    ]  # fmt: skip
    index = jain([one.finished for one in facts.devices.values()])
    told = note(f"Jain's index of kept rounds: {digits(index or 0.0)} (1: all take part alike). On the diagonal, a device's "
                "work counts as much as its data.")  # fmt: skip
    listed = table(("class", "devices", "of the data", "of the kept work", "never kept"), rows)
    return join([title, told, tag("div", charts.points(frame, [Series("devices", dots)], True), listed, class_="pair")])


# ---- fleet and scenario --------------------------------------------------------------------------------------------------


def fleet(facts: Facts) -> Markup:
    """Every device, those first on which most of the time was spent."""
    owners = facts.found.owners
    order = sorted(
        facts.devices.values(), key=lambda one: (-owners.get(one.name, 0), -(one.finished_s or 0.0), one.name)
    )
    rows = [
        (one.name, one.profile, one.cell, one.samples, one.asked, one.finished, _each(one), facts.set_rounds[one.name],
         share(owners.get(one.name, 0) / 1e9 / facts.whole_s if facts.whole_s else None),
         None if one.accuracy is None else f"{one.accuracy:.3f}")
        for one in order[:MOST_DEVICES]
    ]  # fmt: skip
    header = (
        "device",
        "class",
        "cell",
        "samples",
        "asked",
        "kept",
        "mean round time",
        "rounds set",
        "of all time",
        "accuracy",
    )
    left = len(order) - len(rows)
    return join([table(header, rows, 3), note(f"{left} more are in devices.csv.") if left > 0 else None])


def _each(device: Device) -> str | None:
    return None if not device.finished or device.finished_s is None else seconds(device.finished_s / device.finished)


def scenario(facts: Facts) -> Markup:
    """The resolved scenario, and what made the run."""
    summary = facts.run.summary
    keys = ("executor", "seed", "version", "commit", "python", "torch", "ray", "numpy", "cpu", "instruction_set",
            "scenario_sha256", "events_sha256", "weights_sha256", "wall_s")  # fmt: skip
    resolved = (facts.run.folder / "scenario.yaml").read_text(encoding="utf-8")
    made = table(("what", "value"), [(key, summary.get(key)) for key in keys], 2)
    return join(
        [folded("What made this run", made), folded("The resolved scenario: run it again", tag("pre", resolved))]
    )
