"""Make the runs of experiments: each on every server, every repeat afresh, interleaved.

Repeats are interleaved, and every second round runs backwards, so that a machine's drift affects
all experiments and servers alike instead of whichever comes last.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.judging.run_figures import Key, RunFigures
from benchmarks.runs.experiments import AloneExperiment, Asked, Experiment, Experiments
from benchmarks.runs.making import Watch, beside, make_run
from benchmarks.runs.tables import InputFileError
from loadtests.errors import UsageError
from loadtests.plan.bounds import Bounds
from loadtests.run.child_process import own_module
from reports.record import RECORD_SUFFIX, RecordError
from reports.units import significant

QUICK_REPEATS: Final = 2
QUICK_DIVISOR: Final = 10
QUICK_SECONDS: Final = 2.0
_ALONE_SECONDS: Final = 120.0
# Parameters whose value is the text in which a message is sent.
_FORMS: Final = ("wrap", "publish")


@dataclass(frozen=True, slots=True)
class Turn:
    """One run to make: its experiment, its server, and its repeat index."""

    name: str
    target: str
    repeat: int
    repeats: int


def with_repeats(file: Asked, repeats: int) -> Asked:
    """Return the file with ``repeats`` runs of each experiment."""
    return replace(
        file, experiments={name: _repeated(it, repeats) for name, it in file.experiments.items()}
    )


def quick(file: Asked, repeats: int = QUICK_REPEATS, seconds: float = QUICK_SECONDS) -> Asked:
    """Return a reduced form that shows that the machinery works; its figures judge nothing."""
    smaller = {name: _smaller(file, name, seconds) for name in file.experiments}
    return replace(
        file, experiments={name: _repeated(held, repeats) for name, held in smaller.items()}
    )


def _repeated(experiment: Experiment, repeats: int) -> Experiment:
    if isinstance(experiment, AloneExperiment):
        return experiment.model_copy(update={"repeats": repeats})
    return replace(experiment, repeats=repeats)


def _smaller(file: Experiments, name: str, most_seconds: float) -> Experiment:
    experiment = file.experiments[name]
    if isinstance(experiment, AloneExperiment):
        return experiment
    plan = file.case(name, file.targets_of(name)[0]).plan()
    if plan.population is not None or plan.profile is not None:
        return experiment
    connections = max(10, plan.connections // QUICK_DIVISOR)
    seconds = min(plan.duration_seconds, most_seconds)
    workload = experiment.workload.with_flags(count=str(connections), duration=f"{seconds:g}s")
    active = workload.content.parameters.get("active")
    if active is not None:
        workload = workload.with_parameters(active=min(int(active), connections))
    return replace(experiment, workload=workload)


def describe(file: Experiments, name: str, target: str) -> str:
    """Return in a few words how an experiment is measured on a server."""
    experiment = file.experiments[name]
    if isinstance(experiment, AloneExperiment):
        return f"{experiment.count:,} instances in a fresh process"
    case = file.case(name, target)
    plan = case.plan()
    pace = "" if plan.rate is None else f", {significant(plan.rate)}/s"
    extra = "".join(
        f", {key} {value}" if key not in _FORMS else ", custom message format"
        for key, value in plan.parameters.items()
    )
    served = f"; {target} with {words}" if (words := experiment.arguments.get(target)) else ""
    warm = f", after {plan.warmup_seconds:g}\u00a0s to warm up" if plan.warmup_seconds else ""
    return (
        f"{plan.scenario} on {case.target.paths.get(case.workload.path, case.workload.path)}, "
        f"{plan.connections:,} connections{extra}{pace}, "
        f"{plan.duration_seconds:g}\u00a0s{warm}{served}"
    )


def turns(file: Experiments) -> Iterator[Turn]:
    """Yield every run in the order to make it: round by round, every second one backwards."""
    for repeat in range(max(held.repeats for held in file.experiments.values())):
        round_ = [
            Turn(name, target, repeat, held.repeats)
            for name, held in file.experiments.items()
            if repeat < held.repeats
            for target in file.targets_of(name)
        ]
        yield from reversed(round_) if repeat % 2 else round_


def check_plans(file: Experiments) -> None:
    """Refuse, before anything runs, an experiment that cannot run. Raises InputFileError."""
    for name, target in ((it, on) for it in file.experiments for on in file.targets_of(it)):
        try:
            describe(file, name, target)
        except UsageError as error:
            raise InputFileError(f"{file.path}: experiment {name}: {error}") from None


def run_all(
    file: Experiments, folder: Path, watch: Watch, bounds: Bounds | None = None
) -> dict[Key, list[RunFigures]]:
    """Make every run, as :func:`make_all` does, and return them by experiment and server.

    Raises:
        InterruptedRunError: a run was interrupted.
        RecordError: the folder cannot be written.
    """
    results: dict[Key, list[RunFigures]] = {}
    for turn, made in make_all(file, folder, watch, bounds):
        results.setdefault((turn.name, turn.target), []).append(made)
    return results


def make_all(
    file: Experiments, folder: Path, watch: Watch, bounds: Bounds | None = None
) -> Iterator[tuple[Turn, RunFigures]]:
    """Make every run, each with its record in ``folder``, and yield each as soon as it is made.

    Once a run stays invalid, no more runs of that experiment are made on that server: nothing can
    be said about it any more.

    Args:
        file: the experiments.
        folder: where the records go.
        watch: opens a live view, which receives the lines of each run.
        bounds: the bounds within which a run is valid, in place of its experiment's own.

    Raises:
        InterruptedRunError: a run was interrupted.
        RecordError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error.strerror}") from None
    order = list(turns(file))
    given_up: set[Key] = set()
    for number, turn in enumerate(order, 1):
        if (turn.name, turn.target) in given_up:
            continue
        of = f"{turn.repeat + 1} of {turn.repeats}"
        title = f"run {number} of {len(order)}: {turn.name} on {turn.target} ({of})"
        path = folder / f"{number:02}-{turn.name}-{turn.target}-{turn.repeat + 1}{RECORD_SUFFIX}"
        experiment = file.experiments[turn.name]
        if isinstance(experiment, AloneExperiment):
            with watch(title):
                made = _run_alone(experiment, path)
        else:
            case = file.case(turn.name, turn.target)
            case = case if bounds is None else replace(case, bounds=bounds)
            made = make_run(case, path, seed=turn.repeat + 1, title=title, watch=watch)
        if not made.valid:
            given_up.add((turn.name, turn.target))
        yield turn, made


def _run_alone(experiment: AloneExperiment, path: Path) -> RunFigures:
    """Measure a primitive in a separate process, and keep its output next to the records."""
    finished = subprocess.run(
        [*own_module("benchmarks.runs.alone"), experiment.subject, str(experiment.count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_ALONE_SECONDS,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return RunFigures(valid=False, reasons=(f"{experiment.subject}: {last}",), figures={})
    kept = beside(path, ".json")
    kept.write_text(finished.stdout, encoding="utf-8")
    return RunFigures(valid=True, reasons=(), figures=json.loads(finished.stdout))


def made_again(reasons: Mapping[Key, Sequence[str]]) -> Iterator[str]:
    """Yield how often each experiment was retried on each server, and the last reason.

    Args:
        reasons: why each try but the last of its runs was invalid.
    """
    for (experiment, target), whys in reasons.items():
        if whys:
            often = "once" if len(whys) == 1 else f"{len(whys)} times, most recently"
            yield f"{experiment} on {target}, {often} because {whys[-1]}"
