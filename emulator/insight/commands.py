"""Subcommands that look at runs: their words and flags alone, so that the command line stays quick to start."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Add them to the command line's; gives their parsers."""
    return [
        _explain_parser(
            commands.add_parser("explain", help="why a run took its time: critical path, waiting, what if")
        ),
        _report_parser(
            commands.add_parser("report", help="a run as one HTML file: who set the pace, by what, and the cure")
        ),
    ]


def _explain_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder: results/NAME/TIME-HASH")
    parser.add_argument("--no-what-if", action="store_true", help="only what happened: no clock runs again")
    parser.add_argument("--json", action="store_true", help="print JSON with every round and device, and nothing else")
    parser.set_defaults(command=_explain)
    return parser


def _explain(options: argparse.Namespace) -> int:
    from emulator.insight.explain import as_data, explain
    from emulator.insight.explain_tables import show

    found = explain(options.run)
    if options.json:
        print(json.dumps(as_data(found, what_if=not options.no_what_if), indent=2, allow_nan=False))
    else:
        show(found, what_if=not options.no_what_if)
    return 0


def _report_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder: results/NAME/TIME-HASH")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file (default: report.html in the run folder)")
    parser.add_argument(
        "--what-if",
        action=argparse.BooleanOptionalAction,
        help="with all what-ifs, or none (default: those that take seconds)",
    )
    parser.set_defaults(command=_report)
    return parser


def _report(options: argparse.Namespace) -> int:
    from emulator.insight.load import Run
    from emulator.insight.report.writing import write_report

    print(write_report(Run(options.run), options.out, asks=options.what_if))
    return 0
