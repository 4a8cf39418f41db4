"""The command line. Exit code 0: done; 2: the user's input is wrong (one message, no traceback); 1: anything else."""

import argparse
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import emulator

WRONG, FAILED, INTERRUPTED = 2, 1, 130
_KEY_PATH = re.compile(r"[a-z_]+(\[\d+\])?(\.[a-z_]+)+: ")


class UsageError(ValueError):
    """The command line is wrong."""


class _Parser(argparse.ArgumentParser):
    """Takes flags in full only, so that a mistyped one never means another; raises where argparse would exit."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code. Heavy libraries are imported inside the commands that need them."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parse(words)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except KeyboardInterrupt:
        print("emulator: interrupted; a run's folder is whole up to its last round", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        return _tell(error, debug="--debug" in words)


def _parse(words: list[str]) -> argparse.Namespace:
    """argparse gives up on overrides that stand after a flag; they are picked up here."""
    options, rest = _parser(words).parse_known_args(words)
    strange = [word for word in rest if word.startswith("-") or not hasattr(options, "overrides")]
    if strange:
        raise UsageError(f"got unknown argument {' '.join(strange)} (see emulator --help)")
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options


def _tell(error: Exception, *, debug: bool) -> int:
    from emulator.reading import ScenarioError
    from emulator.tasks import OutOfMemory

    if debug:
        traceback.print_exception(error)
    inner = _innermost(error)
    if isinstance(inner, (UsageError, ScenarioError, OutOfMemory)):
        print(f"emulator: error: {_line(str(inner))}", file=sys.stderr)
        return WRONG
    print(f"emulator: failed: {_line(_cause(error))}{'' if debug else ' (--debug shows where)'}", file=sys.stderr)
    return FAILED


def _line(words: str) -> str:
    """One line, whatever a file's keys and names hold."""
    return "".join(letter if letter.isprintable() else " " for letter in words)


def _innermost(error: Exception) -> Exception:
    """What went wrong in the process where it did: Ray wraps it in that process's traceback."""
    inner = getattr(error, "cause", None)
    while isinstance(inner, Exception):
        error, inner = inner, getattr(inner, "cause", None)
    return error


def _cause(error: Exception) -> str:
    inner = _innermost(error)
    return f"{type(inner).__name__}: {inner}"


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="emulator", description="Emulates federated and split learning on edge devices.")
    parser.add_argument("--version", action="version", version=f"emulator {emulator.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _run_parser(commands.add_parser("run", help="run a scenario"))
    check = commands.add_parser(
        "check", help="validate a scenario; show its fleet, data, model and first round's traffic"
    )
    _scenario_arguments(check)
    check.add_argument(
        "--devices", nargs="?", const="table", choices=("table", "csv"), help="only the fleet, device by device"
    )
    check.add_argument(
        "--draws", type=int, metavar="N", help="redraw the fleet within the profiles' uncertainties, N times"
    )
    check.add_argument("--cuts", action="store_true", help="only the model's cuts: what each would ask of the devices")
    check.set_defaults(command=_check)
    listing = commands.add_parser("list", help="what a scenario can name")
    listing.add_argument("what", nargs="?", metavar="protocols|profiles|cells|fleets|datasets|models|weights|scenarios")
    listing.add_argument("name", nargs="?", help="one profile, with its sources")
    listing.set_defaults(command=_list)
    schema = commands.add_parser("schema", help="the JSON Schema of scenario files, for editors")
    schema.set_defaults(command=_schema)
    fetch = commands.add_parser("fetch", help="bring a data set or pre-trained weights into the local cache")
    fetch.add_argument("name")
    fetch.set_defaults(command=_fetch)
    _pretrain_parser(commands.add_parser("pretrain", help="train a model on a scenario's public data, to start from"))
    calibrate = commands.add_parser("calibrate", help="measure this machine as a device profile")
    _calibrate_arguments(calibrate, words)
    for each in (check, listing, schema, fetch, calibrate):
        each.add_argument("--debug", action="store_true", help="show where a failure came from")
    return parser


def _scenario_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", help="a YAML file, or the bare name of a shipped scenario")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. protocol.rounds=5 devices[0].count=3")


def _run_parser(parser: argparse.ArgumentParser) -> None:
    _scenario_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for run folders (default: results)")
    parser.add_argument("--timing-only", action="store_true", help="the clock alone: no tensor is made")
    parser.add_argument("--decisions", type=Path, metavar="RUN", help="with --timing-only: replay that run's decisions")
    parser.add_argument("--inline", action="store_true", help="in this process, without Ray")
    parser.add_argument("--address", help="an existing Ray cluster, e.g. auto or 10.0.0.1:6379 (default: embedded)")
    parser.add_argument("--json", action="store_true", help="print summary.json and nothing else on stdout")
    parser.add_argument("--debug", action="store_true", help="show where a failure came from")
    parser.set_defaults(command=_run)


def _refuse_combinations(options: argparse.Namespace) -> None:
    executors = ("timing_only", "inline", "address")
    chosen = [f"--{key.replace('_', '-')}" for key in executors if getattr(options, key)]
    if len(chosen) > 1:
        raise UsageError(f"got {' and '.join(chosen)}; expected one of them")
    if options.decisions is not None and not options.timing_only:
        raise UsageError("got --decisions alone; expected it with --timing-only")
    taken = next((path for path in (options.out, *options.out.parents) if path.exists()), None)
    if taken is not None and not taken.is_dir():
        raise UsageError(f"got --out {options.out}; expected a folder, but {taken} is a file")


