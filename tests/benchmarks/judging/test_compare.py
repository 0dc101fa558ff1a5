"""Each figure is better or worse by its own direction, or it is said that nothing can be told."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.judging.alike import Matched, Run, grouped, matched
from benchmarks.judging.compare import compare, matters, row_of
from loadtests.scenarios.registry import SCENARIOS
from reports.comparison import Comparison, Difference
from reports.figure import Figure
from reports.figures import CATALOGUE, figure
from tests.benchmarks.judging.runs import run

LOW = [1.0, 1.01, 1.02, 1.03]
HIGH = [2.0, 2.01, 2.02, 2.03]


def compared(base: list[Run], head: list[Run]) -> Comparison:
    found = matched(grouped(base), grouped(head), force=False)
    return compare(found, (), lambda _name, _scenario: True)


def figure_of(scenario: str, name: str) -> Figure:
    declared = [SCENARIOS[scenario].measures] if scenario in SCENARIOS else []
    return CATALOGUE.with_those_of(*declared).figure(name)


@pytest.mark.parametrize(
    ("name", "upward"),
    [
        ("latency.p99_seconds", Difference.WORSE),
        ("server.memory_bytes", Difference.WORSE),
        ("integrity.lost", Difference.WORSE),
        ("messages.received_per_second", Difference.BETTER),
        ("connections.opened", Difference.BETTER),
        ("messages.unsolicited", Difference.CHANGED),
        ("latency.count", Difference.CHANGED),
        ("checkout.p50_seconds", Difference.WORSE),
        ("script.orders", Difference.CHANGED),
    ],
)
def test_the_direction_of_the_figure_says_what_a_difference_is(
    name: str, upward: Difference
) -> None:
    downward = {"worse": Difference.BETTER, "better": Difference.WORSE}.get(upward, upward)
    assert row_of(figure(name), LOW, HIGH).difference is upward
    assert row_of(figure(name), HIGH, LOW).difference is downward


def test_a_ratio_is_told_with_its_interval() -> None:
    row = row_of(figure("server.memory_bytes"), [100.0, 101, 102, 103], [200.0, 202, 204, 206])
    assert row.ratio is not None
    assert row.ratio.value == pytest.approx(2, rel=0.03)
    assert row.ratio.low == pytest.approx(200 / 103)
    assert row.ratio.high == pytest.approx(206 / 100)


@given(st.lists(st.floats(0.5, 2), min_size=4, max_size=8))
def test_a_set_beside_itself_never_differs(values: list[float]) -> None:
    row = row_of(figure("errors"), values, list(reversed(values)))
    assert row.difference in (Difference.NONE_DETECTED, Difference.EQUAL)


def test_three_runs_a_side_tell_nothing_however_far_they_are_apart() -> None:
    row = row_of(figure("errors"), [1.0, 1.1, 1.2], [100.0, 101, 102])
    assert (row.difference, row.ratio, row.is_judged) == (Difference.NONE_DETECTED, None, False)


def test_nothing_on_both_sides_is_equal_and_nothing_beside_something_has_no_ratio() -> None:
    none = [0.0] * 5
    assert row_of(figure("errors"), none, none).difference is Difference.EQUAL
    row = row_of(figure("errors"), none, [5.0, 4, 6, 5, 7])
    assert (row.difference, row.ratio, row.is_judged) == (Difference.WORSE, None, True)
    assert row_of(figure("errors"), none, [0.0, 0, 0, 0, 7]).difference is Difference.NONE_DETECTED


def test_a_figure_below_nothing_is_compared_by_its_difference() -> None:
    row = row_of(figure("server.rss_growth_bytes"), [-4.0, -3, -2, -1], [10.0, 11, 12, 13])
    assert (row.difference, row.ratio) == (Difference.WORSE, None)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, None])
def test_what_one_run_did_not_measure_is_not_compared_and_it_is_said(wrong: float | None) -> None:
    base = [run(errors=1.0) for _ in range(4)]
    last = {} if wrong is None else {"errors": wrong}
    (group,) = compared(base, [*base[:3], run(**last)]).groups
    assert (group.rows, group.equal) == ((), ())
    assert "Not compared, not measured in every run: errors." in group.notes


def test_what_only_one_side_measures_is_said() -> None:
    (group,) = compared([run(a=1.0)] * 4, [run(b=1.0)] * 4).groups
    assert group.notes == (
        "Not compared, measured in base alone: a.",
        "Not compared, measured in head alone: b.",
    )


def test_runs_that_were_not_made_in_turn_are_told() -> None:
    at = [f"2026-01-01T00:{minute:02}:00+00:00" for minute in range(8)]
    base, head = [run(it) for it in at[:4]], [run(it) for it in at[4:]]
    (group,) = compared(base, head).groups
    assert any("Make them in turn" in note for note in group.notes)
    (group,) = compared([run(it) for it in at[::2]], [run(it) for it in at[1::2]]).groups
    assert group.notes == ()


def test_moments_are_compared_whatever_their_offset() -> None:
    """The head's began before the base's last, though its text comes later in the alphabet."""
    base = [run(f"2026-01-01T0{hour}:00:00+00:00") for hour in (1, 2, 3, 4)]
    head = [run(f"2026-01-01T0{hour}:30:00+03:00") for hour in (4, 5, 6, 7)]
    (group,) = compared(base, head).groups
    assert group.notes == ()


def test_too_few_runs_are_told_with_how_many_are_needed() -> None:
    (group,) = compared([run(errors=1.0)], [run(errors=2.0)]).groups
    assert group.notes == (
        "Too few runs to detect a difference: 1 of base and 1 of head; make 4 of each.",
    )


def test_what_has_no_like_is_told_with_its_load() -> None:
    (base,) = grouped([run(), run()])
    without = compare(Matched((), (base,), ()), ["a: cut"], matters).left_out
    assert without == ("a: cut", "only base: echo, 100 connections, 50 /s, 10 s, on / (2 runs)")


@pytest.mark.parametrize(
    ("name", "scenario", "does"),
    [
        ("latency.p99_seconds", "echo", True),
        ("latency.p90_seconds", "echo", False),
        ("latency.count", "echo", False),
        ("service_time.p99_seconds", "echo", False),
        ("tcp_connect.p50_seconds", "echo", False),
        ("upgrade_later.p50_seconds", "echo", False),
        ("open.p50_seconds", "echo", True),
        ("talker.latency.p50_seconds", "echo", True),
        ("talker.tls.p50_seconds", "echo", False),
        ("talker.lateness.p99_seconds", "echo", False),
        ("swarm.cpu_ratio", "echo", False),
        ("machine.steal_ratio", "echo", False),
        ("errors", "echo", True),
        ("messages.sent", "echo", False),
        ("drain.refused_status", "drain", True),
        ("ping_interval.p50_seconds", "heartbeat", True),
        ("script.orders", "mine.py", True),
        ("checkout.p50_seconds", "mine.py", True),
        ("checkout.p90_seconds", "mine.py", False),
    ],
)
def test_what_is_shown_unasked_says_something_about_the_target(
    name: str, scenario: str, *, does: bool
) -> None:
    assert matters(figure_of(scenario, name), scenario) is does
