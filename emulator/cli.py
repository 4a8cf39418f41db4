"""The command line. Exit code 0: done; 2: the user's input is wrong (one message, no traceback); 1: anything else."""

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import emulator


class UsageError(ValueError):
    """The command line is wrong."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parse(words)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except KeyboardInterrupt:
        print("emulator: interrupted; the run folder is whole up to the last round", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        return _tell(error, debug="--debug" in words)


def _parse(words: list[str]) -> argparse.Namespace:
    """argparse gives up on overrides that stand after a flag; they are picked up here."""
    options, rest = _parser().parse_known_args(words)
    strange = [word for word in rest if word.startswith("-") or not hasattr(options, "overrides")]
    if strange:
        raise UsageError(f"unknown argument {' '.join(strange)} (see emulator --help)")
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options


def _tell(error: Exception, *, debug: bool) -> int:
    from emulator.reading import ScenarioError

    if debug:
        traceback.print_exception(error)
    if isinstance(error, (UsageError, ScenarioError)):
        print(f"emulator: error: {error}", file=sys.stderr)
        return 2
    words = _cause(error)
    print(f"emulator: failed: {words}{'' if debug else ' (--debug shows where)'}", file=sys.stderr)
    return 1


def _cause(error: Exception) -> str:
    """What went wrong in the process where it did: Ray wraps it in that process's traceback."""
    inner = getattr(error, "cause", None)
    while isinstance(inner, Exception):
        error, inner = inner, getattr(inner, "cause", None)
    return f"{type(error).__name__}: {error}"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="emulator", description="Emulates federated and split learning on edge devices.")
    parser.add_argument("--version", action="version", version=f"emulator {emulator.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _run_parser(commands.add_parser("run", help="run a scenario"))
    check = commands.add_parser(
        "check", help="validate a scenario and show its fleet, data and traffic, without running it"
    )
    _scenario_arguments(check)
    check.set_defaults(command=_check)
    listing = commands.add_parser("list", help="what a scenario can name")
    listing.add_argument("what", nargs="?", metavar="protocols|profiles|datasets|models|scenarios")
    listing.add_argument("name", nargs="?", help="one profile, with its sources")
    listing.set_defaults(command=_list)
    schema = commands.add_parser("schema", help="the JSON Schema of scenario files, for editors")
    schema.set_defaults(command=_schema)
    fetch = commands.add_parser("fetch", help="bring a data set into the local cache")
    fetch.add_argument("name")
    fetch.set_defaults(command=_fetch)
    for each in (check, listing, schema, fetch):
        each.add_argument("--debug", action="store_true", help="show where a failure came from")
    return parser


def _scenario_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", help="a YAML file, or the bare name of a shipped scenario")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. protocol.rounds=5 devices[0].count=3")


def _run_parser(parser: argparse.ArgumentParser) -> None:
    _scenario_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for run folders (default: results)")
    parser.add_argument("--timing-only", action="store_true", help="the clock alone: no tensor is made")
    parser.add_argument(
        "--decisions", type=Path, metavar="RUN", help="with --timing-only: a run whose decisions to replay"
    )
    parser.add_argument("--inline", action="store_true", help="in this process, without Ray")
    parser.add_argument("--address", help="an existing Ray cluster, e.g. auto or 10.0.0.1:6379 (default: embedded)")
    parser.add_argument("--json", action="store_true", help="print summary.json and nothing else on stdout")
    parser.add_argument("--debug", action="store_true", help="show where a failure came from")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    if options.decisions is not None and not options.timing_only:
        raise UsageError("--decisions goes with --timing-only")
    if options.inline and (options.timing_only or options.address):
        raise UsageError("--inline excludes --timing-only and --address")
    from emulator.progress import final_table
    from emulator.reading import read_scenario
    from emulator.run import RunOptions, run

    scenario = read_scenario(options.scenario, options.overrides)
    finished = run(
        scenario,
        RunOptions(
            options.out, options.timing_only, options.decisions, options.inline, options.address, options.json
        ),
    )  # fmt: skip
    if options.json:
        print(json.dumps(finished.summary, indent=2))
    else:
        final_table(finished.summary, finished.folder)
    return 0


def _check(options: argparse.Namespace) -> int:
    from emulator.listing import check
    from emulator.reading import read_scenario

    check(read_scenario(options.scenario, options.overrides))
    return 0


def _list(options: argparse.Namespace) -> int:
    from emulator.listing import TABLES, one_profile
    from emulator.nearest import unknown

    if options.what is not None and options.what not in TABLES:
        raise UsageError("list: " + unknown(options.what, TABLES, "one of"))
    if options.name is not None:
        if options.what != "profiles":
            raise UsageError("list: only a profile can be shown by name: emulator list profiles NAME")
        one_profile(options.name)
        return 0
    for what, show in TABLES.items():
        if options.what in (None, what):
            show()
    return 0


def _schema(_: argparse.Namespace) -> int:
    from emulator.scenario import schema

    print(json.dumps(schema(), indent=2))
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from emulator.learning.datasets import DATASETS
    from emulator.learning.fetch import fetch
    from emulator.nearest import unknown

    if options.name not in DATASETS:
        raise UsageError("fetch: " + unknown(options.name, DATASETS, "a data set"))
    folder = fetch(options.name, lambda text: print(text, file=sys.stderr))
    print(f"{options.name}: {folder}")
    return 0
