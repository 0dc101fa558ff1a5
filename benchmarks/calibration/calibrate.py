"""Run the swarm against a server whose every fault is known, and compare what it reports."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks.calibration.judging import Row, count_rows, latency_rows, split, stall_delays
from benchmarks.runs.making import InterruptedRunError
from loadtests.plan.bounds import Bounds
from loadtests.plan.plan import Plan
from loadtests.plan.target_source import TargetSource
from loadtests.run.child_process import own_module
from loadtests.run.run import execute
from reports.histogram import Histogram, merged
from reports.record import RECORD_SUFFIX, Line, read_record
from reports.summary import Summary

T = TypeVar("T")

Watch = Callable[[str], AbstractContextManager[Callable[[Line], None]]]
"""Opens a live view with a title, for the duration of one run."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of every run of a calibration."""

    connections: int
    rate: float
    seconds: float
    collect_seconds: float
    stall_rate: float
    """The message rate in runs with stalls: the backlog of one must be worked off in no time."""
    subjects: frozenset[str]
    """What is injected; everything if none is named."""


FULL: Final = Load(
    200, 1000.0, seconds=20.0, collect_seconds=3.0, stall_rate=250.0, subjects=frozenset()
)
QUICK: Final = Load(
    50,
    500.0,
    seconds=2.0,
    collect_seconds=1.0,
    stall_rate=500.0,
    subjects=frozenset(
        {
            *("constant 20 ms", "stalls of 400 ms", "echo, all but damage"),
            *("broadcast, all but damage", "every 9th refused", "closed with 4000"),
        }
    ),
)


