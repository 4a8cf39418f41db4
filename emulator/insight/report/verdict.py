"""The first screen in words: who set the pace, by what, and what would help most."""

import re
from html import unescape
from typing import NamedTuple

from emulator.insight.report.facts import FAST, Facts
from emulator.insight.report.markup import Markup, join, tag
from emulator.insight.report.numbers import seconds, share
from emulator.insight.what_if import Change, Result

WORDS = {
    "device compute": "computing", "device queue": "waiting for its own processor", "uplink": "sending (uplink)",
    "downlink": "receiving (downlink)", "server compute": "computing", "server queue": "waiting for the processor",
}  # fmt: skip
NODELESS = {
    "deadline": "a deadline: rounds lasted until it, whoever was done before",
    "away": "absence: everybody waited for devices that had gone away",
    "idle": "nothing at work: time passed in which no operation that was waited for went on",
}


class Line(NamedTuple):
    """A line of the answer: its name, what it says, its class."""

    name: str
    words: Markup
    css: str | None = None


def verdict(facts: Facts) -> list[Line]:
    """Straggler, bottleneck, cure."""
    found = [Line("Straggler", _straggler(facts))]
    if facts.culprit not in NODELESS:
        found.append(Line("Bottleneck", _bottleneck(facts)))
    return [*found, Line("Cure", _cure(facts), "cure")]


def plain_verdict(facts: Facts) -> list[tuple[str, str]]:
    """The same without markup."""
    return [(line.name, unescape(re.sub("<[^>]*>", "", line.words))) for line in verdict(facts)]


def _straggler(facts: Facts) -> Markup:
    name, rounds = facts.culprit, len(facts.paths)
    part = share(facts.found.owners.get(name, 0) / 1e9 / facts.whole_s) if facts.whole_s else "–"
    time = f"{part} of the run's {seconds(facts.whole_s)} waited for it"
    if name in NODELESS:
        return join([tag("strong", NODELESS[name]), f": {part} of the run's {seconds(facts.whole_s)}."])
    device = facts.devices.get(name)
    about = f" ({device.about})" if device else ""
    who = join([tag("strong", name), f"{about} set {facts.set_rounds[name]} of {rounds} {_rounds(rounds)}; {time}."])
    return join([who, _class(facts, name)])


def _class(facts: Facts, name: str) -> str | None:
    """The class, where more of it than this one device set rounds."""
    device, rounds = facts.devices.get(name), len(facts.paths)
    if device is None or facts.class_rounds[device.profile] <= facts.set_rounds[name]:
        return None
    members = len(facts.classes[device.profile])
    count = facts.class_rounds[device.profile]
    return f" All {members} {device.profile} together set {count} of {rounds}." if members > 1 else None


def _bottleneck(facts: Facts) -> Markup:
    spent = facts.spent(facts.culprit)
    total = sum(spent.values()) or 1
    parts = [
        f"{share(ns / total)} {WORDS[kind]}" for kind, ns in spent.items() if kind in WORDS and ns / total >= 0.005
    ]
    whose = "its" if facts.role(facts.culprit) == "device" else "the server's"
    return join(
        [tag("strong", next(iter(spent), "idle")), f": of {whose} time on the critical path, {', '.join(parts)}."]
    )


def _cure(facts: Facts) -> Markup:
    """What helps most of what somebody could do: replace, free, or leave out; then the bounds."""
    answers = [each for each in facts.answers if each.refused is None]
    if not answers:
        return join([f"Not computed: {facts.unanswered}."])
    own = facts.role(facts.culprit) == "device"  # of a server that sets the pace, a faster one is the thing to wish
    best = max((each for each in answers if feasible(each) or not own), key=lambda each: each.saved, default=None)
    if best is None or best.saved <= 0.005:
        best = max(answers, key=lambda each: each.saved)
    if best.saved <= 0.005:
        return join(["No change of a single device, link or processor of the what-if table would save time."])
    others = [each for each in _others(facts) if each is not best and each.saved > 0.005]
    more = " Also: " + "; ".join(f"{wish(each)}, {average(each)}" for each in others) + "." if others else ""
    return join([
        tag("strong", f"{capital(wish(best))}: a round would last {average(best)} in place of {average(best, before=True)}"),
        f" on average ({-best.saved:+.0%}).", more,
    ])  # fmt: skip


def feasible(result: Result) -> bool:
    """Whether somebody could do it: nothing is infinitely fast, but a device can be left out or be like another."""
    return result.change.fast is None


def _others(facts: Facts) -> list[Result]:
    name = facts.found.straggler
    kind = next(iter(facts.spent(facts.culprit)), "idle")
    wishes = [Change(without=name)] if name else []
    if kind in FAST:
        wishes.append(Change(fast=FAST[kind]))
    found = [facts.answer(wish) for wish in wishes]
    return [each for each in found if each is not None]


def wish(result: Result) -> str:
    """A change in words."""
    change = result.change
    if change.like is not None:
        return f"with the median device ({change.like}) everywhere"
    return str(change) if change.without is not None else f"with {change}"


def capital(words: str) -> str:
    """The words with a capital at their beginning."""
    return words[:1].upper() + words[1:]


def average(result: Result, *, before: bool = False) -> str:
    """The mean round, in the changed run or in this one."""
    rounds = len(result.rounds_s) or 1
    return seconds((result.before_s if before else result.after_s) / rounds)


def _rounds(count: int) -> str:
    return "round" if count == 1 else "rounds"
