"""Figures are what the lines say; one that was not measured is absent."""

import pytest

from reports.record import Delivery, Sample, Target
from reports.summary import (
    MARK_MEASURE_BEGIN,
    MARK_MEASURE_END,
    MARK_START,
    MARK_STEP,
    Summary,
    Totals,
)
from tests.reports.builders import (
    Lines,
    encoded,
    event,
    footer,
    header,
    interval,
    server_sample,
)


def summary_of(*lines: object) -> Summary:
    totals = Totals()
    for line in (header(), *lines):
        totals.add(line)  # type: ignore[arg-type]
    return totals.summary()


def test_counts_add_up_over_intervals_and_processes() -> None:
    summary = summary_of(
        interval(1, "open", opened=60, failed=1, sent=5, received=4, errors={"a:b": 1}),
        interval(1, "open", process=1, opened=40, open=40, sent=5, received=5),
        interval(2, close_codes={1000: 2}, errors={"a:b": 2}),
        footer(),
    )
    assert summary.figures["connections.opened"] == 100
    assert summary.figures["connections.failed"] == 1
    assert summary.figures["connections.open"] == 140
    assert summary.figures["messages.sent"] == 10
    assert summary.figures["errors"] == 3
    assert summary.errors == {"a:b": 3}
    assert summary.close_codes == {1000: 2}
    assert summary.valid


def test_connections_open_are_those_at_the_end_of_the_measured_phase() -> None:
    end = Sample(2, "kernel", {"connections": 93.0}, MARK_MEASURE_END)
    assert summary_of(interval(1, open=100), interval(2, open=93)).figures[
        "connections.open"
    ] == pytest.approx(100)
    assert summary_of(interval(1, open=100), end).figures["connections.open"] == 93


def test_latency_is_of_all_intervals_merged() -> None:
    summary = summary_of(
        interval(1, histograms={"latency": encoded([1_000_000] * 99)}),
        interval(2, histograms={"latency": encoded([9_000_000])}),
    )
    assert summary.figures["latency.count"] == 100
    assert summary.figures["latency.p50_seconds"] == pytest.approx(0.001, rel=0.001)
    assert summary.figures["latency.p999_seconds"] == pytest.approx(0.009, rel=0.001)
    assert summary.figures["latency.mean_seconds"] == pytest.approx(0.00108, rel=0.001)


def test_a_target_that_may_not_be_looked_at_has_the_figures_that_can_be_had() -> None:
    """Its CPU time can be read, its memory cannot."""
    summary = summary_of(
        server_sample(0, MARK_START, unreadable=1.0, cpu_seconds=1.0, connections=0.0),
        event("phase", phase="measure"),
        server_sample(1, MARK_MEASURE_BEGIN, unreadable=1.0, cpu_seconds=1.0, connections=9.0),
        interval(2, opened=9),
        server_sample(3, MARK_MEASURE_END, unreadable=1.0, cpu_seconds=2.0, connections=9.0),
    )
    assert summary.figures["server.cpu_ratio"] == pytest.approx(0.5)
    assert summary.figures["server.unreadable_processes"] == 1
    assert not {name for name in summary.figures if name.startswith("server.rss")}
    assert "server.memory_bytes" not in summary.figures


def test_memory_is_of_no_connection_where_none_is_open_when_the_load_begins() -> None:
    memory = {"cpu_seconds": 0.0, "rss_bytes": 1e6, "pss_bytes": 1e6}
    swarm = [
        Sample(round(at * 1e9), "swarm", {**memory, "connections": 0.0}, mark)
        for at, mark in ((0, MARK_START), (1, MARK_MEASURE_BEGIN))
    ]
    figures = summary_of(*swarm, interval(2, opened=2_000, open=2_000)).figures
    assert "swarm.memory_per_connection_bytes" not in figures


