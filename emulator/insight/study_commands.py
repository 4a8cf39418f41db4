"""Subcommands over runs: ``retime``, ``sweep``, ``compare``, ``bundle``."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_study_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Put the subcommands' parsers beside the others; gives them."""
    retime = commands.add_parser("retime", help="a run's training under another network or fleet, without training")
    retime.add_argument("run", help="a run folder")
    retime.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. network.backhaul.rate='1 Gbit/s'")
    retime.add_argument("--out", type=Path, default=Path("results"), help="folder for run folders (default: results)")
    retime.set_defaults(command=_retime)
    sweep = commands.add_parser("sweep", help="a scenario over a grid or a list of settings and over seeds")
    sweep.add_argument("file", type=Path, help="a YAML file: scenario, out, seeds, grid, list (docs/compare.md)")
    sweep.add_argument("--jobs", type=int, help="runs at once (default: the cores)")
    sweep.add_argument("--address", help="an existing Ray cluster, e.g. auto (default: inline, one process a run)")
    sweep.set_defaults(command=_sweep)
    compare = commands.add_parser("compare", help="runs side by side: time, bytes and joules to accuracy over seeds")
    compare.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders of runs (a sweep's)"
    )
    compare.add_argument(
        "--target", type=float, help="accuracy to reach (default: the scenarios' own, or what all reach)"
    )
    compare.add_argument("--figures", action="store_true", help="with --out: figures as PDF (needs matplotlib)")
    compare.add_argument("--out", type=Path, help="folder for tables as CSV, LaTeX and HTML (default: none is written)")
    compare.set_defaults(command=_compare)
    bundle = commands.add_parser("bundle", help="a run in one archive: scenario, records, environment, citations")
    bundle.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    bundle.add_argument("--out", type=Path, help="the archive, .tar.gz or .zip (default: NAME-TIME-HASH.tar.gz, here)")
    bundle.set_defaults(command=_bundle)
    return [retime, sweep, compare, bundle]


def _retime(options: argparse.Namespace) -> int:
    from emulator.insight.load import Run
    from emulator.insight.retime import retime
    from emulator.progress import final_table

    finished = retime(Run(options.run), options.overrides, options.out)
    final_table(finished.summary, finished.folder)
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from emulator.insight.sweep import read_sweep, sweep
    from emulator.reading import ScenarioError

    if options.jobs is not None and options.jobs < 1:
        raise ScenarioError(f"sweep: got --jobs {options.jobs}; expected 1 or more")
    plan = read_sweep(options.file)
    failed = sweep(plan, lambda text: print(text, file=sys.stderr), options.jobs, options.address)
    print(plan.out / "sweep.csv")
    return 1 if failed else 0


def _compare(options: argparse.Namespace) -> int:
    from emulator.insight.compare import compare
    from emulator.insight.figures import need_matplotlib, write_figures
    from emulator.insight.layouts import with_letters, write_tables
    from emulator.listing import table
    from emulator.reading import ScenarioError

    if options.figures and options.out is None:
        raise ScenarioError("compare: got --figures alone; expected it with --out DIR")
    if options.figures:
        need_matplotlib()
    found = compare(options.runs, options.target)
    tables = found.tables()
    for each in with_letters(tables, [system.label for system in found.systems]):
        table(each.title, each.header, each.rows)
    written = write_tables(tables, options.out) if options.out is not None else []
    written += write_figures(found, options.out) if options.figures else []
    for path in written:
        print(path)
    return 0


def _bundle(options: argparse.Namespace) -> int:
    from emulator.insight.bundle import bundle
    from emulator.insight.load import Run

    run = Run(options.run)
    print(bundle(run, options.out or Path(f"{run.name}-{run.folder.resolve().name}.tar.gz")))
    return 0
