"""Make the runs to be judged: in fresh processes, recorded, and retried if they say nothing.

A run is invalid when the generator or the machine could not do its part (a busy moment of a shared
machine), which says nothing about the server. It is retried a few times, and each try is reported.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.judging.run_figures import RunFigures
from benchmarks.runs.redis_server import watched_redis
from benchmarks.runs.workload import Case
from loadtests.errors import LoadTestError, TargetError
from loadtests.plan.bounds import Bounds
from loadtests.run.run import execute
from reports.damage import naming_damage
from reports.record import RECORD_SUFFIX, Line, read_record
from reports.run_outcome import errors_found
from reports.summary import Summary, summarise

Observe = Callable[[Line], None]
Watch = Callable[[str], AbstractContextManager[Observe]]
"""Opens a live view with a title, for the duration of one run."""

TRIES: Final = 3
"""The number of tries before a run is reported as invalid."""

ANY_MACHINE: Final = Bounds(
    lateness_p99_seconds=5.0, loop_lag_p99_seconds=5.0, gc_pause_seconds=5.0
)
"""For a quick run, whose messages are too few for its p99 to say anything about the generator."""


class InterruptedRunError(Exception):
    """The user interrupted the runs; what was recorded stays."""


def beside(record: Path, suffix: str) -> Path:
    """Return the path of a file that belongs to a record."""
    return record.with_name(record.name.removesuffix(RECORD_SUFFIX) + suffix)


def make_run(case: Case, path: Path, *, seed: int, title: str, watch: Watch) -> RunFigures:
    """Make one run, retrying it if it is invalid, and return what it measured.

    Args:
        case: the load, and the server.
        path: the record; those of further tries are named after it.
        seed: the seed of every random choice.
        title: the title of the live view.
        watch: opens a live view, which receives the lines of each try.

    Raises:
        InterruptedRunError: the user interrupted it.
        RecordError: the record cannot be written.
    """
    repeated: list[str] = []
    for number, record in enumerate(records_of_tries(path), 1):
        again = f", try {number} of {TRIES}" if repeated else ""
        with watch(f"{title}{again}") as observe:
            made = _try(case, record, seed, observe)
        if made.valid or made.is_final or number == TRIES:
            return replace(made, repeated=tuple(repeated))
        repeated.append("; ".join(made.reasons))
    raise AssertionError("there is no try after the last")


def records_of_tries(path: Path) -> Iterator[Path]:
    """Yield the path of the record of each try of a run, the first being the run's own path."""
    yield path
    for number in range(2, TRIES + 1):
        yield beside(path, f"-try-{number}{RECORD_SUFFIX}")


def _try(case: Case, record: Path, seed: int, observe: Observe) -> RunFigures:
    try:
        summary, seen = asyncio.run(_made(case, record, seed, observe))
    except LoadTestError as error:
        # The server does not start, or the machine has no room: a retry would change nothing.
        reasons = (str(error),)
        failures = reasons if isinstance(error, TargetError) else ()
        return RunFigures(False, reasons, {}, failures=failures, is_final=True)
    if summary.interrupted:
        raise InterruptedRunError(f"{record.name.removesuffix(RECORD_SUFFIX)} was interrupted")
    if seen:
        _seen_beside(record).write_text(json.dumps(seen) + "\n", encoding="utf-8")
    return _run_figures(summary, seen, record)


def read_run(record: Path) -> RunFigures:
    """Return what a run measured, from its record and the file kept next to it.

    Raises:
        RecordError: it cannot be read.
    """
    read, kept = read_record(record), _seen_beside(record)
    with naming_damage(record):
        seen = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        return _run_figures(summarise(read), seen, record)


def _run_figures(summary: Summary, seen: Mapping[str, float], record: Path) -> RunFigures:
    made = figures_of(summary)
    return replace(made, figures={**made.figures, **seen}, record=record.name)


def _seen_beside(record: Path) -> Path:
    """Return the path of the file with what was observed of a run's Redis."""
    return beside(record, ".redis.json")


def figures_of(summary: Summary) -> RunFigures:
    """Return the figures of a finished run, or why they may not be judged."""
    problems = (*summary.reasons, *summary.failures)
    return RunFigures(
        valid=not problems,
        reasons=(*problems, *errors_found(summary)) if problems else (),
        figures=summary.judged_figures,
        failures=tuple(summary.failures),
        errors=summary.errors,
        is_final=bool(summary.failures),
    )


async def _made(
    case: Case, record: Path, seed: int, observe: Observe
) -> tuple[Summary, Mapping[str, float]]:
    """Make one run; return what it measured, and what was observed of its Redis."""
    plan = case.plan(seed)
    if not case.target.needs_redis:
        return await execute(plan, case.target.source, record, observe), {}
    async with watched_redis(beside(record, ".redis.log")) as redis:
        source = case.target.with_redis(redis.url).source
        return await execute(plan, source, record, observe), redis.figures()
