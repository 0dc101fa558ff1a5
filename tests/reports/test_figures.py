"""The list of figures is the one in the docs, and whatever a run measures is on it."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from loadtests.errors import UsageError
from loadtests.plan.bounds import Bounds
from loadtests.plan.plan import Plan
from loadtests.run.run import checked
from loadtests.scenarios.figures import against_figure
from loadtests.scenarios.figures_page import figures_page
from loadtests.scenarios.registry import SCENARIOS
from loadtests.scenarios.scripted import Scripted
from reports.catalogue import APART, DURATION_GROUPS, GROUPS
from reports.figure import Better, Subject
from reports.figures import CATALOGUE, against_measures, figure
from reports.outcome import ExitStatus
from reports.record import read_record
from reports.summary import totals_of

ROOT = Path(__file__).parents[2]
VALIDITY = (ROOT / "docs/validity.md").read_text()
RECORDS = sorted((ROOT / "reports/published").rglob("*.run.jsonl"))

KINDS = {**SCENARIOS, "script": Scripted}
EVERY = CATALOGUE.with_those_of(*(kind.measures for kind in KINDS.values()))
ALL_GROUPS = (*DURATION_GROUPS, *GROUPS, *APART)


def test_the_reference_is_made_of_the_catalogue_and_the_scenarios() -> None:
    page = (ROOT / "docs/figures.md").read_text(encoding="utf-8")
    assert page == figures_page(), "run nox -s docs"


@pytest.mark.parametrize("name", KINDS)
def test_what_a_scenario_declares_is_sound_and_on_the_page(name: str) -> None:
    measures = KINDS[name].measures
    assert against_measures(measures) == ""
    page = figures_page()
    assert all(f"| `{it.key}` |" in page for it in (*measures.durations, *measures.figures))


def test_every_key_and_label_of_the_catalogue_is_there_once() -> None:
    figures = [figure for group in ALL_GROUPS for figure in group.figures]
    for kind in KINDS.values():
        figures += (*kind.measures.durations, *kind.measures.figures)
    assert len({it.key for it in figures}) == len(figures)
    told = [it.label for it in figures if not it.key.startswith(("storm.", "drain."))]
    assert len(set(told)) == len(told)


def test_the_docs_tell_the_bounds_that_are_in_force() -> None:
    bounds = re.findall(r"^\| ([\d.]+) (ms|%) \| `(\w+)` \|", VALIDITY, re.MULTILINE)
    told = {name: float(value) / (1000 if unit == "ms" else 100) for value, unit, name in bounds}
    assert told == asdict(Bounds())


def test_the_docs_tell_every_exit_status() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z]+) \|", VALIDITY, re.MULTILINE)
    assert [(int(status), name) for status, name in rows] == [
        (status.value, status.name) for status in ExitStatus
    ]


@pytest.mark.parametrize("path", RECORDS, ids=[path.name for path in RECORDS])
def test_every_figure_of_a_committed_record_is_listed(path: Path) -> None:
    figures = totals_of(read_record(path)).figures()
    assert [name for name in figures if not EVERY.has(name)] == []


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
    plan = Plan("ws://127.0.0.1:9/", 1, "echo", {}, thresholds=(f"{name}<=1",))
    with pytest.raises(UsageError, match=f"no figure is called {re.escape(repr(name))}"):
        checked(plan)


@pytest.mark.parametrize("name", ["drain.closed_1012", "storm.failed_attempts[upgrade:http-503]"])
def test_a_figure_with_a_code_or_a_cause_in_its_name_is_known(name: str) -> None:
    assert EVERY.has(name)


@pytest.mark.parametrize(
    ("name", "label", "better"),
    [
        ("latency.p99_seconds", "latency p99", Better.LOWER),
        ("latency.count", "latency count", Better.NEITHER),
        ("connections.open", "connections open", Better.HIGHER),
        ("drain.closed_1012", "closed with 1012", Better.NEITHER),
        (
            "storm.failed_attempts[connect:refused]",
            "failed reconnect attempts connect:refused",
            "lower",
        ),
        ("talker.latency.p999_seconds", "talker: latency p99.9", Better.LOWER),
        ("talker.integrity.lost", "talker: lost", Better.LOWER),
        ("checkout.p50_seconds", "checkout p50", Better.LOWER),
        ("checkout.count", "checkout count", Better.NEITHER),
        ("script.orders_made", "orders made", Better.NEITHER),
        ("script.errors", "errors", Better.NEITHER),
        ("talker.script.errors", "talker: errors", Better.NEITHER),
        ("coroutine.memory_bytes", "bare coroutine", Better.LOWER),
        ("", "", Better.NEITHER),
        (".", ".", Better.NEITHER),
    ],
)
def test_a_figure_is_found_by_its_name_whatever_that_is_made_of(
    name: str, label: str, better: str
) -> None:
    found = EVERY.figure(name)
    assert (found.key, found.label, found.better) == (name, label, better)


def test_a_figure_has_the_unit_that_its_name_ends_with() -> None:
    assert figure("talker.latency.p99_seconds").unit == "seconds"
    assert figure("connections.opened_per_second").unit == "per_second"
    assert figure("errors").unit == ""


def test_what_claims_measure_apart_is_no_figure_of_a_run() -> None:
    assert not EVERY.has("coroutine.memory_bytes")
    assert not EVERY.has("redis.connections_peak")


def test_what_the_generator_says_of_itself_is_told_apart_from_what_the_target_does() -> None:
    assert figure("lateness.p99_seconds").subject is Subject.GENERATOR
    assert figure("machine.cpu_ratio").subject is Subject.MACHINE
    assert figure("talker.loop_lag.p99_seconds").subject is Subject.GENERATOR
    assert figure("server.cpu_ratio").subject is Subject.TARGET


def test_kinds_of_durations_are_in_the_catalogues_order_and_a_scripts_own_keep_their_names() -> (
    None
):
    told = CATALOGUE.headings(["zebra", "open", "checkOut", "latency", "lateness"])
    assert list(told.items()) == [
        ("latency", "Latency"),
        ("open", "Opening a connection"),
        ("lateness", "Lateness"),
        ("checkOut", "checkOut"),
        ("zebra", "zebra"),
    ]
