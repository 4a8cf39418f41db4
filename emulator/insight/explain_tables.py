"""An explanation as tables for people: the answer first, then what if, the rounds and the devices."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from emulator.insight.critical_path import KINDS
from emulator.insight.explain import Explanation
from emulator.insight.waiting import jain, server_share, straggler_index
from emulator.insight.what_if import Result, cautions
from emulator.listing import table

MOST = 20  # rows of a table for people; --json has all


def show(found: Explanation, *, what_if: bool) -> None:
    """Tables on stdout, the answer first."""
    if not found.run.ended:
        print(f"note: the run was {found.run.summary['status']}; its {len(found.paths)} whole rounds are explained")
    for line in [*found.headline(), *([found.cure()] if what_if else [])]:
        print(line)
    print()
    if what_if:
        table("what if", ("change", "seconds", "saved", "same work"), [_cells(result) for result in found.results])
        for words in cautions(found.run):
            print(f"note: {words}")
        print()
    _rounds_table(found)
    _devices_table(found)


def _cells(result: Result) -> tuple[str, ...]:
    if result.refused is not None:
        return str(result.change), "refused", "-", result.refused
    return str(result.change), f"{result.after_s:.3f}", f"{result.saved:.1%}", "yes" if result.same_work else "no"


def _rounds_table(found: Explanation) -> None:
    longest = sorted(found.paths, key=lambda path: (-path.seconds, path.window.round))[:MOST]
    kinds = [kind for kind in KINDS if any(kind in path.by_kind() for path in found.paths)]
    title = f"critical path, seconds{_of(len(longest), len(found.paths), 'longest rounds')}"
    rows = []
    for path in sorted(longest, key=lambda path: path.window.round):
        spent: Mapping[Any, int] = path.by_kind()
        index = straggler_index(part for part in found.parts if part.round == path.window.round)
        cells = (f"{spent[kind] / 1e9:.3f}" if kind in spent else None for kind in kinds)
        told = None if index is None else f"{index:.2f}"
        rows.append(
            (path.window.round, f"{path.seconds:.3f}", path.set_by, path.bottleneck, f"{path.share:.0%}", told, *cells)
        )
    table(title, ("round", "duration", "set by", "bottleneck", "share", "straggler index", *kinds), rows)
    print()


def _devices_table(found: Explanation) -> None:
    waited = Counter[str]()
    for part in found.parts:
        waited[part.device] += round(part.waiting_s * 1e9)
    there = [each for each in found.participation if each.asked]
    order = sorted(there, key=lambda each: (-found.owners.get(each.device, 0), -waited[each.device], each.device))
    rows = [
        (
            each.device, f"{found.owners.get(each.device, 0) / 1e9:.3f}", f"{waited[each.device] / 1e9:.3f}",
            f"{each.busy:.1%}", f"{each.computing:.1%}", f"{each.done}/{each.asked}", f"{each.share:.1%}",
            None if each.data_share is None else f"{each.data_share:.1%}",
        )
        for each in order[:MOST]
    ]  # fmt: skip
    header = (
        "device",
        "on the path s",
        "waiting s",
        "at work",
        "computing",
        "done/asked",
        "of the rounds",
        "of the data",
    )
    table(f"devices{_of(len(rows), len(order), 'by time on the critical path')}", header, rows)
    index = jain([each.done for each in found.participation])
    print(f"server computing {server_share(found.run.rows, found.whole):.1%} of the time; fairness (Jain) "
          f"{'-' if index is None else f'{index:.3f}'}")  # fmt: skip


def _of(shown: int, there: int, what: str) -> str:
    return "" if shown == there else f": {shown} of {there}, {what}"