@contextmanager
def _placed(scenario: str) -> Iterator[None]:
    """What is found wrong with a key only once data are at hand is told with the scenario's file, too."""
    from emulator.protocols.verbs import Unmet
    from emulator.reading import ScenarioError, find

    try:
        yield
    except Exception as error:
        inner = _innermost(error)
        if not isinstance(inner, (ScenarioError, Unmet)) or not _KEY_PATH.match(str(inner)):
            raise
        raise ScenarioError(f"{find(scenario)}: {inner}") from None


def _run(options: argparse.Namespace) -> int:
    _refuse_combinations(options)
    from emulator.progress import final_table
    from emulator.reading import read_scenario
    from emulator.run import RunOptions, run

    scenario = read_scenario(options.scenario, options.overrides)
    how = RunOptions(
        options.out, options.timing_only, options.decisions, options.inline, options.address, options.json
    )  # fmt: skip
    with _placed(options.scenario):
        finished = run(scenario, how)
    if options.json:
        print(json.dumps(finished.summary, indent=2))
    else:
        final_table(finished.summary, finished.folder)
    return 0


def _check(options: argparse.Namespace) -> int:
    if options.draws is not None and (options.draws < 1 or options.devices is not None):
        got = f"--draws {options.draws}" + (" and --devices" if options.devices is not None else "")
        raise UsageError(f"got {got}; expected one fleet or more to draw, without --devices")
    if options.cuts and (options.draws is not None or options.devices is not None):
        raise UsageError("got --cuts with --devices or --draws; expected one of them")
    from emulator.checking import check
    from emulator.cuts import show_cuts
    from emulator.fleet_report import show_devices
    from emulator.reading import read_scenario

    scenario = read_scenario(options.scenario, options.overrides)
    with _placed(options.scenario):
        if options.devices is not None:
            show_devices(scenario, options.devices)
        elif options.cuts:
            show_cuts(scenario)
        else:
            check(scenario, options.draws)
    return 0


def _list(options: argparse.Namespace) -> int:
    from emulator.listing import TABLES, one_cell, one_profile
    from emulator.nearest import unknown

    if options.what is not None and options.what not in TABLES:
        raise UsageError("list: " + unknown(options.what, TABLES, "one of"))
    if options.name is not None:
        shown = {"profiles": one_profile, "cells": one_cell}.get(options.what)
        if shown is None:
            raise UsageError("list: only a profile or a cell can be shown by name: emulator list profiles NAME")
        shown(options.name)
        return 0
    for what, show in TABLES.items():
        if options.what in (None, what):
            show()
    return 0


def _schema(_: argparse.Namespace) -> int:
    from emulator.schema import schema

    print(json.dumps(schema(), indent=2))
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from emulator.learning.datasets import DATASETS
    from emulator.learning.fetch import fetch
    from emulator.nearest import unknown
    from emulator.pretrained import PRETRAINED, fetch_weights

    if options.name not in (*DATASETS, *PRETRAINED):
        raise UsageError("fetch: " + unknown(options.name, (*DATASETS, *PRETRAINED), "a data set or weights"))
    bring = fetch_weights if options.name in PRETRAINED else fetch
    path = bring(options.name, lambda text: print(text, file=sys.stderr))
    print(f"{options.name}: {path}")
    return 0


def _pretrain_parser(parser: argparse.ArgumentParser) -> None:
    _scenario_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="the file of weights (safetensors)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the public data (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=128, help="default: %(default)s")
    parser.add_argument("--learning-rate", type=float, default=0.01, help="default: %(default)s")
    parser.add_argument("--debug", action="store_true", help="show where a failure came from")
    parser.set_defaults(command=_pretrain)


def _pretrain(options: argparse.Namespace) -> int:
    from emulator.pretraining import Pretraining, pretrain
    from emulator.reading import read_scenario

    if options.epochs < 1 or options.batch_size < 1 or not options.learning_rate > 0:
        raise UsageError("pretrain: got epochs, batch size or learning rate of zero or less; expected more")
    if not options.out.parent.is_dir():
        raise UsageError(f"pretrain: got --out {options.out}; expected a folder that is there")
    scenario = read_scenario(options.scenario, [*options.overrides, "model.weights=null", "model.weights_sha256=null"])
    how = Pretraining(options.epochs, options.batch_size, options.learning_rate)
    with _placed(options.scenario):
        accuracy = pretrain(scenario, how, options.out, lambda text: print(text, file=sys.stderr))
    print(f"{options.out}: accuracy {accuracy:.4f} on the test set")
    return 0


def _calibrate_arguments(parser: argparse.ArgumentParser, words: list[str]) -> None:
    """Its options come from the file that also runs by itself; it loads torch, so only when it is asked for."""
    if words[:1] == ["calibrate"]:
        from deploy.calibrate import add_arguments

        add_arguments(parser)
    parser.set_defaults(command=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    from deploy.calibrate import calibrate
    from emulator.devices.profile import ProfileError
    from emulator.devices.profile_file import read_profile

    try:
        calibrate(options)
        read_profile(options.out)
    except (ProfileError, ValueError, OSError) as error:
        raise UsageError(f"calibrate: {error}") from None
    print(options.out)
    return 0
