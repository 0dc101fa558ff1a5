"""Runs as benchmarks if pytest-benchmark is installed: in its table, its JSON, its comparisons.

It would time how long a run takes, which says nothing. So its timer is one that advances by what
each run measured: the benchmark's rounds are the test's runs, and its group is the figure.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest

from swarmgate.result import Result

HEADLINES: Final = ("delivery.last_seconds", "latency.mean_seconds", "open.mean_seconds")
"""The figures to report a run by: the first that it has.

They are means, because the mean of percentiles is not a percentile.
"""

_OURS: Final = pytest.StashKey[bool]()
Report = Callable[[Sequence[Result]], None]


def add_benchmarks(fixture: str, items: Sequence[pytest.Item]) -> None:
    """Turn the tests that use a fixture into benchmarks, unless they request ``benchmark``."""
    for item in items:
        names: list[str] = getattr(item, "fixturenames", [])
        if fixture in names and "benchmark" not in names:
            names.append("benchmark")
            item.stash[_OURS] = True


@contextmanager
def as_benchmark(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Yield a function that reports the runs of a test, at its end.

    If a test requests ``benchmark`` itself, only the figures are added.
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
    """A clock that advances only by what was measured."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def read(self) -> float:
        """Return the clock's time in seconds."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self._seconds += seconds


def _time(benchmark: Any, clock: _Clock, results: Sequence[Result]) -> None:  # noqa: ANN401 - from a package that may be absent
    """Report one round for each run, if there is a headline that all of them have."""
    headline = next(
        (name for name in HEADLINES if results and all(name in it.figures for it in results)), None
    )
    if headline is None:
        # There is nothing to report about a test that failed, and nothing to warn about either.
        benchmark.skipped = True
        return
    benchmark.group = headline
    seconds = iter([result.figures[headline] for result in results])
    benchmark.pedantic(lambda: clock.advance(next(seconds)), rounds=len(results))
