"""What the cost benchmarks share: one run, its figures, and how several rounds are told."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.beside import Comparison
from benchmarks.runs.making import ANY_MACHINE
from loadtests.bounds import changed
from loadtests.target import TargetSource
from reports.record import Record, read_record
from reports.summary import MARK_MEASURE_BEGIN, MARK_START
from reports.units import format_figure
from reports.verdict import Verdict
from swarmgate import Swarmgate

ECHO_SERVER = TargetSource((sys.executable, "-m", "benchmarks.picows_echo", "{port}"))

UVICORN = (
    *("--port", "{port}", "--loop", "uvloop", "--ws", "websockets-sansio", "--backlog", "2048"),
    *("--ws-per-message-deflate", "false", "--ws-ping-interval", "0"),
    *("--no-access-log", "--log-level", "warning"),
)
"""How ``python -m target_app`` sets up its own uvicorn, as flags."""

LONGEST_SECONDS = 3600
"""For one benchmark with all its rounds; a test of behaviour has less."""

Measure = Callable[..., Mapping[str, float]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the benchmarks the time that they need on a slow machine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(LONGEST_SECONDS))


@pytest.fixture
def measure(swarmgate: Swarmgate, is_quick: bool) -> Measure:
    """Make one run and give its figures; of the picows echo server, unless another is named."""
    number = 0

    def run(
        source: TargetSource = ECHO_SERVER,
        **keywords: Any,  # noqa: ANN401 - those of swarmgate.run
    ) -> Mapping[str, float]:
        nonlocal number
        number += 1
        usual: dict[str, Any] = {"path": "/echo", "payload": 32, "seed": number}
        if is_quick:
            usual["bound"] = [*changed(ANY_MACHINE)]
        result = swarmgate.run(command=source.command, **(usual | keywords))
        return {**result.figures, **opening_figures(read_record(result.record))}

    return run


@pytest.fixture
def is_quick() -> bool:
    """Tell whether this only shows that the benchmarks run, on a machine of unknown speed."""
    return bool(os.environ.get("SWARMGATE_QUICK"))


def opening_figures(record: Record) -> Mapping[str, float]:
    """Give what a handshake costs the server in CPU time, its share of a quiet start included.

    It says more than how many there are a second, which the generator is part of.
    """
    server = {line.mark: line.values for line in record.samples if line.source == "server"}
    start, opened = server.get(MARK_START), server.get(MARK_MEASURE_BEGIN)
    count = sum(line.opened for line in record.intervals if line.phase == "open")
    if start is None or opened is None or not count:
        return {}
    used = opened["cpu_seconds"] - start["cpu_seconds"]
    return {"server.cpu_per_handshake_seconds": used / count}


def note(benchmark: BenchmarkFixture, figure: str, values: Sequence[float], bound: str) -> None:
    """Keep a figure of every round beside the benchmark, and print it."""
    benchmark.extra_info[figure] = list(values)
    shown = ", ".join(format_figure(figure, value) for value in values)
    print(f"\n{figure}: {shown} ({bound})")


def judge(benchmark: BenchmarkFixture, *comparisons: Comparison) -> None:
    """Keep and print every comparison, then fail if one is refuted.

    One that is inconclusive is told and fails nothing: a machine that others share does not always
    let one tell.
    """
    for comparison in comparisons:
        benchmark.extra_info[comparison.name] = list(comparison.estimate.runs)
        print(f"\n{comparison}")
    refuted = [str(one) for one in comparisons if one.verdict is Verdict.REFUTED]
    assert not refuted, "\n".join(refuted)
