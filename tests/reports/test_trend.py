"""A run that goes on, over time: the same as its record says later, in slices that stay few."""

import pytest

from reports.html.charts import live_charts, new_trend, timings
from reports.html.over_time import MOST_SLICES, timed_by
from reports.html.trend import Trend
from reports.record import Event, Line
from tests.reports.builders import encoded, header, interval

MS = 1_000_000


def trend(*lines: Line) -> Trend:
    made = Trend([timed_by("latency"), timed_by("open")])
    for line in lines:
        made.add(line)
    return made


def users(t_seconds: float, count: int) -> Event:
    return Event(round(t_seconds * 1e9), "users", {"count": count})


def second(n: int, *, process: int = 0, **changes: object) -> Line:
    return interval(n + 1.0, process=process, **changes)


def test_a_slice_has_what_all_processes_did_in_it() -> None:
    made = trend(
        second(0, process=0, open=3, sent=5, histograms={"latency": encoded([1 * MS] * 9)}),
        second(0, process=1, open=4, sent=6, histograms={"latency": encoded([9 * MS] * 1)}),
        second(1, process=1, open=5),
        second(2),
    )
    first, then = made.slices(0)
    assert (first.begin, first.end, first.open, first.sent) == (0, 1, 7, 11)
    assert first.p50 == pytest.approx(0.001, rel=0.01)
    assert first.p99 == pytest.approx(0.009, rel=0.01)
    # A process that is late with its line has what it had before.
    assert (then.open, then.p50) == (8, None)


def test_connecting_is_a_kind_of_its_own() -> None:
    made = trend(second(0, histograms={"open": encoded([90 * MS])}), second(1))
    assert made.kind() == 1
    made.add(second(1, histograms={"latency": encoded([MS])}))
    made.add(second(2))
    assert made.kind() == 0
    assert made.has(1)
    assert [it.p99 for it in made.slices(0)] == [None, pytest.approx(0.001, rel=0.01)]


def test_the_connections_of_a_lost_process_are_gone() -> None:
    lost = Event(1_500_000_000, "process_lost", {"process": 1})
    made = trend(second(0, open=3), second(0, process=1, open=4), lost, second(1, open=3))
    made.add(second(2, open=3))
    assert [it.open for it in made.slices(None)] == [7, 3]
    assert made.losses == [1.5]


def test_what_was_asked_holds_until_something_else_is() -> None:
    made = trend(users(0.5, 10), second(0), second(1), users(2.5, 0), users(3.5, 40), second(4))
    assert made.asked() == [(1, 10), (2, 10), (3, 10), (4, 40), (5, 40)]


def test_a_long_run_has_few_slices_and_loses_nothing() -> None:
    seconds = 5 * MOST_SLICES
    made = trend()
    for n in range(seconds):
        texts = {"latency": encoded([(n + 1) * 1000])}
        made.add(second(n, open=n, sent=2, histograms=texts))
    made.add(second(seconds + 8))
    slices = made.slices(0)
    assert MOST_SLICES / 4 < len(slices) <= MOST_SLICES
    width = slices[0].end - slices[0].begin
    assert sum((it.sent or 0) * width for it in slices) == 2 * seconds
    # The 99th percentile of few is the last of them.
    assert slices[10].p99 == pytest.approx(slices[10].end * 1e-6, rel=0.01)
    assert slices[10].open == slices[10].end - 1


def test_the_charts_do_not_mix_connecting_with_round_trips() -> None:
    made = new_trend(header())
    made.add(users(0.1, 9))
    for n in range(4):
        both = {"latency": encoded([2 * MS]), "open": encoded([700 * MS])}
        made.add(second(n, open=7, sent=3, received=3, histograms=both))
    drawn = {chart.title: chart.drawing for chart in live_charts(made, header())}
    assert list(drawn) == [
        *("Open connections", "Latency, over time", "Messages"),
        "Opening a connection, over time",
    ]
    assert "open 7\nrequested 9" in drawn["Open connections"]
    assert "p99 2.00 ms" in drawn["Latency, over time"]
    assert "700" not in drawn["Latency, over time"]
    assert "p99 700 ms" in drawn["Opening a connection, over time"]


def test_where_nothing_but_connecting_is_timed_it_is_drawn_once() -> None:
    made = new_trend(header())
    for n in range(3):
        made.add(second(n, histograms={"open": encoded([MS])}))
    assert [chart.title for chart in live_charts(made, header())] == [
        *("Open connections", "Opening a connection, over time")
    ]
    assert timings(header())[-1].title == "Opening a connection"


def test_nothing_is_drawn_of_nothing() -> None:
    assert live_charts(new_trend(header()), header()) == ()
