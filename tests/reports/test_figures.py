"""The list of figures is the one in the docs, and whatever a run measures is on it."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from loadtests.bounds import Bounds
from loadtests.errors import UsageError
from loadtests.plan import Plan
from loadtests.run import checked
from reports.exit_status import ExitStatus
from reports.figures import DURATIONS, SINGLE, STATISTICS, against_figure, is_known
from reports.record import read_record
from reports.summary import totals_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/figures.md").read_text()
RECORDS = sorted((ROOT / "reports/baselines").rglob("*.run.jsonl"))


def test_the_docs_list_every_figure_with_its_meaning() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == {**DURATIONS, **STATISTICS, **SINGLE}


def test_the_docs_tell_the_bounds_that_are_in_force() -> None:
    bounds = re.findall(r"^\| ([\d.]+) (ms|%) \| `(\w+)` \|", PAGE, re.MULTILINE)
    told = {name: float(value) / (1000 if unit == "ms" else 100) for value, unit, name in bounds}
    assert told == asdict(Bounds())


def test_the_docs_tell_every_exit_status() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z]+) \|", PAGE, re.MULTILINE)
    assert [(int(status), name) for status, name in rows] == [
        (status.value, status.name) for status in ExitStatus
    ]


@pytest.mark.parametrize("path", RECORDS, ids=[path.name for path in RECORDS])
def test_every_figure_of_a_committed_record_is_listed(path: Path) -> None:
    figures = totals_of(read_record(path)).figures()
    assert [name for name in figures if not is_known(name)] == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("latency.p99", "latency.p99_seconds"),
        ("latency.p95_seconds", "latency.p90_seconds"),
        ("error", "errors"),
        ("delivery.p50_seconds", "delivered.p50_seconds"),
        ("nothing at all like it", "docs/figures.md"),
    ],
)
def test_a_figure_that_there_is_not_is_refused_with_those_that_come_near(
    name: str, meant: str
) -> None:
    assert meant in against_figure(name, "echo")
    assert against_figure(name, "mine.py") == ""
    plan = Plan("ws://127.0.0.1:9/", 1, "echo", {}, thresholds=(f"{name}<=1",))
    with pytest.raises(UsageError, match=f"no figure is called {re.escape(repr(name))}"):
        checked(plan)


@pytest.mark.parametrize("name", ["drain.closed_1012", "storm.failed_attempts[upgrade:http-503]"])
def test_a_figure_with_a_code_or_a_cause_in_its_name_is_known(name: str) -> None:
    assert is_known(name)
