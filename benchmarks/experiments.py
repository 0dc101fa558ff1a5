"""Run what claims need: every experiment, every repeat in fresh processes, interleaved.

Repeats are interleaved, and every second round goes backwards, so that a machine that drifts
touches all experiments alike instead of whichever came last.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.claims import (
    AloneExperiment,
    ClaimsFile,
    ClaimsFileError,
    Experiment,
    LoadExperiment,
    RunFigures,
)
from benchmarks.redis_server import watched_redis
from loadtests.bounds import Bounds
from loadtests.errors import LoadTestError
from loadtests.own_module import own_module
from loadtests.plan import Plan
from loadtests.run import execute
from loadtests.scenarios import check_scenario
from loadtests.target import TargetSource
from reports.record import RECORD_SUFFIX, Line, RecordError
from reports.summary import Summary

Observe = Callable[[Line], None]
Watch = Callable[[str], AbstractContextManager[Observe]]
"""Opens a live view under a title, for the length of one run."""

QUICK_REPEATS: Final = 2
QUICK_DIVISOR: Final = 10
_ALONE_SECONDS: Final = 120.0

ANY_MACHINE: Final = Bounds(
    lateness_p99_seconds=5.0, loop_lag_p99_seconds=5.0, gc_pause_seconds=5.0
)
"""For a quick run, which sends too few messages for its p99 to say anything of the generator."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One run to make: of which experiment, and its how-manieth."""

    name: str
    experiment: Experiment
    repeat: int


class InterruptedRunError(Exception):
    """A person ended the runs; what was recorded stays."""


def needed(file: ClaimsFile) -> dict[str, Experiment]:
    """Give the experiments that some claim uses, in the file's order."""
    used = {claim.experiment for claim in file.claims}
    used |= {claim.baseline for claim in file.claims if claim.baseline}
    return {name: found for name, found in file.experiments.items() if name in used}


def quick(experiment: Experiment) -> Experiment:
    """Give a reduced form that shows the machinery works; its figures judge no claim."""
    changes: dict[str, object] = {"repeats": QUICK_REPEATS}
    if isinstance(experiment, LoadExperiment):
        active = experiment.parameters.get("active")
        connections = max(10, experiment.connections // QUICK_DIVISOR)
        changes |= {
            "connections": connections,
            "duration": min(experiment.duration, 2.0),
            "parameters": dict(experiment.parameters)
            | ({"active": min(int(active), connections)} if active is not None else {}),
        }
    return experiment.model_copy(update=changes)


def turns(experiments: Mapping[str, Experiment]) -> Iterator[Turn]:
    """Give every run in the order to make it: round by round, each second one backwards."""
    for repeat in range(max(held.repeats for held in experiments.values())):
        round_ = [
            Turn(name, held, repeat) for name, held in experiments.items() if repeat < held.repeats
        ]
        yield from reversed(round_) if repeat % 2 else round_


def check(experiments: Mapping[str, Experiment], path: Path) -> None:
    """Refuse, before anything runs, an experiment that could not.

    Raises:
        ClaimsFileError: an unknown scenario or parameter.
    """
    for name, experiment in experiments.items():
        if isinstance(experiment, LoadExperiment):
            try:
                check_scenario(_plan(experiment, seed=0))
            except LoadTestError as error:
                raise ClaimsFileError(f"{path}: experiment {name}: {error}") from None


def run_all(
    experiments: Mapping[str, Experiment], folder: Path, watch: Watch, bounds: Bounds
) -> dict[str, list[RunFigures]]:
    """Make every run, each with its record in ``folder``; it is valid within ``bounds``.

    Raises:
        InterruptedRunError: a run was interrupted.
        RecordError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error.strerror}") from None
    order = list(turns(experiments))
    results: dict[str, list[RunFigures]] = {name: [] for name in experiments}
    for number, turn in enumerate(order, 1):
        repeats = turn.experiment.repeats
        title = f"run {number} of {len(order)}: {turn.name} ({turn.repeat + 1} of {repeats})"
        path = folder / f"{number:02}-{turn.name}-{turn.repeat + 1}{RECORD_SUFFIX}"
        with watch(title) as observe:
            results[turn.name].append(_run(turn, path, observe, bounds))
    return results


def _run(turn: Turn, path: Path, observe: Observe, bounds: Bounds) -> RunFigures:
    if isinstance(turn.experiment, AloneExperiment):
        return _run_alone(turn.experiment, path)
    try:
        summary, seen = asyncio.run(_run_load(turn.experiment, turn.repeat, path, observe, bounds))
    except LoadTestError as error:
        return RunFigures(valid=False, reasons=(str(error),), figures={})
    if summary.interrupted:
        raise InterruptedRunError(f"{turn.name} was interrupted")
    if seen:
        _beside(path, ".redis.json").write_text(json.dumps(seen) + "\n", encoding="utf-8")
    problems = (*summary.reasons, *summary.failures)
    return RunFigures(not problems, problems, {**summary.judged_figures, **seen})


async def _run_load(
    experiment: LoadExperiment, repeat: int, path: Path, observe: Observe, bounds: Bounds
) -> tuple[Summary, Mapping[str, float]]:
    """Make one run; give what it measured, and what was seen of its Redis."""
    server = [*own_module("target_app"), "--port", "{port}", "--log-level", "warning"]
    for option, value in experiment.server.items():
        server += [f"--{option.replace('_', '-')}", str(value)]
    plan = replace(_plan(experiment, seed=repeat + 1), bounds=bounds)

    async def measured(*redis_options: str) -> Summary:
        source = TargetSource((*server, *redis_options))
        return await execute(plan, source, path, observe)

    if not experiment.redis:
        return await measured(), {}
    async with watched_redis(_beside(path, ".redis.log")) as redis:
        return await measured("--redis-url", redis.url), redis.figures()


def _plan(experiment: LoadExperiment, seed: int) -> Plan:
    return Plan(
        url=f"ws://127.0.0.1:{{port}}{experiment.path}",
        connections=experiment.connections,
        scenario=experiment.scenario,
        parameters=experiment.parameters,
        concurrent=experiment.concurrent,
        duration_seconds=experiment.duration,
        rate=experiment.rate,
        payload_bytes=experiment.payload,
        steps=experiment.steps,
        processes=experiment.processes,
        seed=seed,
    )


def _beside(record: Path, suffix: str) -> Path:
    """Name a file that belongs to a record."""
    return record.with_name(record.name.removesuffix(RECORD_SUFFIX) + suffix)


def _run_alone(experiment: AloneExperiment, path: Path) -> RunFigures:
    """Measure a primitive in a process of its own, and keep what it printed beside the records."""
    command = [
        *own_module("benchmarks.alone"),
        experiment.subject,
        str(experiment.count),
    ]
    finished = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=_ALONE_SECONDS,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return RunFigures(valid=False, reasons=(f"{experiment.subject}: {last}",), figures={})
    kept = _beside(path, ".json")
    kept.write_text(finished.stdout, encoding="utf-8")
    return RunFigures(valid=True, reasons=(), figures=json.loads(finished.stdout))
