"""How a run ended is decided in one place, and is said in one line."""

from typing import Any

import pytest

from reports.outcome import ExitStatus, Outcome, worst
from reports.run_outcome import outcome_of
from reports.summary import Totals
from tests.reports.builders import encoded, footer, header, interval


def outcome(*, thresholds: tuple[str, ...] = (), end: Any = None, **changes: Any) -> Outcome:
    totals = Totals()
    load = {"connections": 20, "rate": None, "duration_seconds": 1.0}
    totals.add(header(load={**load, "thresholds": list(thresholds)}))
    totals.add(interval(**changes))
    totals.add(end or footer())
    return outcome_of(totals.summary())


def test_a_run_without_a_fault_held() -> None:
    found = outcome(integrity={"expected": 20}, sent=20, received=20)
    assert found == Outcome(ExitStatus.HELD)
    assert found.line == "HELD: nothing went wrong"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"integrity": {"expected": 20, "lost": 20}}, "20 of 20 messages lost"),
        ({"integrity": {"expected": 20, "reordered": 2}}, "2 of 20 messages reordered"),
        ({"errors": {"connect:refused": 1}}, "1 error (connect:refused × 1)"),
        (
            {"errors": {"a:b": 1, "c:d": 4, "e:f": 2, "g:h": 1}},
            "8 errors (c:d × 4, e:f × 2, a:b × 1 and 1 more kinds)",
        ),
        (
            {"errors": {"a:b": 2}, "integrity": {"expected": 1_000, "lost": 1, "corrupted": 3}},
            "2 errors (a:b × 2); 1 of 1,000 messages lost; 3 of 1,000 messages corrupted",
        ),
    ],
)
def test_what_went_wrong_is_said_in_one_line(changes: dict[str, Any], line: str) -> None:
    found = outcome(**changes)
    assert found.status is ExitStatus.FAILED
    assert found.line == f"FAILED: {line}"


def test_a_threshold_that_does_not_hold_fails_the_run() -> None:
    times = {"latency": encoded([30_000_000] * 10)}
    asked = ("latency.p99_seconds<=20ms", "latency.p50_seconds<=1s", "no.such>=1")
    found = outcome(thresholds=asked, histograms=times)
    assert found.status is ExitStatus.FAILED
    assert found.line == (
        "FAILED: latency.p99_seconds <= 20.0 ms, found 30.0 ms; no.such >= 1, found not measured"
    )


def test_what_the_target_failed_at_comes_before_what_came_of_it() -> None:
    found = outcome(end=footer(failures=("the target died",)), errors={"closed:1006": 1})
    assert found.status is ExitStatus.FAILED
    assert found.line == "FAILED: the target died; 1 error (closed:1006 × 1)"


def test_an_invalid_run_says_why_and_nothing_of_the_server() -> None:
    why = footer(valid=False, reasons=("swarm process 0 sent late", "it was stopped"))
    found = outcome(end=why, errors={"a:b": 1})
    assert found.status is ExitStatus.INVALID
    assert found.line == "INVALID: swarm process 0 sent late; it was stopped"


def test_an_interrupted_run_is_that_before_anything_else() -> None:
    found = outcome(end=footer(valid=False, reasons=("the run was interrupted",), interrupted=True))
    assert found == Outcome(ExitStatus.INTERRUPTED, ("the run was interrupted",))


def test_of_several_the_worst_counts() -> None:
    assert worst([ExitStatus.HELD, ExitStatus.INVALID, ExitStatus.FAILED]) is ExitStatus.INVALID
    assert worst([ExitStatus.INTERRUPTED, ExitStatus.INVALID]) is ExitStatus.INTERRUPTED
    assert worst([]) is ExitStatus.HELD
