"""The runs of a series: which, with which flags, in which order. A callback makes them."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runs.making import records_of_tries
from benchmarks.scaling.fit import FEWEST_SIZES
from benchmarks.scaling.readings import LeftOut, workers_of
from loadtests.errors import TargetError, UsageError
from loadtests.plan.run_options import Given
from loadtests.plan.target_source import split_command
from reports.record import RECORD_SUFFIX
from reports.summary import Summary
from reports.units import parse_count, parse_rate


@dataclass(frozen=True, slots=True)
class ScalingRun:
    """One of the runs of a round: its name, and its options."""

    name: str
    given: Given


Make = Callable[[str, Given, Path], Summary]
"""Makes one run under a title, with its record at a path."""


def runs_of(
    base: Given, connections: Sequence[str], rates: Sequence[str], workers: Sequence[str]
) -> tuple[ScalingRun, ...]:
    """Return the runs of one round, one for each size.

    Args:
        base: the options of every run, including the command that starts the server.
        connections: sizes as people write them; one of the three is given.
        rates: messages per second, in the same form.
        workers: workers of the server, in the same form.

    Raises:
        UsageError: none or several of the three are given, there are too few sizes, or the command
            has no ``{port}`` or does not take the workers where a record shows them.
    """
    given: Mapping[str, Sequence[str]] = {
        "--sizes": connections,
        "--rates": rates,
        "--workers": workers,
    }
    if sum(bool(sizes) for sizes in given.values()) != 1:
        raise UsageError("a series changes one thing: give one of --sizes, --rates and --workers")
    for option, sizes in given.items():
        _check_sizes(option, sizes)
    command = str(base.get("target_cmd", ""))
    try:
        split_command(command)
    except ValueError as error:
        raise UsageError(f"--target-cmd: {error}") from None
    if bool(workers) != ("{workers}" in command):
        raise UsageError("--workers and {workers} in --target-cmd go together")
    if connections:
        return tuple(ScalingRun(f"{it}-connections", {**base, "count": it}) for it in connections)
    if rates:
        return tuple(ScalingRun(f"{it}-rate", {**base, "rate": it}) for it in rates)
    return tuple(_with_workers(base, command, it) for it in workers)


def _check_sizes(option: str, sizes: Sequence[str]) -> None:
    """Reject, before an hour of runs, sizes that no law can be fitted to."""
    try:
        numbers = {parse_rate(it) if option == "--rates" else parse_count(it) for it in sizes}
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    if sizes and (len(numbers) < len(sizes) or len(sizes) < FEWEST_SIZES):
        raise UsageError(
            f"{option} {','.join(sizes)}: a law needs {FEWEST_SIZES} sizes or more, each once"
        )


def _with_workers(base: Given, command: str, workers: str) -> ScalingRun:
    filled = command.replace("{workers}", workers)
    if not workers.isdecimal() or workers_of(shlex.split(filled)) != int(workers):
        raise UsageError(
            f"--workers {workers}: a record must show it; write it after --workers, -w or a word "
            f"like WEB_CONCURRENCY= in --target-cmd, which is {command!r}"
        )
    return ScalingRun(f"{workers}-workers", {**base, "target_cmd": filled})


def in_turn(runs: Sequence[ScalingRun], repeats: int) -> Iterator[tuple[ScalingRun, int]]:
    """Yield every run in the order to make it: round by round, every other one in reverse.

    Drift of a machine then affects all sizes equally.
    """
    for repeat in range(repeats):
        yield from ((it, repeat) for it in (reversed(runs) if repeat % 2 else runs))


@dataclass(frozen=True, slots=True)
class Made:
    """The outcome of a series: what could not be made, and whether the user interrupted it."""

    failed: tuple[LeftOut, ...]
    interrupted: bool = False


def make_all(runs: Sequence[ScalingRun], repeats: int, folder: Path, make: Make) -> Made:
    """Make every run, each with its record in a folder, until one is interrupted.

    A run in which the generator or the machine could not keep up is repeated, at most twice. A run
    whose target fails to start is left out, except for the first: then the command is wrong.

    Raises:
        LoadTestError: the first run could not be made, or one cannot be made at all.
        RecordError: a record cannot be written.
    """
    total, failed = len(runs) * repeats, list[LeftOut]()
    for number, (run, repeat) in enumerate(in_turn(runs, repeats), 1):
        path = folder / f"{number:02}-{run.name.replace('/', '-')}-{repeat + 1}{RECORD_SUFFIX}"
        try:
            summary = _make(f"run {number} of {total}: {run.name}", run.given, path, make)
        except TargetError as error:
            if number == 1:
                raise
            failed.append(LeftOut(path, str(error)))
        else:
            if summary.interrupted:
                return Made(tuple(failed), interrupted=True)
    return Made(tuple(failed))


def _make(title: str, given: Given, path: Path, make: Make) -> Summary:
    for record in records_of_tries(path):
        summary = make(title, given, record)
        # A failure would recur; a run that could not keep up may do so now.
        if summary.valid or summary.failures or summary.interrupted:
            break
    return summary
