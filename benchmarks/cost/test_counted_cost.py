"""What the reference server's own code does for a connection, an echo and a broadcast, counted.

They are compared with the least that an ASGI application can do (``bare_asgi``), under the same
interpreter and uvicorn, because both change the counts, and with the committed counts, which were
made with the same versions. Counts are the same on every machine and in every run, so one of each
is enough and nothing but the code can break a bound; ``SWARMGATE_QUICK`` changes nothing here.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.baseline import Baseline, read_baseline
from benchmarks.cost.beside import Bound
from benchmarks.counting.count import Count, count
from benchmarks.counting.process import Load, Subject
from reports.units import significant

BASELINE = Path("reports/baselines/counts.json")
CONNECTIONS = 100
MESSAGES = 50
SILENT = ("HEARTBEAT_SECONDS", "WS_PING_INTERVAL", "ANNOUNCE_LIMIT")

LOAD = Load(CONNECTIONS, MESSAGES)
BESIDE_BARE_ASGI = {
    "counts.memory_per_connection_bytes": Bound(at_most=0.42),
    "counts.allocations_per_connection": Bound(at_most=1.45),
    "counts.allocations_per_echo": Bound(at_most=1.45),
    "counts.system_calls_per_connection": Bound(at_most=1.3),
    "counts.system_calls_per_echo": Bound(at_most=1.25),
    "counts.instructions_per_connection": Bound(at_most=1.8),
    "counts.instructions_per_echo": Bound(at_most=1.45),
}
OF_A_BROADCAST = {
    "counts.writes_per_broadcast": Bound(CONNECTIONS, CONNECTIONS),
    "counts.allocations_per_broadcast": Bound(at_most=4.5 * CONNECTIONS),
    "counts.system_calls_per_broadcast": Bound(at_most=8),
}
# Far below, the baseline would no longer notice a later rise, and has to be made anew.
BESIDE_BASELINE = Bound(0.9, 1.02)


def counted(app: str, *, broadcasts: bool) -> Count:
    """Count an application of this repository with the interpreter that runs this."""
    found = count(Subject(app, sys.executable, Path()), replace(LOAD, broadcasts=broadcasts))
    failed = [missing.reason for missing in found.missing.values() if missing.is_failure]
    assert not failed, failed
    return found


def judged(ours: Count, bare: Count, baseline: Baseline) -> Iterator[tuple[str, float, Bound]]:
    """Yield each available figure with the bound it has to meet."""
    for figure, bound in BESIDE_BARE_ASGI.items():
        if figure in ours.figures:
            yield (
                f"{figure} to that of bare ASGI",
                ours.figures[figure] / bare.figures[figure],
                bound,
            )
    for figure, bound in OF_A_BROADCAST.items():
        if figure in ours.figures:
            yield figure, ours.figures[figure], bound
    if complaint := baseline.against(ours, LOAD):
        print(f"\nnot compared with {BASELINE}: {complaint}")
        return
    for figure, ratio in baseline.ratios(ours).items():
        yield f"{figure} to that of {BASELINE}", ratio, BESIDE_BASELINE


def test_what_a_connection_an_echo_and_a_broadcast_take(
    benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Little more than an application that does nothing; a broadcast is one write per receiver."""
    for setting in SILENT:
        monkeypatch.setenv(f"TARGET_{setting}", "0")
    bare = counted("benchmarks.cost.bare_asgi:app", broadcasts=False)
    ours: Count = benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: counted("target_app.app:app", broadcasts=True)
    )
    broken = []
    for name, value, bound in judged(ours, bare, read_baseline(BASELINE)):
        line = f"{name}: {significant(value)} ({bound.text(significant)})"
        benchmark.extra_info[name] = value
        print(f"\n{line}")
        if not bound.at_least <= value <= bound.at_most:
            broken.append(line)
    assert not broken, "\n".join(broken)
    if ours.missing:
        reasons = ", ".join(missing.reason for missing in ours.missing.values())
        pytest.skip(f"judged without what cannot be counted here: {reasons}")