class CalibrationError(Exception):
    """A run of a calibration measured nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class _Run:
    summary: Summary
    latency: Histogram
    injected: Mapping[str, Any]


def calibrate(
    load: Load,
    folder: Path,
    watch: Watch,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
) -> tuple[Row, ...]:
    """Make every run of a calibration; its records go into ``folder``.

    Raises:
        CalibrationError: a run was not valid.
        InterruptedRunError: the user interrupted it.
        LoadTestError, RecordError: it could not be made.
    """
    bench = _Bench(load, folder, watch, bounds)
    plain = bench.run("undisturbed")
    rows = [*count_rows("undisturbed", _counts(plain.injected), _reported(plain.summary))]
    for subject, flags in _chosen(load, _DELAYS).items():
        held = bench.run(subject, *flags, *_EVERY_SECOND)
        undisturbed, delayed = split(held.latency, _BETWEEN_NS)
        delays_ns = held.injected["delays_ns"]
        rows += latency_rows(subject, delays_ns, undisturbed, delayed, _HELD_NS)
    for subject in _chosen(load, {_STALLS: ()}):
        stalled = bench.run(subject, *_stalls(load), rate=load.stall_rate)
        delays = stall_delays(
            stalled.injected["stalls_ns"], round(load.stall_rate * load.seconds), load.seconds
        )
        rows += latency_rows(subject, delays, plain.latency, stalled.latency)
    # Counts do not depend on when a message was sent.
    lateness_seconds = max(1.0, bounds.lateness_p99_seconds)
    counting = replace(bench, bounds=replace(bounds, lateness_p99_seconds=lateness_seconds))
    for subject, (scenario, flags) in _chosen(load, _FAULTS).items():
        faulty = counting.run(subject, *flags, scenario=scenario)
        rows += count_rows(subject, _counts(faulty.injected), _reported(faulty.summary))
    return tuple(rows)


def _chosen(load: Load, subjects: Mapping[str, T]) -> dict[str, T]:
    return {
        name: held for name, held in subjects.items() if not load.subjects or name in load.subjects
    }


def _stalls(load: Load) -> tuple[str, ...]:
    """Return the flags for as many stalls as surely lie within the load."""
    stalls = max(1, int((load.seconds - 1.5) / 2))
    # Not a multiple of the message interval, so that each stall begins at another point in one.
    return ("--stall-seconds", "0.4", "--stall-every-seconds", "2.0137", "--stalls", str(stalls))


_STALLS: Final = "stalls of 400 ms"
_DELAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "constant 20 ms": ("--delay-seconds", "0.02"),
    "constant 200 ms": ("--delay-seconds", "0.2"),
    "log-normal 100 ms": ("--delay-seconds", "0.1", "--delay-sigma", "0.5"),
}
# How long replies on the other connections are held.
_HELD_NS: Final = 5_000_000
_EVERY_SECOND: Final = ("--delay-path", "/1", "--other-delay-seconds", str(_HELD_NS / 1e9))
# Above any of these, below any delayed one.
_BETWEEN_NS: Final = 12_000_000
_FAULTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "echo, every 7th lost": ("echo", ("--lose-every", "7")),
    "echo, every 11th twice": ("echo", ("--duplicate-every", "11")),
    "echo, every 13th swapped": ("echo", ("--reorder-every", "13")),
    "echo, every 17th damaged": ("echo", ("--damage-every", "17")),
    "echo, all but damage": (
        "echo",
        ("--lose-every", "7", "--duplicate-every", "11", "--reorder-every", "13"),
    ),
    "broadcast, all but damage": (
        "broadcast",
        ("--lose-every", "101", "--duplicate-every", "211", "--reorder-every", "307"),
    ),
    "every 9th refused": ("echo", ("--refuse-every", "9")),
    "closed with 4000": ("echo", ("--close-after", "2", "--close-code", "4000")),
}


@dataclass(frozen=True, slots=True)
class _Bench:
    load: Load
    folder: Path
    watch: Watch
    bounds: Bounds

    def run(
        self, subject: str, *flags: str, scenario: str = "echo", rate: float | None = None
    ) -> _Run:
        """Make one run against a server with those flags."""
        number = len(list(self.folder.glob(f"*{RECORD_SUFFIX}")))
        words = "-".join(subject.replace(",", "").split())
        path = self.folder / f"{number + 1:02}-{words}{RECORD_SUFFIX}"
        server = (*own_module("benchmarks.calibration.known_server"), "{port}", *flags)
        with self.watch(subject) as observe:
            source = TargetSource(server)
            summary = asyncio.run(execute(self._plan(scenario, rate), source, path, observe))
        if summary.interrupted:
            raise InterruptedRunError(f"interrupted during {subject}")
        if problems := (*summary.reasons, *summary.failures):
            raise CalibrationError(f"{subject}: {'; '.join(problems)}")
        record = read_record(path)
        latency = merged(
            Histogram.decode(held.histograms["latency"])
            for held in record.intervals
            if "latency" in held.histograms
        )
        log = path.with_name(path.name.removesuffix(RECORD_SUFFIX) + ".target.log")
        return _Run(summary, latency, json.loads(log.read_text().splitlines()[-1]))

    def _plan(self, scenario: str, rate: float | None) -> Plan:
        is_echo = scenario == "echo"
        return Plan(
            url=f"ws://127.0.0.1:{{port}}/{'echo/{n%2}' if is_echo else 'ws'}",
            connections=self.load.connections,
            scenario=scenario,
            # Some stay idle, so that connections are left after the others were closed.
            parameters={"active": self.load.connections * 4 // 5} if is_echo else {},
            rate=rate or (self.load.rate if is_echo else 20.0),
            duration_seconds=self.load.seconds,
            collect_seconds=self.load.collect_seconds,
            seed=1,
            bounds=self.bounds,
        )


def _counts(injected: Mapping[str, Any]) -> dict[str, float]:
    """Return what was injected, under the names used in reports.

    A message that was held behind its successor is reordered; one whose successor never came is
    released when the connection ends, too late for the ledger. One that came after the server had
    closed its connection is never answered.
    """
    return {
        "duplicated": injected["duplicated"],
        "refused": injected["refused"],
        "closed": injected["closed"],
        "damaged": injected["damaged"],
        "lost": injected["lost"] + injected["flushed"] + injected["ignored"],
        "reordered": injected["reordered"],
    }


def _reported(summary: Summary) -> dict[str, float]:
    # A damaged message matches none that was sent, so it is lost as well.
    figures, errors = summary.figures, summary.errors
    damaged = figures.get("integrity.corrupted", 0.0)
    return {
        "duplicated": figures["integrity.duplicated"],
        "refused": float(errors.get("upgrade:http-403", 0)),
        "closed": float(errors.get("closed:4000", 0)),
        "damaged": damaged,
        "lost": figures["integrity.lost"] - damaged,
        "reordered": figures["integrity.reordered"],
    }
