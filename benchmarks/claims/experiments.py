"""The runs that claims need: every experiment on every server, every repeat afresh, interleaved.

Repeats are interleaved, and every second round goes backwards, so that a machine that drifts
touches all experiments and servers alike instead of whichever came last.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.claims.claims_file import AloneExperiment, ClaimsFile, Experiment
from benchmarks.claims.judging import Key
from benchmarks.runs.making import RunFigures, Watch, beside, make_run
from loadtests.bounds import Bounds
from loadtests.own_module import own_module
from reports.record import RECORD_SUFFIX, RecordError
from reports.units import significant

QUICK_REPEATS: Final = 2
QUICK_DIVISOR: Final = 10
QUICK_SECONDS: Final = 2.0
_ALONE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One run to make: of which experiment, on which server, and its how-manieth."""

    name: str
    target: str
    repeat: int
    repeats: int


def needed(file: ClaimsFile) -> ClaimsFile:
    """Give the file with only the experiments and the servers that some claim uses."""
    used = {claim.experiment for claim in file.claims}
    used |= {claim.baseline for claim in file.claims if claim.baseline}
    return replace(file, experiments={k: v for k, v in file.experiments.items() if k in used})


def with_repeats(file: ClaimsFile, repeats: int) -> ClaimsFile:
    """Give the file with so many runs of each experiment."""
    return replace(
        file, experiments={name: _repeated(it, repeats) for name, it in file.experiments.items()}
    )


def quick(file: ClaimsFile) -> ClaimsFile:
    """Give a reduced form that shows the machinery works; its figures judge no claim."""
    return replace(
        file,
        experiments={
            name: _repeated(_smaller(file, name), QUICK_REPEATS) for name in file.experiments
        },
    )


def _repeated(experiment: Experiment, repeats: int) -> Experiment:
    if isinstance(experiment, AloneExperiment):
        return experiment.model_copy(update={"repeats": repeats})
    return replace(experiment, repeats=repeats)


def _smaller(file: ClaimsFile, name: str) -> Experiment:
    experiment = file.experiments[name]
    if isinstance(experiment, AloneExperiment):
        return experiment
    plan = file.case(name, file.targets_of(name)[0]).plan()
    if plan.population is not None or plan.profile is not None:
        return experiment
    connections = max(10, plan.connections // QUICK_DIVISOR)
    seconds = min(plan.duration_seconds, QUICK_SECONDS)
    workload = experiment.workload.with_flags(count=str(connections), duration=f"{seconds:g}s")
    active = workload.content.parameters.get("active")
    if active is not None:
        workload = workload.with_parameters(active=min(int(active), connections))
    return replace(experiment, workload=workload)


def describe(file: ClaimsFile, name: str, target: str) -> str:
    """Say in a few words how an experiment is measured on a server."""
    experiment = file.experiments[name]
    if isinstance(experiment, AloneExperiment):
        return f"{experiment.count:,} of it in a fresh process"
    case = file.case(name, target)
    plan = case.plan()
    pace = "" if plan.rate is None else f", {significant(plan.rate)}/s"
    extra = "".join(f", {key} {value}" for key, value in plan.parameters.items())
    served = f"; {target} with {words}" if (words := experiment.arguments.get(target)) else ""
    warm = "" if case.target.warmup == "0s" else f", after {case.target.warmup} of it"
    return (
        f"{plan.scenario} on {case.target.paths.get(case.workload.path, case.workload.path)}, "
        f"{plan.connections:,} connections{extra}{pace}, "
        f"{plan.duration_seconds:g}\u00a0s{warm}{served}"
    )


def turns(file: ClaimsFile) -> Iterator[Turn]:
    """Give every run in the order to make it: round by round, each second one backwards."""
    for repeat in range(max(held.repeats for held in file.experiments.values())):
        round_ = [
            Turn(name, target, repeat, held.repeats)
            for name, held in file.experiments.items()
            if repeat < held.repeats
            for target in file.targets_of(name)
        ]
        yield from reversed(round_) if repeat % 2 else round_


def run_all(
    file: ClaimsFile, folder: Path, watch: Watch, bounds: Bounds | None = None
) -> dict[Key, list[RunFigures]]:
    """Make every run, each with its record in ``folder``.

    Args:
        file: the experiments.
        folder: where the records go.
        watch: gives what is told of the lines of each run.
        bounds: within which a run is valid, in place of those that its experiment has.

    Raises:
        InterruptedRunError: a run was interrupted.
        RecordError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error.strerror}") from None
    order = list(turns(file))
    results: dict[Key, list[RunFigures]] = {}
    for number, turn in enumerate(order, 1):
        of = f"{turn.repeat + 1} of {turn.repeats}"
        title = f"run {number} of {len(order)}: {turn.name} on {turn.target} ({of})"
        path = folder / f"{number:02}-{turn.name}-{turn.target}-{turn.repeat + 1}{RECORD_SUFFIX}"
        made = results.setdefault((turn.name, turn.target), [])
        experiment = file.experiments[turn.name]
        if isinstance(experiment, AloneExperiment):
            with watch(title):
                made.append(_run_alone(experiment, path))
            continue
        case = replace(file.case(turn.name, turn.target), bounds=bounds)
        made.append(make_run(case, path, seed=turn.repeat + 1, title=title, watch=watch))
    return results


def _run_alone(experiment: AloneExperiment, path: Path) -> RunFigures:
    """Measure a primitive in a process of its own, and keep what it printed beside the records."""
    finished = subprocess.run(
        [*own_module("benchmarks.alone"), experiment.subject, str(experiment.count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_ALONE_SECONDS,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return RunFigures(valid=False, reasons=(f"{experiment.subject}: {last}",), figures={})
    kept = beside(path, ".json")
    kept.write_text(finished.stdout, encoding="utf-8")
    return RunFigures(valid=True, reasons=(), figures=json.loads(finished.stdout))
