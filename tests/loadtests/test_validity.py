"""A run that its own generator spoiled is called invalid, whatever its figures look like."""

from typing import Any

import pytest

from loadtests.plan.bounds import Bounds
from loadtests.plan.plan import Plan
from loadtests.run.validity import failures_of, reasons_against, warnings_about
from reports.record import Sample
from reports.summary import MARK_MEASURE_END, MARK_START, Totals
from tests.reports.builders import encoded, header, interval

MS = 1_000_000


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "url": "ws://h/",
        "connections": 100,
        "scenario": "echo",
        "parameters": {},
        "rate": 50.0,
        "duration_seconds": 2.0,
    }
    return Plan(**(values | changes))


def totals(**changes: Any) -> Totals:
    held = Totals()
    held.add(header())
    held.add(interval(0, "open", opened=changes.pop("opened", 100)))
    values = {"sent": 100, "histograms": {"lateness": encoded([MS // 10] * 100)}}
    held.add(interval(**(values | changes)))
    return held


def reasons(plan_: Plan, totals_: Totals) -> str:
    return " ".join(reasons_against(plan_, totals_))


def test_a_run_that_kept_its_schedule_is_valid() -> None:
    assert reasons(plan(), totals()) == ""


def test_messages_sent_late_make_it_invalid_with_advice() -> None:
    late = totals(histograms={"lateness": encoded([MS] * 90 + [20 * MS] * 10)})
    assert "20.0 ms" in reasons(plan(), late)
    assert "--processes" in reasons(plan(), late)


@pytest.mark.parametrize(("late", "of"), [(1, 40), (2, 40), (1, 1)])
def test_one_or_two_late_messages_decide_nothing_and_are_reported(late: int, of: int) -> None:
    few = totals(histograms={"lateness": encoded([MS] * (of - late) + [300 * MS] * late)})
    assert reasons(plan(), few) == ""
    (warning,) = warnings_about(plan(), few)
    assert f"{late} of {of} messages late, the worst by 300" in warning


@pytest.mark.parametrize(("late", "of"), [(3, 40), (11, 1000)])
def test_a_hundredth_that_is_three_or_more_decides(late: int, of: int) -> None:
    many = totals(histograms={"lateness": encoded([MS] * (of - late) + [300 * MS] * late)})
    assert "sent late" in reasons(plan(), many)
    assert warnings_about(plan(), many) == ()


def test_a_few_late_among_many_are_no_news() -> None:
    some = totals(histograms={"lateness": encoded([MS] * 998 + [300 * MS] * 2)})
    assert reasons(plan(), some) == ""
    assert warnings_about(plan(), some) == ()


def test_a_lagging_event_loop_makes_an_open_model_invalid_and_a_closed_one_not() -> None:
    lagging = totals(histograms={"loop_lag": encoded([200 * MS] * 10)})
    assert "event loop of swarm process 0 lagged" in reasons(plan(), lagging)
    assert reasons(plan(rate=None), lagging) == ""


@pytest.mark.parametrize(("sent", "valid"), [(98, True), (97, False), (100, True)])
def test_a_load_that_was_not_reached_makes_it_invalid(sent: int, valid: bool) -> None:
    assert (reasons(plan(), totals(sent=sent)) == "") == valid


def test_messages_that_found_their_connection_closed_are_no_fault_of_the_generator() -> None:
    assert reasons(plan(), totals(sent=40, errors={"send:closed": 60})) == ""


def test_where_nothing_opened_the_target_has_failed_and_the_generator_has_not() -> None:
    nothing = totals(opened=0, sent=0, failed=7, errors={"connect:refused": 7})
    assert failures_of(plan(), nothing) == ("no connection to ws://h/ could be opened",)
    assert reasons_against(plan(), nothing, has_failed=True) == ()


def test_where_nothing_was_tried_nothing_can_be_judged_unless_something_failed_before() -> None:
    nothing = totals(opened=0, sent=0)
    assert failures_of(plan(), nothing) == ()
    assert "no connection was attempted" in reasons(plan(), nothing)
    assert reasons_against(plan(), nothing, has_failed=True) == ()


def test_where_nothing_opened_for_a_limit_of_this_machine_the_target_has_not_failed() -> None:
    nothing = totals(opened=0, failed=7, errors={"connect:no-free-port": 7})
    assert failures_of(plan(), nothing) == ()


RUNS = {"cpu_ns": 700_000_000, "waited_ns": 270_000_000}
"""Of a second, in which it ran or waited for a core 97 % of the time."""


@pytest.mark.parametrize("scenario", ["echo", "broadcast", "churn"])
def test_a_generator_that_has_no_room_left_makes_an_open_model_invalid(scenario: str) -> None:
    busy = totals(**RUNS)
    assert "ran or waited for a core 97.0 % of the time (70.0 % on a core)" in reasons(
        plan(scenario=scenario), busy
    )
    assert reasons(plan(scenario=scenario, bounds=Bounds(runnable_ratio=0.98)), busy) == ""


def test_a_closed_model_of_a_busy_generator_is_reported_as_bounded_by_it() -> None:
    closed = plan(rate=None)
    assert reasons(closed, totals(**RUNS)) == ""
    (warning,) = warnings_about(closed, totals(**RUNS))
    assert "bounded by the generator" in warning
    assert warnings_about(closed, totals(cpu_ns=700_000_000)) == ()


def test_a_receiver_that_lags_says_how_much_is_in_its_deliveries() -> None:
    lagging = totals(histograms={"loop_lag": encoded([200 * MS] * 10)})
    assert reasons(plan(scenario="broadcast"), lagging) == ""
    (warning,) = warnings_about(plan(scenario="broadcast"), lagging)
    assert "1 % of the time by 200 ms or more" in warning


@pytest.mark.parametrize("cause", ["no-free-port", "no-free-file", "no-memory"])
def test_a_limit_of_this_machine_makes_it_invalid(cause: str) -> None:
    assert "doctor" in reasons(plan(), totals(errors={f"connect:{cause}": 1}))


def test_errors_of_the_server_leave_it_valid() -> None:
    assert reasons(plan(), totals(errors={"upgrade:http-503": 5})) == ""


def test_durations_that_were_cut_off_make_it_invalid() -> None:
    assert "above one hour" in reasons(plan(), totals(clipped=1))


def test_steal_and_a_full_accept_queue_are_warned_about() -> None:
    names = ("cpu_busy_seconds", "cpu_idle_seconds", "cpu_steal_seconds", "listen_overflows")
    held = totals()
    for mark, values in ((MARK_START, (0, 0, 0, 0)), (MARK_MEASURE_END, (5, 4, 1, 3))):
        reading = {
            **dict(zip(names, values, strict=True)),
            "tcp_memory_bytes": 0.0,
            "connections": 100.0,
        }
        held.add(Sample(0, "kernel", reading, mark))
    warnings = " ".join(warnings_about(plan(), held))
    assert "10% of the CPU" in warnings
    assert "3 times" in warnings
