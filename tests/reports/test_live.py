"""Figures of a live load, in which users come and go and rounds follow each other."""

import pytest

from reports.record import Delivery, Line
from reports.summary import MARK_MEASURE_BEGIN, MARK_MEASURE_END, Summary, Totals
from tests.reports.builders import encoded, event, header, interval, server_sample

LOAD = {"connections": 10, "rate": 5.0, "duration_seconds": 1.0, "live": True}


def live(*lines: Line, rounds: bool = False) -> Summary:
    totals = Totals()
    for line in (header(load={**LOAD, "rounds": rounds}), *lines):
        totals.add(line)
    return totals.summary()


def test_whoever_opens_while_the_load_lasts_is_of_the_opening() -> None:
    summary = live(
        interval(1, "measure", opened=6, histograms={"open": encoded([1_000_000])}),
        interval(2, "measure", opened=4),
        interval(3, "measure"),
    )
    assert summary.figures["connections.opened"] == 10
    assert summary.figures["connections.opened_per_second"] == 5
    assert summary.figures["open.count"] == 1


def test_in_a_round_they_come_back() -> None:
    summary = live(
        interval(1, "start", opened=10),
        interval(2, "measure", opened=3),
        interval(3, "collect", opened=2),
        rounds=True,
    )
    assert summary.figures["connections.opened"] == 12
    assert summary.figures["connections.opened_later"] == 3


def test_what_was_requested_is_what_users_were_last_asked_for_at_most() -> None:
    figures = live(event("users", count=40), event("users", count=15)).figures
    assert figures["connections.requested"] == 40
    assert live().figures["connections.requested"] == 10


def test_rates_are_over_all_rounds_and_not_over_the_length_of_one() -> None:
    summary = live(*(interval(n, "measure", sent=5, received=5) for n in range(4)), rounds=True)
    assert summary.figures["messages.sent_per_second"] == 5


def test_the_cpu_between_rounds_is_not_the_loads() -> None:
    memory = {"pss_bytes": 1.0, "rss_bytes": 2.0, "threads": 1, "files": 3, "processes": 1}
    summary = live(
        server_sample(0, MARK_MEASURE_BEGIN, cpu_seconds=0.0, **memory),
        server_sample(10, MARK_MEASURE_END, cpu_seconds=1.0, **memory),
        server_sample(20, MARK_MEASURE_BEGIN, cpu_seconds=9.0, **memory),
        server_sample(30, MARK_MEASURE_END, cpu_seconds=10.0, **memory),
        rounds=True,
    )
    assert summary.figures["server.cpu_ratio"] == pytest.approx(0.1)


def test_settled_deliveries_are_told_with_those_that_are_not() -> None:
    first = interval(1, deliveries=(Delivery(0, 1, 1_000, 1_000, encoded([1_000])),))
    second = interval(2, deliveries=(Delivery(1, 1, 3_000, 3_000, encoded([3_000])),))
    totals = Totals()
    totals.add(header(load=LOAD))
    totals.add(first)
    totals.settle_deliveries()
    totals.add(second)
    settled = totals.figures()
    assert settled["delivery.messages"] == 2
    together = live(first, second).figures
    names = [name for name in together if name.startswith("delivery.")]
    assert {name: settled[name] for name in names} == {name: together[name] for name in names}


def test_the_error_of_clocks_is_that_of_the_two_worst() -> None:
    def worker(process: int, uncertainty_ns: int) -> Line:
        return event("worker", process=process, clock_uncertainty_ns=uncertainty_ns)

    assert "clock.uncertainty_seconds" not in live(worker(0, 0), worker(1, 0)).figures
    figures = live(worker(0, 5_000_000), worker(1, 2_000_000), worker(2, 1_000_000)).figures
    assert figures["clock.uncertainty_seconds"] == pytest.approx(0.007)
    # What is known later counts.
    later = live(worker(0, 5_000_000), worker(1, 2_000_000), worker(0, 1_000_000)).figures
    assert later["clock.uncertainty_seconds"] == pytest.approx(0.003)
