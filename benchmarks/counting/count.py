"""Count an application: one fresh process for each kind of figure, and the results."""

import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.counting import instructions, system_calls
from benchmarks.counting.figures import FIGURES, KINDS
from benchmarks.counting.process import CountError, Load, Report, Subject, UnavailableError, run


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a figure is missing.

    Attributes:
        reason: the reason, in words.
        is_failure: whether it should be there: its tool is installed, but failed.
    """

    reason: str
    is_failure: bool


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted.

    Attributes:
        python: the version of the interpreter that ran the application.
        uvicorn: the version of uvicorn there.
        figures: the figures by name (:data:`benchmarks.counting.figures.FIGURES`).
        missing: the kinds of figures that are missing.
        calls: the system calls of one connection, echo or broadcast by name, if listed.
    """

    python: str
    uvicorn: str
    figures: Mapping[str, float]
    missing: Mapping[str, Missing]
    calls: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Counted:
    """What was observed of one process.

    Attributes:
        report: what it reported itself.
        totals: what was counted, by stretch; for ``bytes``, what is kept for one connection.
        calls: system calls by name, by stretch, if they were listed.
    """

    report: Report
    totals: Mapping[str, int]
    calls: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def count(
    subject: Subject,
    load: Load,
    progress: Callable[[str], None] = lambda _: None,
    asked: Collection[str] = FIGURES,
) -> Count:
    """Count an application, in about 5 s without valgrind and 20 s with it.

    Args:
        subject: the application.
        load: the load put on it.
        progress: called with what is being counted now.
        asked: names of figures; what yields none of them is not counted, except for memory, which
            shows that the application does what is to be counted.

    Returns:
        Its figures, without those that cannot be counted here.

    Raises:
        SubjectError: the application cannot be loaded.
        CountError: it does not do what is to be counted.
    """
    progress(KINDS["bytes"].label)
    # First, and without any tool: a failure here is the application's.
    memory = memory_of(subject, load)
    by_kind = {"bytes": memory, "writes": Counted(memory.report, memory.report.writes)}
    missing: dict[str, Missing] = {}
    kinds = {FIGURES[name][0] for name in asked}
    for kind, counted_by in _OTHERS.items():
        if kind not in kinds:
            continue
        progress(KINDS[kind].label)
        try:
            by_kind[kind] = counted_by(subject, load)
        except CountError as error:
            missing[kind] = Missing(str(error), not isinstance(error, UnavailableError))
    figures = figures_of({kind: counted.totals for kind, counted in by_kind.items()}, load)
    return Count(
        memory.report.python,
        memory.report.uvicorn,
        {name: value for name, value in figures.items() if name in asked},
        missing,
        {
            each: {name: calls / _number(load, each) for name, calls in names.items()}
            for counted in by_kind.values()
            for each, names in counted.calls.items()
        },
    )


def countable(load: Load) -> list[str]:
    """Return the names of the figures that a load has and the tools on this machine can count."""
    stretches = {
        "connection": True,
        "echo": load.echo_path is not None,
        "broadcast": load.broadcasts,
    }
    return [
        name
        for name, (kind, each) in FIGURES.items()
        if stretches[each] and _has(KINDS[kind].needs)
    ]


def figures_of(totals: Mapping[str, Mapping[str, int]], load: Load) -> dict[str, float]:
    """Return the figures computed from totals by kind and stretch, for those that have totals."""
    return {
        name: totals[kind][each] / (1 if kind == "bytes" else _number(load, each))
        for name, (kind, each) in FIGURES.items()
        if each in totals.get(kind, {})
    }


def _number(load: Load, each: str) -> int:
    return load.connections - load.connections // 2 if each == "connection" else load.messages


def memory_of(subject: Subject, load: Load) -> Counted:
    """Count what is kept for a connection. Raises CountError."""
    report = run(subject, load, "memory")
    return Counted(report, report.counts)


def allocations_of(subject: Subject, load: Load) -> Counted:
    """Count the calls of Python's allocator. Raises CountError."""
    report = run(subject, load, "allocations")
    return Counted(report, report.counts)


def system_calls_of(subject: Subject, load: Load) -> Counted:
    """Count system calls with strace. Raises CountError."""
    _need("strace")
    with tempfile.TemporaryDirectory(prefix="swarmgate-count-") as folder:
        log = Path(folder) / "strace"
        report = run(subject, load, "system_calls", system_calls.tracing(log))
        with log.open(encoding="utf-8", errors="replace") as lines:
            calls = system_calls.listed(lines)
    return Counted(report, {each: sum(names.values()) for each, names in calls.items()}, calls)


def instructions_of(subject: Subject, load: Load) -> Counted:
    """Count instructions with valgrind. Raises CountError."""
    _need("valgrind")
    with tempfile.TemporaryDirectory(prefix="swarmgate-count-") as folder:
        file = Path(folder) / "callgrind"
        report = run(subject, load, "instructions", instructions.counting(file))
        texts = [path.read_text(encoding="utf-8") for path in Path(folder).glob("callgrind.*")]
    return Counted(report, instructions.summed(texts))


def _has(tool: str) -> bool:
    return not tool or shutil.which(tool) is not None


def _need(tool: str) -> None:
    if not _has(tool):
        raise UnavailableError(f"{tool} is not installed")


_OTHERS: Final[Mapping[str, Callable[[Subject, Load], Counted]]] = {
    "allocations": allocations_of,
    "system_calls": system_calls_of,
    "instructions": instructions_of,
}
