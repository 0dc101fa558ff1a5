"""Lines of a record for tests, each with what a test does not care about filled in."""

from collections.abc import Sequence
from typing import Any

from reports.histogram import Histogram
from reports.record import Event, Footer, Header, Interval, Line, Machine, Sample, Target


def header(**changes: Any) -> Header:
    values: dict[str, Any] = {
        "run_id": "r1",
        "scenario": "echo",
        "parameters": {},
        "load": {"connections": 100, "rate": 50.0, "duration_seconds": 10.0},
        "target": Target("ws://127.0.0.1:1/", "127.0.0.1:1"),
        "machine": Machine("host", "6.1", "cpu", 2, 10**9, "3.11"),
        "limits": {"files": 1024},
        "versions": {"picows": "2"},
        "command": ("swarmgate", "run"),
        "started_at": "2026-01-01T00:00:00+00:00",
        "seed": 7,
    }
    return Header(**(values | changes))


def interval(t_seconds: float = 1.0, phase: str = "measure", **changes: Any) -> Interval:
    values: dict[str, Any] = {
        "process": 0,
        "t_ns": round(t_seconds * 1e9),
        "duration_ns": 10**9,
        "phase": phase,
        "open": 100,
    }
    return Interval(**(values | changes))


def server_sample(t_seconds: float, mark: str = "", **values: float) -> Sample:
    return Sample(round(t_seconds * 1e9), "server", values, mark)


def event(name: str, **detail: Any) -> Event:
    return Event(1, name, detail)


def footer(**changes: Any) -> Footer:
    return Footer(**({"t_ns": 5, "valid": True} | changes))


def encoded(values_ns: Sequence[int]) -> str:
    histogram = Histogram()
    histogram.record(values_ns)
    return histogram.encode()


Lines = list[Line]
