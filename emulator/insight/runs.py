"""Many runs side by side, one a process, and those that are there already are not run again.

Runs are inline: small ones are then faster than on Ray, which starts actors for each, and their hashes are those of runs on
Ray. With an address they are drivers of one Ray cluster, each in a namespace of its own.
"""

import json
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

from emulator.reading import read_scenario
from emulator.run import RunOptions, run


@dataclass(frozen=True)
class Asked:
    """A run to be there: a scenario with overrides, and the folder whose runs are looked through and that takes a new one."""

    scenario: str
    overrides: tuple[str, ...]
    out: Path
    timing_only: bool = False
    address: str | None = None


class Answer(NamedTuple):
    """Where a run is, or why there is none. ``kept``: it was there before."""

    folder: Path | None
    error: str = ""
    kept: bool = False


def finished(out: Path, sha256: str, *, timing_only: bool = False) -> Path | None:
    """A folder anywhere under ``out`` with a run of this scenario (by ``scenario_sha256``) that came to its own end."""
    for path in sorted(out.rglob("summary.json")):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # what is no run is passed over
            summary = json.loads(path.read_text(encoding="utf-8"))
            trained = summary["weights_sha256"] is not None
            ended = summary["status"].startswith(("done", "stopped: "))
            if summary["scenario_sha256"] == sha256 and ended and (trained or timing_only):
                return path.parent
    return None


def answer(asked: Asked) -> Answer:
    """Find the run, or run it now. What fails is told, not raised."""
    try:
        scenario = read_scenario(asked.scenario, list(asked.overrides))
        known = finished(asked.out, scenario.sha256(), timing_only=asked.timing_only)
        if known is not None:
            return Answer(known, kept=True)
        inline = not asked.timing_only and asked.address is None
        how = RunOptions(asked.out, asked.timing_only, None, inline, asked.address, quiet=True)
        return Answer(run(scenario, how).folder)
    except Exception as error:
        return Answer(None, f"{type(error).__name__}: {error}")


def answers(asked: Iterable[Asked], jobs: int | None = None) -> Iterator[tuple[int, Answer]]:
    """The runs' answers as they come, by their place in ``asked``; at most ``jobs`` at once (default: cores).

    A process that dies (out of memory) takes those beside it along; they are run again, each alone, and the guilty one is told.
    """
    waiting = dict(enumerate(asked))
    if not waiting:
        return
    broken: list[int] = []
    with _pool(min(len(waiting), jobs or os.cpu_count() or 1)) as pool:
        places: dict[Future[Answer], int] = {pool.submit(answer, each): place for place, each in waiting.items()}
        try:
            for future in as_completed(places):
                try:
                    yield places[future], future.result()
                except BrokenProcessPool:
                    broken.append(places[future])
        except BaseException:  # an interrupt: what has not begun does not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for place in sorted(broken):
        yield place, _alone(waiting[place])


def _alone(asked: Asked) -> Answer:
    with _pool(1) as pool:
        try:
            return pool.submit(answer, asked).result()
        except BrokenProcessPool:
            return Answer(None, "the process died (out of memory, or killed)")


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_die_with_parent)


def _die_with_parent() -> None:
    """A killed sweep leaves no process behind: a pool's workers would wait for ever."""
    parent: Any = parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
