"""What the cost benchmarks share: one run and its figures, several rounds, and their judgement."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.beside import FEWEST_ROUNDS, Beside, Comparison
from benchmarks.runs.making import ANY_MACHINE
from loadtests.plan.bounds import changed
from loadtests.plan.target_source import TargetSource
from reports.outcome import Verdict
from reports.units import format_figure
from swarmgate import RunInvalidError, Swarmgate

ECHO_SERVER = TargetSource((sys.executable, "-m", "benchmarks.cost.picows_echo", "{port}"))

UVICORN = (
    *("--port", "{port}", "--loop", "uvloop", "--ws", "websockets-sansio", "--backlog", "2048"),
    *("--ws-per-message-deflate", "false", "--ws-ping-interval", "0"),
    *("--no-access-log", "--log-level", "warning"),
)
"""How ``python -m target_app`` sets up its own uvicorn, as flags."""

LONGEST_SECONDS = 3600
"""The time limit of one benchmark with all its rounds; a test of behaviour has less."""

Measure = Callable[..., Mapping[str, float]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the benchmarks the time that they need on a slow machine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(LONGEST_SECONDS))


@pytest.fixture
def measure(swarmgate: Swarmgate) -> Measure:
    """Return what makes one run, of the picows echo server by default, and returns its figures.

    What is judged of them is CPU time, memory and counts, which do not change when a message is
    sent late: so a slow machine does not make a run invalid in that way.
    """
    number = 0

    def run(
        source: TargetSource = ECHO_SERVER,
        **keywords: Any,  # noqa: ANN401 - those of swarmgate.run
    ) -> Mapping[str, float]:
        nonlocal number
        number += 1
        usual: dict[str, Any] = {
            "path": "/echo",
            "payload": 32,
            "seed": number,
            "bound": [*changed(ANY_MACHINE)],
        }
        result = swarmgate.run(command=source.command, **(usual | keywords))
        return result.figures

    return run


@pytest.fixture
def is_quick() -> bool:
    """Return whether only what is the same on every machine is judged, with small loads."""
    return bool(os.environ.get("SWARMGATE_QUICK"))


def make_rounds(benchmark: BenchmarkFixture, beside: Beside, rounds: int) -> None:
    """Make ``rounds`` rounds; skip the benchmark if too few of them are complete.

    A round with a run that stayed invalid, because the generator or the machine could not keep up,
    says nothing: it is printed and left out. With too few others, nothing was shown, which is not a
    pass.
    """

    def one() -> None:
        try:
            beside.round()
        except RunInvalidError as error:
            print(f"\na round is left out: {error}")

    benchmark.pedantic(one, rounds=rounds)  # type: ignore[no-untyped-call]
    if beside.whole_rounds < min(rounds, FEWEST_ROUNDS):
        pytest.skip(
            f"inconclusive: of {rounds} rounds {beside.whole_rounds} were whole; in the others "
            "generator or machine could not keep up"
        )


def note(benchmark: BenchmarkFixture, figure: str, values: Sequence[float], about: str) -> None:
    """Store a figure of every round with the benchmark, and print it."""
    benchmark.extra_info[f"{figure}, {about}"] = list(values)
    shown = ", ".join(format_figure(figure, value) for value in values)
    print(f"\n{figure}: {shown} ({about})")


def note_each(benchmark: BenchmarkFixture, figure: str, beside: Beside, about: str = "") -> None:
    """Store and print a figure of every subject and round."""
    for name in beside.figures:
        note(benchmark, figure, beside.values(name, figure), ", ".join(filter(None, (name, about))))


def judge(benchmark: BenchmarkFixture, *comparisons: Comparison) -> None:
    """Store and print every comparison, then fail if one is refuted.

    One that is inconclusive is printed and fails nothing: on a shared machine, not everything can
    always be decided.
    """
    for comparison in comparisons:
        benchmark.extra_info[comparison.name] = list(comparison.estimate.runs)
        print(f"\n{comparison}")
    refuted = [str(one) for one in comparisons if one.verdict is Verdict.REFUTED]
    assert not refuted, "\n".join(refuted)
