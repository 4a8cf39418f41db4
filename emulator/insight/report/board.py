"""TensorBoard gets the figures that only a report knows: the critical path of each round, and the answer in words.

They stand in ``tensorboard/report``, a log of its own beside the run's: a report that is made again replaces it.
Step is the round, wall time the virtual second, as in the run's own log (``docs/records.md``).
"""

import shutil
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from emulator.insight.critical_path import KINDS
from emulator.insight.critical_path import Path as Chain
from emulator.insight.report.facts import Facts
from emulator.insight.report.verdict import plain_verdict


def write_board(facts: Facts, folder: Path) -> None:
    """Write the log to a folder, which is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    writer = EventFileWriter(str(folder))
    try:
        kinds = [kind for kind in KINDS if any(kind in path.by_kind() for path in facts.paths)]
        start = Summary(value=[Summary.Value(tag=_tag(kind), simple_value=float("nan")) for kind in kinds])
        writer.add_event(Record(wall_time=0.0, step=0, summary=start))  # RELATIVE counts from a series' first point
        for path in facts.paths:
            _round(writer, facts, path)
        _text(
            writer,
            "report/answer",
            "\n\n".join(f"**{line}**: {words}" for line, words in plain_verdict(facts)),
            (0, 0.0),
        )
    finally:
        writer.close()


def _tag(kind: str) -> str:
    return f"critical_path/{kind.replace(' ', '_')}_s"


def _round(writer: EventFileWriter, facts: Facts, path: Chain) -> None:
    at = (path.window.round, path.window.end_ns / 1e9)
    values = [Summary.Value(tag=_tag(kind), simple_value=ns / 1e9) for kind, ns in path.by_kind().items()]
    values.append(Summary.Value(tag="critical_path/share_of_who_set_it", simple_value=path.share))
    writer.add_event(Record(wall_time=at[1], step=at[0], summary=Summary(value=values)))
    device = facts.devices.get(path.set_by)
    about = f" ({device.about})" if device else ""
    _text(writer, "critical_path/set_by", f"{path.set_by}{about}: {path.bottleneck}, {path.share:.0%}", at)


def _text(writer: EventFileWriter, tag: str, words: str, at: tuple[int, float]) -> None:
    """TensorBoard reads texts as Markdown and makes them safe itself."""
    writer.add_event(Record(wall_time=at[1], step=at[0], summary=text_pb(tag, words)))
