"""Runs a scenario: chooses the executor, plays the simulation, and writes its run folder."""

import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.address import NoCluster
from actors.inline import Inline, TimingOnly
from actors.program import Executor, path_of
from emulator.blueprint import Blueprint
from emulator.cut_memory import refuse_cut
from emulator.deciding import DecisionMissing
from emulator.learning.tracing import warm_up
from emulator.preparation import Prepared, make_holdings, prepare, shared_arguments
from emulator.progress import Progress
from emulator.provenance import provenance
from emulator.reading import ScenarioError
from emulator.records import Header, RunFolder, new_folder, read_decisions
from emulator.rehearsal import rehearse
from emulator.roll import Member
from emulator.rows import Decision
from emulator.scenario import Scenario
from emulator.simulation import Message, Simulation
from network.traces import TraceError


@dataclass(frozen=True)
class RunOptions:
    """How to run: ``out`` (default ``results``) takes the run folder; the others choose the executor."""

    out: Path = Path("results")
    timing_only: bool = False
    decisions: Path | None = None
    inline: bool = False
    address: str | None = None
    quiet: bool = False

    @property
    def executor(self) -> str:
        """Its name, as the summary tells it."""
        return "timing-only" if self.timing_only else "inline" if self.inline else "ray"


@dataclass(frozen=True)
class Finished:
    """A run that ended: its folder and its summary."""

    folder: Path
    summary: dict[str, Any]


def simulate(executor: Executor, plan: Blueprint, decisions: list[Decision] | None) -> Iterator[list[Message]]:
    """Play a blueprint on an executor; what the aggregator actor runs."""
    # Handles die by counting, not by collection; scanning torch's many objects again and again cost a third of the clock.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    yield from Simulation(plan, executor, decisions).messages()


def run(scenario: Scenario, options: RunOptions) -> Finished:
    """Run a scenario to its end and leave a run folder.

    Raises ScenarioError (wrong input: nothing is written, but for a rate trace that ends too early), Unmet (what the settings
    ask for cannot be met: in the first round nothing is written, later the folder stays), ``StepFailed`` and others for
    failures; an interrupt leaves the folder whole up to the last round and is raised again.
    """
    decisions = read_decisions(options.decisions) if options.decisions is not None else None
    if options.timing_only and decisions is None and scenario.protocol.decides_by:
        words = f"protocol.{scenario.protocol.decides_by}, which decides on data"
        raise ScenarioError(f"{words}; timing alone needs the decisions of a run with the same tape: --decisions RUN")
    prepared = prepare(scenario)
    refuse_cut(scenario, prepared.plan)
    rehearse(prepared.plan)
    folder = new_folder(options.out, scenario.name, scenario.sha256())
    records = RunFolder(folder, header(scenario, options, prepared, decisions))
    progress = Progress(scenario, quiet=options.quiet)
    if prepared.idle_cells:
        progress.say(f"warning: network.cells: no device is in {', '.join(prepared.idle_cells)}")
    if options.timing_only:
        stream = simulate(TimingOnly(), prepared.plan, decisions)
    elif options.inline:
        stream = simulate(Inline(prepared.holdings()), prepared.plan, decisions)
    else:
        stream = _on_ray(scenario, options, prepared, (folder, progress.say))
    return record(records, stream, progress)


class Refused(ScenarioError):
    """A run cannot be as asked, which shows only while it goes on: its folder goes."""


def record(records: RunFolder, stream: Iterator[list[Message]], progress: Progress) -> Finished:
    """Write a run's messages as they come, and close its folder however it ends; see ``run`` for what is raised."""
    started = time.perf_counter()
    status: str | None = "failed"
    try:
        for messages in stream:
            records.take(messages)
            progress.take(messages)
        status = None
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    except (DecisionMissing, Refused) as error:
        status = "refused"
        raise ScenarioError(str(error)) from None
    except TraceError as error:  # the folder stays: it shows how far the trace went
        raise ScenarioError(str(error)) from None
    finally:
        progress.close()
        summary = records.close(time.perf_counter() - started, status)
        if status == "refused":
            shutil.rmtree(records.folder)
    return Finished(records.folder, summary)


def _on_ray(
    scenario: Scenario, options: RunOptions, prepared: Prepared, about: tuple[Path, Callable[[str], None]]
) -> Iterator[list[Message]]:
    if options.address is not None:
        # Heads ask for their token by default; that this process has one must be said before Ray is imported.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from actors.cluster import Cluster  # Ray takes a second to import: only runs that use it pay
    from actors.device import Fleet

    folder, report = about
    actors = scenario.actors
    per_actor = None if actors.devices_per_actor == "auto" else int(actors.devices_per_actor)
    fleet = Fleet(
        prepared.facts(),
        path_of(make_holdings),
        shared_arguments(prepared),
        per_actor,
        actors.gpus_per_actor,
        path_of(warm_up),
    )
    # Ray tells of restarted actors on stdout, where only results belong.
    with (folder / "ray.log").open("w") as log, redirect_stdout(log), ExitStack() as connected:
        try:
            cluster = connected.enter_context(Cluster(options.address, dashboard=actors.dashboard))
        except NoCluster as error:
            raise Refused(f"--address: {error}") from error
        started = cluster.start(fleet)
        report(f"{started['actors']} device actors, {started['bytes'] / 1e9:.2f} GB of memory ({cluster.namespace})")
        yield from cluster.play(path_of(simulate), prepared.plan, None)


def header(scenario: Scenario, options: RunOptions, prepared: Prepared, decisions: list[Decision] | None) -> Header:
    """What a run folder tells of its run before it begins."""
    ignored = options.timing_only and scenario.stop.accuracy is not None and decisions is None
    return Header(
        name=scenario.name,
        protocol=scenario.protocol_name,
        seed=scenario.seed,
        executor=options.executor,
        devices=len(prepared.plan.devices),
        scenario_yaml=scenario.to_yaml(),
        scenario_sha256=scenario.sha256(),
        target_accuracy=scenario.stop.accuracy,
        stop_ignored=ignored,
        cells={
            device.name: " ".join(filter(None, (device.cell, device.profile.name))) for device in prepared.plan.devices
        },
        fleet=tuple(
            Member(device.name, device.profile.name, device.cell, samples)
            for device, samples in zip(prepared.plan.devices, prepared.plan.samples, strict=True)
        ),
        resolved=scenario.resolved(),
        provenance=provenance(),
    )
