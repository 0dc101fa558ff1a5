"""Runs for tests, each with what a test does not care about filled in."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.judging.alike import Run
from reports.record import RecordWriter
from tests.reports.builders import encoded, footer, header, interval


def run(started: str = "2026-01-01T00:00:00+00:00", **figures: float) -> Run:
    """A run with figures, whose names have ``__`` for the dot."""
    named = {name.replace("__", "."): value for name, value in figures.items()}
    return Run(header(started_at=started), datetime.fromisoformat(started), named)


def write(path: Path, latency_ns: Sequence[int] = (1000,), minute: int = 0, **changes: Any) -> None:
    """Write the record of a run whose messages had these latencies."""
    end = {name: changes.pop(name) for name in ("valid", "reasons", "failures") if name in changes}
    texts = {"latency": encoded(latency_ns)}
    with RecordWriter(path) as writer:
        writer.write(header(started_at=f"2026-01-01T00:{minute:02}:00+00:00", **changes))
        writer.write(interval(1, histograms=texts, received=len(latency_ns)))
        writer.write(footer(**end))
