"""Runs as benchmarks where pytest-benchmark is installed: in its table, its JSON, its comparisons.

What it would time is how long a run takes, which says nothing. So its timer is one that goes on by
what each run measured: the benchmark's rounds are the test's runs, and its group is the figure.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest

from swarmgate.result import Result

HEADLINES: Final = ("delivery.last_seconds", "latency.mean_seconds", "open.mean_seconds")
"""What a run is reported by, whichever it has first. Means: the mean of percentiles is none."""

_OURS: Final = pytest.StashKey[bool]()
Report = Callable[[Sequence[Result]], None]


def add_benchmarks(fixture: str, items: Sequence[pytest.Item]) -> None:
    """Make benchmarks of the tests that use a fixture, unless they ask for ``benchmark``."""
    for item in items:
        names: list[str] = getattr(item, "fixturenames", [])
        if fixture in names and "benchmark" not in names:
            names.append("benchmark")
            item.stash[_OURS] = True


@contextmanager
def as_benchmark(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Yield what reports the runs of a test, at its end.

    To a test that asks for ``benchmark`` itself, only the figures are added.
    """
    if "benchmark" not in request.fixturenames:
        yield lambda _results: None
        return
    is_ours = request.node.stash.get(_OURS, False)
    clock = _Clock()
    if is_ours:
        request.node.add_marker(pytest.mark.benchmark(timer=clock.read))
    benchmark = request.getfixturevalue("benchmark")

    def report(results: Sequence[Result]) -> None:
        benchmark.extra_info["swarmgate"] = [dict(result.figures) for result in results]
        if is_ours:
            _time(benchmark, clock, [it for it in results if it.outcome == "HELD"])

    yield report


class _Clock:
    """A clock that goes on only by what was measured."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def read(self) -> float:
        """Return its time in seconds."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds


def _time(benchmark: Any, clock: _Clock, results: Sequence[Result]) -> None:  # noqa: ANN401 - of a package that may be absent
    """Report one round for each run, if all of them have one of the headlines."""
    headline = next(
        (name for name in HEADLINES if results and all(name in it.figures for it in results)), None
    )
    if headline is None:
        # There is nothing to tell of a test that failed, and nothing to warn of either.
        benchmark.skipped = True
        return
    benchmark.group = headline
    seconds = iter([result.figures[headline] for result in results])
    benchmark.pedantic(lambda: clock.advance(next(seconds)), rounds=len(results))