def test_a_broadcast_seen_by_two_processes_is_one_broadcast() -> None:
    summary = summary_of(
        interval(1, deliveries=(Delivery(0, 2, 1_000, 3_000, encoded([1_000, 3_000])),)),
        interval(1, process=1, deliveries=(Delivery(0, 1, 2_000, 2_000, encoded([2_000])),)),
        interval(2, deliveries=(Delivery(1, 1, 5_000, 5_000, encoded([5_000])),)),
    )
    assert summary.figures["delivery.messages"] == 2
    assert summary.figures["delivery.first_seconds"] == pytest.approx(3e-6)
    assert summary.figures["delivery.half_seconds"] == pytest.approx(3.5e-6, rel=0.001)
    assert summary.figures["delivery.last_seconds"] == pytest.approx(4e-6)
    assert summary.figures["delivery.last_max_seconds"] == pytest.approx(5e-6)
    # Of all four deliveries, not of the broadcasts.
    assert summary.figures["delivered.count"] == 4
    assert summary.figures["delivered.p50_seconds"] == pytest.approx(2e-6, rel=0.001)
    assert summary.figures["delivered.mean_seconds"] == pytest.approx(2.75e-6, rel=0.001)


def test_server_cpu_is_its_time_over_the_measured_phase() -> None:
    memory = {"pss_bytes": 1.0, "rss_bytes": 2.0, "threads": 1, "files": 3, "processes": 1}
    summary = summary_of(
        server_sample(10, MARK_MEASURE_BEGIN, cpu_seconds=5.0, **memory),
        server_sample(15, cpu_seconds=9.0, **memory),
        server_sample(20, MARK_MEASURE_END, cpu_seconds=5.1, **memory),
    )
    assert summary.figures["server.cpu_ratio"] == pytest.approx(0.01)
    assert summary.figures["server.memory_bytes"] == 1.0


def steps(counts: list[int]) -> Lines:
    return [
        server_sample(n, MARK_STEP, connections=count, pss_bytes=5e6 + 20_000.0 * count)
        for n, count in enumerate(counts)
    ]


def test_memory_per_connection_is_the_slope_over_four_counts() -> None:
    summary = summary_of(*steps([100, 200, 300, 400]))
    assert summary.figures["server.memory_per_connection_bytes"] == pytest.approx(20_000)


def test_three_counts_give_no_slope() -> None:
    summary = summary_of(*steps([100, 200, 300, 300]))
    assert "server.memory_per_connection_bytes" not in summary.figures


def test_memory_growth_is_from_the_start_to_the_measured_phase() -> None:
    summary = summary_of(
        interval(open=100),
        Sample(0, "swarm", {"pss_bytes": 1e6}, MARK_START),
        Sample(1, "swarm", {"pss_bytes": 2e6}, MARK_MEASURE_BEGIN),
    )
    assert summary.figures["swarm.memory_per_connection_bytes"] == pytest.approx(10_000)


@pytest.mark.parametrize("command", [(), ("python", "server.py")])
def test_growth_is_told_only_of_a_server_that_the_run_started(command: tuple[str, ...]) -> None:
    memory = {"rss_bytes": 2.0, "threads": 1, "files": 3, "processes": 1, "cpu_seconds": 0.0}
    totals = Totals()
    for line in (
        header(target=Target("ws://h/", "h:80", command)),
        interval(open=100),
        server_sample(0, MARK_START, pss_bytes=1e6, **memory),
        server_sample(1, MARK_MEASURE_BEGIN, pss_bytes=2e6, **memory),
        server_sample(2, MARK_MEASURE_END, pss_bytes=2e6, **memory),
    ):
        totals.add(line)
    figures = totals.summary().figures
    assert ("server.memory_growth_per_connection_bytes" in figures) == bool(command)


def test_what_was_not_measured_is_absent() -> None:
    figures = summary_of(interval(phase="open")).figures
    assert not [name for name in figures if name.startswith(("latency", "server", "integrity"))]


def test_a_record_without_an_end_is_not_valid() -> None:
    summary = summary_of(interval())
    assert not summary.valid
    assert not summary.interrupted
    assert "cut off" in summary.reasons[0]


def test_lag_while_connections_open_is_left_out() -> None:
    lag = {"loop_lag": encoded([10**9])}
    assert "loop_lag.count" not in summary_of(interval(phase="open", histograms=lag)).figures
    assert summary_of(interval(histograms=lag)).figures["loop_lag.count"] == 1
